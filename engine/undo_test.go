package engine

import (
	"fmt"
	"testing"

	"rawtcp/segment"
)

// A flight of ten segments on a path of 100 ms, without timestamps.
func tenInFlight(t *testing.T, options string, change ...func(*ConnConfig)) *talk {
	t.Helper()
	k := dial(t, plain(change...))
	k.want("SYN", "S 0:0(0)")
	k.advance(100 * ms)
	k.in("S. 0:0(0) ack 1 win 65535 <" + options + ">")
	k.want("ACK", ". ack 1")
	k.write(40_000)
	for i := range 10 {
		k.want("the flight", string(segmentText(1+1000*i, 1000, false)))
	}
	k.wantIdle("the window is full")
	return k
}

func (k *talk) fireRTO() {
	k.t.Helper()
	due := k.c.timers[TimerRTO]
	if due == 0 {
		k.t.Fatal("the RTO is not armed")
	}
	k.now = due
	k.stack.Advance(k.now)
}

func (k *talk) wantWindows(why string, cwnd, ssthresh int) {
	k.t.Helper()
	if k.c.cc.Window() != cwnd || k.c.cc.Ssthresh() != ssthresh {
		k.t.Errorf("%s: cwnd %d ssthresh %d, want %d %d", why, k.c.cc.Window(), k.c.cc.Ssthresh(), cwnd, ssthresh)
	}
}

func (k *talk) wantUndone(n uint64) {
	k.t.Helper()
	if got := k.c.stats().SpuriousRecoveries; got != n {
		k.t.Fatalf("%d recoveries were undone, want %d", got, n)
	}
}

// RFC 5682 section 2.1: all ten were only late. The first ACK lets two new
// segments out, the second, for what was sent once, proves the timeout spurious.
func TestFRTOWithoutSACK(t *testing.T) {
	k := tenInFlight(t, "mss 1000")
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	k.wantWindows("after the timeout", 1000, 5000)
	k.in(". 1:1(0) ack 1001 win 65535")
	k.want("new data", ". 10001:11001(1000) ack 1")
	k.want("new data", ". 11001:12001(1000) ack 1")
	k.wantIdle("two, and nothing again")
	k.in(". 1:1(0) ack 2001 win 65535")
	k.wantUndone(1)
	k.wantWindows("undone", 10_000, maxWindow)
	k.wantIdle("ten segments are in flight")
	k.in(". 1:1(0) ack 3001 win 65535")
	k.want("slow start goes on", ". 12001:13001(1000) ack 1")
	k.want("slow start goes on", ". 13001:14001(1000) ack 1")
	k.wantIdle("within the window")
	if k.c.stats().Retransmits != 1 {
		t.Errorf("%d retransmissions, want the one of the timeout", k.c.stats().Retransmits)
	}
}

// Step 3a: a duplicate ACK after the new data means that the timeout was right.
func TestFRTOFindsAGenuineTimeout(t *testing.T) {
	k := tenInFlight(t, "mss 1000")
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	k.in(". 1:1(0) ack 1001 win 65535")
	k.want("new data", ". 10001:11001(1000) ack 1")
	k.want("new data", ". 11001:12001(1000) ack 1")
	k.in(". 1:1(0) ack 1001 win 65535")
	k.want("slow start over what is lost", ". 1001:2001(1000) ack 1")
	k.wantUndone(0)
	if k.c.cc.Window() > 3000 {
		t.Errorf("window %d, want no more than three segments", k.c.cc.Window())
	}
}

// Step 3a: "continue with the slow-start algorithm retransmitting unacknowledged
// segments". A peer that keeps nothing out of order has lost the new ones as well:
// without them each timeout would carry three segments, and leave a hole for the next.
func TestFRTORepeatsTheNewDataToo(t *testing.T) {
	k := tenInFlight(t, "mss 1000")
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	k.in(". 1:1(0) ack 1001 win 65535")
	k.want("new data", ". 10001:11001(1000) ack 1")
	k.want("new data", ". 11001:12001(1000) ack 1")
	k.in(". 1:1(0) ack 1001 win 65535")
	for at := 1001; at < 12001; {
		if !k.stack.Transmit(k.now, &k.seg) {
			t.Fatalf("%d is not sent again", at)
		}
		if k.seg.Seq == k.iss.Add(at) {
			at += len(k.seg.Payload)
			k.in(fmt.Sprintf(". 1:1(0) ack %d win 65535", at))
		}
	}
	k.wantUndone(0)
}

