package simnet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
)

var (
	_ engine.Link      = (*simnet.Port)(nil)
	_ engine.ICMPError = (*simnet.ICMPError)(nil)
)

const (
	fin = 1 << iota
	syn
	rst
	_
	ack
)

var (
	addrA  = netip.MustParseAddr("198.18.0.1")
	addrB  = netip.MustParseAddr("198.18.0.2")
	addrA6 = netip.MustParseAddr("2001:db8::1")
	addrB6 = netip.MustParseAddr("2001:db8::2")
)

// packet makes a TCP packet from port 1000 to port 2000 with a number for payload.
func packet(src, dst netip.Addr, flags byte, payload uint32, size int) []byte {
	tcp := make([]byte, 20, 20+size)
	binary.BigEndian.PutUint16(tcp, 1000)
	binary.BigEndian.PutUint16(tcp[2:], 2000)
	binary.BigEndian.PutUint32(tcp[4:], 7000)
	binary.BigEndian.PutUint32(tcp[8:], 9000)
	tcp[12], tcp[13] = 5<<4, flags
	if size >= 4 {
		tcp = binary.BigEndian.AppendUint32(tcp, payload)
		tcp = append(tcp, make([]byte, size-4)...)
	}
	if src.Is6() {
		ip := make([]byte, 8, 40+len(tcp))
		ip[0], ip[6], ip[7] = 6<<4, 6, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(len(tcp)))
		ip = append(append(ip, src.AsSlice()...), dst.AsSlice()...)
		return append(ip, tcp...)
	}
	ip := make([]byte, 12, 20+len(tcp))
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(tcp)))
	ip = append(append(ip, src.AsSlice()...), dst.AsSlice()...)
	return append(ip, tcp...)
}

func number(pkt []byte) int { return int(binary.BigEndian.Uint32(pkt[len(pkt)-4:])) }

// A pair is two ports with 1000 and 2000 claimed on every address.
type pair struct {
	t     *testing.T
	start time.Time
	net   *simnet.Network
	a, b  *simnet.Port
}

func newPair(t *testing.T, cfg simnet.Config) *pair {
	n := simnet.New(cfg)
	p := &pair{t: t, start: time.Now(), net: n,
		a: n.NewPort(simnet.PortConfig{Addrs: []netip.Addr{addrA, addrA6}}),
		b: n.NewPort(simnet.PortConfig{Addrs: []netip.Addr{addrB, addrB6}})}
	for _, port := range []*simnet.Port{p.a, p.b} {
		for _, number := range []uint16{1000, 2000} {
			if _, err := port.Claim(netip.AddrPortFrom(netip.IPv6Unspecified(), number)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

// send sends packets numbered first to last-1, of 8 octets of payload each.
func (p *pair) send(first, last int) {
	p.t.Helper()
	for i := first; i < last; i++ {
		p.sendOne(packet(addrA, addrB, ack, uint32(i), 4))
	}
}

func (p *pair) sendOne(pkt []byte) {
	p.t.Helper()
	if n, err := p.a.WriteBatch([][]byte{pkt}); n != 1 || err != nil {
		p.t.Fatalf("WriteBatch: %d, %v", n, err)
	}
}

// An arrival is a packet that came out at b.
type arrival struct {
	at, read time.Duration // by its stamp, and by the reader's clock
	pkt      []byte
}

// receive reads at b until the network has been quiet for a minute.
func (p *pair) receive() (got []arrival) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		bufs, sizes, stamps := buffers(3)
		for {
			n, err := p.b.ReadBatch(bufs, sizes, stamps)
			if err != nil {
				return
			}
			for i := range n {
				stamp := time.Unix(0, stamps[i])
				got = append(got, arrival{stamp.Sub(p.start), time.Since(p.start), bytes.Clone(bufs[i][:sizes[i]])})
			}
		}
	}()
	time.Sleep(time.Minute)
	p.b.Close()
	<-done
	return got
}

func buffers(n int) (bufs [][]byte, sizes []int, stamps []int64) {
	for range n {
		bufs = append(bufs, make([]byte, 65600))
	}
	return bufs, make([]int, n), make([]int64, n)
}

func numbers(arrivals []arrival) (list []int) {
	for _, a := range arrivals {
		list = append(list, number(a.pkt))
	}
	return list
}

func count(n int) (list []int) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

func TestDelayIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, simnet.Config{Path: simnet.PathConfig{Delay: 30 * time.Millisecond}})
		p.send(0, 2)
		p.sendOne(packet(addrA6, addrB6, ack, 2, 4))
		got := p.receive()
		if !slices.Equal(numbers(got), count(3)) {
			t.Fatalf("got %v", numbers(got))
		}
		for _, a := range got {
			if a.at != 30*time.Millisecond || a.read != a.at {
				t.Errorf("packet %d came after %v, was read after %v", number(a.pkt), a.at, a.read)
			}
		}
	})
}

