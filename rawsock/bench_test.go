package rawsock

import (
	"errors"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// benchConn opens a Conn that claims one loopback port.
func benchConn(b *testing.B, local netip.AddrPort) *Conn {
	b.Helper()
	c, err := openLink(Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	if _, err := c.Claim(local); err != nil {
		b.Fatal(err)
	}
	return c
}

// benchFamilies runs a benchmark for each family, over loopback.
func benchFamilies(b *testing.B, f func(b *testing.B, loopback netip.Addr)) {
	b.Run("IPv4", func(b *testing.B) { f(b, netip.AddrFrom4([4]byte{127, 0, 0, 1})) })
	b.Run("IPv6", func(b *testing.B) { f(b, netip.IPv6Loopback()) })
}

// BenchmarkWriteBatch is one packet's share of full batches.
func BenchmarkWriteBatch(b *testing.B) {
	benchFamilies(b, func(b *testing.B, loopback netip.Addr) {
		local := netip.AddrPortFrom(loopback, 4001)
		c := benchConn(b, local)
		var batch [BatchSize][]byte
		for i := range batch {
			batch[i] = tcpPacket{src: local, dst: netip.AddrPortFrom(loopback, 4002), flags: rst}.bytes()
		}
		b.ReportAllocs()
		for n := 0; n < b.N; n += len(batch) {
			if _, err := c.WriteBatch(batch[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPingPong is one packet there and one back, between two goroutines.
func BenchmarkPingPong(b *testing.B) {
	benchFamilies(b, func(b *testing.B, loopback netip.Addr) {
		ping, pong := netip.AddrPortFrom(loopback, 4001), netip.AddrPortFrom(loopback, 4002)
		a, z := benchConn(b, ping), benchConn(b, pong)
		go answer(z, tcpPacket{src: pong, dst: ping, flags: ack}.bytes())
		pkt := [][]byte{tcpPacket{src: ping, dst: pong, flags: ack}.bytes()}
		bufs, sizes, stamps := [][]byte{make([]byte, 2048)}, make([]int, 1), make([]int64, 1)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.WriteBatch(pkt); err != nil {
				b.Fatal(err)
			}
			if _, err := a.ReadBatch(bufs, sizes, stamps); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// answer sends pkt for every packet until c is closed.
func answer(c *Conn, pkt []byte) {
	out := [][]byte{pkt}
	bufs, sizes, stamps := [][]byte{make([]byte, 2048)}, make([]int, 1), make([]int64, 1)
	for {
		n, err := c.ReadBatch(bufs, sizes, stamps)
		if err != nil {
			return
		}
		for range n {
			c.WriteBatch(out)
		}
	}
}

// BenchmarkSend is one packet's share of full batches over a veth pair, by each
// link: bare ACKs, segments that fill the MTU, and super-segments, of which the
// peer's kernel takes each as one.
func BenchmarkSend(b *testing.B) {
	for _, shape := range []struct {
		name          string
		payload, size int
	}{{"bare", 0, 0}, {"full", 1460, 0}, {"super", 65000, 1460}} {
		for _, io := range []IOMode{RawIO, PacketIO} {
			b.Run(shape.name+"/"+io.String(), func(b *testing.B) { benchmarkSend(b, io, shape.payload, shape.size) })
		}
	}
}

func benchmarkSend(b *testing.B, io IOMode, payload, size int) {
	l := newLab(b)
	l.acquaint()
	c, err := Open(Config{Guard: GuardNone, IO: io})
	must(b, err)
	b.Cleanup(func() { c.Close() })
	p := tcpPacket{src: netip.AddrPortFrom(l.ours[0], 4001), dst: netip.AddrPortFrom(l.theirs[0], 80), flags: rst, payload: make([]byte, payload)}
	pkt := p.bytes()
	if size > 0 {
		pkt = p.super()
	}
	settle(b, c, pkt)
	var batch [BatchSize][]byte
	var sizes [BatchSize]int
	for i := range batch {
		batch[i], sizes[i] = pkt, size
	}
	b.SetBytes(int64(max(payload, 1)))
	b.ReportAllocs()
	defer reportCPU(b)()
	for n := 0; n < b.N; n += len(batch) {
		if n, err := c.WriteSegments(batch[:], sizes[:]); err != nil && !errors.Is(err, unix.ENOBUFS) {
			b.Fatal(n, err)
		}
	}
}

// reportCPU returns what reports the processor time of this thread: on a busy
// machine it says more than the clock.
func reportCPU(b *testing.B) (report func()) {
	runtime.LockOSThread()
	used := func() int64 {
		var u unix.Rusage
		must(b, unix.Getrusage(unix.RUSAGE_THREAD, &u))
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() {
		b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op")
		runtime.UnlockOSThread()
	}
}

// BenchmarkReceive is one packet's share of full batches, received by each link
// and sent by the peer's raw link, which costs the same in both.
func BenchmarkReceive(b *testing.B) {
	for _, shape := range []struct {
		name    string
		payload int
	}{{"bare", 0}, {"full", 1460}} {
		for _, io := range []IOMode{RawIO, PacketIO} {
			b.Run(shape.name+"/"+io.String(), func(b *testing.B) { benchmarkReceive(b, io, shape.payload) })
		}
	}
}

func benchmarkReceive(b *testing.B, io IOMode, payload int) {
	l := newLab(b)
	l.acquaint()
	c, err := Open(Config{Guard: GuardNone, IO: io})
	must(b, err)
	b.Cleanup(func() { c.Close() })
	local := netip.AddrPortFrom(l.ours[0], 4001)
	_, err = c.Claim(local)
	must(b, err)
	var peer *Conn
	must(b, l.peer.do(func() (err error) { peer, err = Open(Config{Guard: GuardNone}); return err }))
	b.Cleanup(func() { peer.Close() })
	pkt := tcpPacket{src: netip.AddrPortFrom(l.theirs[0], 80), dst: local, flags: rst, payload: make([]byte, payload)}.bytes()
	var batch, bufs [BatchSize][]byte
	for i := range batch {
		batch[i], bufs[i] = pkt, make([]byte, 65600)
	}
	sizes, stamps := make([]int, BatchSize), make([]int64, BatchSize)
	b.SetBytes(int64(max(payload, 1)))
	b.ReportAllocs()
	defer reportCPU(b)() // of sending too
	for n := 0; n < b.N; n += BatchSize {
		_, err := peer.WriteBatch(batch[:])
		must(b, err)
		for got := 0; got < BatchSize; {
			n, err := c.ReadBatch(bufs[:], sizes, stamps)
			must(b, err)
			got += n
		}
	}
}

// BenchmarkClaim is one claim and its release beside a thousand others.
func BenchmarkClaim(b *testing.B) {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	c := benchConn(b, netip.AddrPortFrom(loopback, 4001))
	for port := uint16(5000); port < 7000; port += 2 {
		if _, err := c.Claim(netip.AddrPortFrom(loopback, port)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		cl, err := c.Claim(netip.AddrPortFrom(loopback, 20001))
		if err != nil {
			b.Fatal(err)
		}
		cl.Close()
	}
}
