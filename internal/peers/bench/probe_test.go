package bench

import (
	"testing"
	"time"

	"rawtcp/internal/ping"
)

// A probe that was answered and not timed, or not reset, is no probe.
func TestAnswered(t *testing.T) {
	stats := func(replies, timed, resets int) ping.Stats {
		s := ping.Stats{Sent: 100, Replies: replies, SegmentsSent: 100 + resets}
		for range timed {
			s.Times.Add(time.Millisecond)
		}
		return s
	}
	for _, test := range []struct {
		name     string
		from, to ping.Stats
		want     float64 // 0: refused
	}{
		{"all", stats(10, 10, 10), stats(50, 50, 50), 20},
		{"none", stats(10, 10, 10), stats(10, 10, 10), 0},
		{"not all timed", stats(10, 10, 10), stats(50, 49, 50), 0},
		{"not all reset", stats(10, 10, 10), stats(50, 50, 49), 0},
	} {
		got, err := answered(test.from, test.to, test.to, 2*time.Second)
		if (err == nil) != (test.want > 0) || got[probesPerSecond] != test.want {
			t.Errorf("%s: %v, %v", test.name, got, err)
		}
	}
}
