package sim

import (
	"testing"
)

// smokeSeeds is how many plans every test run plays.
const smokeSeeds = 200

func TestSeeds(t *testing.T) {
	for seed := range uint64(smokeSeeds) {
		p := Draw(seed)
		if r := Run(&p, nil); r.Violation != "" {
			t.Errorf("seed %d: %s", seed, r.Violation)
		}
	}
}
