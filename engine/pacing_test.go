package engine

import (
	"testing"
	"time"

	"rawtcp/segment"
)

// A departure is what left at one moment.
type departure struct {
	at     Time
	octets int
}

// departures notes what data enters a path, by the moment.
func departures(list *[]departure) func(*course, *segment.Segment) fate {
	return func(c *course, s *segment.Segment) fate {
		if last := len(*list) - 1; last >= 0 && (*list)[last].at == c.now {
			(*list)[last].octets += len(s.Payload)
		} else {
			*list = append(*list, departure{c.now, len(s.Payload)})
		}
		return fate{}
	}
}

// since drops what left before a moment.
func since(list []departure, from Time) []departure {
	for len(list) > 0 && list[0].at < from {
		list = list[1:]
	}
	return list
}

func wide(cfg ConnConfig) coursePath {
	cfg.SendBuffer = 4 << 20
	return coursePath{rtt: 20 * ms, cfg: cfg, server: ConnConfig{ReceiveBuffer: 4 << 20}}
}

// A rate is kept within two parts in a hundred, and nothing larger than a burst
// leaves at one moment, wherever the windows would let everything go.
func TestPacingRateIsKept(t *testing.T) {
	for _, auto := range []Switch{Off, On} {
		for _, rate := range []int64{20_000, 300_000, 5_000_000, 80_000_000} {
			path := wide(ConnConfig{PacingRate: rate, Pacing: auto})
			var list []departure
			path.fate = departures(&list)
			c := newCourse(t, 1, path, -1)
			c.run(time.Second)
			from := c.now
			span := max(300*ms, time.Duration(200*2*courseMSS*int64(time.Second)/rate))
			c.run(span)
			list = since(list, from)
			sum, largest := 0, 0
			for _, d := range list {
				sum, largest = sum+d.octets, max(largest, d.octets)
			}
			got, burst := float64(sum)/span.Seconds(), max(int(rate/1000), 2*courseMSS)
			t.Logf("%9d octets/s, with the window too: %d: %.3f of it in %d bursts, the largest %d of %d", rate, auto, got/float64(rate), len(list), largest, burst)
			if got < 0.98*float64(rate) || got > 1.02*float64(rate) || largest > burst {
				t.Errorf("rate %d: %.0f octets/s, the largest burst has %d, want at most %d", rate, got, largest, burst)
			}
			if in := c.a.Info(c.now); in.PacingRate != rate {
				t.Errorf("told is %d, want %d", in.PacingRate, rate)
			}
		}
	}
}

// Beyond the initial window no more leaves at one moment than the window has for a
// millisecond, in slow start, in congestion avoidance, in recoveries and after a pause.
func TestPacedWindowLeavesNoBurst(t *testing.T) {
	path := wide(ConnConfig{Pacing: On})
	path.rtt, path.rate, path.queue = courseRTT, mbit10, 100_000
	var note departure
	worst, bursts, limit := 0.0, 0, 0
	path.fate = func(c *course, s *segment.Segment) fate {
		if c.a == nil || c.a.snd.round == 0 {
			return fate{}
		}
		if note.at != c.now {
			note, limit = departure{at: c.now}, 0
			bursts++
		}
		note.octets += len(s.Payload)
		limit = max(limit, int(c.a.pacingRate()/1000), 2*courseMSS)
		worst = max(worst, float64(note.octets)/float64(limit))
		return fate{lost: c.data == 400 || c.data == 1000}
	}
	c := newCourse(t, 1, path, 3000*courseMSS)
	c.run(8 * time.Second)
	c.left = 200 * courseMSS
	c.run(4 * time.Second)
	st := c.a.stats()
	t.Logf("%d bursts, the largest %.2f of what may be; %d recoveries, %d timeouts", bursts, worst, st.FastRecoveries, st.Timeouts)
	if c.read != 3200*courseMSS || st.FastRecoveries == 0 || worst > 1 {
		t.Errorf("%d octets arrived, %d recoveries, the largest burst is %.2f of what may be", c.read, st.FastRecoveries, worst)
	}
}