func TestPerfectPathIsImmediate(t *testing.T) {
	p := newPair(t, simnet.Config{})
	p.send(0, 5)
	bufs, sizes, stamps := buffers(8)
	if n, err := p.b.ReadBatch(bufs, sizes, stamps); n != 5 || err != nil {
		t.Errorf("ReadBatch: %d, %v; want all five packets", n, err)
	}
}

func TestJitterKeepsOrderAndReorderDoesNot(t *testing.T) {
	for reorder, jitter := range map[float64]time.Duration{0: 20 * time.Millisecond, 0.3: 0} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, simnet.Config{Seed: 7, Path: simnet.PathConfig{
				Delay: 5 * time.Millisecond, Jitter: jitter, Reorder: reorder, ReorderBy: 50 * time.Millisecond}})
			for i := range 200 {
				p.send(i, i+1)
				time.Sleep(time.Millisecond)
			}
			got := p.receive()
			if sorted := slices.IsSorted(numbers(got)); sorted != (reorder == 0) || len(got) != 200 {
				t.Errorf("reorder %v: %d packets, in order: %v", reorder, len(got), sorted)
			}
		})
	}
}

func TestLossDuplicateCorrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, simnet.Config{Seed: 3, Path: simnet.PathConfig{Loss: 0.2, Duplicate: 0.1, Corrupt: 0.1}})
		const total = 2000
		p.send(0, total)
		got := p.receive()
		c := p.net.Counters(p.a, p.b)
		if c.Sent != total || c.Forwarded+c.Corrupted+c.Lost != total {
			t.Errorf("counters do not add up: %+v", c)
		}
		for what, n := range map[string][2]int{"lost": {c.Lost, 400}, "corrupted": {c.Corrupted, 160}, "duplicated": {c.Duplicated, 160}} {
			if n[0] < n[1]*3/4 || n[0] > n[1]*5/4 {
				t.Errorf("%s %d, want about %d", what, n[0], n[1])
			}
		}
		if pc := p.b.Counters(); len(got)+pc.Unclaimed != total-c.Lost+c.Duplicated {
			t.Errorf("%d arrived, %d at a damaged port; %+v", len(got), pc.Unclaimed, c)
		}
		damaged := 0
		for _, a := range got {
			if intact := packet(addrA, addrB, ack, 0, 4)[:20]; damage(a.pkt) > 1 || !bytes.Equal(a.pkt[:20], intact) {
				t.Fatalf("%d bits of %x differ", damage(a.pkt), a.pkt)
			}
			damaged += damage(a.pkt)
		}
		if damaged == 0 {
			t.Error("no damage arrived")
		}
	})
}

// damage counts the bits in which a numbered packet differs from what was sent.
// A number is below 2000, and its damaged bit is found by that or not at all.
func damage(pkt []byte) (n int) {
	for i, b := range packet(addrA, addrB, ack, uint32(number(pkt)), 4) {
		n += bits.OnesCount8(b ^ pkt[i])
	}
	if number(pkt) >= 2000 {
		n++
	}
	return n
}

func TestSeedDecidesEverything(t *testing.T) {
	run := func(seed uint64) (fates []simnet.Packet) {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, simnet.Config{Seed: seed,
				Path: simnet.PathConfig{Delay: time.Millisecond, Jitter: time.Millisecond,
					Loss: 0.1, Duplicate: 0.1, Corrupt: 0.1, Reorder: 0.1},
				Tap: func(p simnet.Packet) {
					fates = append(fates, simnet.Packet{Arrives: p.Arrives, Fate: p.Fate, Data: bytes.Clone(p.Data)})
				}})
			p.send(0, 500)
			p.receive()
		})
		return fates
	}
	if !reflect.DeepEqual(run(1), run(1)) {
		t.Error("two runs with one seed differ")
	}
	if reflect.DeepEqual(run(1), run(2)) {
		t.Error("two seeds give the same run")
	}
	if s := simnet.New(simnet.Config{Seed: 42}).String(); s != "simnet seed 42" {
		t.Errorf("the network calls itself %q", s)
	}
}

