package rawsock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestCloseUnblocksReadBatch(t *testing.T) {
	c, err := openLink(Config{})
	must(t, err)
	read := func() error {
		_, err := c.ReadBatch([][]byte{make([]byte, 2048)}, make([]int, 1), make([]int64, 1))
		return err
	}
	errc := make(chan error)
	started := make(chan bool)
	go func() {
		close(started)
		errc <- read()
	}()
	<-started
	must(t, c.Close())
	must(t, c.Close())
	for _, err := range []error{<-errc, read()} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadBatch after Close: %v", err)
		}
	}
	if _, err := c.WriteBatch([][]byte{make([]byte, 40)}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteBatch after Close: %v", err)
	}
	if _, err := c.Claim(netip.MustParseAddrPort("127.0.0.1:4001")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Claim after Close: %v", err)
	}
	if _, _, err := c.Route(netip.MustParseAddr("127.0.0.1"), netip.Addr{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Route after Close: %v", err)
	}
	if c.Drops() != 0 || c.TxStamps(make([]TxStamp, 1)) != 0 {
		t.Error("a closed Conn has news")
	}
}

func TestReadBatchRefusesBadBuffers(t *testing.T) {
	s, err := openLink(Config{})
	must(t, err)
	defer s.Close()
	if _, err := s.ReadBatch(nil, nil, nil); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("no buffers: %v", err)
	}
	if _, err := s.ReadBatch([][]byte{make([]byte, 63)}, make([]int, 1), make([]int64, 1)); !errors.Is(err, errShortBuffer) {
		t.Errorf("short buffer: %v", err)
	}
}

func TestWriteBatchRoutesMixedFamilies(t *testing.T) {
	l := newLab(t)
	s := openStation(t, Config{Guard: GuardNone})
	w := [2]*wire{l.newWire(0), l.newWire(1)}
	var batch [][]byte
	for i := range 3 * BatchSize {
		family := i / 5 % 2
		batch = append(batch, tcpPacket{src: netip.AddrPortFrom(l.ours[family], 4001), dst: netip.AddrPortFrom(l.theirs[family], 80), seq: uint32(i), flags: rst}.bytes())
	}
	n, err := s.WriteBatch(batch)
	if n != len(batch) || err != nil {
		t.Fatalf("WriteBatch = %d, %v", n, err)
	}
	for i := range batch {
		if p, ok := w[i/5%2].receive(patience); !ok || p.seq != uint32(i) {
			t.Fatalf("packet %d arrived as %+v, %v", i, p, ok)
		}
	}
}

// A reader that looks again and again takes what comes, and notes the end.
func TestReaderThatNeverSleeps(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		c, err := openLink(Config{Guard: GuardNone, Spin: time.Hour})
		must(t, err)
		defer c.Close()
		local := netip.AddrPortFrom(l.ours[family], 4001)
		_, err = c.Claim(local)
		must(t, err)
		w := l.newWire(family)
		bufs, sizes, stamps := [][]byte{make([]byte, 2048)}, make([]int, 1), make([]int64, 1)
		for range 3 {
			must(t, unix.Sendto(w.fd, tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, flags: rst}.bytes(), 0, sockaddr(local.Addr())))
			if n, err := c.ReadBatch(bufs, sizes, stamps); n != 1 || err != nil || !c.reader.found {
				t.Fatalf("ReadBatch = %d, %v, without sleep: %v", n, err, c.reader.found)
			}
		}
		ended := make(chan error)
		go func() {
			_, err := c.ReadBatch(bufs, sizes, stamps)
			ended <- err
		}()
		c.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadBatch of a closed Conn: %v", err)
		}
	})
}

