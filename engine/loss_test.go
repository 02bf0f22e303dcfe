package engine

import (
	"fmt"
	"testing"
	"time"
)

// sent writes n segments of 1000 octets and takes them.
func (k *talk) sendSegments(n int) {
	k.t.Helper()
	k.write(1000 * n)
	for i := range n {
		k.want("first transmission", string(segmentText(1+1000*i, 1000, i == n-1)))
	}
}

func TestRetransmissionTimeout(t *testing.T) {
	k := established(t, plain())
	k.sendSegments(3)
	k.advanceToTimer(time.Second)
	k.want("the first only: the window is one segment", ". 1:1001(1000) ack 1")
	k.wantIdle("until an ACK")
	k.advanceToTimer(2 * time.Second)
	k.want("backed off", ". 1:1001(1000) ack 1")
	k.advanceToTimer(4 * time.Second)
	k.want("again", ". 1:1001(1000) ack 1")
	k.in(". 1:1(0) ack 1001 win 65535")
	k.want("slow start over what is lost", ". 1001:2001(1000) ack 1")
	k.want("two now", "P. 2001:3001(1000) ack 1")
	k.in(". 1:1(0) ack 3001 win 65535")
	k.wantIdle("all arrived")
	if k.stack.Deadline() != 0 {
		t.Error("a timer is armed with nothing outstanding")
	}
}

func TestPeerThatIsGone(t *testing.T) { // R2
	k := established(t, plain(func(c *ConnConfig) { c.Retries = 3 }))
	k.write(10)
	k.want("data", "P. 1:11(10) ack 1")
	for _, wait := range []time.Duration{1, 2, 4} {
		k.advanceToTimer(wait * time.Second)
		k.want("again", "P. 1:11(10) ack 1")
	}
	k.advanceToTimer(8 * time.Second)
	k.wantErr(ErrTimeout)
}

func TestUserTimeout(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.UserTimeout = 5 * time.Second }))
	k.write(10)
	for k.c.State() != Closed {
		for k.stack.Transmit(k.now, &k.seg) {
		}
		k.now = k.stack.Deadline()
		k.stack.Advance(k.now)
	}
	k.wantErr(ErrTimeout)
	if waited := k.now.Sub(Time(time.Second)); waited != 5*time.Second {
		t.Errorf("after %v", waited)
	}
}

func TestFastRetransmitBySACK(t *testing.T) {
	k := established(t, plain())
	k.sendSegments(6)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:2001>")
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:3001>")
	k.wantIdle("two are not loss")
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:4001>")
	k.want("the hole", ". 1:1001(1000) ack 1")
	k.wantIdle("once")
	k.in(". 1:1(0) ack 6001 win 65535")
	if k.c.loss.recovery {
		t.Error("still in recovery")
	}
	if got := k.c.cc.Window(); got >= 10_000 {
		t.Errorf("the window is %d", got)
	}
}

func TestSACKRecoveryFillsEveryHole(t *testing.T) {
	k := established(t, plain())
	k.sendSegments(8)
	k.advance(50 * time.Millisecond)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:2001>")
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 3001:4001 1001:2001>")
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 3001:5001 1001:2001>")
	k.want("first hole", ". 1:1001(1000) ack 1")
	k.advance(time.Millisecond)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 3001:8001 1001:2001>")
	k.want("second hole", ". 2001:3001(1000) ack 1")
	k.in(". 1:1(0) ack 8001 win 65535")
	k.wantIdle("done")
}

func TestNewRenoWithoutSACK(t *testing.T) { // RFC 6582
	k := establishedWith(t, plain(), "mss 1000", 65535)
	k.sendSegments(6)
	for range 2 {
		k.in(". 1:1(0) ack 1 win 65535")
	}
	k.wantIdle("two duplicates are not loss")
	k.in(". 1:1(0) ack 1 win 65535")
	k.want("the third is", ". 1:1001(1000) ack 1")
	k.in(". 1:1(0) ack 1 win 65535")
	k.wantIdle("no more")
	k.in(". 1:1(0) ack 3001 win 65535")
	k.want("a partial ACK shows the next hole", ". 3001:4001(1000) ack 1")
	k.in(". 1:1(0) ack 6001 win 65535")
	k.wantIdle("done")
	if k.c.loss.recovery {
		t.Error("still in recovery")
	}
}

