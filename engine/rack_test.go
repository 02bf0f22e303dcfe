package engine

import (
	"testing"
	"time"
)

// paced is an established connection whose round trip takes 40 ms, with four
// segments of 1000 octets sent 10 ms apart.
func paced(t *testing.T, cfg ConnConfig) *talk {
	t.Helper()
	k := dial(t, cfg)
	k.want("SYN", "S 0:0(0)")
	k.advance(40 * time.Millisecond)
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>")
	k.want("ACK", ". ack 1")
	for i := range 4 {
		k.write(1000)
		k.want("a segment", string(segmentText(1+1000*i, 1000, true)))
		k.advance(10 * time.Millisecond)
	}
	return k
}

// RFC 8985 section 3.1: one SACK is enough, once the reordering window (a
// quarter of the least round trip, 40 ms) has passed since it could have arrived.
func TestRACKFindsALossAfterOneSACK(t *testing.T) {
	k := paced(t, plain())
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:2001>")
	k.want("the hole, sent 10 ms before what arrived", ". 1:1001(1000) ack 1")
}

func TestRACKGivesReorderedSegmentsTime(t *testing.T) {
	k := dial(t, plain())
	k.want("SYN", "S 0:0(0)")
	k.advance(40 * time.Millisecond)
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>")
	k.want("ACK", ". ack 1")
	k.sendSegments(3)
	k.advance(40 * time.Millisecond)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:2001>")
	k.wantIdle("sent at the same time: it may be on its way")
	k.advance(5 * time.Millisecond)
	k.in(". 1:1(0) ack 2001 win 65535")
	k.wantIdle("it was only late")
	if !k.c.loss.rack.reordering {
		t.Error("the reordering was not noticed")
	}
	if k.c.stats().Retransmits != 0 {
		t.Error("something was sent again")
	}
}

func TestRACKFindsALostRetransmission(t *testing.T) {
	k := paced(t, plain())
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:4001>")
	k.want("the hole", ". 1:1001(1000) ack 1")
	k.advance(time.Millisecond)
	k.write(1000)
	k.want("new data after it", "P. 4001:5001(1000) ack 1")
	k.advance(60 * time.Millisecond) // the new data arrived, the retransmission did not
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:5001>")
	k.want("the hole once more, without a timeout", ". 1:1001(1000) ack 1")
	if k.c.stats().Timeouts != 0 {
		t.Error("a timeout was needed")
	}
}

func TestReorderingWindowGrowsWithDSACKs(t *testing.T) {
	k := paced(t, plain())
	before := k.c.loss.rack.window(false, 0, time.Second)
	k.in(". 1:1(0) ack 1001 win 65535 <nop,nop,sack 1:1001>")
	once := k.c.loss.rack.window(false, 0, time.Second)
	k.in(". 1:1(0) ack 1001 win 65535 <nop,nop,sack 1:1001>")
	if again := k.c.loss.rack.window(false, 0, time.Second); once != 2*before || again != once {
		t.Errorf("%v, then %v, then %v: want one step per round trip", before, once, again)
	}
	if k.c.stats().DSACKsIn != 2 {
		t.Errorf("%d DSACKs", k.c.stats().DSACKsIn)
	}
}

func TestTailLossProbe(t *testing.T) { // RFC 8985 section 7
	k := paced(t, plain(func(c *ConnConfig) { c.LossProbe = On }))
	k.in(". 1:1(0) ack 2001 win 65535")
	k.wantIdle("two segments are out")
	srtt := k.c.rtt.srtt
	k.advanceToTimer(2 * srtt)
	k.want("the last one again", "P. 3001:4001(1000) ack 1")
	k.advance(40 * time.Millisecond)
	k.in(". 1:1(0) ack 2001 win 65535 <nop,nop,sack 3001:4001>")
	k.want("what the probe's ACK shows", ". 2001:3001(1000) ack 1")
	if k.c.stats().Timeouts != 0 || k.c.stats().LossProbes != 1 {
		t.Errorf("%+v", k.c.stats())
	}
}

func TestTailLossProbePrefersNewData(t *testing.T) {
	k := paced(t, plain(func(c *ConnConfig) { c.LossProbe, c.InitialWindow = On, 4 }))
	k.write(1000)
	k.wantIdle("the congestion window is full")
	k.now = k.c.timers[TimerProbe]
	k.stack.Advance(k.now)
	k.want("one segment beyond it", "P. 4001:5001(1000) ack 1")
	if k.c.stats().Retransmits != 0 {
		t.Error("old data went out")
	}
}