// What each of several goroutines writes arrives whole and in its order.
func TestSeveralWriteAtTheSameTime(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		l.acquaint() // who waits for a neighbour to be found is overtaken when it is
		s := openStation(t, Config{Guard: GuardNone})
		if !s.ConcurrentWrites() {
			t.Fatal("one at a time")
		}
		w := l.newWire(family)
		const writers, batches = 4, 200
		packet := func(writer, seq int) []byte {
			from := netip.AddrPortFrom(l.ours[family], uint16(4001+writer))
			return tcpPacket{src: from, dst: netip.AddrPortFrom(l.theirs[family], 80), seq: uint32(seq), flags: rst}.bytes()
		}
		settle(t, s.Conn, packet(0, 0))
		var all sync.WaitGroup
		defer all.Wait()
		over := make(chan struct{})
		defer close(over)
		underWay := make(chan struct{}, 24) // batches: no more than the receiver's queue holds
		for writer := range writers {
			all.Go(func() {
				for i := range batches {
					select {
					case underWay <- struct{}{}:
					case <-over: // the test has failed
						return
					}
					batch := [][]byte{packet(writer, 3*i), packet(writer, 3*i+1), packet(writer, 3*i+2)}
					if n, err := s.Conn.WriteBatch(batch); n != len(batch) || err != nil {
						t.Errorf("WriteBatch = %d, %v", n, err)
					}
				}
			})
		}
		next := map[uint16]uint32{}
		for i := range writers * batches * 3 {
			p, ok := w.receive(patience)
			if !ok || p.seq != next[p.src.Port()] {
				t.Fatalf("%+v, %v, after %v", p, ok, next)
			}
			next[p.src.Port()]++
			if i%3 == 2 {
				<-underWay
			}
		}
	})
}

// The order of packets is what a stamp is known by.
func TestOneWriterWithTransmitStamps(t *testing.T) {
	newLab(t)
	if s := openStation(t, Config{Guard: GuardNone, TxTimestamps: true}); s.ConcurrentWrites() {
		t.Error("several may write")
	}
}

func TestWriteBatchStopsAtTheFirstError(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{Guard: GuardNone})
		good := tcpPacket{src: netip.AddrPortFrom(l.ours[family], 4001), dst: netip.AddrPortFrom(l.theirs[family], 80), flags: rst}
		big := good
		big.payload = make([]byte, 1500)
		n, err := s.WriteBatch([][]byte{good.bytes(), good.bytes(), big.bytes(), good.bytes()})
		if n != 2 {
			t.Errorf("n = %d, want 2", n)
		}
		wantErrno(t, err, syscall.EMSGSIZE)
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "write" || op.Addr.String() != l.theirs[family].String() {
			t.Errorf("%v does not say which packet", err)
		}
		n, err = s.WriteBatch([][]byte{good.bytes(), {}, good.bytes()})
		if n != 1 || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("an empty packet: %d, %v", n, err)
		}
		n, err = s.WriteBatch([][]byte{good.bytes(), good.bytes()[:19], good.bytes()})
		if n != 1 || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("a cut packet: %d, %v", n, err)
		}
	})
}

func TestTooBigWhateverDFSays(t *testing.T) { // S1
	l := newLab(t)
	s := openStation(t, Config{Guard: GuardNone})
	p := tcpPacket{src: netip.AddrPortFrom(l.ours[0], 4001), dst: netip.AddrPortFrom(l.theirs[0], 80), flags: rst, mayFrag: true, payload: make([]byte, 1461)}
	_, err := s.WriteBatch([][]byte{p.bytes()})
	wantErrno(t, err, syscall.EMSGSIZE)
	p.payload = p.payload[1:]
	_, err = s.WriteBatch([][]byte{p.bytes()})
	must(t, err)
}

func TestKernelFillsIPv4Header(t *testing.T) { // S1
	l := newLab(t)
	s := openStation(t, Config{Guard: GuardNone})
	p := tcpPacket{src: netip.AddrPortFrom(l.ours[0], 4001), dst: netip.AddrPortFrom(l.theirs[0], 80), flags: rst, payload: []byte("12345")}
	for _, c := range []struct {
		df     bool
		wantID bool
	}{{true, false}, {false, true}} {
		p.mayFrag = !c.df
		pkt := p.bytes()
		copy(pkt[2:], []byte{0xff, 0xff})  // total length
		copy(pkt[10:], []byte{0xab, 0xcd}) // header checksum
		copy(pkt[12:], []byte{0, 0, 0, 0}) // source
		heard := l.hear(func() { s.mustWrite(pkt) })
		if id := binary.BigEndian.Uint16(heard[4:]); (id != 0) != c.wantID {
			t.Errorf("DF %v: identification %#x", c.df, id)
		}
		if n := binary.BigEndian.Uint16(heard[2:]); n != 45 {
			t.Errorf("total length %d, want 45", n)
		}
		if src := netip.AddrFrom4([4]byte(heard[12:])); src != l.ours[0] {
			t.Errorf("source %v, want %v", src, l.ours[0])
		}
	}
}

