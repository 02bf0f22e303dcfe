package sim

import (
	"testing"

	"rawtcp/engine"
)

// A super-segment is a way to say it, and nothing else: with it and without, the
// hosts of a plan put the same packets on the road at the same times.
func TestSuperSegmentsLeaveTheRoadAsItIs(t *testing.T) {
	seeds, cut := uint64(150), 0
	if raceDetector {
		seeds = 15
	}
	for seed := range seeds {
		p := Draw(seed)
		var sums [2][32]byte
		for i := range sums {
			p.Super = [2]int{0xffff * i, 0xffff * i}
			rec, err := NewRecorder(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(&p, rec)
			w.safely(w.play)
			if w.violation != "" {
				t.Errorf("seed %d, super-segments %d: %s", seed, p.Super, w.violation)
			}
			sums[i] = rec.Road()
			cut += w.supers
		}
		if sums[0] != sums[1] {
			t.Errorf("seed %d: super-segments have changed what is on the road\n%v", seed, &p)
		}
	}
	if cut < 3*int(seeds) {
		t.Errorf("%d super-segments were sent in all", cut)
	}
	t.Logf("%d super-segments", cut)
}

// The draw has links that cut and links that do not, on both sides.
func TestSuperSegmentsAreDrawn(t *testing.T) {
	var with, without [2]int
	for seed := range uint64(100) {
		p := Draw(seed)
		for side, n := range p.Super {
			if n > 0 {
				with[side]++
			} else {
				without[side]++
			}
		}
	}
	for _, n := range [...]int{with[0], with[1], without[0], without[1]} {
		if n < 20 {
			t.Errorf("of 100 plans with %v and without %v", with, without)
		}
	}
}

// Who paces is drawn, by a rate and by the window, and who does not.
func TestPacingIsDrawn(t *testing.T) {
	var auto, rated, bare int
	for seed := range uint64(100) {
		p := Draw(seed)
		for i := range p.Talks {
			for _, c := range p.Talks[i].Conf {
				switch {
				case c.Pacing == engine.On:
					auto++
				case c.PacingRate > 0:
					rated++
				default:
					bare++
				}
			}
		}
	}
	if auto < 100 || rated < 50 || bare < 100 {
		t.Errorf("paced by the window %d, by a rate alone %d, not at all %d", auto, rated, bare)
	}
}
