package engine

import (
	"testing"
	"time"

	"rawtcp/segment"
)

func ecnTalk(t *testing.T) *talk { return ecnTalkFrom(t, 5_000_000) }

func ecnTalkFrom(t *testing.T, isn uint32) *talk {
	iss := segment.MakeSeq(isn)
	k := dial(t, plain(func(c *ConnConfig) { c.ECN, c.ISN = On, &iss }))
	k.want("asks for ECN", "SEW 0:0(0)")
	k.in("S.E 0:0(0) ack 1 win 65535 <mss 1000,sackOK>")
	k.want("ACK", ". ack 1")
	if !k.c.ecn.on {
		t.Fatal("not negotiated")
	}
	return k
}

// inMarked delivers a segment that a router marked.
func (k *talk) inMarked(line string) {
	s, _, err := segment.ParseText(line)
	if err != nil {
		k.t.Fatal(err)
	}
	s.Src, s.Dst, s.TOS = k.peer, us, ecnCE
	s.Seq, s.Ack = s.Seq.Add(int(k.irs.Uint32())), s.Ack.Add(int(k.iss.Uint32()))
	k.stack.Receive(k.now, &s)
}

func TestMarkIsEchoedUntilThePeerHasReduced(t *testing.T) { // RFC 3168 section 6.1.3
	k := ecnTalk(t)
	k.inMarked(". 1:1001(1000) ack 1 win 65535")
	k.want("the echo, at once", ".E 1:1(0) ack 1001")
	k.in(". 1001:3001(2000) ack 1 win 65535")
	k.want("still", ".E 1:1(0) ack 3001")
	k.in(".W 3001:5001(2000) ack 1 win 65535")
	k.want("done", ". ack 5001")
}

func TestEchoReducesOncePerRoundTrip(t *testing.T) { // RFC 3168 section 6.1.2
	k := ecnTalk(t)
	k.write(20_000)
	for i := range 10 {
		k.want("ECN-capable data", string(segmentText(1+1000*i, 1000, false)))
		if k.seg.TOS&ecnMask != ecnECT0 {
			t.Fatalf("TOS %#x", k.seg.TOS)
		}
	}
	k.in(".E 1:1(0) ack 1001 win 65535")
	once := k.c.cc.Window()
	if once >= 10_000 {
		t.Errorf("the window is %d", once)
	}
	k.in(".E 1:1(0) ack 2001 win 65535")
	if got := k.c.cc.Window(); got < once {
		t.Errorf("reduced twice in one round trip: %d, then %d", once, got)
	}
	k.in(". 1:1(0) ack 9001 win 65535")
	if !k.stack.Transmit(k.now, &k.seg) || !k.seg.Flags.Has(segment.CWR) {
		t.Errorf("new data does not say CWR: %s", &k.seg)
	}
}

func TestRetransmissionsAndPureACKsAreNotECNCapable(t *testing.T) { // RFC 3168 sections 6.1.4 and 6.1.5
	k := ecnTalk(t)
	k.write(10)
	k.want("data", "P. 1:11(10) ack 1")
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	k.want("again", "P. 1:11(10) ack 1")
	if k.seg.TOS&ecnMask != 0 {
		t.Errorf("TOS %#x", k.seg.TOS)
	}
}

func TestSecondSYNAsksWithoutECN(t *testing.T) { // RFC 3168 section 6.1.1.1: a box on the path may drop it
	k := dial(t, plain(func(c *ConnConfig) { c.ECN = On }))
	k.want("asks", "SEW 0:0(0)")
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	k.want("asks no more", "S 0:0(0)")
}

// RFC 3168 section 6.1.2: CWR tells of every reduction, not only of those that a
// mark asked for.
func TestEveryReductionIsTold(t *testing.T) {
	for name, lose := range map[string]func(k *talk){
		"fast recovery": func(k *talk) {
			k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:4001>")
			k.want("the hole", ". 1:1001(1000) ack 1")
		},
		"timeout": func(k *talk) {
			k.now = k.stack.Deadline()
			k.stack.Advance(k.now)
			k.want("the first", ". 1:1001(1000) ack 1")
		},
	} {
		k := ecnTalk(t)
		k.sendSegments(4)
		lose(k)
		if k.seg.Flags.Has(segment.CWR) {
			t.Errorf("%s: a retransmission says CWR", name)
		}
		k.in(". 1:1(0) ack 4001 win 65535")
		k.write(1000)
		k.want(name, "P.W 4001:5001(1000) ack 1")
		k.write(1000)
		k.in(". 1:1(0) ack 5001 win 65535")
		k.want("told once", "P. 5001:6001(1000) ack 1")
	}
}

// RFC 3168 section 6.1.2: an echo is no reason to send more.
func TestEchoDoesNotOpenTheWindow(t *testing.T) {
	for _, isn := range []uint32{0, 1 << 31, 3 << 30} { // wherever the numbers begin
		k := ecnTalkFrom(t, isn)
		k.sendSegments(10)
		k.in(".E 1:1(0) ack 1001 win 65535")
		once := k.c.cc.Window()
		if once >= 10_000 {
			t.Errorf("window %d after the first echo", once)
		}
		k.in(".E 1:1(0) ack 5001 win 65535")
		k.in(".E 1:1(0) ack 10001 win 65535")
		if got := k.c.cc.Window(); got != once {
			t.Errorf("window %d, then %d", once, got)
		}
	}
}

// RFC 3168 section 6.1.5: a mark on what lies outside the window may be forged.
func TestMarkOutsideTheWindowIsIgnored(t *testing.T) {
	k := ecnTalk(t)
	k.in(". 1:2001(2000) ack 1 win 65535")
	k.want("ACK", ". ack 2001")
	k.inMarked(". 1:1001(1000) ack 1 win 65535")
	k.want("old data, no echo", ". ack 2001")
	k.inMarked(". 99001:100001(1000) ack 1 win 65535")
	k.want("beyond the window, no echo", ". ack 2001")
}

func TestPureACKsAreNotECNCapable(t *testing.T) { // RFC 3168 section 6.1.4
	k := ecnTalk(t)
	k.in(". 1:2001(2000) ack 1 win 65535")
	k.want("ACK", ". ack 2001")
	if k.seg.TOS&ecnMask != 0 {
		t.Errorf("TOS %#x", k.seg.TOS)
	}
}

// "The sending TCP will then be able to send a new packet only when the
// retransmit timer expires" RFC 3168 section 6.1.2.
func TestEchoAtTheSmallestWindowHoldsNewDataBack(t *testing.T) {
	k := ecnTalk(t)
	k.write(1000)
	k.want("data", "P. 1:1001(1000) ack 1")
	k.advance(time.Second)
	k.want("a timeout: the window is one segment", "P. 1:1001(1000) ack 1")
	k.in(".E 1:1(0) ack 1001 win 65535")
	rto := k.c.rtt.rto()
	k.write(3000)
	k.wantIdle("held back")
	if k.c.timers[TimerPersist] != 0 {
		t.Error("the peer's window is not closed")
	}
	k.advanceToTimer(rto)
	k.want("one segment", ".W 1001:2001(1000) ack 1")
	k.wantIdle("as the window says")
}