func (s *station) mustWrite(pkts ...[]byte) {
	s.t.Helper()
	_, err := s.WriteBatch(pkts)
	must(s.t, err)
}

// hear returns the first IPv4 packet that the peer gets, from its header on.
func (l *lab) hear(provoke func()) []byte {
	l.t.Helper()
	w := l.newWire(0)
	provoke()
	fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, int(patience/time.Millisecond)); n != 1 || err != nil {
		l.t.Fatalf("the peer heard nothing: %v", err)
	}
	buf := make([]byte, 2048)
	n, _, err := unix.Recvfrom(w.fd, buf, 0)
	must(l.t, err)
	return buf[:n]
}

func TestIPv6HeaderIsRestored(t *testing.T) { // S6
	l := newLab(t)
	s := openStation(t, Config{})
	local := netip.AddrPortFrom(l.ours[1], 4001)
	s.claim(local)
	w := l.newWire(1)
	p := tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, seq: 3, flags: ack, ttl: 77, payload: []byte("payload")}
	pkt := p.bytes()
	binary.BigEndian.PutUint32(pkt, 6<<28|0xb9<<20|0xabcde) // traffic class and flow label
	must(t, unix.Sendto(w.fd, pkt, 0, sockaddr(local.Addr())))
	if got := <-s.raw; !bytes.Equal(got, pkt) {
		t.Errorf("received\n%x, sent\n%x", got, pkt)
	}
	p.ttl = 1
	pkt = p.bytes() // traffic class 0 has no control message
	must(t, unix.Sendto(w.fd, pkt, 0, sockaddr(local.Addr())))
	if got := <-s.raw; !bytes.Equal(got, pkt) {
		t.Errorf("received\n%x, sent\n%x", got, pkt)
	}
}

func TestExtensionHeadersAreGone(t *testing.T) {
	l := newLab(t)
	s := openStation(t, Config{})
	local := netip.AddrPortFrom(l.ours[1], 4001)
	s.claim(local)
	w := l.newWire(1)
	p := tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, flags: ack}
	pkt := p.bytes()
	options := []byte{6, 0, 1, 4, 0, 0, 0, 0} // destination options: PadN
	long := append(append(append([]byte(nil), pkt[:40]...), options...), pkt[40:]...)
	long[5] += 8
	long[6] = 60
	must(t, unix.Sendto(w.fd, long, 0, sockaddr(local.Addr())))
	if got := <-s.raw; !bytes.Equal(got, pkt) {
		t.Errorf("received\n%x, want\n%x", got, pkt)
	}
}

func TestIPv4OptionsAndFragments(t *testing.T) {
	l := newLab(t)
	s := openStation(t, Config{})
	local := netip.AddrPortFrom(l.ours[0], 4001)
	s.claim(local)
	w := l.newWire(0)
	p := tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, flags: ack, mayFrag: true, payload: bytes.Repeat([]byte("abcdefgh"), 100)}
	pkt := p.bytes()
	withOptions := append(append(append([]byte(nil), pkt[:20]...), 1, 1, 1, 0), pkt[20:]...)
	withOptions[0] = 0x46
	must(t, unix.Sendto(w.fd, withOptions, 0, sockaddr(local.Addr())))
	if got := s.want(ack); !bytes.Equal(got.payload, p.payload) {
		t.Error("a packet with IP options arrived changed")
	}
	const cut = 400 // of the 820 octets behind the IP header
	first := append([]byte(nil), pkt[:20+cut]...)
	second := append(append([]byte(nil), pkt[:20]...), pkt[20+cut:]...)
	first[4], second[4] = 0x11, 0x11 // the same identification
	first[6] = 0x20                  // MF
	second[7] = cut / 8
	must(t, unix.Sendto(w.fd, second, 0, sockaddr(local.Addr())))
	must(t, unix.Sendto(w.fd, first, 0, sockaddr(local.Addr())))
	if got := s.want(ack); !bytes.Equal(got.payload, p.payload) {
		t.Error("fragments arrived otherwise than put together")
	}
}

func TestWrongChecksumArrives(t *testing.T) { // the judgement is left to the reader
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		l.verifyChecksums()
		s := openStation(t, Config{})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)
		w := l.newWire(family)
		bad := tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, seq: 1, flags: ack, badSum: true}
		w.send(bad)
		s.want(ack)
		header := []int{20, 40}[family]
		if got, sent := (<-s.raw)[header:], bad.bytes()[header:]; !bytes.Equal(got, sent) {
			t.Errorf("received\n%x, sent\n%x", got, sent)
		}
		if n := s.Drops(); n != 0 {
			t.Errorf("Drops() = %d", n)
		}
	})
}