func TestProbeThatRepairedALossIsCongestion(t *testing.T) { // RFC 8985 section 7.4.2
	k := paced(t, plain(func(c *ConnConfig) { c.LossProbe = On }))
	k.in(". 1:1(0) ack 3001 win 65535")
	k.now = k.c.timers[TimerProbe]
	k.stack.Advance(k.now)
	k.want("probe", "P. 3001:4001(1000) ack 1")
	before := k.c.cc.Window()
	k.advance(40 * time.Millisecond)
	k.in(". 1:1(0) ack 4001 win 65535")
	k.write(1000)
	k.want("on", "P. 4001:5001(1000) ack 1")
	k.advance(40 * time.Millisecond)
	k.in(". 1:1(0) ack 5001 win 65535")
	if after := k.c.cc.Window(); after >= before {
		t.Errorf("the window went from %d to %d", before, after)
	}
}

func TestOneProbeAtATime(t *testing.T) {
	k := paced(t, plain(func(c *ConnConfig) { c.LossProbe = On }))
	k.now = k.c.timers[TimerProbe]
	k.stack.Advance(k.now)
	k.want("probe", "P. 3001:4001(1000) ack 1")
	k.wantIdle("and then the RTO's turn")
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	k.want("from the start", ". 1:1001(1000) ack 1")
	if k.c.stats().Timeouts != 1 {
		t.Errorf("%d timeouts", k.c.stats().Timeouts)
	}
}

func TestNoProbeWithoutSACK(t *testing.T) {
	k := establishedWith(t, plain(func(c *ConnConfig) { c.LossProbe = On }), "mss 1000", 65535)
	k.sendSegments(2)
	if k.c.timers[TimerProbe] != 0 {
		t.Error("armed")
	}
}

// atOnce is an established connection whose round trip takes 40 ms, with n
// segments of 1000 octets sent at the same time.
func atOnce(t *testing.T, n int) *talk {
	t.Helper()
	k := dial(t, plain())
	k.want("SYN", "S 0:0(0)")
	k.advance(40 * time.Millisecond)
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>")
	k.want("ACK", ". ack 1")
	k.sendSegments(n)
	k.advance(40 * time.Millisecond)
	return k
}

func TestReorderingTimerFindsTheLoss(t *testing.T) { // RFC 8985 section 6.2, step 5
	k := atOnce(t, 3)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:2001>")
	k.wantIdle("it may be on its way")
	k.advanceToTimer(10 * time.Millisecond) // a quarter of the least round trip
	k.want("it is not", ". 1:1001(1000) ack 1")
}

func TestLossesWaitForTheWindow(t *testing.T) { // RFC 8985 section 9.3
	k := atOnce(t, 10)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 7001:10001>")
	for i := range 4 {
		k.want("as many as arrived and one more", string(segmentText(1+1000*i, 1000, false)))
	}
	k.wantIdle("seven are lost, and PRR lets four go")
}

// RFC 8985 sections 7.2 and 7.3: a second without a measurement, but not after
// the RTO; and then nothing is sent, for nothing was measured.
func TestProbeWithoutAMeasurement(t *testing.T) {
	for rto, want := range map[time.Duration]time.Duration{
		3 * time.Second:        time.Second,
		500 * time.Millisecond: 500 * time.Millisecond,
	} {
		k := established(t, plain(func(c *ConnConfig) { c.LossProbe, c.InitialRTO = On, rto }))
		k.sendSegments(2)
		if got := k.c.timers[TimerProbe].Sub(k.now); got != want {
			t.Errorf("RTO %v: a probe after %v, want %v", rto, got, want)
		}
		if rto > want {
			k.now = k.c.timers[TimerProbe]
			k.stack.Advance(k.now)
			k.wantIdle("no probe before a measurement")
		}
	}
}

// RFC 8985 section 7.3: while a probe is out, new data does not bring another;
// the RTO starts anew instead.
func TestNoSecondProbeBesideTheFirst(t *testing.T) {
	k := paced(t, plain(func(c *ConnConfig) { c.LossProbe = On }))
	k.now = k.c.timers[TimerProbe]
	k.stack.Advance(k.now)
	k.want("probe", "P. 3001:4001(1000) ack 1")
	k.write(1000)
	k.want("new data", "P. 4001:5001(1000) ack 1")
	k.now = k.c.timers[TimerProbe]
	k.stack.Advance(k.now)
	k.wantIdle("no probe")
	if got := k.stack.Deadline().Sub(k.now); got != k.c.rtt.rto() || k.c.timers[TimerRTO] != k.stack.Deadline() {
		t.Errorf("the next deadline is %v away, want an RTO of %v", got, k.c.rtt.rto())
	}
}