// pacedTalk is an established connection with a round trip of 100 ms.
func pacedTalk(t *testing.T, cfg ConnConfig) *talk {
	t.Helper()
	k := dial(t, cfg)
	k.want("the SYN", "S 0:0(0)")
	k.advance(100 * time.Millisecond)
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>")
	k.want("the handshake's last ACK", ". ack 1")
	return k
}

func (k *talk) wantSegments(why string, from, n int) {
	k.t.Helper()
	for i := range n {
		k.want(why, seq(". ", from+1000*i, 1000)+" ack 1")
	}
	k.wantIdle(why + ", and no more")
}

// The initial window leaves at once (RFC 6928 section 4); then twice the window for
// a round trip while slow start goes on, and 1.2 times afterwards.
func TestPacingRateOfTheWindow(t *testing.T) {
	k := pacedTalk(t, plain(func(c *ConnConfig) { c.Pacing = On }))
	if got := k.c.Info(k.now).PacingRate; got != 0 {
		t.Errorf("before any data the rate is %d", got)
	}
	k.write(60_000)
	k.wantSegments("the initial window", 1, 10)
	k.advance(100 * time.Millisecond)
	k.in(". 1:1(0) ack 10001 win 65535")
	if got := k.c.Info(k.now).PacingRate; got != 400_000 {
		t.Fatalf("window %d, the rate is %d, want 400000: twice the window in 100 ms", k.c.cc.Window(), got)
	}
	k.wantSegments("a burst", 10_001, 2)
	for at := 12_001; at < 30_001; at += 2000 {
		k.advanceToTimer(5 * time.Millisecond)
		k.wantSegments("each after what the one before costs", at, 2)
	}
	k.advance(5 * time.Millisecond)
	k.wantIdle("the congestion window is full")
	k.c.cc.OnLoss(k.now, 20_000)
	if got := k.c.Info(k.now).PacingRate; got != 240_000 {
		t.Errorf("the rate is %d, want 1.2 times what is under way", got)
	}
}

// Time in which there was nothing to send is no credit: a burst, and then the rate.
func TestIdleTimeIsNoCredit(t *testing.T) {
	k := pacedTalk(t, plain(func(c *ConnConfig) { c.PacingRate, c.NoDelay = 1_000_000, true }))
	for at := 1; at < 20_001; at += 4000 {
		k.advance(time.Hour)
		k.write(4000)
		k.want("a burst after an hour", seq(". ", at, 1000)+" ack 1")
		k.want("a burst after an hour", seq(". ", at+1000, 1000)+" ack 1")
		k.wantIdle("and no more")
		k.advanceToTimer(2 * time.Millisecond)
		k.want("a second", seq(". ", at+2000, 1000)+" ack 1")
		k.want("a second", seq("P. ", at+3000, 1000)+" ack 1")
		k.in(". 1:1(0) ack " + num(at+4000) + " win 65535")
	}
}

// What a late timer has cost is made up for at once, as far as mostLate goes.
func TestLateTimerIsMadeUpFor(t *testing.T) {
	for late, n := range map[time.Duration]int{0: 2, time.Millisecond: 2, 2 * time.Millisecond: 4, 3 * time.Millisecond: 4, 100 * time.Millisecond: 18} {
		k := pacedTalk(t, plain(func(c *ConnConfig) { c.PacingRate, c.InitialWindow = 1_000_000, 40 }))
		k.write(30_000)
		k.wantSegments("a burst", 1, 2)
		k.advance(2*time.Millisecond + late)
		k.wantSegments("after "+late.String(), 2001, n)
		k.advanceToTimer(2*time.Millisecond - min(late, mostLate)%(2*time.Millisecond))
	}
}

