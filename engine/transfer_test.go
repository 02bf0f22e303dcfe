package engine

import (
	"fmt"
	"testing"
	"time"

	"rawtcp/segment"
)

func TestSecondFullSegmentIsAcknowledgedAtOnce(t *testing.T) {
	k := established(t, plain())
	k.in(". 1:1001(1000) ack 1 win 65535")
	k.wantIdle("the first waits for company")
	k.in(". 1001:2001(1000) ack 1 win 65535")
	k.want("the second does not", ". ack 2001")
	k.in("P. 2001:2002(1) ack 1 win 65535")
	k.wantIdle("a small one waits")
	k.advanceToTimer(40 * time.Millisecond)
	k.want("its time is up", ". ack 2002")
}

func TestSuperSegmentCountsByItsOctets(t *testing.T) {
	k := established(t, plain())
	k.in(". 1:30001(30000) ack 1 win 65535")
	k.want("30 segments in one", ". ack 30001")
}

func TestAckRidesWithData(t *testing.T) {
	k := established(t, plain())
	k.in("P. 1:101(100) ack 1 win 65535")
	k.write(50)
	k.want("both in one", "P. 1:51(50) ack 101")
	k.advance(time.Second / 10)
	k.wantIdle("no bare ACK later")
}

func TestNagle(t *testing.T) {
	k := established(t, plain())
	k.write(10)
	k.want("nothing outstanding: at once", "P. 1:11(10) ack 1")
	k.write(10)
	k.wantIdle("small data waits for the ACK")
	k.write(1000)
	k.want("a full segment does not", ". 11:1011(1000) ack 1")
	k.wantIdle("the tail does")
	k.in(". 1:1(0) ack 1011 win 65535")
	k.want("now", "P. 1011:1021(10) ack 1")
}

func TestNoDelay(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.NoDelay = true }))
	k.write(10)
	k.want("first", "P. 1:11(10) ack 1")
	k.write(10)
	k.want("second", "P. 11:21(10) ack 1")
}

func TestInitialWindowIsTenSegments(t *testing.T) {
	k := established(t, plain())
	k.write(50_000)
	for i := range 10 {
		k.want("within IW10", string(segmentText(1+1000*i, 1000, false)))
	}
	k.wantIdle("RFC 6928")
	k.in(". 1:1(0) ack 2001 win 65535") // slow start: two acknowledged, four more
	for i := 10; i < 14; i++ {
		k.want("slow start", string(segmentText(1+1000*i, 1000, false)))
	}
	k.wantIdle("no more")
}

func segmentText(from, n int, push bool) []byte {
	s := segment.Segment{Seq: segment.MakeSeq(uint32(from)), Ack: segment.MakeSeq(1), Flags: segment.ACK, Payload: make([]byte, n)}
	if push {
		s.Flags |= segment.PSH
	}
	return windowText.ReplaceAll(s.AppendText(nil, segment.Relative{}), nil)
}

func TestPeersWindowLimits(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1000,sackOK", 2500)
	k.write(5000)
	k.want("1", ". 1:1001(1000) ack 1")
	k.want("2", ". 1001:2001(1000) ack 1")
	k.wantIdle("500 octets of window are not worth a segment now")
	k.in(". 1:1(0) ack 2001 win 2500")
	k.want("3", ". 2001:3001(1000) ack 1")
}

func TestWindowOfUnsigned16BitsAndNoScale(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1000", 0x8000)
	if k.c.snd.wnd != 0x8000 {
		t.Errorf("SND.WND %d", k.c.snd.wnd)
	}
}

func TestZeroWindowIsProbedEverMoreRarely(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1000,sackOK", 1000)
	k.write(3000)
	k.want("what fits", ". 1:1001(1000) ack 1")
	k.advance(100 * time.Millisecond) // RTT: RTO becomes 100 + 4*50 = 300 ms
	k.in(". 1:1(0) ack 1001 win 0")
	k.wantIdle("the window is closed")
	wait := 300 * time.Millisecond
	for range 12 {
		k.advanceToTimer(min(wait, 120*time.Second))
		k.want("a probe, one octet before SND.UNA", ". 1000:1000(0) ack 1")
		k.in(". 1:1(0) ack 1001 win 0") // alive, but closed: never a reason to give up
		k.wantIdle("no data")
		wait *= 2
	}
	k.in(". 1:1(0) ack 1001 win 65535")
	k.want("it opened", ". 1001:2001(1000) ack 1")
}

func TestUnansweredProbesEndTheConnection(t *testing.T) {
	k := establishedWith(t, plain(func(c *ConnConfig) { c.Retries = 3 }), "mss 1000", 0)
	k.write(10)
	k.wantIdle("the window is closed")
	for range 3 {
		k.now = k.stack.Deadline()
		k.stack.Advance(k.now)
		k.want("probe", ". 0:0(0) ack 1")
		k.wantIdle("one at a time")
	}
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	k.wantErr(ErrTimeout)
}