func TestDirectionsHaveTheirOwnLuck(t *testing.T) {
	fates := func(answers int) (list, back []simnet.Fate) {
		var p *pair
		p = newPair(t, simnet.Config{Path: simnet.PathConfig{Loss: 0.5},
			Tap: func(pkt simnet.Packet) {
				if pkt.From == p.a {
					list = append(list, pkt.Fate)
				} else {
					back = append(back, pkt.Fate)
				}
			}})
		for i := range 100 {
			p.send(i, i+1)
			for range answers {
				p.b.WriteBatch([][]byte{packet(addrB, addrA, ack, 0, 4)})
			}
		}
		return list, back
	}
	alone, _ := fates(0)
	forth, _ := fates(3)
	if !slices.Equal(alone, forth) {
		t.Error("traffic one way changed the losses of the other way")
	}
	if forth, back := fates(1); slices.Equal(forth, back) {
		t.Error("both ways lose the same packets")
	}
}

func TestMTU(t *testing.T) {
	p := newPair(t, simnet.Config{})
	p.net.SetPath(p.a, p.b, simnet.PathConfig{MTU: 1000, ICMP: true})
	p.sendOne(packet(addrA, addrB, ack, 0, 960))
	p.sendOne(packet(addrA, addrB, ack, 1, 961))
	p.sendOne(packet(addrA6, addrB6, ack, 2, 1000))
	if c := p.net.Counters(p.a, p.b); c.Forwarded != 1 || c.TooBig != 2 {
		t.Errorf("counters %+v", c)
	}
	bufs, sizes, stamps := buffers(8)
	for _, want := range []struct {
		typ, code uint8
		size      int
	}{{3, 4, 28}, {2, 0, 1060}} {
		_, err := p.a.ReadBatch(bufs, sizes, stamps)
		var icmp engine.ICMPError
		if !errors.As(err, &icmp) {
			t.Fatalf("read error %v, want an ICMP message", err)
		}
		if _, typ, code, mtu, quoted := icmp.ICMP(); typ != want.typ || code != want.code || mtu != 1000 || len(quoted) != want.size {
			t.Errorf("ICMP %d %d mtu %d quoting %d octets, want %+v", typ, code, mtu, len(quoted), want)
		}
	}
	if n, err := p.a.WriteBatch([][]byte{packet(addrA, addrB, ack, 0, 4), packet(addrA, addrB, ack, 1, 1461)}); n != 1 || !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("WriteBatch above the port's MTU: %d, %v", n, err)
	}
}

func TestBandwidthAndQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, simnet.Config{Path: simnet.PathConfig{
			Delay: 10 * time.Millisecond, Bandwidth: 100_000, Queue: 3000}})
		for i := range 10 { // 1000 octets take 10 ms each
			p.sendOne(packet(addrA, addrB, ack, uint32(i), 960))
		}
		var at []time.Duration
		for _, a := range p.receive() {
			at = append(at, a.at.Round(time.Microsecond))
		}
		want := []time.Duration{20, 30, 40}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if c := p.net.Counters(p.a, p.b); !slices.Equal(at, want) || c.QueueFull != 7 {
			t.Errorf("arrivals %v, %+v; want %v and seven dropped", at, c, want)
		}
	})
}

func TestHook(t *testing.T) {
	p := newPair(t, simnet.Config{Path: simnet.PathConfig{Hook: func(pkt []byte) []byte {
		if number(pkt) == 1 {
			return nil
		}
		pkt[len(pkt)-1] += 10
		return pkt
	}}})
	mine := packet(addrA, addrB, ack, 0, 4)
	p.sendOne(mine)
	p.send(1, 3)
	if number(mine) != 0 {
		t.Error("the hook changed the sender's own buffer")
	}
	bufs, sizes, stamps := buffers(8)
	n, _ := p.b.ReadBatch(bufs, sizes, stamps)
	if n != 2 || number(bufs[0][:sizes[0]]) != 10 || number(bufs[1][:sizes[1]]) != 12 {
		t.Errorf("%d packets passed the hook", n)
	}
	if c := p.net.Counters(p.a, p.b); c.Hooked != 1 {
		t.Errorf("%+v", c)
	}
}