// What does not wait for the pacer: ACKs, a FIN alone, what a timeout repeats
// first, and probes of a closed window.
func TestWhatIsNotPaced(t *testing.T) {
	slow := plain(func(c *ConnConfig) {
		c.PacingRate, c.InitialRTO, c.MinRTO = 100, 300*time.Millisecond, 300*time.Millisecond
	})
	k := established(t, slow)
	k.write(2000)
	k.want("a burst", ". 1:1001(1000) ack 1")
	k.want("a burst", "P. 1001:2001(1000) ack 1")
	k.in(". 1001:2001(1000) ack 1 win 65535")
	k.want("a report", ". 2001:2001(0) ack 1 win 65535 <nop,nop,sack 1001:2001>")
	k.advance(300 * time.Millisecond)
	k.want("the timeout's first segment", ". 1:1001(1000) ack 1")
	k.wantIdle("but not the next")
	k.in(". 1:1(0) ack 2001 win 65535")
	k.c.CloseWrite(k.now)
	k.want("a FIN", "F. 2001:2001(0) ack 1")

	k = established(t, slow)
	k.write(3000)
	k.wantSegments("a burst", 1, 2)
	k.in(". 1:1(0) ack 2001 win 0")
	k.wantIdle("the window is closed")
	if k.c.timers[TimerPersist] == 0 {
		t.Fatal("nobody asks for a window")
	}
	k.advance(k.c.timers[TimerPersist].Sub(k.now))
	k.want("a window probe", ". 2000:2000(0) ack 1")
}

// A timeout is about what has left: it does not run out while the pacer holds back
// what would restart it.
func TestTimeoutWaitsForThePacer(t *testing.T) {
	k := pacedTalk(t, plain(func(c *ConnConfig) { c.MinRTO = 200 * time.Millisecond }))
	k.write(10_000)
	for i := range 9 {
		k.want("the initial window", seq(". ", 1+1000*i, 1000)+" ack 1")
	}
	k.want("the initial window", "P. 9001:10001(1000) ack 1")
	if err := k.c.SetPacing(false, 1000); err != nil {
		t.Fatal(err)
	}
	k.advance(100 * time.Millisecond)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 4001:10001>")
	k.want("the first hole, at once", ". 1:1001(1000) ack 1")
	k.want("and a burst", ". 1001:2001(1000) ack 1")
	k.want("and a burst", ". 2001:3001(1000) ack 1")
	k.wantIdle("the fourth waits for its turn")
	k.advance(100 * time.Millisecond)
	k.in(". 1:1(0) ack 3001 win 65535 <nop,nop,sack 4001:10001>")
	k.wantIdle("two seconds for a burst")
	due := k.c.paceDue()
	if rto := k.c.timers[TimerRTO]; rto <= due {
		t.Errorf("the timeout comes %v before the pacer lets the segment go", due.Sub(rto))
	}
	k.advanceToTimer(due.Sub(k.now))
	k.want("now", ". 3001:4001(1000) ack 1")
	if got := k.c.timers[TimerRTO].Sub(k.now); got != k.c.rtt.rto() || k.c.stats().Timeouts > 0 {
		t.Errorf("the timeout is due in %v, want the whole RTO; there were %d before", got, k.c.stats().Timeouts)
	}
}

// A super-segment is no larger than a burst, and so grows with the rate.
func TestSuperSegmentsFollowThePace(t *testing.T) {
	for rate, count := range map[int64]int{1000: 2, 2_500_000: 2, 5_000_000: 5, 8_999_999: 8, 100_000_000: 10} {
		k := superTalk(t, 0xffff, plain(func(c *ConnConfig) { c.PacingRate = rate }))
		k.write(30_000)
		if !k.stack.Transmit(k.now, &k.seg) || k.seg.Count() != count {
			t.Errorf("%d octets/s: %d segments together, want %d", rate, k.seg.Count(), count)
		}
	}
}

