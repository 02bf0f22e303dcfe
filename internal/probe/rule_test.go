package probe

import (
	"testing"
	"time"
)

func TestRule(t *testing.T) {
	for want, seconds := range map[string][][]float64{
		"never":        {{}},
		"once":         {{1}},
		"backoff":      {{1, 3}, {1.03, 3.09, 7.28, 15.4, 31.5}, {3, 7, 15, 31}, {1, 3.5, 8, 20}},
		"constant":     {{1, 2}, {1, 2, 3.05, 4, 5}},
		"late-backoff": {{1, 2, 3, 4, 5, 7, 11, 19}, {1, 2, 4, 8}},
		"irregular":    {{1, 3, 4}, {1, 1.5, 2}, {5, 6, 20, 21}},
	} {
		for _, list := range seconds {
			var times []time.Duration
			for _, s := range list {
				times = append(times, time.Duration(s*float64(time.Second)))
			}
			if got := rule(times); got != want {
				t.Errorf("%v is %s, want %s", list, got, want)
			}
		}
	}
}