// verifyChecksums turns receive checksum offload off at our end: with it, veth
// vouches for every packet.
func (l *lab) verifyChecksums() {
	l.t.Helper()
	const ethtoolSRXCSUM = 0x15
	l.ethtool(ethtoolSRXCSUM, 0)
}

// ethtool sets a feature of our interface.
func (l *lab) ethtool(cmd, data uint32) {
	l.t.Helper()
	value := struct{ cmd, data uint32 }{cmd, data}
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:], l.name)
	req.data = unsafe.Pointer(&value)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(l.t, err)
	defer unix.Close(fd)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		l.t.Fatalf("ethtool %#x: %v", cmd, errno)
	}
}

func TestSuperSegmentsArriveWhole(t *testing.T) { // E1, E2
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		var ln net.Listener
		must(t, l.peer.do(func() (err error) {
			ln, err = net.Listen("tcp", netip.AddrPortFrom(l.theirs[family], 0).String())
			return err
		}))
		defer ln.Close()
		go func() {
			c, err := ln.Accept()
			if err == nil {
				c.Write(make([]byte, 1<<20))
				defer c.Close()
				io.Copy(io.Discard, c)
			}
		}()
		remote := ln.Addr().(*net.TCPAddr).AddrPort()
		s := openStation(t, Config{})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)
		s.send(tcpPacket{src: local, dst: remote, seq: 1000, flags: syn})
		next := s.want(syn|ack).seq + 1
		<-s.raw
		largest, unfinished := 0, 0
		s.send(tcpPacket{src: local, dst: remote, seq: 1001, ack: next, flags: ack})
		for largest <= 1500 {
			select {
			case p := <-s.packets:
				largest = max(largest, len(p.payload))
				if checksumUnfinished(<-s.raw) {
					unfinished++
				}
				if p.seq == next {
					next += uint32(len(p.payload))
				}
				s.send(tcpPacket{src: local, dst: remote, seq: 1001, ack: next, flags: ack})
			case <-time.After(patience):
				t.Fatalf("the largest segment has %d octets", largest)
			}
		}
		s.send(tcpPacket{src: local, dst: remote, seq: 1001, flags: rst})
		if unfinished == 0 {
			t.Error("no checksum is unfinished")
		}
	})
}

// checksumUnfinished reports whether the checksum field holds just the folded
// sum of the pseudo-header.
func checksumUnfinished(pkt []byte) bool {
	src, dst, tcp, _ := split(pkt)
	p := tcpPacket{src: netip.AddrPortFrom(src, 0), dst: netip.AddrPortFrom(dst, 0)}
	return binary.BigEndian.Uint16(tcp[16:]) == p.checksum(make([]byte, len(tcp)))
}

func TestLoopbackCarriesTheLargestPackets(t *testing.T) { // E2
	bothFamilies(t, func(t *testing.T, family int) {
		addr := [2]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}[family]
		s := openStation(t, Config{})
		local := netip.AddrPortFrom(addr, 4001)
		s.claim(local)
		_, mtu, err := s.Route(addr, netip.Addr{})
		must(t, err)
		header := []int{40, 60}[family]
		p := tcpPacket{src: netip.AddrPortFrom(addr, 80), dst: local, flags: ack, payload: bytes.Repeat([]byte{7}, mtu-header)}
		if family == 1 { // the kernel refuses what does not fit the payload length field
			p.payload = p.payload[:min(len(p.payload), 65535-20)]
		}
		s.send(p)
		if got := s.want(ack); !bytes.Equal(got.payload, p.payload) {
			t.Errorf("%d octets arrived as %d", len(p.payload), len(got.payload))
		}
	})
}

