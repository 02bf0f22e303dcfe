package engine

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestCubeRoot(t *testing.T) {
	check := func(n uint64) {
		t.Helper()
		r := cubeRoot(n)
		if r > 2642245 { // the cube root of 2^64
			t.Fatalf("cubeRoot(%d) = %d", n, r)
		}
		if r*r*r > n || (r < 2642245 && (r+1)*(r+1)*(r+1) <= n) {
			t.Errorf("cubeRoot(%d) = %d", n, r)
		}
	}
	for n := range uint64(2000) {
		check(n)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		r := rng.Uint64N(2642245)
		check(r * r * r)
		check(r*r*r - 1)
		check(rng.Uint64() >> rng.UintN(64))
	}
	check(math.MaxUint64)
}

// cubicReference is RFC 9438 section 4 in floating point, for bulk data: the
// window after a stage that has lasted t, seen one round trip ahead.
func cubicReference(wMax, start float64, t float64) float64 {
	k := math.Cbrt((wMax - start) / 0.4)
	return 0.4*math.Pow(t-k, 3) + wMax
}

func TestCubicCurve(t *testing.T) {
	const rtt = 100 * ms
	r := &ccRun{mustController(t, "cubic", testMSS, 10), 1, rtt}
	for r.round() < 1280 {
	}
	r.c.OnLoss(r.now, r.c.Window())
	if got, want := r.c.Window(), 896*testMSS; got != want {
		t.Fatalf("window %d after loss, want 7/10 of 1280 segments", got)
	}
	begin := r.now.Add(rtt)
	var closest float64
	for range 140 {
		got := float64(r.round())
		at := r.now.Sub(begin).Seconds()
		// The window reaches by the end of a round what the curve says for one
		// round trip ahead, short of the approach within the round.
		ahead, behind := cubicReference(1280, 896, at+rtt.Seconds()), cubicReference(1280, 896, at-rtt.Seconds())
		if got > ahead+2 || got < behind-2 {
			t.Fatalf("%.1fs into the stage: window %.0f segments, want between %.0f and %.0f", at, got, behind, ahead)
		}
		if math.Abs(got-1280) < math.Abs(closest-1280) {
			closest = got
		}
	}
	if math.Abs(closest-1280) > 5 {
		t.Errorf("the plateau at W_max = 1280 was passed at %.0f only", closest)
	}
	if end := r.c.Window() / testMSS; end < 1300 {
		t.Errorf("window %d at the end: no convex growth beyond W_max", end)
	}
}

func TestCubicFastConvergence(t *testing.T) {
	c := mustController(t, "cubic", testMSS, 100).(*cubic)
	c.OnLoss(1, 100*testMSS)
	if c.wMax != 100*testMSS {
		t.Errorf("wMax %d after the first loss, want the window", c.wMax)
	}
	c.OnLoss(2, 70*testMSS) // at 70, below the last maximum
	if want := 70 * testMSS * 85 / 100; c.wMax != want {
		t.Errorf("wMax %d, want %d: (1+beta)/2 of the window", c.wMax, want)
	}
	if c.prior != 70*testMSS {
		t.Errorf("cwnd_prior %d, want the window itself", c.prior)
	}
}

// On a short path the curve is nearly flat and Reno's line is above it: nine
// seventeenths of a segment per round trip until cwnd_prior, one thereafter.
func TestCubicRenoFriendlyRegion(t *testing.T) {
	r := &ccRun{mustController(t, "cubic", testMSS, 10), 1, ms}
	r.rounds(1)
	r.c.OnLoss(r.now, 20*testMSS)
	if r.c.Window() != 14*testMSS {
		t.Fatalf("window %d after loss, want 14 segments", r.c.Window())
	}
	r.rounds(17)
	if got := r.c.Window(); got < 25*testMSS || got > 26*testMSS {
		t.Errorf("window %d after 17 round trips, want 25 to 26 segments: six in eleven at 9/17, then one each", got)
	}
	before := r.c.Window()
	r.rounds(10)
	if got := r.c.Window() - before; got < 9*testMSS || got > 11*testMSS {
		t.Errorf("window grew by %d in 10 round trips above cwnd_prior, want ten segments", got)
	}
}

