package engine

import (
	"slices"
	"testing"
)

func TestRenoCongestionAvoidance(t *testing.T) {
	r := &ccRun{mustController(t, "reno", testMSS, 10), 1, 50 * ms}
	r.rounds(2)
	r.c.OnLoss(r.now, 40*testMSS)
	if r.c.Window() != 20*testMSS || r.c.Ssthresh() != 20*testMSS {
		t.Fatalf("window %d ssthresh %d after loss with 40 segments in flight", r.c.Window(), r.c.Ssthresh())
	}
	if got, want := r.rounds(5), []int{21, 22, 23, 24, 25}; !slices.Equal(got, want) {
		t.Errorf("windows %v, want one segment more per round trip: %v", got, want)
	}
}

func TestRenoFloor(t *testing.T) {
	c := mustController(t, "reno", testMSS, 10)
	c.OnLoss(1, 1)
	if c.Window() != 2*testMSS || c.Ssthresh() != 2*testMSS {
		t.Errorf("window %d ssthresh %d, want two segments: RFC 5681 equation (4)", c.Window(), c.Ssthresh())
	}
}
