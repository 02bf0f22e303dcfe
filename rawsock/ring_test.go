package rawsock

import (
	"bytes"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// jumbo makes a lab's wire take packets that fit no slot of a ring.
func (l *lab) jumbo() {
	l.t.Helper()
	const mtu = 9000
	set := func(name string) error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(link, mtu)
	}
	must(l.t, set(l.name))
	must(l.t, l.peer.do(func() error { return set(l.peerName) }))
}

// openEared opens a Conn that hears by a ring on an address and port.
func openEared(t *testing.T, local netip.AddrPort, cfg Config) *Conn {
	t.Helper()
	cfg.IO = PacketIO
	c, err := Open(cfg)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	_, err = c.Claim(local)
	must(t, err)
	if s := c.ear(local.Addr().Is6()); s.ring == nil {
		t.Fatal("no ring:", c.Notes())
	}
	return c
}

// Packets that fit a slot and packets that do not come out in the order they came
// in, each whole, also beyond the ring's end.
func TestRingKeepsOrder(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		l.acquaint()
		l.jumbo()
		local := netip.AddrPortFrom(l.ours[family], 4001)
		c := openEared(t, local, Config{ReceiveBuffer: 64 << 10}) // 32 slots
		w := l.newWire(family)
		sizes := []int{0, 1, 5000, 1400, 4000, 3000, 100, 1900, 1960, 2048, 0, 8000, 700}
		const some = 9 // packets at a time, which the queue of the least size holds
		bufs, got, stamps := make([][]byte, some), make([]int, some), make([]int64, some)
		for i := range bufs {
			bufs[i] = make([]byte, 9000)
		}
		seq, heard := uint32(0), uint32(0)
		payload := func(seq uint32) []byte {
			return bytes.Repeat([]byte{byte(seq), byte(seq >> 8), 7}, 3000)[:sizes[int(seq)%len(sizes)]]
		}
		for range 40 {
			for range some {
				if len(payload(seq)) > 4000 && seq%some > 2 { // no more than the queue holds
					w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, seq: seq, flags: ack, payload: []byte{}})
				} else {
					w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, seq: seq, flags: ack, payload: payload(seq)})
				}
				seq++
			}
			for heard < seq {
				n, err := c.ReadBatch(bufs, got, stamps)
				must(t, err)
				for i := range n {
					p, ok := parsePacket(bufs[i][:got[i]])
					if !ok || p.seq != heard || len(p.payload) > 0 && !bytes.Equal(p.payload, payload(heard)) || stamps[i] == 0 {
						t.Fatalf("packet %d: %v, number %d with %d octets at %d", heard, ok, p.seq, len(p.payload), stamps[i])
					}
					heard++
				}
			}
		}
		if n := c.Drops(); n != 0 {
			t.Errorf("%d drops", n)
		}
	})
}

// What fits neither a slot nor the queue is counted, once.
func TestRingCountsWhatTheQueueRefused(t *testing.T) {
	l := newLab(t)
	l.acquaint()
	l.jumbo()
	local := netip.AddrPortFrom(l.ours[0], 4001)
	c := openEared(t, local, Config{ReceiveBuffer: 1})
	w := l.newWire(0)
	const sent = 100 // the ring has 32 slots
	for range sent {
		w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, flags: ack, payload: make([]byte, 8000)})
	}
	w.heardBefore(l.ours[0])
	w.heardBefore(l.ours[0])
	if n := c.Drops(); n < sent-32 || n >= sent {
		t.Fatalf("%d drops before anything is read", n)
	}
	bufs, sizes, stamps := [][]byte{make([]byte, 9000)}, make([]int, 1), make([]int64, 1)
	heard := uint64(0)
	for heard+c.Drops() < sent {
		w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, flags: rst})
		n, err := c.ReadBatch(bufs, sizes, stamps)
		must(t, err)
		if p, _ := parsePacket(bufs[0][:sizes[0]]); n == 1 && p.flags == ack {
			heard++
			if len(p.payload) != 8000 {
				t.Fatalf("a packet of %d octets", len(p.payload))
			}
		}
	}
	if heard == 0 {
		t.Error("nothing was heard")
	}
}

// A socket that can have no ring receives without one.
func TestEarWithoutRing(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	if ring, err := openRing(int(r.Fd()), 1<<20, true); ring != nil || err == nil || !strings.Contains(err.Error(), "PACKET_VERSION") {
		t.Errorf("openRing of a pipe = %v, %v", ring, err)
	}
	l := newLab(t)
	l.acquaint()
	local := netip.AddrPortFrom(l.ours[0], 4001)
	c := openEared(t, local, Config{})
	s := c.ear(false)
	s.ring.close()
	must(t, unix.SetsockoptTpacketReq(s.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, new(unix.TpacketReq)))
	s.ring = nil // as openRing leaves a socket that gets no memory
	near := l.newWire(0)
	near.send(tcpPacket{src: netip.AddrPortFrom(near.here, 80), dst: local, seq: 7, flags: ack, payload: make([]byte, 1000)})
	bufs, sizes, stamps := [][]byte{make([]byte, 2048)}, make([]int, 1), make([]int64, 1)
	n, err := c.ReadBatch(bufs, sizes, stamps)
	must(t, err)
	if p, ok := parsePacket(bufs[0][:sizes[0]]); n != 1 || !ok || p.seq != 7 || len(p.payload) != 1000 {
		t.Errorf("heard %d: %v, %+v", n, ok, p)
	}
}