// Step 2a: an ACK of a part of the retransmission could be a liar's.
func TestFRTOIsNotFooledByAPartialACK(t *testing.T) {
	k := tenInFlight(t, "mss 1000")
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	k.in(". 1:1(0) ack 501 win 65535")
	k.in(". 1:1(0) ack 1001 win 65535")
	k.in(". 1:1(0) ack 1501 win 65535")
	k.wantUndone(0)
}

// Step 2b: without new data the ordinary recovery goes on.
func TestFRTONeedsNewData(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1000", 65535)
	k.sendSegments(4)
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	k.in(". 1:1(0) ack 1001 win 65535")
	k.want("slow start over what is lost", ". 1001:2001(1000) ack 1")
	k.wantUndone(0)
}

// RFC 5682 section 3.1, step 3b: a report of what was not sent again proves it too.
func TestFRTOWithSACK(t *testing.T) {
	k := tenInFlight(t, "mss 1000,sackOK")
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	k.in(". 1:1(0) ack 1001 win 65535")
	k.want("new data", ". 10001:11001(1000) ack 1")
	k.want("new data", ". 11001:12001(1000) ack 1")
	k.in(". 1:1(0) ack 1001 win 65535 <nop,nop,sack 2001:3001>")
	k.wantUndone(1)
}

// Step 3a: a report of the new data proves nothing.
func TestFRTOReportOfTheNewDataIsNoProof(t *testing.T) {
	k := tenInFlight(t, "mss 1000,sackOK")
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	k.in(". 1:1(0) ack 1001 win 65535")
	k.want("new data", ". 10001:11001(1000) ack 1")
	k.want("new data", ". 11001:12001(1000) ack 1")
	k.in(". 1:1(0) ack 1001 win 65535 <nop,nop,sack 10001:11001>")
	k.want("what is lost", ". 1001:2001(1000) ack 1")
	k.wantUndone(0)
}

// "SHOULD NOT be applied if the TCP sender is already in loss recovery": RFC 5682
// section 3.1.
func TestNoFRTOInARecovery(t *testing.T) {
	k := tenInFlight(t, "mss 1000,sackOK")
	k.advance(100 * ms)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 5001:10001>")
	k.want("fast retransmission", ". 1:1001(1000) ack 1")
	k.fireRTO()
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.in(". 1:1(0) ack 1001 win 65535")
	k.want("slow start over what is lost", ". 1001:2001(1000) ack 1")
	k.in(". 1:1(0) ack 2001 win 65535")
	k.wantUndone(0)
}

// stampedFlight has timestamps; ours start at the returned value.
func stampedFlight(t *testing.T, change ...func(*ConnConfig)) (*talk, uint32) {
	t.Helper()
	k := dial(t, plain(append(change, func(c *ConnConfig) { c.Timestamps = On })...))
	k.want("SYN", "S 0:0(0)")
	first := k.seg.Options.TSVal
	k.advance(100 * ms)
	k.in(fmt.Sprintf("S. 0:0(0) ack 1 win 65535 <mss 1012,sackOK,TS val 1 ecr %d>", first))
	k.want("ACK", ". ack 1")
	k.write(40_000)
	for i := range 10 {
		k.want("the flight", string(segmentText(1+1000*i, 1000, false)))
	}
	k.wantIdle("the window is full")
	return k, first + 100
}

// RFC 3522: the ACK of the retransmission echoes the original, so the timeout was
// spurious at the first ACK, and RFC 4015 gives back what it cost.
func TestEifelTakesATimeoutBack(t *testing.T) {
	k, original := stampedFlight(t)
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	k.wantWindows("after the timeout", 1000, 5000)
	rto := k.c.rtt.rto()
	k.advance(50 * ms)
	k.in(fmt.Sprintf(". 1:1(0) ack 2001 win 65535 <nop,nop,TS val 2 ecr %d>", original))
	k.wantUndone(1)
	k.wantWindows("undone", 10_000, maxWindow) // 8 segments in flight and 2 acknowledged
	k.want("new data", ". 10001:11001(1000) ack 1")
	k.want("new data", ". 11001:12001(1000) ack 1")
	k.wantIdle("within the window")
	if k.c.rtt.rto() < rto/2 {
		t.Errorf("RTO %v: want it no more hasty than before the timeout", k.c.rtt.rto())
	}
}

