package engine

import (
	"testing"

	"rawtcp/segment"
)

func ecnTalk(t *testing.T) *talk {
	k := dial(t, plain(func(c *ConnConfig) { c.ECN = On }))
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