func TestDropsAreCounted(t *testing.T) { // E3
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		c, err := openLink(Config{ReceiveBuffer: 16 << 10}) // which nobody reads
		must(t, err)
		defer c.Close()
		local := netip.AddrPortFrom(l.ours[family], 4001)
		_, err = c.Claim(local)
		must(t, err)
		w := l.newWire(family)
		w.heardBefore(l.ours[family]) // neighbours know each other: their queue loses nothing
		const sent = 500
		for range sent {
			w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, flags: ack, payload: make([]byte, 1000)})
		}
		w.heardBefore(l.ours[family])
		received := uint64(0)
		bufs, sizes, stamps := [][]byte{make([]byte, 2048)}, make([]int, 1), make([]int64, 1)
		drops := c.Drops()
		if drops == 0 || drops >= sent {
			t.Fatalf("Drops() = %d of %d", drops, sent)
		}
		for received+drops < sent {
			n, err := c.ReadBatch(bufs, sizes, stamps)
			must(t, err)
			received += uint64(n)
		}
	})
}

func TestOnlyClaimedPortsComeThrough(t *testing.T) { // E4
	bothFamilies(t, func(t *testing.T, family int) {
		l, other := newLab(t), newLab(t)
		s := openStation(t, Config{Guard: GuardNone})
		near, far := l.newWire(family), other.newWire(family)
		to := func(w *wire, a netip.Addr, port uint16, seq uint32) { // one probe
			w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: netip.AddrPortFrom(a, port), seq: seq, flags: ack})
		}
		to(near, l.ours[family], 4001, 1) // before any claim
		near.heardBefore(l.ours[family])
		s.claim(netip.AddrPortFrom(l.ours[family], 4001))
		s.claim(netip.AddrPortFrom(l.ours[family], 4003))
		to(near, l.ours[family], 4002, 2)
		to(far, other.ours[family], 4001, 3) // the right port of another address
		far.heardBefore(other.ours[family])
		to(near, l.ours[family], 4003, 4)
		if p := s.want(ack); p.seq != 4 {
			t.Errorf("let through %+v", p)
		}
	})
}

func TestManyClaims(t *testing.T) { // more ports than the filter has ranges
	l := newLab(t)
	s := openStation(t, Config{Guard: GuardNone})
	w := l.newWire(0)
	var releases []func() error
	for port := uint16(5000); port < 5000+4*maxRanges; port += 2 {
		releases = append(releases, s.claim(netip.AddrPortFrom(l.ours[0], port)))
	}
	probe := func(port uint16, seq uint32) {
		w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: netip.AddrPortFrom(l.ours[0], port), seq: seq, flags: ack})
	}
	probe(5001, 1) // the filter is too coarse for this one
	probe(4000, 2)
	probe(5000, 3)
	probe(5000+4*maxRanges-2, 4)
	for _, want := range []uint32{3, 4} {
		if p := s.want(ack); p.seq != want {
			t.Errorf("let through %+v, want %d", p, want)
		}
	}
	for _, release := range releases[1:] {
		must(t, release())
	}
	probe(5002, 5)
	probe(5000, 6)
	if p := s.want(ack); p.seq != 6 {
		t.Errorf("let through %+v after its claim", p)
	}
}

func TestFullQueueIsNoBuffers(t *testing.T) { // E5
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		l.narrowQueue()
		s := openStation(t, Config{Guard: GuardNone})
		var batch [][]byte
		for range 2000 {
			batch = append(batch, tcpPacket{src: netip.AddrPortFrom(l.ours[family], 4001), dst: netip.AddrPortFrom(l.theirs[family], 80), flags: rst, payload: make([]byte, 1000)}.bytes())
		}
		n, err := s.WriteBatch(batch)
		if n == len(batch) {
			t.Fatal("2000 packets pass a queue of 3000 octets")
		}
		wantErrno(t, err, syscall.ENOBUFS)
		t.Logf("%d of %d sent", n, len(batch))
	})
}

// narrowQueue gives our interface a queue for three packets, and returns what
// takes it away.
func (l *lab) narrowQueue() (restore func()) {
	l.t.Helper()
	for family := range 2 { // neighbours know each other: their queue loses nothing
		l.newWire(family).heardBefore(l.ours[family])
	}
	link, err := netlink.LinkByName(l.name)
	must(l.t, err)
	const rate = 1000 // octets a second
	qdisc := &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       rate, Limit: 3000, Buffer: netlink.Xmittime(rate, 2000),
	}
	must(l.t, netlink.QdiscReplace(qdisc))
	return func() { must(l.t, netlink.QdiscDel(qdisc)) }
}