func TestEifelLeavesAGenuineTimeoutAlone(t *testing.T) {
	k, _ := stampedFlight(t)
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	again := k.seg.Options.TSVal
	k.advance(100 * ms)
	k.in(fmt.Sprintf(". 1:1(0) ack 1001 win 65535 <nop,nop,TS val 2 ecr %d>", again))
	k.want("slow start over what is lost", ". 1001:2001(1000) ack 1")
	k.wantUndone(0)
}

// Step 5 of RFC 3522 section 3.2: an ACK of everything may be the last of several
// that were lost, with the echo of an original; and one with a DSACK is the
// retransmission's.
func TestEifelIsCareful(t *testing.T) {
	k, original := stampedFlight(t)
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	k.in(fmt.Sprintf(". 1:1(0) ack 10001 win 65535 <nop,nop,TS val 2 ecr %d>", original))
	k.wantUndone(0)

	k, original = stampedFlight(t)
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	k.in(fmt.Sprintf(". 1:1(0) ack 5001 win 65535 <nop,nop,TS val 2 ecr %d,nop,nop,sack 1:1001>", original))
	if k.c.loss.episode.undo.judged != true || k.c.stats().DSACKsIn != 1 {
		t.Errorf("%+v", k.c.loss.episode.undo)
	}
}

// RFC 4015 section 3.4: "If the ECN-Echo flag is set … MUST refrain".
func TestECNEchoForbidsTheUndo(t *testing.T) {
	k, original := stampedFlight(t)
	k.c.ecn.on = true
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	k.in(fmt.Sprintf(".E 1:1(0) ack 2001 win 65535 <nop,nop,TS val 2 ecr %d>", original))
	if k.c.cc.Window() > 2000 {
		t.Errorf("window %d", k.c.cc.Window())
	}
}

// RFC 4015 section 3.1, step 11: the first sample of data that was new when the
// spurious timeout was found out makes the RTO more careful than it was.
func TestSpuriousTimeoutMakesTheRTOCareful(t *testing.T) {
	k, original := stampedFlight(t)
	srtt, rttvar := k.c.rtt.srtt, k.c.rtt.rttvar
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	k.in(fmt.Sprintf(". 1:1(0) ack 2001 win 65535 <nop,nop,TS val 2 ecr %d>", original))
	k.want("new data", ". 10001:11001(1000) ack 1")
	k.want("new data", ". 11001:12001(1000) ack 1")
	k.in(fmt.Sprintf(". 1:1(0) ack 10001 win 65535 <nop,nop,TS val 2 ecr %d>", original))
	if k.c.rtt.srtt != (7*srtt+300*ms)/8 {
		t.Errorf("srtt %v: old data is measured as ever", k.c.rtt.srtt)
	}
	k.advance(30 * ms) // the path is quick again
	k.in(fmt.Sprintf(". 1:1(0) ack 11001 win 65535 <nop,nop,TS val 3 ecr %d>", k.seg.Options.TSVal))
	if got := k.c.rtt; got.srtt != srtt+2*rttGranularity || got.rttvar != rttvar {
		t.Errorf("srtt %v rttvar %v, want %v and %v: no less than before", got.srtt, got.rttvar, srtt+2*rttGranularity, rttvar)
	}
}