func TestClaims(t *testing.T) {
	n := simnet.New(simnet.Config{})
	p := n.NewPort(simnet.PortConfig{Addrs: []netip.Addr{addrA, addrA6}})
	claim := func(s string) (func(), error) {
		c, err := p.Claim(netip.MustParseAddrPort(s))
		return func() { c.Close() }, err
	}
	for _, test := range []struct {
		held, want string
		err        error
	}{
		{"198.18.0.1:80", "198.18.0.1:80", syscall.EADDRINUSE},
		{"198.18.0.1:80", "198.18.0.1:81", nil},
		{"198.18.0.1:80", "0.0.0.0:80", syscall.EADDRINUSE},
		{"0.0.0.0:80", "198.18.0.1:80", syscall.EADDRINUSE},
		{"0.0.0.0:80", "[2001:db8::1]:80", nil},
		{"[::]:80", "198.18.0.1:80", syscall.EADDRINUSE},
		{"198.18.0.1:80", "[::]:80", syscall.EADDRINUSE},
		{"198.18.0.1:80", "[2001:db8::1]:80", nil},
		{"198.18.0.1:80", "198.18.0.9:80", syscall.EADDRNOTAVAIL},
		{"198.18.0.1:80", "198.18.0.1:0", syscall.EINVAL},
	} {
		release, err := claim(test.held)
		if err != nil {
			t.Fatal(err)
		}
		again, err := claim(test.want)
		if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
			t.Errorf("claim of %s beside %s: %v, want %v", test.want, test.held, err, test.err)
		}
		if err == nil {
			again()
		}
		release()
		if p.Claims() != 0 {
			t.Fatalf("%d claims left", p.Claims())
		}
	}
}

func TestUnclaimedPortsAreFilteredOrRefused(t *testing.T) {
	n := simnet.New(simnet.Config{})
	a := n.NewPort(simnet.PortConfig{Addrs: []netip.Addr{addrA, addrA6}})
	b := n.NewPort(simnet.PortConfig{Addrs: []netip.Addr{addrB, addrB6}, Refuse: true})
	if _, err := a.Claim(netip.AddrPortFrom(netip.IPv6Unspecified(), 1000)); err != nil {
		t.Fatal(err)
	}
	bufs, sizes, stamps := buffers(8)
	for _, test := range []struct {
		pkt      []byte
		flags    byte
		seq, ack uint32
	}{
		{packet(addrA, addrB, syn, 0, 0), rst | ack, 0, 7001},
		{packet(addrA, addrB, ack, 0, 100), rst, 9000, 0},
		{packet(addrA6, addrB6, fin, 0, 100), rst | ack, 0, 7101},
	} {
		a.WriteBatch([][]byte{test.pkt, packet(addrA, addrB, rst, 0, 0)})
		if n, err := a.ReadBatch(bufs, sizes, stamps); n != 1 || err != nil {
			t.Fatalf("ReadBatch: %d, %v", n, err)
		}
		got := bufs[0][:sizes[0]]
		checkSums(t, got)
		tcp := got[len(got)-20:]
		seq, ackn := binary.BigEndian.Uint32(tcp[4:]), binary.BigEndian.Uint32(tcp[8:])
		if tcp[13] != test.flags || seq != test.seq || ackn != test.ack || binary.BigEndian.Uint16(tcp) != 2000 {
			t.Errorf("answer to %x: %x", test.pkt, got)
		}
	}
	if c := b.Counters(); c.Unclaimed != 6 || c.Received != 0 || c.Sent != 3 {
		t.Errorf("%+v", c)
	}
}

// checkSums verifies both checksums the slow way.
func checkSums(t *testing.T, pkt []byte) {
	t.Helper()
	add := func(parts ...[]byte) uint16 {
		var s uint64
		for _, p := range parts {
			for i := 0; i < len(p); i += 2 {
				s += uint64(p[i])<<8 | uint64(p[i+1])
			}
		}
		return uint16(s % 65535)
	}
	var tcp, addrs []byte
	if pkt[0]>>4 == 4 {
		tcp, addrs = pkt[20:], pkt[12:20]
		if add(pkt[:20]) != 0 {
			t.Errorf("bad IP checksum: %x", pkt[:20])
		}
	} else {
		tcp, addrs = pkt[40:], pkt[8:40]
	}
	if add(addrs, []byte{0, 6, 0, 20}, tcp) != 0 {
		t.Errorf("bad TCP checksum: %x", pkt)
	}
}

func TestErrorsComeInTurn(t *testing.T) {
	p := newPair(t, simnet.Config{})
	news := errors.New("news")
	p.send(0, 2)
	p.b.InjectError(news)
	p.b.Inject(packet(addrA, addrB, ack, 2, 4))
	bufs, sizes, stamps := buffers(8)
	for _, want := range []struct {
		n   int
		err error
	}{{2, nil}, {0, news}, {1, nil}} {
		if n, err := p.b.ReadBatch(bufs, sizes, stamps); n != want.n || err != want.err {
			t.Errorf("ReadBatch: %d, %v; want %d, %v", n, err, want.n, want.err)
		}
	}
}

