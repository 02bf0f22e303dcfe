package probe_test

import (
	"testing"
	"time"

	"rawtcp/internal/simnet"
)

// engineAnswers is what our own engine answers, by row.
var engineAnswers = map[string]string{
	"A3": "same",
	"C1": "dead",
	"C2": "challenge",
}

// TestEngine holds the battery against our own engine in virtual time.
func TestEngine(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		s := subject{v6: v6}
		r := s.probe(t, keys(engineAnswers)...)
		want(t, r, engineAnswers)
	}
}

// TestNothingIsLeftOpen: when a battery is over, nothing of it is open at the host.
func TestLossIsNoFault(t *testing.T) {
	for seed := range uint64(10) {
		r := subject{seed: seed, road: simnet.PathConfig{Loss: 0.05, Delay: 10 * time.Millisecond}}.probe(t, keys(engineAnswers)...)
		for _, res := range r.Results {
			if res.Verdict.Bad() {
				t.Errorf("seed %d: %s", seed, evidence(r, res.Row.ID))
			}
		}
	}
}
