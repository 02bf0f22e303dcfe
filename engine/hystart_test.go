package engine

import (
	"testing"
	"time"
)

// A hystartRun feeds whole round trips to a HyStart++.
type hystartRun struct {
	hystart
	n int
}

// trip is one round trip of n ACKs that measure rtt each, and returns the sum of
// the growth where slow start would have n*4.
func (r *hystartRun) trip(n int, rtt time.Duration) (grown int) {
	r.n++
	for range n {
		grown += r.grow(r.n, rtt, 4)
	}
	return grown
}

func newHystart() *hystartRun { return &hystartRun{hystart: hystart{on: true}} }

func (r *hystartRun) inCSS() bool { return r.baseline != 0 }

// RFC 9406 section 4.2: RttThresh is an eighth of the last round's least round
// trip, at least 4 ms and at most 16 ms.
func TestHyStartThreshold(t *testing.T) {
	for _, test := range []struct{ last, least time.Duration }{
		{8 * ms, 12 * ms}, {31 * ms, 35 * ms}, {80 * ms, 90 * ms}, {128 * ms, 144 * ms}, {800 * ms, 816 * ms},
	} {
		r := newHystart()
		r.trip(8, test.last)
		if r.trip(8, test.least-time.Microsecond); r.inCSS() {
			t.Errorf("CSS just below %v after %v", test.least, test.last)
		}
		r = newHystart()
		r.trip(8, test.last)
		if r.trip(8, test.least); !r.inCSS() {
			t.Errorf("no CSS at %v after %v", test.least, test.last)
		}
	}
}

func TestHyStartNeedsEightSamples(t *testing.T) {
	r := newHystart()
	r.trip(8, 100*ms)
	if r.trip(7, 200*ms); r.inCSS() {
		t.Error("seven samples were enough")
	}
	if r.grow(r.n, 0, 4); r.inCSS() {
		t.Error("an ACK without a measurement counted")
	}
	if r.grow(r.n, 200*ms, 4); !r.inCSS() {
		t.Error("eight samples were not enough")
	}
}

// One quick ACK among the slow ones shows that the path is not longer: the least
// of a round counts.
func TestHyStartTakesTheLeast(t *testing.T) {
	r := newHystart()
	r.trip(8, 100*ms)
	r.n++
	r.grow(r.n, 100*ms, 4)
	for range 20 {
		r.grow(r.n, 300*ms, 4)
	}
	if r.inCSS() {
		t.Error("CSS though the least round trip did not grow")
	}
}

// CSS grows a quarter as fast, and ends slow start after five rounds, the one it
// began in among them.
func TestConservativeSlowStartEndsInCongestionAvoidance(t *testing.T) {
	r := newHystart()
	if got := r.trip(8, 100*ms); got != 32 {
		t.Errorf("slow start grew by %d of 32", got)
	}
	r.trip(8, 120*ms)
	for round := 2; round <= cssRounds; round++ {
		if got := r.trip(8, 120*ms); got != 8 {
			t.Errorf("round %d of CSS grew by %d, want a quarter of 32", round, got)
		}
		if r.over() {
			t.Errorf("over in round %d", round)
		}
	}
	if r.trip(1, 120*ms); !r.over() {
		t.Error("not over after five rounds")
	}
}

// A round whose least round trip is below that at which CSS began shows that the
// growth was an accident: RFC 9406 section 4.2.
func TestSpuriousExitResumesSlowStart(t *testing.T) {
	r := newHystart()
	r.trip(8, 100*ms)
	r.trip(8, 130*ms)
	if r.trip(7, 110*ms); !r.inCSS() {
		t.Error("CSS ended before eight samples")
	}
	if r.trip(8, 110*ms); r.inCSS() {
		t.Fatal("CSS goes on")
	}
	if got := r.trip(8, 110*ms); got != 32 {
		t.Errorf("slow start grew by %d of 32", got)
	}
}

func TestGrowthInCSSLosesNoOctet(t *testing.T) {
	r := newHystart()
	r.trip(8, 100*ms)
	r.trip(8, 120*ms)
	r.n++
	grown := 0
	for range 400 {
		grown += r.grow(r.n, 120*ms, 1)
	}
	if grown != 100 {
		t.Errorf("400 octets one by one grew the window by %d", grown)
	}
}

// In a controller: round trips that grow end slow start without a loss, at the
// window then; with HyStart off they do not.
func TestHyStartEndsSlowStart(t *testing.T) {
	for _, on := range []Switch{On, Off} {
		for _, name := range []string{"reno", "cubic"} {
			c, err := newController(&ConnConfig{Congestion: name, HyStart: on}, testMSS, 10, nil)
			if err != nil {
				t.Fatal(err)
			}
			now := Time(1)
			for round := range 12 {
				rtt := 40*ms + time.Duration(max(0, round-3))*10*ms
				now = now.Add(rtt)
				for left := c.Window() / testMSS; left > 0; left-- {
					c.OnAck(Ack{Now: now, Acked: testMSS, InFlight: c.Window() - testMSS, RTT: rtt, SRTT: rtt, Round: round})
				}
			}
			if ended := c.Ssthresh() < maxWindow; ended != (on == On) {
				t.Errorf("%s, HyStart %d: ssthresh %d, window %d", name, on, c.Ssthresh(), c.Window())
			}
		}
	}
}

// HyStart++ is for the initial slow start, while ssthresh is at its initial value
// (RFC 9406 section 4.3).
func TestHyStartIsForTheFirstSlowStart(t *testing.T) {
	c := mustController(t, "reno", testMSS, 10)
	c.OnRTO(1, 100*testMSS)
	for round := range 5 {
		rtt := 40*ms + time.Duration(round)*20*ms
		for range 10 {
			c.OnAck(Ack{Now: 2, Acked: testMSS, InFlight: c.Window() - testMSS, RTT: rtt, SRTT: rtt, Round: round})
		}
	}
	if c.Ssthresh() != 50*testMSS || c.Window() != 50*testMSS {
		t.Errorf("window %d, ssthresh %d: want slow start up to 50 segments", c.Window(), c.Ssthresh())
	}
}
