package engine

import (
	"net/netip"
	"testing"
	"time"

	"rawtcp/segment"
)

// superTalk is an established connection whose link cuts super-segments of up to
// most octets; the peer has MSS 1000.
func superTalk(t *testing.T, most int, cfg ConnConfig) *talk {
	k := dial(t, cfg)
	k.stack.cfg.SuperSegment = most
	k.want("the SYN", "S 0:0(0)")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>")
	k.want("the handshake's last ACK", ". ack 1")
	return k
}

// wantSuper takes the next segment, which is to be cut into count segments of
// 1000 octets; 1 is an ordinary one.
func (k *talk) wantSuper(why, line string, count int) {
	k.t.Helper()
	k.want(why, line)
	size := uint16(1000)
	if count == 1 {
		size = 0
	}
	if k.seg.Count() != count || k.seg.SegmentSize != size {
		k.t.Fatalf("%s: %d segments of %d octets, want %d of %d", why, k.seg.Count(), k.seg.SegmentSize, count, size)
	}
}

// A super-segment is what would leave at once, and no more: the congestion window,
// the peer's window and what the link takes bound it.
func TestSuperSegmentIsWhatMayLeave(t *testing.T) {
	k := superTalk(t, 0xffff, plain())
	k.write(30_000)
	k.wantSuper("the initial window", ". 1:10001(10000) ack 1", 10)
	k.wantIdle("the congestion window is full")
	if n := k.c.stats().Traffic.SegmentsOut; n != 12 {
		t.Errorf("%d segments out, with SYN and ACK there are 12", n)
	}
	k.in(". 1:1(0) ack 10001 win 3000")
	k.wantSuper("the peer's window", ". 10001:13001(3000) ack 1", 3)
	k.wantIdle("the peer's window is full")

	k = superTalk(t, 4000+80, plain())
	k.write(10_000)
	k.wantSuper("as much as the link takes", ". 1:4001(4000) ack 1", 4)
	k.wantSuper("and again", ". 4001:8001(4000) ack 1", 4)
	k.wantSuper("and the rest", "P. 8001:10001(2000) ack 1", 2)

	k = superTalk(t, 2000+79, plain())
	k.write(2000)
	k.wantSuper("a link that has no room for two", ". 1:1001(1000) ack 1", 1)
}

// The last segment of a super-segment may be short, under the same rules as if it
// left alone, and has PSH and FIN.
func TestSuperSegmentEndsAsItsLastSegment(t *testing.T) {
	k := superTalk(t, 0xffff, plain())
	k.write(2500)
	k.wantSuper("Nagle keeps the short one", ". 1:2001(2000) ack 1", 2)
	k.wantIdle("until all is acknowledged")

	k = superTalk(t, 0xffff, plain(func(c *ConnConfig) { c.NoDelay = true }))
	k.write(2500)
	k.wantSuper("without Nagle it comes along", "P. 1:2501(2500) ack 1", 3)

	k = superTalk(t, 0xffff, plain(func(c *ConnConfig) { c.NoDelay, c.Cork = true, true }))
	k.write(2500)
	k.wantSuper("a cork keeps it", ". 1:2001(2000) ack 1", 2)

	k = superTalk(t, 0xffff, plain())
	k.write(2500)
	k.c.CloseWrite(k.now)
	k.wantSuper("the FIN takes it along", "FP. 1:2501(2500) ack 1", 3)
	k.wantIdle("nothing is left")
	k.in(". 1:1(0) ack 2502 win 65535")
	k.wantState(FinWait2)
}

// What a header can say for one segment only keeps segments apart.
func TestNoSuperSegmentWhereSegmentsDiffer(t *testing.T) {
	k := superTalk(t, 0xffff, plain())
	if n, err := k.c.WriteUrgent(k.now, make([]byte, 2500)); n != 2500 || err != nil {
		t.Fatal(n, err)
	}
	k.wantSuper("each has its own distance to the end of the urgent data", ".U 1:1001(1000) ack 1 urg 2500", 1)
	k.wantSuper("and so has the second", ".U 1001:2001(1000) ack 1 urg 1500", 1)

	k = superTalk(t, 0xffff, plain(func(c *ConnConfig) { c.Push = PushAlways }))
	k.write(3000)
	k.wantSuper("the link would set PSH on the last alone", "P. 1:1001(1000) ack 1", 1)

	k = superTalk(t, 0xffff, plain())
	k.in(". 1001:2001(1000) ack 1 win 65535")
	k.want("a duplicate ACK", ". ack 1")
	k.write(2000)
	k.wantSuper("a report is no text to repeat", ". 1:989(988) ack 1", 1)
}