// "target" lies between cwnd and 1.5*cwnd: RFC 9438 section 4.2.
func TestCubicTargetIsBounded(t *testing.T) {
	c := mustController(t, "cubic", testMSS, 100).(*cubic)
	c.OnLoss(1, 20*testMSS) // most of the window was unused: K is long
	now := Time(1)
	for range 300 {
		before := c.Window()
		now = now.Add(3 * time.Second)
		c.OnAck(ackOf(now, 10*before, 0, 3*time.Second))
		if c.Window() < before || c.Window() > before+before/2 {
			t.Fatalf("one ACK moved the window from %d to %d", before, c.Window())
		}
		c.wMax -= c.wMax / 50 // drags the curve below the window
	}
	for _, d := range []time.Duration{time.Hour, 100 * time.Hour, math.MaxInt64} {
		if got := c.at(d); got != maxWindow {
			t.Errorf("W_cubic(%v) = %d, want the largest window", d, got)
		}
	}
	if got := c.curve(1 << 22); got != maxWindow { // the cube has 66 bits
		t.Errorf("curve(2^22 ms) = %d, want the largest window", got)
	}
}

func TestCubicAfterTimeoutStartsFlat(t *testing.T) {
	c := mustController(t, "cubic", testMSS, 100).(*cubic)
	c.OnRTO(1, 100*testMSS)
	now := Time(1)
	for c.Window() < c.Ssthresh() {
		now = now.Add(10 * ms)
		c.OnAck(ackOf(now, c.Window(), 0, 10*ms))
	}
	now = now.Add(10 * ms)
	c.OnAck(ackOf(now, c.Window(), 0, 10*ms))
	if c.k != 0 || c.wMax != 70*testMSS {
		t.Errorf("K %d ms, wMax %d: want K 0 and wMax = the window that the stage began with", c.k, c.wMax)
	}
}

func TestCubicIdleTimeIsNotOnTheCurve(t *testing.T) {
	bulk := func(pause func(*ccRun)) int {
		r := &ccRun{mustController(t, "cubic", testMSS, 10), 1, 50 * ms}
		for r.round() < 100 {
		}
		r.c.OnLoss(r.now, r.c.Window())
		r.rounds(20)
		pause(r)
		r.rounds(10)
		return r.c.Window()
	}
	want := bulk(func(*ccRun) {})
	got := bulk(func(r *ccRun) {
		for range 300 { // five minutes of a trickle
			r.now = r.now.Add(time.Second)
			r.c.OnAck(ackOf(r.now, testMSS, testMSS, r.rtt))
		}
	})
	if got > want+2*testMSS {
		t.Errorf("window %d after a pause, %d without it", got, want)
	}
}

func BenchmarkCubicOnAck(b *testing.B) {
	c := mustController(b, "cubic", testMSS, 100)
	c.OnLoss(1, 100*testMSS)
	now := Time(1)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(50 * time.Microsecond)
		c.OnAck(ackOf(now, 2*testMSS, c.Window(), 50*ms))
		if c.Window() > 1<<20 {
			c.OnLoss(now, 100*testMSS)
		}
	}
}

// RFC 9438 section 4.6: two segments are left after a loss, one after a mark.
func TestReductionFloors(t *testing.T) {
	for _, name := range []string{"reno", "cubic"} {
		c := mustController(t, name, testMSS, 10)
		c.OnLoss(1, testMSS)
		if c.Window() != 2*testMSS || c.Ssthresh() != 2*testMSS {
			t.Errorf("%s: window %d, ssthresh %d after a loss, want two segments", name, c.Window(), c.Ssthresh())
		}
		c.OnECN(1, testMSS)
		if c.Window() != testMSS || c.Ssthresh() != 2*testMSS {
			t.Errorf("%s: window %d, ssthresh %d after a mark, want one segment and two", name, c.Window(), c.Ssthresh())
		}
	}
}

// RFC 9438 section 4.9.2: W_max, K, cwnd_prior, W_est and the place on the curve
// come back, and the time in between does not count.
func TestCubicGoesBackToItsCurve(t *testing.T) {
	r := &ccRun{mustController(t, "cubic", testMSS, 10), 1, 50 * ms}
	for r.round() < 100 {
	}
	r.c.OnLoss(r.now, r.c.Window())
	r.rounds(20)
	c := r.c.(*cubic)
	want := c.cubicCurve
	r.c.OnLoss(r.now, r.c.Window())
	if c.running {
		t.Fatal("the loss left no trace")
	}
	r.c.OnSpurious(r.now.Add(time.Second), maxWindow)
	if c.lastAck != r.now.Add(time.Second) {
		t.Errorf("the second in between counts")
	}
	if got := c.cubicCurve; got != want || c.Window() != c.before.cwnd {
		t.Errorf("came back to %+v, window %d, want %+v", got, c.Window(), want)
	}
}