func TestFailWrites(t *testing.T) {
	p := newPair(t, simnet.Config{})
	p.a.FailWrites(func(pkt []byte) error {
		if number(pkt) == 1 {
			return syscall.ENOBUFS
		}
		return nil
	})
	batch := [][]byte{packet(addrA, addrB, ack, 0, 4), packet(addrA, addrB, ack, 1, 4), packet(addrA, addrB, ack, 2, 4)}
	if n, err := p.a.WriteBatch(batch); n != 1 || err != syscall.ENOBUFS {
		t.Errorf("WriteBatch: %d, %v", n, err)
	}
	p.a.FailWrites(nil)
	if n, err := p.a.WriteBatch(batch); n != 3 || err != nil {
		t.Errorf("WriteBatch: %d, %v", n, err)
	}
}

func TestReceiveBufferOverflows(t *testing.T) {
	n := simnet.New(simnet.Config{})
	a := n.NewPort(simnet.PortConfig{Addrs: []netip.Addr{addrA}})
	b := n.NewPort(simnet.PortConfig{Addrs: []netip.Addr{addrB}, ReceiveBuffer: 4000})
	b.Claim(netip.AddrPortFrom(addrB, 2000))
	for range 10 {
		a.WriteBatch([][]byte{packet(addrA, addrB, ack, 0, 960)})
	}
	if c := b.Counters(); c.Received != 4 || c.Overflowed != 6 {
		t.Errorf("%+v", c)
	}
	bufs, sizes, stamps := buffers(3)
	b.ReadBatch(bufs, sizes, stamps)
	a.WriteBatch([][]byte{packet(addrA, addrB, ack, 0, 960)})
	if c := b.Counters(); c.Received != 5 {
		t.Errorf("reading made no room: %+v", c)
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, simnet.Config{Path: simnet.PathConfig{Delay: time.Second}})
		p.send(0, 1)
		blocked := make(chan error)
		go func() {
			_, err := p.b.ReadBatch(buffers(1))
			blocked <- err
		}()
		synctest.Wait()
		p.b.Close()
		if err := <-blocked; err != net.ErrClosed {
			t.Errorf("blocked ReadBatch: %v", err)
		}
		if _, err := p.b.WriteBatch([][]byte{packet(addrB, addrA, ack, 0, 4)}); err != net.ErrClosed {
			t.Errorf("WriteBatch: %v", err)
		}
		if _, err := p.b.Claim(netip.AddrPortFrom(addrB, 3000)); err != net.ErrClosed {
			t.Errorf("Claim: %v", err)
		}
		if err := p.b.Close(); err != net.ErrClosed {
			t.Errorf("second Close: %v", err)
		}
		time.Sleep(2 * time.Second) // the packet in flight finds nobody
		if c := p.b.Counters(); c.Received != 0 {
			t.Errorf("%+v", c)
		}
	})
}

func TestRoute(t *testing.T) {
	n := simnet.New(simnet.Config{})
	p := n.NewPort(simnet.PortConfig{Addrs: []netip.Addr{addrA}, MTU: 1400})
	if src, mtu, err := p.Route(addrB, netip.Addr{}); src != addrA || mtu != 1400 || err != nil {
		t.Errorf("Route: %v, %d, %v", src, mtu, err)
	}
	if _, _, err := p.Route(addrB6, netip.Addr{}); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("Route without an address of the family: %v", err)
	}
	if _, _, err := p.Route(addrB, addrB); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("Route from another host's address: %v", err)
	}
}

func TestGarbageIsHarmless(t *testing.T) {
	p := newPair(t, simnet.Config{Path: simnet.PathConfig{Corrupt: 1, MTU: 1, ICMP: true}})
	for _, pkt := range [][]byte{nil, {0}, {0x45}, make([]byte, 40), bytes.Repeat([]byte{0xff}, 100), bytes.Repeat([]byte{0x4f}, 60)} {
		p.a.WriteBatch([][]byte{pkt})
		p.b.Inject(pkt)
	}
	if c := p.b.Counters(); c.Received != 0 {
		t.Errorf("%+v", c)
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	p := newPair(t, simnet.Config{})
	batch := [][]byte{packet(addrA, addrB, ack, 0, 1000), packet(addrA, addrB, ack, 1, 1000)}
	bufs, sizes, stamps := buffers(8)
	if n := testing.AllocsPerRun(200, func() {
		p.a.WriteBatch(batch)
		p.b.ReadBatch(bufs, sizes, stamps)
	}); n != 0 {
		t.Errorf("%v allocations per batch", n)
	}
}