// After a loss only the lost segment is sent again, and not what it was sent with.
func TestLossInsideASuperSegment(t *testing.T) {
	k := superTalk(t, 0xffff, plain())
	k.write(10_000)
	k.wantSuper("ten segments", "P. 1:10001(10000) ack 1", 10)
	k.advance(100 * time.Millisecond)
	k.in(". 1:1(0) ack 3001 win 65535 <sack 4001:10001>")
	k.want("the fourth is lost", ". 3001:4001(1000) ack 1")
	if k.seg.SegmentSize != 0 {
		t.Errorf("sent again as a super-segment")
	}
	k.wantIdle("and no other is")
	k.in(". 1:1(0) ack 10001 win 65535")
	k.wantIdle("all has arrived")
}

// A router's message about a segment of a super-segment cuts what is in flight to
// what the path takes, and what follows is cut to that by the link.
func TestSuperSegmentsOfALowerMTU(t *testing.T) {
	k := superTalk(t, 0xffff, plain())
	k.write(20_000)
	k.wantSuper("ten segments", ". 1:10001(10000) ack 1", 10)
	quoted, err := (&segment.Segment{Src: us, Dst: peer, Seq: k.iss.Add(1), Flags: segment.ACK, Payload: make([]byte, 1000)}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	k.stack.DeliverICMP(k.now, ICMP{From: peer.Addr(), Type: 3, Code: 4, MTU: 640, Quoted: quoted})
	for at := 1; at < 10_001; at += 1000 {
		for _, size := range []int{600, 400} {
			if !k.stack.Transmit(k.now, &k.seg) || len(k.seg.Payload) != size || k.seg.SegmentSize != 0 {
				t.Fatalf("%d octets at %d, segment size %d; want %d in one segment", len(k.seg.Payload), at, k.seg.SegmentSize, size)
			}
		}
	}
	k.in(". 1:1(0) ack 10001 win 65535")
	if !k.stack.Transmit(k.now, &k.seg) || k.seg.SegmentSize != 600 || k.seg.Count() < 10 {
		t.Errorf("then %d segments of %d octets, want ten or more of 600", k.seg.Count(), k.seg.SegmentSize)
	}
}

// CWR is said once: it stands in the header of the super-segment, and the link
// leaves it in the first segment alone.
func TestSuperSegmentSaysCWROnce(t *testing.T) {
	k := dial(t, plain(func(c *ConnConfig) { c.ECN = On }))
	k.stack.cfg.SuperSegment = 0xffff
	k.want("the SYN", "SEW 0:0(0)")
	k.in("SE. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>")
	k.want("the handshake's last ACK", ". ack 1")
	k.c.ecn.cwr = true
	k.write(30_000)
	k.wantSuper("the initial window", ".W 1:10001(10000) ack 1", 10)
	k.in(". 1:1(0) ack 10001 win 65535")
	k.wantSuper("not again", ". 10001:28001(18000) ack 1", 18)
}

// A bulk transfer by super-segments, taken whole by the receiver: neither end
// allocates for a segment, however large, and a pacer adds nothing to that.
func TestBulkDoesNotAllocate(t *testing.T) {
	for _, cfg := range []ConnConfig{{}, {Pacing: On}, {Pacing: On, PacingRate: 700_000_000}} {
		bulkDoesNotAllocate(t, cfg)
	}
}

func bulkDoesNotAllocate(t *testing.T, cfg ConnConfig) {
	t.Helper()
	var now Time
	stack := func(super int) *Stack {
		return NewStack(StackConfig{Secret: [32]byte{byte(super)}, SuperSegment: super})
	}
	from, to := stack(0xffff), stack(0)
	server, err := to.Listen(now, peer, func(netip.Addr) int { return 1500 }, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	now = Time(time.Second)
	out, err := from.Dial(now, us, peer, 1500, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var seg segment.Segment
	buf, supers := make([]byte, 0, 1<<16), 0
	carry := func(a, b *Stack) {
		for a.Transmit(now, &seg) {
			if seg.SegmentSize > 0 {
				supers++
			}
			pkt, err := seg.Append(buf[:0])
			if err != nil {
				t.Fatal(err)
			}
			b.Deliver(now, pkt, 0)
		}
	}
	for range 2 {
		carry(from, to)
		carry(to, from)
	}
	in := server.Accept()
	data, sink, moved := make([]byte, 200_000), make([]byte, 256<<10), 0
	turn := func() {
		now = now.Add(50 * time.Microsecond)
		if _, err := out.Write(now, data); err != nil {
			t.Fatal(err)
		}
		carry(from, to)
		now = now.Add(50 * time.Microsecond)
		for n := 1; n > 0; moved += n {
			n, _ = in.Read(now, sink)
		}
		carry(to, from)
		from.Advance(now)
		to.Advance(now)
	}
	for range 800 {
		turn()
	}
	supers, moved = 0, 0
	if n := testing.AllocsPerRun(200, turn); n != 0 {
		t.Errorf("pacing %d, rate %d: %v allocations a turn", cfg.Pacing, cfg.PacingRate, n)
	}
	if supers < 200 || moved < 200*60_000 {
		t.Errorf("pacing %d, rate %d: %d super-segments and %d octets", cfg.Pacing, cfg.PacingRate, supers, moved)
	}
}