func TestShrunkenWindow(t *testing.T) { // MUST-34, SHLD-15, SHLD-16
	k := establishedWith(t, plain(), "mss 1000,sackOK", 4000)
	k.write(8000)
	for i := range 4 {
		k.want("fits", string(segmentText(1+1000*i, 1000, false)))
	}
	k.in(". 1:1(0) ack 1001 win 1000")
	k.wantIdle("the edge moved left of SND.NXT: nothing new")
	k.advanceToTimer(time.Second)
	k.want("old data inside the window is sent again", ". 1001:2001(1000) ack 1")
	k.in(". 1:1(0) ack 4001 win 4000")
	k.want("and it goes on", ". 4001:5001(1000) ack 1")
}

// An old segment that was overtaken cannot close the window again (SND.WL1).
func TestReorderedACKDoesNotChangeTheWindow(t *testing.T) {
	k := established(t, plain())
	k.in("P. 1:101(100) ack 1 win 5000")
	k.in(". 1:1(0) ack 1 win 7")
	if k.c.snd.wnd != 5000 {
		t.Errorf("SND.WND %d", k.c.snd.wnd)
	}
}

// A retransmission has an old sequence number, and its ACK and window are new:
// SND.UNA must not drag the old window along, beyond the edge that was offered.
func TestWindowOfARetransmissionThatAcknowledges(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1000", 1000)
	k.write(3000)
	k.want("what fits", ". 1:1001(1000) ack 1")
	k.in(". 101:201(100) ack 1 win 1000")
	k.want("a hole", ". ack 1")
	k.in(". 1:101(100) ack 1001 win 5")
	k.want("the hole is filled; the window ends at 1006", ". ack 201")
	k.wantIdle("nothing beyond it")
}

// A window that cannot be told in the scale's units would stay closed for ever.
func TestScaleIsNotCoarserThanTheBuffer(t *testing.T) {
	k := dial(t, plain(func(c *ConnConfig) { c.ReceiveBuffer, c.WindowScale, c.DelayedAck = 1450, 14, -1 }))
	k.want("the SYN", "S 0:0(0) win 1450 <mss 1460,nop,nop,sackOK,nop,wscale 9>")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,wscale 0>")
	k.want("the handshake's last ACK", ". ack 1 win 3")
	k.in("P. 1:1451(1450) ack 1 win 65535")
	k.want("full", ". ack 1451 win 0")
	k.read(1450)
	k.want("it opened", ". ack 1451 win 2")
}

// A peer that sends by the octet to an application that does not read must not
// gain from the rounding of each window.
func TestRoundedWindowsDoNotGrowTheBuffer(t *testing.T) {
	k := dial(t, plain(func(c *ConnConfig) { c.ReceiveBuffer, c.WindowScale, c.DelayedAck = 4000, 10, -1 }))
	k.want("the SYN", "S 0:0(0)")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,wscale 0>")
	k.want("the handshake's last ACK", ". ack 1 win 4")
	for i := range 20_000 {
		k.in(fmt.Sprintf("P. %d:%d(1) ack 1 win 65535", 1+i, 2+i))
		for k.stack.Transmit(k.now, &k.seg) {
			k.now++
		}
	}
	if n := k.c.Info(k.now).ReceiveQueue; n > 4000+1024 {
		t.Errorf("%d octets wait in a buffer of 4000", n)
	}
}

func TestReceiveWindowClosesAndOpens(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.ReceiveBuffer, c.WindowScale = 3000, -1 }))
	k.in(". 1:2001(2000) ack 1 win 65535")
	k.want("1000 left", ". ack 2001 win 1000")
	k.in(". 2001:3001(1000) ack 1 win 65535")
	k.advanceToTimer(40 * time.Millisecond)
	k.want("closed", ". ack 3001 win 0")
	k.in(". 3001:3101(100) ack 1 win 65535")
	k.want("data beyond it is refused", ". ack 3001 win 0")
	k.in(". 3000:3000(0) ack 1 win 65535") // a probe
	k.want("and probes are answered", ". ack 3001 win 0")
	k.read(3000)
	k.want("the update", ". ack 3001 win 3000")
}

func TestSmallReadsDoNotOpenTheWindowByDriblets(t *testing.T) { // MUST-39
	k := established(t, plain(func(c *ConnConfig) { c.ReceiveBuffer, c.WindowScale = 10_000, -1 }))
	k.in(". 1:10001(10000) ack 1 win 65535")
	k.want("closed", ". ack 10001 win 0")
	p := make([]byte, 100)
	for range 9 {
		if _, err := k.c.Read(k.now, p); err != nil {
			t.Fatal(err)
		}
	}
	k.wantIdle("900 octets are a silly window")
	k.in(". 10000:10000(0) ack 1 win 65535")
	k.want("nor does a probe learn of them", ". ack 10001 win 0")
}