// L is without a bound where the window is paced: RFC 9406 section 4.3.
func TestPacedSlowStartTakesWholeACKs(t *testing.T) {
	for pacing, want := range map[Switch]int{On: 60, Off: 48} {
		cc, err := newController(&ConnConfig{Congestion: "reno", Pacing: pacing}, testMSS, 40, nil)
		if err != nil {
			t.Fatal(err)
		}
		cc.OnAck(Ack{Now: 1, Acked: 20 * testMSS, InFlight: 20 * testMSS, SRTT: time.Second})
		if got := cc.Window() / testMSS; got != want {
			t.Errorf("pacing %d: one ACK of 20 segments takes the window from 40 to %d, want %d", pacing, got, want)
		}
	}
}

// Pacing can be turned on and off while data waits, and is refused out of its range.
func TestPacingIsChangedOnTheWay(t *testing.T) {
	k := pacedTalk(t, plain(func(c *ConnConfig) { c.PacingRate = 1000 }))
	k.write(6000)
	k.wantSegments("a burst", 1, 2)
	if err := k.c.SetPacing(false, 1<<41); err == nil {
		t.Error("a rate beyond the largest was taken")
	}
	if err := k.c.SetPacing(false, 100_000); err != nil {
		t.Fatal(err)
	}
	k.wantIdle("what has left costs what it did then")
	if err := k.c.SetPacing(false, 0); err != nil {
		t.Fatal(err)
	}
	k.want("all that may", ". 2001:3001(1000) ack 1")
	if k.c.paceDue() != 0 || k.c.Info(k.now).PacingRate != 0 {
		t.Errorf("armed for %v, rate %d", k.c.paceDue(), k.c.Info(k.now).PacingRate)
	}
}

// An unpaced connection has no memory for a pacer.
func TestUnpacedConnectionHasNoPacer(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1000", 65535)
	k.write(5000)
	for k.stack.Transmit(k.now, &k.seg) {
	}
	if k.c.cold != nil {
		t.Error("it holds what only an unusual connection needs")
	}
}

// What the pacer keeps is recounted.
func TestAuditOfThePacer(t *testing.T) {
	for what, spoil := range map[string]func(c *Conn){
		"armed while nothing paces": func(c *Conn) { c.set(func(cfg *ConnConfig) { cfg.PacingRate = 0 }) },
		"a burst of the future":     func(c *Conn) { c.cold.pacer.begun = c.cold.pacer.now + 1 },
		"a timer nobody waits for":  func(c *Conn) { c.cold.pacer.due = c.cold.pacer.now + 1 },
	} {
		k := pacedTalk(t, plain(func(c *ConnConfig) { c.PacingRate = 1000 }))
		k.write(6000)
		k.wantSegments("a burst", 1, 2)
		if err := k.c.Audit(); err != nil {
			t.Fatal(err)
		}
		if spoil(k.c); k.c.Audit() == nil {
			t.Errorf("%s: nobody sees it", what)
		}
	}
}

// Where a queue is shorter than half of what a window of slow start has at once,
// pacing saves its tail: the transfer takes less than two thirds of the time.
func TestPacingHelpsBehindAShortQueue(t *testing.T) {
	const octets = 1_000_000
	took := map[Switch]time.Duration{}
	for _, pacing := range []Switch{Off, On} {
		path := wide(ConnConfig{Pacing: pacing})
		path.rtt, path.rate, path.queue = 300*ms, mbit10, 15_000
		c := newCourse(t, 1, path, octets)
		for c.read < octets && c.now.Sub(c.began) < time.Minute {
			c.run(5 * ms)
		}
		took[pacing] = c.now.Sub(c.began)
	}
	t.Logf("%v without, %v with", took[Off], took[On])
	if took[On] > took[Off]*2/3 {
		t.Errorf("%v with pacing, %v without", took[On], took[Off])
	}
}