func TestBadSACKBlocksAreIgnored(t *testing.T) { // CVE-2019-11477
	k := established(t, plain())
	k.sendSegments(4)
	for _, line := range []string{
		". 1:1(0) ack 1 win 65535 <nop,nop,sack 9001:10001>", // never sent
		". 1:1(0) ack 1 win 65535 <nop,nop,sack 3001:2001>",  // backwards
		". 1:1(0) ack 1 win 65535 <nop,nop,sack 0:1>",        // before SND.UNA
		". 1:1(0) ack 1 win 65535 <nop,nop,sack 1501:1502>",  // a part of a segment
	} {
		k.in(line)
		if k.c.snd.sent.sacked != 0 {
			t.Errorf("%s was believed", line)
		}
	}
}

func TestTimeoutForgetsWhatWasReported(t *testing.T) { // RFC 2018 section 8: the peer may renege
	k := established(t, plain())
	k.sendSegments(4)
	k.advance(50 * time.Millisecond)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:4001>")
	k.want("the hole", ". 1:1001(1000) ack 1")
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	if k.c.snd.sent.sacked != 0 {
		t.Error("it still counts")
	}
	k.want("from the start", ". 1:1001(1000) ack 1")
}

func TestKarn(t *testing.T) {
	k := established(t, plain())
	k.sendSegments(1)
	before := k.c.rtt.srtt
	k.advanceToTimer(time.Second)
	k.want("again", "P. 1:1001(1000) ack 1")
	k.advance(10 * time.Millisecond)
	k.in(". 1:1(0) ack 1001 win 65535")
	if k.c.rtt.srtt != before {
		t.Errorf("an ambiguous sample was taken: %v", k.c.rtt.srtt)
	}
}

func TestDupACKsDoNotRestartTheRTO(t *testing.T) {
	k := established(t, plain())
	k.sendSegments(2)
	k.advance(900 * time.Millisecond)
	k.in(". 1:1(0) ack 1 win 65535")
	k.advanceToTimer(100 * time.Millisecond)
	k.want("at the old time", ". 1:1001(1000) ack 1")
}

func TestLostSYNMeansACarefulStart(t *testing.T) { // RFC 6298 section 5.7, RFC 5681 section 3.1
	k := dial(t, plain())
	k.want("SYN", "S 0:0(0)")
	k.advanceToTimer(time.Second)
	k.want("again", "S 0:0(0)")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000>")
	k.write(5000)
	k.want("one segment", ". 1:1001(1000) ack 1")
	k.wantIdle("of initial window")
	k.advanceToTimer(3 * time.Second)
}

func TestSmallerMTUCutsWhatIsOutstanding(t *testing.T) { // RFC 1191, RFC 5927 section 7
	k := established(t, plain())
	k.sendSegments(2)
	k.c.setMTU(k.now, 640) // 600 octets of payload
	k.want("in pieces", ". 1:601(600) ack 1")
	k.want("in pieces", ". 601:1001(400) ack 1")
	k.want("in pieces", ". 1001:1601(600) ack 1")
	k.want("in pieces", "P. 1601:2001(400) ack 1")
}

// Duplicate ACKs count only in a row, also where segments are smaller than the
// MSS: else a few strays add up to a loss, and to room in the congestion window.
func TestStrayDuplicateACKsDoNotAddUp(t *testing.T) {
	k := establishedWith(t, plain(func(c *ConnConfig) { c.NoDelay = true }), "mss 1000", 65535)
	for i := range 5 {
		k.write(10)
		k.want("a small segment", fmt.Sprintf("P. %d:%d(10) ack 1", 1+10*i, 11+10*i))
	}
	for i := range 4 {
		k.in(fmt.Sprintf(". 1:1(0) ack %d win 65535", 1+10*i))
		k.in(fmt.Sprintf(". 1:1(0) ack %d win 65535", 1+10*i))
		k.wantIdle("no three in a row")
	}
}