func TestOutOfOrderDataWaitsAndIsReported(t *testing.T) {
	k := established(t, plain())
	k.in(". 1001:2001(1000) ack 1 win 65535")
	k.want("at once", ". ack 1 win 65535 <nop,nop,sack 1001:2001>")
	k.in(". 3001:4001(1000) ack 1 win 65535")
	k.want("the latest first", ". ack 1 win 65535 <nop,nop,sack 3001:4001 1001:2001>")
	k.in(". 1:1001(1000) ack 1 win 65535")
	k.want("a hole is filled", ". ack 2001 win 65535 <nop,nop,sack 3001:4001>")
	k.in(". 2001:3001(1000) ack 1 win 65535")
	k.want("all", ". ack 4001")
	k.read(4000)
}

// A retransmission has no room for SACK blocks, and so is no answer to what
// arrived beyond a hole: each arrival has its ACK all the same (RFC 2018 section
// 4, RFC 5681 section 4.2), and what came twice is told once (RFC 2883 section 4).
func TestRetransmissionIsNoReportOfArrivals(t *testing.T) {
	for _, test := range []struct{ again, report string }{
		{". 3001:4001(1000) ack 1 win 65535 <nop,nop,sack 1001:4001>", "<nop,nop,sack 3001:4001 2001:2501>"},
		{". 2001:2501(500) ack 1 win 65535 <nop,nop,sack 1001:4001>", "<nop,nop,sack 2001:2501 2001:2501>"},
	} {
		k := established(t, plain())
		k.write(4000)
		for _, line := range []string{". 1:1001(1000) ack 1", ". 1001:2001(1000) ack 1", ". 2001:3001(1000) ack 1", "P. 3001:4001(1000) ack 1"} {
			k.want("data", line)
		}
		k.in(". 2001:2501(500) ack 1 win 65535")
		k.want("beyond a hole", ". ack 1 win 65535 <nop,nop,sack 2001:2501>")
		k.in(test.again)
		k.want("the peer's hole is filled", ". 1:1001(1000) ack 1")
		k.want("and ours is told", ". ack 1 win 65535 "+test.report)
		k.wantIdle("once")
	}
}

// Ranges are bounded: what finds no room is no duplicate, and is not told as one.
func TestArrivalWithoutARangeIsNoDuplicate(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.ReceiveBuffer, c.WindowScale = 65535, -1 }))
	for i := range maxSpans {
		at := 1001 + 2*i
		k.in(fmt.Sprintf(". %d:%d(1) ack 1 win 65535", at, at+1))
		k.want("an ACK", ". ack 1")
	}
	k.in(". 50001:50101(100) ack 1 win 65535")
	last := 1001 + 2*(maxSpans-1)
	k.want("what is held", fmt.Sprintf(". ack 1 win 65535 <nop,nop,sack %d:%d %d:%d %d:%d %d:%d>", last, last+1, last-2, last-1,
		last-4, last-3, last-6, last-5))
	if in := k.c.Info(k.now); in.Stats.DuplicatesIn != 0 {
		t.Errorf("%d duplicates", in.Stats.DuplicatesIn)
	}
	k.in(". 1:501(500) ack 1 win 65535")
	k.want("in order, and far from the first range", fmt.Sprintf(". ack 501 win 65035 <nop,nop,sack %d:%d %d:%d %d:%d %d:%d>",
		last, last+1, last-2, last-1, last-4, last-3, last-6, last-5))
}

func TestOldDataIsAcknowledgedAgain(t *testing.T) {
	k := established(t, plain())
	k.in("P. 1:101(100) ack 1 win 65535")
	k.advance(time.Second / 10)
	k.want("ACK", ". ack 101")
	k.in("P. 1:101(100) ack 1 win 65535")
	k.want("our ACK may be lost", ". ack 101")
	k.in("P. 51:151(100) ack 1 win 65535") // half old, half new
	k.read(150)
}

func TestDataBeyondTheWindowIsCut(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.ReceiveBuffer, c.WindowScale = 1000, -1 }))
	k.in("P. 1:1501(1500) ack 1 win 65535")
	k.want("what fitted", ". ack 1001 win 0")
	k.read(1000)
}