// reorderedFlight has lost nothing: the first segment is late, three duplicate
// ACKs have come, and it was sent again.
func reorderedFlight(t *testing.T) *talk {
	t.Helper()
	k := tenInFlight(t, "mss 1000,sackOK")
	k.advance(100 * ms)
	for _, end := range []int{2001, 3001, 4001} {
		k.in(fmt.Sprintf(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:%d>", end))
		for k.stack.Transmit(k.now, &k.seg) {
		}
	}
	if !k.c.loss.recovery || k.c.stats().Retransmits != 1 {
		t.Fatalf("no fast retransmission: %+v", k.c.stats())
	}
	return k
}

// RFC 2883 section 5.2, RFC 9438 section 4.9.2: the peer reports all that was sent
// again as a duplicate.
func TestDSACKTakesAFastRetransmitBack(t *testing.T) {
	k := reorderedFlight(t)
	before := k.c.cc.Window()
	k.in(". 1:1(0) ack 10001 win 65535") // the original came
	k.wantUndone(0)
	k.in(". 1:1(0) ack 10001 win 65535 <nop,nop,sack 1:1001>") // and now the retransmission
	k.wantUndone(1)
	if before != 5000 || k.c.cc.Ssthresh() != maxWindow {
		t.Errorf("window %d in recovery, ssthresh %d after", before, k.c.cc.Ssthresh())
	}
}

// A liar's DSACKs: what was never sent again, what was never sent at all, and a
// piece of a segment prove nothing.
func TestForgedDSACKsProveNothing(t *testing.T) {
	for block, bad := range map[string]uint64{"5001:6001": 0, "200001:201001": 2, "0:1": 1, "1:1001": 0} {
		k := reorderedFlight(t)
		k.in(". 1:1(0) ack 10001 win 65535")
		before := k.c.cc.Window()
		k.in(". 1:1(0) ack 10001 win 65535 <nop,nop,sack " + block + ">")
		if block == "1:1001" {
			k.wantUndone(1)
			k.in(". 1:1(0) ack 10001 win 65535 <nop,nop,sack " + block + ">")
			k.wantUndone(1) // once for each recovery
			continue
		}
		k.wantUndone(0)
		if k.c.cc.Window() != before || k.c.stats().BadSACKs < min(bad, 1) {
			t.Errorf("%s: window %d, before %d; %d bad SACKs", block, k.c.cc.Window(), before, k.c.stats().BadSACKs)
		}
	}
}

// The window after an undo is never larger than before the loss.
func TestUndoGivesBackNoMoreThanWasTaken(t *testing.T) {
	for _, name := range []string{"reno", "cubic"} {
		c := mustController(t, name, testMSS, 100)
		c.OnLoss(1, 100*testMSS)
		c.OnSpurious(2, 1000*testMSS)
		if c.Window() != 100*testMSS {
			t.Errorf("%s: window %d, want the 100 segments of before", name, c.Window())
		}
		c.OnSpurious(3, 1000*testMSS)
		if c.Window() != 100*testMSS {
			t.Errorf("%s: window %d after the undo of nothing", name, c.Window())
		}
		c.OnRTO(4, 100*testMSS)
		c.OnSpurious(5, 20*testMSS)
		if c.Window() != 20*testMSS {
			t.Errorf("%s: window %d, want no burst", name, c.Window())
		}
	}
}

// Loss that is real must not be undone because one retransmission of several was
// needless.
func TestOneNeedlessRetransmissionIsNotAll(t *testing.T) {
	k := tenInFlight(t, "mss 1000,sackOK")
	k.advance(100 * ms)
	for _, end := range []int{6001, 7001} { // 1 and 2001 are missing
		k.in(fmt.Sprintf(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:2001 3001:%d>", end))
		for k.stack.Transmit(k.now, &k.seg) {
		}
	}
	if k.c.stats().Retransmits != 2 {
		t.Fatalf("%d retransmissions", k.c.stats().Retransmits)
	}
	k.in(". 1:1(0) ack 10001 win 65535 <nop,nop,sack 1:1001>")
	k.wantUndone(0)
	k.in(". 1:1(0) ack 10001 win 65535 <nop,nop,sack 2001:3001>")
	k.wantUndone(1)
}

func TestUndoSpans(t *testing.T) {
	seq := func(n int) segment.Seq { return segment.MakeSeq(uint32(n)) }
	block := func(a, b int) segment.SACKBlock { return segment.SACKBlock{Start: seq(a), End: seq(b)} }
	u := undo{armed: true}
	u.noteResent(1, seq(100), seq(200))
	u.noteResent(1, seq(200), seq(300))
	u.noteResent(1, seq(500), seq(600))
	if u.resents != 2 || u.reported(block(100, 200)) || u.reported(block(200, 300)) || u.reported(block(300, 500)) {
		t.Errorf("%+v", u.resent[:u.resents])
	}
	if u.reported(block(520, 560)) {
		t.Error("the middle of a segment was believed")
	}
	if u.reported(block(500, 550)) || !u.reported(block(550, 600)) {
		t.Errorf("two halves are one: %+v", u.resent[:u.resents])
	}
	u = undo{armed: true}
	u.noteResent(1, seq(100), seq(200))
	u.noteResent(2, seq(100), seq(200))
	if u.reported(block(100, 200)) {
		t.Error("sent again twice, and one report proves that both were needless")
	}
	u = undo{armed: true}
	for i := range 20 {
		u.noteResent(1, seq(200*i+100), seq(200*i+200))
	}
	for i := range 20 {
		if u.reported(block(200*i+100, 200*i+200)) {
			t.Error("more was sent again than is remembered")
		}
	}
}