func TestLinkDownAndRouteGone(t *testing.T) { // S2
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		link, err := netlink.LinkByName(l.name)
		must(t, err)
		s := openStation(t, Config{Guard: GuardNone})
		pkt := tcpPacket{src: netip.AddrPortFrom(l.ours[family], 4001), dst: netip.AddrPortFrom(l.theirs[family], 80), flags: rst}.bytes()
		s.mustWrite(pkt)
		must(t, netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(l.ours[family], []int{24, 64}[family]))}))
		must(t, addRoute(link, l.theirs[family]))
		s.mustWrite(pkt) // without its source address
		must(t, netlink.LinkSetDown(link))
		_, err = s.WriteBatch([][]byte{pkt})
		wantErrno(t, err, syscall.ENETUNREACH)
		_, _, err = s.Route(l.theirs[family], netip.Addr{})
		wantRouteErrno(t, err, syscall.ENETUNREACH)
	})
}

func addRoute(link netlink.Link, dst netip.Addr) error {
	return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(dst, dst.BitLen())), Scope: netlink.SCOPE_LINK})
}

func TestOpenInAnotherNamespace(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		for _, mode := range []GuardMode{GuardSocket, GuardNFT} {
			l := newLab(t)
			var s *station
			must(t, l.peer.do(func() error {
				s = openStation(t, Config{Guard: mode})
				return nil
			}))
			// From here on any thread may use it.
			src, _, err := s.Route(l.ours[family], netip.Addr{})
			if err != nil || src != l.theirs[family] {
				t.Errorf("Route = %v, %v, want %v", src, err, l.theirs[family])
			}
			local := netip.AddrPortFrom(l.theirs[family], 4001)
			s.claim(local)
			if mode == GuardNFT && len(nftTables(t)) != 0 {
				t.Error("the table is in the wrong namespace")
			}
			w := &wire{t: t, here: l.ours[family]}
			must(t, w.open())
			defer unix.Close(w.fd)
			w.provoke(local, 255)
			s.want(syn)
			if heard := w.heardBefore(l.theirs[family]); len(heard) > 0 {
				t.Errorf("%v: the kernel there answers %+v", mode, heard)
			}
		}
	})
}

func TestInterfaceIsObeyed(t *testing.T) {
	l, other := newLab(t), newLab(t)
	s := openStation(t, Config{Interface: l.name})
	s.claim(netip.AddrPortFrom(netip.IPv6Unspecified(), 4001))
	for family := range 2 {
		route, err := s.RouteInfo(l.theirs[family], netip.Addr{})
		if err != nil || route != (Route{Source: l.ours[family], Interface: l.name, MTU: 1500}) {
			t.Errorf("RouteInfo = %+v, %v", route, err)
		}
		wrong := other.newWire(family)
		wrong.send(tcpPacket{src: netip.AddrPortFrom(wrong.here, 80), dst: netip.AddrPortFrom(other.ours[family], 4001), seq: 1, flags: ack})
		wrong.heardBefore(other.ours[family])
		right := l.newWire(family)
		right.send(tcpPacket{src: netip.AddrPortFrom(right.here, 80), dst: netip.AddrPortFrom(l.ours[family], 4001), seq: 2, flags: ack})
		if p := s.want(ack); p.seq != 2 {
			t.Errorf("received %+v by another interface", p)
		}
	}
	_, err := openLink(Config{Interface: "nosuch"})
	if !errors.Is(err, syscall.ENODEV) {
		t.Errorf("a missing interface: %v", err)
	}
}

func TestLinkLocal(t *testing.T) {
	labs := []*lab{newLab(t), newLab(t)} // of the same network, told apart by zone
	s := openStation(t, Config{})
	for i, l := range labs {
		here, there := l.linkLocal(l.name, nil), l.linkLocal(l.peerName, l.peer)
		route, err := s.RouteInfo(there.WithZone(l.name), netip.Addr{})
		if err != nil || route.Source != here.WithZone(l.name) {
			t.Fatalf("RouteInfo = %+v, %v, want source %v", route, err, here)
		}
		if _, err := s.RouteInfo(there, netip.Addr{}); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("link-local without a zone: %v", err)
		}
		local := netip.AddrPortFrom(here, uint16(4001+i))
		s.claim(netip.AddrPortFrom(route.Source, local.Port()))
		s.send(tcpPacket{src: local, dst: netip.AddrPortFrom(there, 9), ack: 12, flags: ack})
		if p := s.want(rst); p.seq != 12 || p.src.Addr() != there {
			t.Errorf("received %+v", p)
		}
	}
}