func TestACKRestartsTheTimerWithItsOwnSample(t *testing.T) { // RFC 6298 section 5.3
	k := establishedWith(t, plain(), "mss 1000", 65535)
	k.write(2000)
	k.want("first", ". 1:1001(1000) ack 1")
	k.want("second", "P. 1001:2001(1000) ack 1")
	k.advance(100 * time.Millisecond)
	k.in(". 1:1(0) ack 1001 win 65535")
	k.advanceToTimer(300 * time.Millisecond) // 100 + 4*50
	k.want("again", "P. 1001:2001(1000) ack 1")
}

// "a segment is never retransmitted too early, i.e., less than one RTO after the
// previous transmission of that segment": RFC 6298 section 5. On a path whose
// round trip hardly varies the timer would else expire just before the ACK of a
// fast retransmission.
func TestFastRetransmissionRestartsTheRTO(t *testing.T) {
	k := tenInFlight(t, "mss 1000,sackOK")
	k.advance(150 * ms)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:6001>")
	k.want("the hole", ". 1:1001(1000) ack 1")
	if got := k.c.timers[TimerRTO].Sub(k.now); got != k.c.rtt.rto() {
		t.Errorf("the RTO is due in %v, want %v", got, k.c.rtt.rto())
	}
}

// What limited transmit sent at the same instant before a retransmission was not
// sent after it, whatever the sequence numbers say.
func TestOrderOfTransmissionsAtOneInstant(t *testing.T) {
	k := tenInFlight(t, "mss 1000,sackOK")
	k.advance(100 * ms)
	for _, end := range []int{2001, 3001, 4001} {
		k.in(fmt.Sprintf(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:%d>", end))
		for k.stack.Transmit(k.now, &k.seg) { // two new ones, then the hole
		}
	}
	k.advance(100 * ms)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:12001>") // the new ones arrive first
	for k.stack.Transmit(k.now, &k.seg) {
		if k.seg.Seq == k.iss.Add(1) {
			t.Error("the hole is sent again though its retransmission may be on its way")
		}
	}
}

// After a timeout the timer is started once, by what is sent again: an event for
// each start would tell of two.
func TestTimeoutStartsTheTimerOnce(t *testing.T) {
	k := established(t, plain())
	k.sendSegments(2)
	armed := &armings{talk: k}
	k.stack.cfg.Tracer = armed
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	k.now++ // a clock goes on between a timer and what it causes
	k.want("again", ". 1:1001(1000) ack 1")
	if armed.n != 1 || k.stack.Deadline() != k.now.Add(k.c.rtt.rto()) {
		t.Errorf("armed %d times, due in %v", armed.n, k.stack.Deadline().Sub(k.now))
	}
}

// armings counts how often the retransmission timer is armed.
type armings struct {
	*talk
	n int
}

func (a *armings) Trace(e *Event) {
	if e.Kind == EventTimerArmed && e.Timer == TimerRTO {
		a.n++
	}
	a.talk.Trace(e)
}

// A peer that reports all before the retransmission of a timeout has left, and
// acknowledges nothing, does not leave us without a timer.
func TestReportOfAllAfterATimeoutLeavesATimer(t *testing.T) {
	k := established(t, plain())
	k.sendSegments(2)
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	k.in(". 1:1(0) ack 1 win 65535 <sack 1:2001>")
	k.wantIdle("nothing is missing")
	if k.stack.Deadline().IsZero() {
		t.Fatal("two segments are outstanding, and nothing is timed")
	}
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	k.want("it may have discarded what it reported", ". 1:1001(1000) ack 1")
}
