package engine

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A responsePoint is a path without a bottleneck on which each data segment is
// lost by chance. The round trip and the loss are such that the response function
// applies: windows of eight segments and more, so that losses end in fast
// recoveries and not in timeouts, and where CUBIC is meant a round trip so long
// that the cubic function and not Reno's line decides.
type responsePoint struct {
	congestion string
	rtt        time.Duration
	loss       float64
	trips      int // round trips to average over
}

// meanWindow measures throughput times round trip, in segments, once the
// overshoot of slow start is forgotten.
func (p responsePoint) meanWindow(t *testing.T) float64 {
	const seeds = 4
	octets, seconds := 0, 0.0
	for seed := range uint64(seeds) {
		c := newCourse(t, seed, coursePath{rtt: p.rtt, loss: p.loss,
			cfg:    ConnConfig{Congestion: p.congestion, SendBuffer: 1 << 22},
			server: ConnConfig{ReceiveBuffer: 1 << 22}}, -1)
		c.run(150 * p.rtt)
		span := time.Duration(p.trips/seeds) * p.rtt
		octets += c.run(span)
		seconds += span.Seconds()
	}
	return float64(octets) / seconds * p.rtt.Seconds() / courseMSS
}

// mathis is the closed form for Reno with losses at equal distances, sqrt(3/2p)
// segments (Mathis et al., 1997). It has no factor for delayed ACKs, for we count
// octets and not ACKs (RFC 3465). With random losses the constant is 1.31 (Ott,
// Kemperman and Mathis).
func mathis(p float64) float64 { return math.Sqrt(1.5 / p) }

// cubicForm is the closed form of RFC 9438 section 5.1 with C 0.4 and beta 0.7. It
// too has losses at equal distances, and no fast convergence.
func cubicForm(p, rtt float64) float64 { return 1.054 * math.Pow(rtt/p, 0.75) }

// response is the response function without a closed form: the equations of RFC 5681
// section 3.1 or RFC 9438 section 4 in floating point, a round trip at a time, with
// the losses random, a round trip until a loss is seen and one for the recovery.
func response(congestion string, p, rtt float64) float64 {
	beta, alpha, c := 0.7, 9.0/17, 0.4
	if congestion == "reno" {
		beta, alpha, c = 0.5, 1, 0
	}
	rng := rand.New(rand.NewPCG(5, 5))
	drop := func(n float64) bool { return rng.Float64() < 1-math.Pow(1-p, n) }
	w, wMax, prior, est, at, k, sum := 10.0, 10.0, 10.0, 10.0, 0.0, 0.0, 0.0
	const trips = 400_000
	for lost, recovers, i := false, false, 0; i < trips; i++ {
		sum += w
		switch {
		case recovers:
			recovers, lost = false, drop(w)
			continue
		case lost: // a round trip ago: now the reports arrive
			if prior = w; w < wMax {
				wMax = w * (1 + beta) / 2
			} else {
				wMax = w
			}
			w = max(w*beta, 2)
			est, at, k, lost, recovers = w, 0, 0, false, true
			if c > 0 {
				k = math.Cbrt(max(0, wMax-w) / c)
			}
			continue
		}
		lost = drop(w)
		at += rtt
		if est >= prior {
			est++
		} else {
			est += alpha
		}
		w = max(w, est)
		if c > 0 {
			w = max(w, min(1.5*w, c*math.Pow(at-k, 3)+wMax))
		}
	}
	return sum / trips
}

// TestResponseFunctions: at losses from 0.1 to 2 % the mean window is within a
// tenth of what the algorithm's response function says.
func TestResponseFunctions(t *testing.T) {
	points := []responsePoint{
		{"reno", 100 * ms, 0.001, 3000},
		{"reno", 100 * ms, 0.005, 3000},
		{"reno", 30 * ms, 0.01, 3000},
		{"reno", 200 * ms, 0.02, 3000},
		{"cubic", 400 * ms, 0.002, 1200},
		{"cubic", 400 * ms, 0.005, 2000},
		{"cubic", 800 * ms, 0.01, 2000},
		{"cubic", 800 * ms, 0.02, 2000},
	}
	for _, p := range points {
		if raced && p.loss < 0.02 {
			continue // make test has the costly ones without the race detector
		}
		want, closed := response(p.congestion, p.loss, p.rtt.Seconds()), mathis(p.loss)
		if p.congestion == "cubic" {
			closed = cubicForm(p.loss, p.rtt.Seconds())
		}
		got := p.meanWindow(t)
		t.Logf("%-5s rtt %v loss %.3f: %.1f segments, the response function has %.1f (%.2f), the closed form %.1f (%.2f)",
			p.congestion, p.rtt, p.loss, got, want, got/want, closed, got/closed)
		if math.Abs(got/want-1) > 0.1 {
			t.Errorf("%s, rtt %v, loss %.3f: a mean window of %.1f segments, want %.1f within a tenth", p.congestion, p.rtt, p.loss, got, want)
		}
	}
}