// linkLocal waits for an interface's link-local address.
func (l *lab) linkLocal(name string, s *space) (a netip.Addr) {
	find := func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
		if err != nil {
			return err
		}
		for _, addr := range addrs {
			if addr.IP.IsLinkLocalUnicast() && addr.Flags&unix.IFA_F_TENTATIVE == 0 {
				a, _ = netip.AddrFromSlice(addr.IP)
			}
		}
		return nil
	}
	if s != nil {
		inner := find
		find = func() error { return s.do(inner) }
	}
	poll(l.t, "link-local address of "+name, func() bool {
		must(l.t, find())
		return a.IsValid()
	})
	return a
}

func TestBusyFamilyStarvesNoOther(t *testing.T) {
	l := newLab(t)
	c, err := openLink(Config{})
	must(t, err)
	defer c.Close()
	_, err = c.Claim(netip.AddrPortFrom(netip.IPv6Unspecified(), 4001))
	must(t, err)
	for family := range 2 {
		w := l.newWire(family)
		for range 10 {
			w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: netip.AddrPortFrom(l.ours[family], 4001), flags: ack})
		}
		w.heardBefore(l.ours[family])
	}
	var got [7]int
	buf, sizes, stamps := [][]byte{make([]byte, 2048)}, make([]int, 1), make([]int64, 1)
	for range 4 { // room for one packet at a time
		_, err := c.ReadBatch(buf, sizes, stamps)
		must(t, err)
		got[ipVersion(buf[0])]++
	}
	if got[4] == 0 || got[6] == 0 {
		t.Errorf("of 4 packets %d are IPv4 and %d are IPv6", got[4], got[6])
	}
}

func TestNoAllocationPerPacket(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		c, err := openLink(Config{Guard: GuardNone})
		must(t, err)
		defer c.Close()
		local := netip.AddrPortFrom(l.ours[family], 4001)
		_, err = c.Claim(local)
		must(t, err)
		w := l.newWire(family)
		in := tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, flags: rst}.bytes()
		out := tcpPacket{src: local, dst: netip.AddrPortFrom(w.here, 80), flags: rst}.bytes()
		batch := [][]byte{out, out, out}
		settle(t, c, out)
		bufs, sizes, stamps := [][]byte{make([]byte, 2048), make([]byte, 2048)}, make([]int, 2), make([]int64, 2)
		to := sockaddr(local.Addr())
		sending := testing.AllocsPerRun(100, func() { must(t, unix.Sendto(w.fd, in, 0, to)) })
		for n := 0; n < 101; { // AllocsPerRun runs once more
			got, err := c.ReadBatch(bufs, sizes, stamps)
			must(t, err)
			n += got
		}
		allocs := testing.AllocsPerRun(100, func() {
			must(t, unix.Sendto(w.fd, in, 0, to))
			if _, err := c.WriteBatch(batch); err != nil {
				t.Fatal(err)
			}
			if _, err := c.ReadBatch(bufs, sizes, stamps); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > sending {
			t.Errorf("%v allocations for three packets out and one in", allocs-sending)
		}
	})
}

func TestFamilyIsObeyed(t *testing.T) {
	s := openStation(t, Config{Family: IPv4})
	_, err := s.WriteBatch([][]byte{tcpPacket{src: netip.MustParseAddrPort("[::1]:1"), dst: netip.MustParseAddrPort("[::1]:2")}.bytes()})
	if !errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Errorf("an IPv6 packet on an IPv4 link: %v", err)
	}
	if _, _, err := s.Route(netip.IPv6Loopback(), netip.Addr{}); !errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Errorf("an IPv6 route on an IPv4 link: %v", err)
	}
	s.claim(netip.AddrPortFrom(netip.IPv6Unspecified(), 4001)) // of what there is
	if !listening(t, 0, 4001) || listening(t, 1, 4001) {
		t.Error("[::] does not claim just the family of the link")
	}
}

func TestHostWithoutIPv6Addresses(t *testing.T) {
	space := newSpace(t)
	must(t, space.do(func() error {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil {
			return err
		}
		s := openStation(t, Config{})
		cl, err := s.Claim(netip.AddrPortFrom(netip.IPv6Unspecified(), 4001))
		if err != nil {
			return err
		}
		defer cl.Close()
		local := netip.MustParseAddrPort("127.0.0.1:4001")
		s.send(tcpPacket{src: local, dst: local, flags: ack})
		s.want(ack)
		return nil
	}))
}
