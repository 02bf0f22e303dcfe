package rawsock

import (
	"net/netip"
	"testing"
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
