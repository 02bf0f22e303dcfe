package engine_test

import (
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
)

// What is paced arrives whole over a road that loses, damages, doubles and
// reorders, in super-segments too, and does not take longer than its rate and the
// road need.
func TestPacedTransfersOverABadRoad(t *testing.T) {
	bad := simnet.PathConfig{Delay: 5 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.02, Duplicate: 0.01, Corrupt: 0.01, Reorder: 0.02,
		ReorderBy: 3 * time.Millisecond, Bandwidth: 10_000_000}
	for name, conn := range map[string]engine.ConnConfig{
		"by the window": {Pacing: engine.On},
		"by a rate":     {PacingRate: 2_000_000},
		"by both":       {Pacing: engine.On, PacingRate: 500_000},
		"slowly":        {PacingRate: 60_000, SACK: engine.Off},
	} {
		for _, super := range []int{0, 0xffff} {
			t.Run(name, func(t *testing.T) {
				bubble(t, worldConfig{path: bad, super: super, seed: 7, tracer: true, conn: conn}, func(w *world) {
					client, server := w.pair()
					start := time.Now()
					pour(w.t, client, server, 1, 600_000)
					pour(w.t, server, client, 2, 100_000)
					took := time.Since(start)
					t.Logf("700000 octets in %v", took)
					if least := time.Duration(700_000 * int64(time.Second) / max(1, conn.PacingRate)); conn.PacingRate > 0 && took < least*9/10 {
						w.t.Errorf("it took %v, at its rate %v is the least", took, least)
					}
					if took > time.Minute {
						w.t.Errorf("it took %v", took)
					}
				})
			})
		}
	}
}
