package bench

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Calm says how a run deals with a machine whose neighbours take its processors
// away. What it judges by is the kernel's count of stolen time, and never what a
// contender measured.
type Calm struct {
	Limit    float64       // of the share of the time that a lap needed and others had; a lap with more is played again
	Rest     time.Duration // between two looks at a machine that is not calm
	Patience time.Duration // what rests, laps played again and contests held again may take in all
}

// DefaultCalm is what make bench runs with. Two per cent is what a calm machine
// stays below (most laps have none of it stolen) and a busy neighbour far above
// (5 to 40 %), and less than what two laps differ by for reasons of their own. A
// neighbour comes and goes in seconds to a minute, and a machine that is
// throttled earns a second of both processors in a few of idling: a rest of two is
// enough to find out, and what all rests may take is bounded below.
var DefaultCalm = Calm{Limit: 0.02, Rest: 2 * time.Second, Patience: 11 * time.Minute}

const (
	// longestWait is for one lap. It is about as long as a lap: whether a neighbour
	// that stays longer has gone at last, the lap itself tells as well as a look.
	longestWait = 6 * time.Second

	// A look lasts so long idle, to see who else runs on this machine, and so long
	// with all processors busy, to see who else runs on these processors.
	lookIdle, lookBusy = 100 * time.Millisecond, 200 * time.Millisecond

	// idleShare is how much of the processors others may use while we idle.
	idleShare = 0.1
)

// A lap is one turn of every contender: what each measured.
type lap map[string]sample

// A gate decides when a lap may begin, and which laps count.
type gate struct {
	Calm
	world
	left    time.Duration // patience that contests so far have not used
	trusted bool          // the last lap was calm, which is proof enough for the next
	Tally
}

// A Tally is what a gate did in a run, for the reader of its rows.
type Tally struct {
	Kept      int           `json:"kept"`       // laps that the figures are made of
	Again     int           `json:"again"`      // laps beyond these: so many were played again
	Above     int           `json:"above"`      // laps that were kept although more was stolen than may be
	Worst     float64       `json:"worst"`      // the largest stolen share of a lap that was kept
	Stolen    float64       `json:"stolen"`     // of all laps that were kept
	Waited    time.Duration `json:"waited_ns"`  // for the machine to be calm
	HeldAgain []string      `json:"held_again"` // contests, once for each time
	during    cpuTimes      // of all laps that were kept
}

// A world is what a gate sees and does, for tests to replace.
type world struct {
	now   func() time.Time
	times func() cpuTimes
	rest  func(time.Duration) error // fails when the run is to end
	spin  func(time.Duration)       // keeps all processors busy
	tell  func(format string, args ...any)
}

// allow gives one of so many contests its part of the patience, beside what those
// before it have left.
func (g *gate) allow(contests int) {
	g.left += g.Patience / time.Duration(contests)
	g.trusted = false
}

// A played lap, with what others took meanwhile.
type played struct {
	lap
	times cpuTimes
	order int
}

// laps plays until as many laps as wanted were calm, at most twice as many in
// all, and no more than wanted once patience is out. It returns the calmest of
// them in the order in which they were played.
func (g *gate) laps(wanted int, play func() (lap, error)) ([]lap, error) {
	var all []played
	for calm := 0; len(all) < wanted || calm < wanted && len(all) < 2*wanted && g.left > 0; {
		if err := g.wait(); err != nil {
			return nil, err
		}
		before, began := g.times(), g.now()
		got, err := play()
		if err != nil {
			return nil, err
		}
		one := played{got, g.times().since(before), len(all)}
		all = append(all, one)
		if g.trusted = one.times.stolenShare() <= g.Limit; g.trusted {
			calm++
		}
		if len(all) > wanted {
			g.left -= g.now().Sub(began)
		}
	}
	return g.keep(all, wanted), nil
}

// keep returns the calmest laps and takes note of them.
func (g *gate) keep(all []played, wanted int) []lap {
	g.Again += len(all) - wanted
	slices.SortStableFunc(all, func(a, b played) int { return cmp.Compare(a.times.stolenShare(), b.times.stolenShare()) })
	all = all[:wanted]
	slices.SortFunc(all, func(a, b played) int { return a.order - b.order })
	var kept []lap
	for _, one := range all {
		kept = append(kept, one.lap)
		share := one.times.stolenShare()
		if share > g.Limit {
			g.Above++
		}
		g.Worst = max(g.Worst, share)
		g.during = g.during.plus(one.times)
	}
	g.Kept += len(kept)
	g.Stolen = g.during.stolenShare()
	return kept
}

// wait returns when the machine is calm, or has not been for too long, or at once
// without patience.
func (g *gate) wait() error {
	if g.trusted || g.left <= 0 {
		return nil
	}
	for began := g.now(); ; {
		others, stolen, err := g.look()
		if err != nil {
			return err
		}
		waited := g.now().Sub(began)
		if others <= idleShare && stolen <= g.Limit || waited >= min(longestWait, g.left) {
			g.left -= waited
			g.Waited += waited
			return nil
		}
		g.tell("waiting until the machine is calm: others had %.0f %% of it while we idled and %.0f %% of what we needed; %v of patience left",
			100*others, 100*stolen, (g.left - waited).Round(time.Second))
		if err := g.rest(g.Rest); err != nil {
			return err
		}
	}
}

// look returns the shares of the processors that programs beside us used while we
// idled, and that others on the same processors took while we did not.
func (g *gate) look() (others, stolen float64, err error) {
	before := g.times()
	if err := g.rest(lookIdle); err != nil {
		return 0, 0, err
	}
	idled := g.times()
	g.spin(lookBusy)
	return idled.since(before).busyShare(), g.times().since(idled).stolenShare(), nil
}

// spinAll keeps n processors busy.
func spinAll(n int, d time.Duration) {
	var spinning sync.WaitGroup
	for range n {
		spinning.Go(func() {
			for start := time.Now(); time.Since(start) < d; {
			}
		})
	}
	spinning.Wait()
}

// again takes note of a contest that is held again and of the time it took.
func (g *gate) again(name string, took time.Duration) {
	g.HeldAgain = append(g.HeldAgain, name)
	g.left -= took
	g.trusted = false
}

// String says what was done for the sake of calm.
func (t Tally) String() string {
	text := fmt.Sprintf("Of the processor time that the %d laps counted here needed others had %.1f %%, at worst %.0f %% of one lap", t.Kept, 100*t.Stolen, 100*t.Worst)
	if t.Above > 0 {
		text += fmt.Sprintf(" (%d laps were kept though above the limit)", t.Above)
	}
	text += fmt.Sprintf("; %d laps were played again for that reason, and %v passed in waiting", t.Again, t.Waited.Round(time.Second))
	if len(t.HeldAgain) > 0 {
		text += "; held again for restless peers: " + strings.Join(t.HeldAgain, ", ")
	}
	return text + "."
}
