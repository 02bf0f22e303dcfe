package engine

import (
	"math"
	"testing"
	"time"
)

const ms = time.Millisecond

func newRTT(initial, min, max time.Duration) *rttEstimator {
	r := new(rttEstimator)
	r.init(initial, min, max)
	return r
}

// The series is worked out by hand from RFC 6298 section 2.
func TestRTTSeries(t *testing.T) {
	r := newRTT(time.Second, ms, 60*time.Second)
	if r.rto() != time.Second || r.srtt != 0 || r.rttvar != 0 {
		t.Fatalf("before a sample: rto %v srtt %v rttvar %v", r.rto(), r.srtt, r.rttvar)
	}
	for i, step := range []struct{ rtt, srtt, rttvar, rto time.Duration }{
		{100 * ms, 100 * ms, 50 * ms, 300 * ms},                            // 2.2: SRTT=R, RTTVAR=R/2
		{100 * ms, 100 * ms, 37500 * time.Microsecond, 250 * ms},           // 3/4*50
		{180 * ms, 110 * ms, 48125 * time.Microsecond, 302500 * ms / 1000}, // 3/4*37.5+1/4*80, 7/8*100+1/8*180
		{30 * ms, 100 * ms, 56093750, 324375 * ms / 1000},                  // 3/4*48.125+1/4*80
	} {
		r.sample(step.rtt)
		if r.srtt != step.srtt || r.rttvar != step.rttvar || r.rto() != step.rto {
			t.Errorf("sample %d: srtt %v rttvar %v rto %v; want %v %v %v",
				i, r.srtt, r.rttvar, r.rto(), step.srtt, step.rttvar, step.rto)
		}
	}
}

func TestRTTGranularityIsTheLeastVariation(t *testing.T) {
	r := newRTT(time.Second, ms, 60*time.Second)
	for range 200 {
		r.sample(80 * ms)
	}
	if r.rto() != 81*ms {
		t.Errorf("rto %v of a path without variation, want SRTT+G = 81ms", r.rto())
	}
}

func TestRTTClamp(t *testing.T) {
	r := newRTT(time.Second, 200*ms, 60*time.Second)
	r.sample(time.Microsecond)
	if r.rto() != 200*ms {
		t.Errorf("rto %v, want the minimum 200ms", r.rto())
	}
	r.init(time.Second, 200*ms, 60*time.Second)
	r.sample(50 * time.Second)
	if r.rto() != 60*time.Second {
		t.Errorf("rto %v, want the maximum 60s", r.rto())
	}
	if r.init(90*time.Second, 200*ms, 60*time.Second); r.rto() != 60*time.Second {
		t.Errorf("initial rto %v above the maximum", r.rto())
	}
	if r.init(0, 0, 0); r.rto() != rttGranularity {
		t.Errorf("rto %v of an estimator without bounds, want one granularity", r.rto())
	}
	if r.init(-5, 3*time.Second, time.Second); r.rto() != 3*time.Second {
		t.Errorf("rto %v with max below min, want min", r.rto())
	}
}

func TestRTTBackoff(t *testing.T) {
	r := newRTT(time.Second, 200*ms, 60*time.Second)
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		if r.rto() != want*time.Second {
			t.Errorf("rto %v, want %v", r.rto(), want*time.Second)
		}
		r.backoff()
	}
	r.sample(100 * ms)
	if r.rto() != 300*ms {
		t.Errorf("rto %v: a sample must end the back-off", r.rto())
	}
	r.backoff()
	r.sample(0)
	r.sample(-time.Second)
	if r.rto() != 600*ms || r.srtt != 100*ms {
		t.Errorf("rto %v srtt %v: a sample that is not positive must change nothing", r.rto(), r.srtt)
	}
}

func TestRTTExtremes(t *testing.T) {
	for _, max := range []time.Duration{60 * time.Second, math.MaxInt64} {
		r := newRTT(1, 1, max)
		for _, rtt := range []time.Duration{math.MaxInt64, 1, math.MaxInt64, math.MinInt64, math.MaxInt64, 1, 1, 1} {
			if r.sample(rtt); rtt == math.MaxInt64 && max == 60*time.Second && r.rto() != max {
				t.Fatalf("rto %v after an absurd sample, want the maximum", r.rto())
			}
			if r.srtt <= 0 || r.rttvar < 0 || r.rto() < rttGranularity || r.rto() > max {
				t.Fatalf("after %v: srtt %v rttvar %v rto %v", rtt, r.srtt, r.rttvar, r.rto())
			}
		}
		for range 1000 {
			r.backoff()
			if r.rto() < rttGranularity || r.rto() > max {
				t.Fatalf("backed off to %v with maximum %v", r.rto(), max)
			}
		}
	}
}
