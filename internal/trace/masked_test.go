package trace

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"rawtcp/engine"
)

// A register writes down what the summaries of a side say: whenever a connection
// is told to be over, for then it may be taken, and whenever both sides are silent.
type register struct {
	*Collector
	t     *testing.T
	all   bool // asks for every event
	lines []string
	told  map[engine.EventKind]int
}

func newRegister(t *testing.T, all bool) *register {
	return &register{Collector: NewCollector(), t: t, all: all, told: map[engine.EventKind]int{}}
}

func (r *register) Interest() engine.Interest {
	if r.all {
		return engine.Everything
	}
	return r.Collector.Interest()
}

func (r *register) Trace(e *engine.Event) {
	r.Collector.Trace(e)
	r.told[e.Kind]++
	if e.Kind == engine.EventState && e.To == engine.Closed {
		r.note("over", e.At)
	}
}

func (r *register) note(when string, now engine.Time) {
	for _, id := range r.Over(true) {
		sum, _ := r.Peek(id)
		text, err := json.Marshal(sum)
		if err != nil {
			r.t.Fatal(err)
		}
		r.lines = append(r.lines, fmt.Sprintf("%s at %d: %s", when, now, text))
	}
}

// compareSummaries plays a story twice, with every event told and with those
// alone that the summary asks for, and wants the same summaries at every moment.
func compareSummaries(t *testing.T, v6 bool, play func(*story)) (masked [2]*register) {
	t.Helper()
	var full [2]*register
	for _, run := range []*[2]*register{&full, &masked} {
		s := newUnseen(t, v6)
		for side := range run {
			run[side] = newRegister(t, run == &full)
			s.follow(side, run[side])
		}
		s.settled = func() {
			for _, r := range run {
				r.note("silent", s.now)
			}
		}
		play(s)
		s.run()
	}
	for side := range full {
		for i := range max(len(full[side].lines), len(masked[side].lines)) {
			a, b := "nothing", "nothing"
			if i < len(full[side].lines) {
				a = full[side].lines[i]
			}
			if i < len(masked[side].lines) {
				b = masked[side].lines[i]
			}
			if a != b {
				t.Fatalf("side %d:\nall events    %s\nas asked for  %s", side, a, b)
			}
		}
		if n := full[side].told[engine.EventTally]; n > 0 {
			t.Errorf("side %d: %d tallies, though every event was told", side, n)
		}
	}
	return masked
}

// A summary is the same whether every event is told or only what the summary
// asks for: in every golden story, at every moment.
func TestSummaryNeedsNoMoreThanItAsksFor(t *testing.T) {
	for _, p := range plots {
		for _, v6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/v6=%t", p.name, v6), func(t *testing.T) {
				compareSummaries(t, v6, p.play)
			})
		}
	}
}

// And over bad roads, with data both ways and every kind of end.
func TestSummaryNeedsNoMoreOnBadRoads(t *testing.T) {
	var tallies, segments int
	for seed := range uint64(60) {
		for _, r := range compareSummaries(t, seed%2 == 0, func(s *story) { playStorm(s, seed) }) {
			tallies += r.told[engine.EventTally]
			segments += r.told[engine.EventSegmentIn] + r.told[engine.EventSegmentOut]
			for _, kind := range []engine.EventKind{engine.EventTimerArmed, engine.EventTimerStopped, engine.EventDataIn, engine.EventDataOut} {
				if r.told[kind] > 0 {
					t.Errorf("seed %d: %d events of kind %d, which the summary does not ask for", seed, r.told[kind], kind)
				}
			}
		}
	}
	t.Logf("%d tallies, %d segments told", tallies, segments)
	if tallies < 1000 {
		t.Errorf("%d tallies: nothing was compared", tallies)
	}
}

// playStorm is a connection, at times two, with data both ways at random moments,
// loss, duplicates, overtaking and damage, and one of the ends there are. Its
// chance comes from the seed, and is drawn in the order in which things happen.
func playStorm(s *story, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	lossy := []float64{0, 0.01, 0.1, 0.3}[rng.IntN(4)]
	s.rules = append(s.rules, func(side, _ int, pkt []byte) []byte {
		switch luck := rng.Float64(); {
		case luck < lossy:
			return nil
		case luck < lossy+0.02:
			s.plan(s.now.Add(time.Duration(rng.IntN(60))*time.Millisecond), func() { s.stacks[1-side].Deliver(s.now, pkt, 0) })
		case luck < lossy+0.04:
			s.plan(s.now.Add(wireDelay+time.Duration(rng.IntN(60))*time.Millisecond), func() { s.stacks[1-side].Deliver(s.now, pkt, 0) })
			return nil
		case luck < lossy+0.05:
			return damaged(pkt)
		}
		return pkt
	})
	s.listen(func(c *engine.ListenConfig) {
		if rng.IntN(4) == 0 {
			c.Cookies, c.Conn.ISN = engine.CookiesAlways, nil
		}
		if rng.IntN(4) == 0 {
			c.Conn.ReceiveBuffer = 3000
		}
		if rng.IntN(4) == 0 {
			c.Conn.SACK = engine.Off
		}
	})
	s.dial(client, func(c *engine.ConnConfig) { c.Retries = 5 })
	writes := 1 + rng.IntN(30)
	for range writes {
		side, n := rng.IntN(2), 1+rng.IntN(20_000)
		s.at(100+rng.IntN(3000), func() {
			if c := s.conns[side]; c != nil { // what does not fit is not written
				_, _ = c.Write(s.now, make([]byte, n))
			}
		})
	}
	first := rng.IntN(2)
	s.at(100+rng.IntN(6000), func() {
		if s.conns[first] == nil {
			return
		}
		switch rng.IntN(6) {
		case 0:
			s.abort(first)
		case 1:
			s.conns[first].Abandon(s.now)
		case 2:
			s.shut(first)
		case 3: // left open
		case 4:
			s.rules = append(s.rules, func(int, int, []byte) []byte { return nil })
			s.conns[first].Close(s.now)
		default:
			s.close(first)
		}
	})
	s.closeOnEOF(1-first, rng.IntN(200))
	s.until = time.Minute
}
