package probe

import (
	"testing"
	"time"
)

func TestRule(t *testing.T) {
	for want, lists := range map[string][][]float64{
		"never":        {{}},
		"once":         {{1}},
		"backoff":      {{1, 3}, {1.03, 3.09, 7.28, 15.4, 31.5}, {3, 7, 15, 31}, {1, 3.5, 8, 20}},
		"constant":     {{1, 2}, {1, 2, 3.05, 4, 5}},
		"late-backoff": {{1, 2, 3, 4, 5, 7, 11, 19}, {1, 2, 4, 8}},
		"irregular":    {{1, 3, 4}, {1, 1.5, 2}, {5, 6, 20, 21}},
	} {
		for _, list := range lists {
			if got := rule(inSeconds(list...)); got != want {
				t.Errorf("%v is %s, want %s", list, got, want)
			}
		}
	}
}

// Answers of ours that were late are no fault of the host's, and an early one
// makes no order where there is none.
func TestRuleOfProbes(t *testing.T) {
	late := []float64{0.208, 0.654, 2.35, 4.31, 8.22, 14.9, 28.2} // a host that waits 0.2 s, 0.4 s … after each answer
	for _, test := range []struct {
		times, waits []float64
		want         string
	}{
		{late, []float64{0.208, 0.654, 1.74, 3.47, 6.95, 13.6, 26.9}, "backoff"},
		{late, late, "irregular"},
		{[]float64{0.2, 0.6, 1.4, 3}, late, "backoff"},
	} {
		if got := ruleOfProbes(inSeconds(test.times...), inSeconds(test.waits...)); got != test.want {
			t.Errorf("probes at %v, after waits %v: %s, want %s", test.times, test.waits, got, test.want)
		}
	}
}

func inSeconds(list ...float64) (times []time.Duration) {
	for _, s := range list {
		times = append(times, time.Duration(s*float64(time.Second)))
	}
	return times
}

// The host waits since our answer to its last probe, if that left before the next one came.
func TestHostWaited(t *testing.T) {
	const before, at = 10 * time.Second, 13 * time.Second
	for answered, want := range map[time.Duration]time.Duration{11 * time.Second: 2 * time.Second, 14 * time.Second: 3 * time.Second} {
		if got := hostWaited(at, before, answered); got != want {
			t.Errorf("answered at %v: waited %v, want %v", answered, got, want)
		}
	}
}
