package engine_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
	"rawtcp/segment"
)

// How much of the heap an idle connection may hold, in octets. What counts is the
// one that a Host has accepted (1.5 KiB at the most); the bounds are a little above
// what is measured, so that nothing creeps in unseen.
const (
	mostIdleInCore   = 1200 // half of them dialled, half of them IPv6
	mostIdleOfHost   = 1370 // the same, with the claims of those that were dialled
	mostIdleAccepted = 1250
)

// idleConns is how many ends of connections one process holds in these tests.
// The race detector makes them slow and no smaller.
var idleConns = map[bool]int{false: 100_000, true: 10_000}[raceDetector]

// heapInUse is what the garbage collector finds alive.
func heapInUse() int {
	runtime.GC()
	runtime.GC() // finalizers and pools of the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// spareRoom is what belongs to no connection: tables that grow by doubling have
// more room than they need, and a busy machine leaves longer queues behind.
const spareRoom = 1 << 20

func wantSmall(t *testing.T, before, most int) {
	t.Helper()
	grown := heapInUse() - before
	t.Logf("%d octets of heap for each of %d idle connections, %d of them engine.Conn", grown/idleConns, idleConns, unsafe.Sizeof(engine.Conn{}))
	if grown > idleConns*most+spareRoom {
		t.Errorf("%d octets of heap for an idle connection, want at most %d", grown/idleConns, most)
	}
}

// A hundred thousand connections of two cores, half IPv4 and half IPv6, each
// after an exchange: the buffers it used are given back.
func TestIdleConnectionOfTheCore(t *testing.T) {
	before := heapInUse()
	stacks := [2]*engine.Stack{engine.NewStack(engine.StackConfig{}), engine.NewStack(engine.StackConfig{Secret: [32]byte{1}})}
	now := engine.Time(1)
	carry := func() {
		var seg segment.Segment
		for spoke := true; spoke; now = now.Add(1e6) {
			spoke = false
			for i, s := range stacks {
				s.Advance(now)
				for s.Transmit(now, &seg) {
					spoke = true
					stacks[1-i].Receive(now, &seg)
				}
			}
		}
	}
	mtu := func(netip.Addr) int { return 1500 }
	listeners := map[bool]*engine.Listener{}
	for _, addr := range []netip.Addr{serverAddr, serverAddr6} {
		l, err := stacks[1].Listen(now, netip.AddrPortFrom(addr, 80), mtu, engine.ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		listeners[addr.Is4()] = l
	}
	word, in := bytes.Repeat([]byte("idle "), 200), make([]byte, 4000)
	for i := range idleConns / 2 {
		local, remote := clientAddr, serverAddr
		if i%2 == 1 {
			local, remote = clientAddr6, serverAddr6
		}
		c, err := stacks[0].Dial(now, netip.AddrPortFrom(nth(local, i/50_000), uint16(1024+i%50_000)), netip.AddrPortFrom(remote, 80), 1500, engine.ConnConfig{})
		if err != nil {
			t.Fatal(err)
		}
		carry()
		ends := [2]*engine.Conn{c, listeners[local.Is4()].Accept()}
		for j, end := range ends {
			end.Write(now, word)
			carry()
			if n, err := ends[1-j].Read(now, in); n != len(word) || err != nil {
				t.Fatalf("connection %d: read %d, %v", i, n, err)
			}
			now = now.Add(1e8) // the delayed ACK
			carry()
		}
	}
	if n := stacks[0].Conns() + stacks[1].Conns(); n != idleConns {
		t.Fatalf("%d connections, want %d", n, idleConns)
	}
	if due := stacks[0].Deadline() + stacks[1].Deadline(); due != 0 {
		t.Error("an idle connection has a timer")
	}
	wantSmall(t, before, mostIdleInCore)
	runtime.KeepAlive(stacks)
}

// nth returns the address n after a.
func nth(a netip.Addr, n int) netip.Addr {
	for range n {
		a = a.Next()
	}
	return a
}

// The same as programs have them, with a Host and net.Conn, over a link in
// memory; and how many goroutines there are hangs on the processors alone, however many connections.
func TestIdleConnectionOfAHost(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	network := simnet.New(simnet.Config{})
	host := func(addrs ...netip.Addr) *engine.Host {
		// A busy machine must not look like a lossy road: incidents cost memory.
		calm := engine.ConnConfig{InitialRTO: time.Minute, MinRTO: time.Minute, LossProbe: engine.Off}
		h := engine.NewHost(engine.HostConfig{Link: network.NewPort(simnet.PortConfig{Addrs: addrs}), Conn: calm})
		t.Cleanup(func() { h.Close() })
		return h
	}
	client, server := host(clientAddr, clientAddr6), host(serverAddr, serverAddr6)
	var listeners []*engine.NetListener
	for i := range 4 {
		l, err := server.Listen(netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(80+i)), engine.ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
	}
	conns := make([]*engine.NetConn, 0, idleConns+2)
	open := func(i int) {
		remote := netip.AddrPortFrom([]netip.Addr{serverAddr, serverAddr6}[i%2], uint16(80+i%4))
		c, err := client.Dial(context.Background(), remote, engine.DialConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := listeners[i%4].AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, s)
		exchange(t, s, c)
		conns = append(conns, c, s)
	}
	open(0)
	before := heapInUse() // with what the hosts themselves need
	for i := range idleConns / 2 {
		open(i + 1)
	}
	if n := runtime.NumGoroutine(); n > goroutines+2*(2+runtime.GOMAXPROCS(0)) {
		t.Errorf("%d goroutines, want the %d of before, two for each host and one for each of its shards", n, goroutines)
	}
	awaitAcks(conns)
	wantSmall(t, before, mostIdleOfHost)
}

// What a server has: connections that a Host has accepted and that have sent it an
// octet, on a path within the machine, where checksums stay unfinished.
func TestIdleConnectionThatWasAccepted(t *testing.T) {
	link := newCallers()
	h := engine.NewHost(engine.HostConfig{Link: link})
	t.Cleanup(func() { h.Close() })
	l, err := h.Listen(netip.AddrPortFrom(serverAddr, 80), engine.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	conns := make([]*engine.NetConn, 0, idleConns+1)
	open := func(i int) {
		link.call(netip.AddrPortFrom(nth(callersAddr, i/50_000), uint16(1024+i%50_000)))
		c, err := l.AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	open(0)
	before := heapInUse()
	for i := range idleConns {
		open(i + 1)
	}
	for link.acknowledged.Load() < int64(len(conns)) {
		runtime.Gosched()
	}
	if n := conns[0].Info().Stats.PartialChecksums; n != 2 {
		t.Errorf("%d unfinished checksums, want 2", n)
	}
	wantSmall(t, before, mostIdleAccepted)
}

// A callers is a Link to peers that hold nothing: each opens a connection to port 80
// of the server and sends one octet.
type callers struct {
	packets      chan []byte
	closed       chan struct{}
	acknowledged atomic.Int64 // octets
}

func newCallers() *callers {
	return &callers{packets: make(chan []byte, 16), closed: make(chan struct{})}
}

// What all of them have in common: the first address, and the sequence number of a SYN.
var (
	callersAddr = netip.MustParseAddr("198.18.1.1")
	callersISN  = segment.MakeSeq(1000)
)

func (l *callers) call(from netip.AddrPort) {
	l.send(segment.Segment{Src: from, Dst: netip.AddrPortFrom(serverAddr, 80), Seq: callersISN, Flags: segment.SYN,
		Options: segment.Options{Set: segment.HasMSS | segment.HasSACKPermitted | segment.HasTimestamps, MSS: 1460, TSVal: 1}})
}

// send queues a segment with an unfinished checksum.
func (l *callers) send(s segment.Segment) {
	s.Window, s.SegmentSize = 1000, 1000
	pkt, err := s.Append(nil)
	if err != nil {
		panic(err)
	}
	l.packets <- pkt
}

// ReadBatch implements engine.Link.
func (l *callers) ReadBatch(bufs [][]byte, sizes []int, stamps []int64) (int, error) {
	select {
	case pkt := <-l.packets:
		sizes[0], stamps[0] = copy(bufs[0], pkt), 0
		return 1, nil
	case <-l.closed:
		return 0, net.ErrClosed
	}
}

// WriteBatch implements engine.Link, and answers.
func (l *callers) WriteBatch(pkts [][]byte) (int, error) {
	for _, pkt := range pkts {
		var s segment.Segment
		if err := s.Parse(pkt); err != nil {
			return 0, err
		}
		if !s.Flags.Has(segment.SYN) {
			if s.Ack == callersISN.Add(2) {
				l.acknowledged.Add(1)
			}
			continue
		}
		stamps := segment.Options{Set: segment.HasTimestamps, TSVal: 1, TSEcr: s.Options.TSVal}
		answer := segment.Segment{Src: s.Dst, Dst: s.Src, Seq: s.Ack, Ack: s.Seq.Add(1), Flags: segment.ACK, Options: stamps}
		l.send(answer)
		answer.Flags, answer.Payload = segment.ACK|segment.PSH, []byte{1}
		l.send(answer)
	}
	return len(pkts), nil
}

// Claim implements engine.Link.
func (l *callers) Claim(netip.AddrPort) (io.Closer, error) { return io.NopCloser(nil), nil }

// Route implements engine.Link.
func (l *callers) Route(_, local netip.Addr) (netip.Addr, int, error) {
	return serverAddr, 1500, nil
}

// Close implements engine.Link.
func (l *callers) Close() error {
	close(l.closed)
	return nil
}

// exchange carries some octets from one end to the other.
func exchange(t *testing.T, from, to *engine.NetConn) {
	t.Helper()
	if _, err := from.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(to, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
}

// awaitAcks waits until nothing waits to be acknowledged: the last delayed ACKs.
func awaitAcks(conns []*engine.NetConn) {
	for _, c := range conns {
		for c.Info().SendQueue > 0 {
			runtime.Gosched()
		}
	}
}
