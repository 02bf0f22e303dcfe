package rawsock

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sighting is what a Tap tells of one packet.
type sighting struct {
	headers []byte
	at      time.Time
}

func openTap(t *testing.T, c *Conn) *Tap {
	t.Helper()
	tap, err := c.OpenTap()
	must(t, err)
	t.Cleanup(func() { must(t, tap.Close()) })
	return tap
}

func (t *Tap) take() (sighting, bool) {
	var b [128]byte
	n, stamp, ok := t.Next(b[:])
	return sighting{b[:n], time.Unix(0, stamp)}, ok
}

// want waits for a packet: the first one to a host has to find its link address.
func (t *Tap) want(tt *testing.T) (seen sighting) {
	tt.Helper()
	poll(tt, "a packet that leaves", func() (ok bool) { seen, ok = t.take(); return ok })
	return seen
}

// A Tap has seen a packet when WriteBatch returns, in its order, around the
// ring more than once; and nothing that came in or that others sent.
func TestTapSeesWhatLeaves(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{Guard: GuardNone})
		tap := openTap(t, s.Conn)
		p := tcpPacket{src: netip.AddrPortFrom(l.ours[family], 4001), dst: netip.AddrPortFrom(l.theirs[family], 80), flags: syn, payload: make([]byte, 900)}
		const batch = 32
		last := time.Time{}
		for round := range 2*tapFrames/batch + 1 {
			var pkts [][]byte
			for i := range batch {
				p.seq = uint32(round*batch + i)
				pkts = append(pkts, p.bytes())
			}
			before := time.Now()
			if n, err := s.WriteBatch(pkts); n != len(pkts) || err != nil {
				t.Fatalf("WriteBatch = %d, %v", n, err)
			}
			for i, pkt := range pkts {
				seen := tap.want(t)
				_, _, tcp, _ := split(pkt)
				_, _, got, _ := split(seen.headers)
				if len(got) < 20 || string(got[:20]) != string(tcp[:20]) {
					t.Fatalf("round %d, packet %d: saw %x, sent %x", round, i, got, tcp[:20])
				}
				if seen.at.Before(before) || seen.at.After(time.Now()) || seen.at.Before(last) {
					t.Fatalf("seen at %v, after %v, sent after %v", seen.at, last, before)
				}
				last = seen.at
			}
			if seen, ok := tap.take(); ok {
				t.Fatalf("round %d: it sees %x too", round, seen.headers)
			}
		}
	})
}

// What comes when the ring is full is lost, and what comes after that is seen.
func TestTapOverflows(t *testing.T) {
	l := newLab(t)
	s := openStation(t, Config{Guard: GuardNone, Interface: l.name})
	tap := openTap(t, s.Conn)
	p := tcpPacket{src: netip.AddrPortFrom(l.ours[0], 4001), dst: netip.AddrPortFrom(l.theirs[0], 80), flags: rst}
	send := func(seq uint32) {
		p.seq = seq
		s.send(p)
	}
	send(0)
	tap.want(t)
	for i := range uint32(tapFrames + 10) {
		send(i)
	}
	seen := 0
	for _, ok := tap.take(); ok; _, ok = tap.take() {
		seen++
	}
	if seen != tapFrames {
		t.Errorf("%d packets seen in a ring of %d", seen, tapFrames)
	}
	send(77777)
	if got := tap.want(t); describe(got.headers).Seq != 77777 {
		t.Errorf("saw %x", got.headers)
	}
}

// A Tap of a Conn that may not mark its packets keeps them all.
func TestTapWithoutMark(t *testing.T) {
	l := newLab(t)
	s := openStation(t, Config{Guard: GuardNone})
	outs := []int{s.headless.fd}
	for _, sock := range s.sockets {
		outs = append(outs, sock.out)
	}
	for _, fd := range outs {
		must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 0))
	}
	p := tcpPacket{src: netip.AddrPortFrom(l.ours[0], 4001), dst: netip.AddrPortFrom(l.theirs[0], 80), flags: rst}
	strict := openTap(t, s.Conn)
	s.marked = false
	tap := openTap(t, s.Conn)
	s.send(p)
	tap.want(t)
	if got, ok := strict.take(); ok {
		t.Errorf("saw %x, which bears no mark", got.headers)
	}
}