func TestUrgentDataStaysInLine(t *testing.T) {
	k := established(t, plain())
	k.in("PU. 1:11(10) ack 1 win 65535 urg 5")
	if n := k.c.Urgent(); n != 5 {
		t.Errorf("%d octets to the end of urgent data, want 5", n)
	}
	k.read(10)
	if n := k.c.Urgent(); n != 0 {
		t.Errorf("%d after reading", n)
	}
	if _, err := k.c.WriteUrgent(k.now, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	k.want("the pointer names the octet after it", "P.U 1:4(3) ack 11 urg 3")
}

func TestUrgentPointerOfNothing(t *testing.T) { // CVE-2019-12255
	for _, line := range []string{"U. 1:1(0) ack 1 win 1 urg 0", "U. 1:1(0) ack 1 win 1 urg 65535", "PU. 1:2(1) ack 1 win 1 urg 0"} {
		k := established(t, plain())
		k.in(line)
		if n := k.c.Urgent(); n < 0 || n > 65535 {
			t.Errorf("%s: %d", line, n)
		}
	}
}

func TestTimestampsAndPAWS(t *testing.T) {
	k := establishedWith(t, plain(func(c *ConnConfig) { c.Timestamps = On }), "mss 1000,sackOK,TS val 100 ecr 0", 65535)
	if !k.c.ts.on {
		t.Fatal("not negotiated")
	}
	k.in("P. 1:11(10) ack 1 win 65535 <nop,nop,TS val 200 ecr 0>")
	k.read(10)
	k.advanceToTimer(40 * time.Millisecond)
	k.want("the echo", ". ack 11")
	if k.seg.Options.TSEcr != 200 {
		t.Errorf("echoed %d", k.seg.Options.TSEcr)
	}
	k.in("P. 11:21(10) ack 1 win 65535 <nop,nop,TS val 150 ecr 0>")
	k.want("an old timestamp: an ACK and no data", ". ack 11")
	k.in("P. 11:21(10) ack 1 win 65535")
	k.wantIdle("no timestamp: silently dropped (RFC 7323 section 3.2)")
	if n := k.c.stats().PAWSDrops; n != 2 {
		t.Errorf("%d PAWS drops", n)
	}
	k.advance(25 * 24 * time.Hour)
	k.in("P. 11:21(10) ack 1 win 65535 <nop,nop,TS val 150 ecr 0>")
	k.read(10) // TS.Recent is too old to judge by
}

func TestACKOfUnsentDataIsChallenged(t *testing.T) {
	k := established(t, plain())
	k.in("P. 1:11(10) ack 100 win 65535")
	k.want("an ACK, and the data is dropped", ". ack 1")
	k.wantIdle("no more")
}

func TestKeepAlive(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) {
		c.KeepAliveIdle, c.KeepAliveInterval, c.KeepAliveCount = 10*time.Second, time.Second, 3
	}))
	k.advanceToTimer(10 * time.Second)
	k.want("SND.NXT-1, no data", ". 0:0(0) ack 1")
	k.in(". 1:1(0) ack 1 win 65535")
	k.advanceToTimer(time.Second) // the timer finds out that the peer spoke
	k.advanceToTimer(9 * time.Second)
	for range 3 {
		k.want("probe", ". 0:0(0) ack 1")
		k.advanceToTimer(time.Second)
	}
	k.wantErr(ErrTimeout)
	k.want("and the peer is told", "R. 1:1(0) ack 1")
}

func TestKeepAliveIsOffByDefault(t *testing.T) { // MUST-25
	if k := established(t, plain()); k.stack.Deadline() != 0 {
		t.Error("an idle connection waits for something")
	}
}

func TestKeepAliveOfThePeerIsAnswered(t *testing.T) {
	k := established(t, plain())
	k.in(". 0:0(0) ack 1 win 65535")
	k.want("an ACK", ". ack 1")
	k.in(". 0:1(1) ack 1 win 65535") // with its octet of garbage
	k.want("an ACK", ". ack 1")
}

func TestWhatArrivesTwiceIsReported(t *testing.T) { // RFC 2883 section 4
	k := established(t, plain())
	k.in(". 1:1001(1000) ack 1 win 65535")
	k.in(". 1001:2001(1000) ack 1 win 65535")
	k.want("ACK", ". ack 2001 win 65535")
	k.in(". 1:1001(1000) ack 1 win 65535")
	k.want("the whole segment", ". ack 2001 win 65535 <nop,nop,sack 1:1001>")
	k.in(". 3001:4001(1000) ack 1 win 65535")
	k.want("told once", ". ack 2001 win 65535 <nop,nop,sack 3001:4001>")
	k.in(". 3001:4001(1000) ack 1 win 65535")
	k.want("inside a range beyond a hole", ". ack 2001 win 65535 <nop,nop,sack 3001:4001 3001:4001>")
	k.in(". 1501:2501(1000) ack 1 win 65535")
	k.want("the part that was here", ". ack 2501 win 65535 <nop,nop,sack 1501:2001 3001:4001>")
}
