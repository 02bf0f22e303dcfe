package rawsock

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const cwr = 0x80

// super returns the packet as a super-segment: its checksum is the pseudo-header's.
func (p tcpPacket) super() []byte {
	pkt := p.bytes()
	header := len(pkt) - 20 - len(p.payload)
	binary.BigEndian.PutUint16(pkt[header+16:], p.checksum(make([]byte, 20+len(p.payload))))
	return pkt
}

// segments cuts p by hand.
func (p tcpPacket) segments(size int) (segments [][]byte) {
	for i, from := uint16(0), 0; from == 0 || from < len(p.payload); i, from = i+1, from+size {
		s, end := p, min(from+size, len(p.payload))
		s.seq += uint32(from)
		s.payload = p.payload[from:end]
		if end < len(p.payload) {
			s.flags &^= fin | psh
		}
		if from > 0 {
			s.flags &^= cwr
		}
		pkt := s.bytes()
		if ipVersion(pkt) == 4 {
			binary.BigEndian.PutUint16(pkt[4:], i)
			clear(pkt[10:12])
			binary.BigEndian.PutUint16(pkt[10:], ^onesSum(pkt[:20], 0))
		}
		segments = append(segments, pkt)
	}
	return segments
}

// plainEthernet has the interface send what it is given in no other pieces, and
// finish no checksum: the kernel has to do both before.
func (l *lab) plainEthernet() {
	l.t.Helper()
	const ethtoolSTXCSUM, ethtoolSTSO, ethtoolSGSO = 0x17, 0x1f, 0x24
	for _, cmd := range []uint32{ethtoolSTSO, ethtoolSGSO, ethtoolSTXCSUM} {
		l.ethtool(cmd, 0)
	}
}

// hearTCP returns the next segment at the peer from its TCP header on, on IPv4
// from the IP header on.
func (w *wire) hearTCP() []byte {
	w.t.Helper()
	fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, int(patience/time.Millisecond)); n != 1 || err != nil {
		w.t.Fatalf("the peer hears nothing more: %v", err)
	}
	buf := make([]byte, 1<<16)
	n, _, err := unix.Recvfrom(w.fd, buf, 0)
	must(w.t, err)
	return buf[:n]
}

// The kernel cuts the super-segments of a packet link, and cutter those of a raw
// link: both as this test does by hand.
func TestSuperSegmentsAreCut(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		l.plainEthernet()
		s := openStation(t, Config{Guard: GuardNone})
		w := l.newWire(family)
		rng := rand.New(rand.NewPCG(1, 2))
		p := tcpPacket{src: netip.AddrPortFrom(l.ours[family], 4001), dst: netip.AddrPortFrom(l.theirs[family], 80)}
		for _, shape := range []struct{ payload, size int }{
			{0, 1000}, {1, 1000}, {999, 1000}, {1000, 1000}, {1001, 1000}, {2000, 1000}, {9999, 1440}, {5000, 77},
			{65000, 1440}, {20000, 536}, {3, 1}, // no more than the peer's socket holds
		} {
			p.payload = make([]byte, shape.payload)
			for i := range p.payload {
				p.payload[i] = byte(rng.Uint32())
			}
			p.seq, p.flags = 1<<32-500, fin|psh|ack|cwr
			want := p.segments(shape.size)
			small := p.segments(1 << 16)[0]
			if shape.payload > 1000 {
				small = want[0]
			}
			// Between packets that are as they are.
			n, err := s.WriteSegments([][]byte{small, p.super(), small}, []int{0, shape.size, 0})
			if n != 3 || err != nil {
				t.Fatalf("%+v: WriteSegments = %d, %v", shape, n, err)
			}
			for i, pkt := range append(append([][]byte{small}, want...), small) {
				if family == 1 {
					pkt = pkt[ipv6HeaderLen:]
				}
				if got := w.hearTCP(); !bytes.Equal(got, pkt) {
					t.Fatalf("%+v, packet %d: the peer hears\n%x, want\n%x", shape, i, got[:min(len(got), 80)], pkt[:min(len(pkt), 80)])
				}
			}
		}
	})
}

// WriteSegments waits, as WriteBatch of a station does, until the link knows its way.
func (s *station) WriteSegments(pkts [][]byte, sizes []int) (int, error) {
	s.t.Helper()
	settle(s.t, s.Conn, pkts...)
	return s.Conn.WriteSegments(pkts, sizes)
}

func TestWriteSegmentsRefuses(t *testing.T) {
	s := openStation(t, Config{Guard: GuardNone})
	local := netip.MustParseAddrPort("127.0.0.1:4001")
	good := tcpPacket{src: local, dst: local}.super()
	udp := bytes.Clone(good)
	udp[9] = unix.IPPROTO_UDP
	offset := bytes.Clone(good)
	offset[20+12] = 0xf0
	for name, pkt := range map[string][]byte{"nothing": nil, "a cut packet": good[:39], "UDP": udp, "a header beyond the packet": offset} {
		n, err := s.Conn.WriteSegments([][]byte{good, pkt}, []int{0, 1000})
		if n != 0 || err == nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if n, err := s.Conn.WriteSegments([][]byte{good}, []int{-1}); n != 0 || err == nil {
		t.Errorf("a negative size: %d, %v", n, err)
	}
}

// A kernel takes what comes in super-segments as the stream it is.
func TestKernelReceivesSuperSegments(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		sums := make(chan [sha256.Size]byte, 1)
		remote := l.hashOne(family, sums)
		s := openStation(t, Config{})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)
		s.send(tcpPacket{src: local, dst: remote, seq: 999, flags: syn})
		sa := s.want(syn | ack)
		p := tcpPacket{src: local, dst: remote, seq: 1000, ack: sa.seq + 1, flags: ack}
		s.send(p)
		data := make([]byte, 600_000)
		rand.NewChaCha8([32]byte{}).Read(data)
		const size, most = 1200, 30_000
		for at := 0; at < len(data); {
			p.seq, p.payload = 1000+uint32(at), data[at:min(at+most, len(data))]
			if _, err := s.WriteSegments([][]byte{p.super()}, []int{size}); err != nil {
				t.Fatal(err)
			}
			at += len(p.payload)
			for s.want(ack).ack != 1000+uint32(at) {
			}
		}
		p.seq, p.payload, p.flags = 1000+uint32(len(data)), nil, fin|ack
		s.send(p)
		if got := <-sums; got != sha256.Sum256(data) {
			t.Error("the peer has received something else")
		}
	})
}

// hashOne accepts one connection at the peer and tells the sum of what it brings.
func (l *lab) hashOne(family int, sums chan<- [sha256.Size]byte) netip.AddrPort {
	l.t.Helper()
	var ln net.Listener
	must(l.t, l.peer.do(func() (err error) {
		ln, err = net.Listen("tcp", netip.AddrPortFrom(l.theirs[family], 0).String())
		return err
	}))
	l.t.Cleanup(func() { ln.Close() })
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		h := sha256.New()
		_, _ = io.Copy(h, c)
		sums <- [sha256.Size]byte(h.Sum(nil))
	}()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}
