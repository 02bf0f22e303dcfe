package bench

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// A fakeWorld is a machine of two processors whose time passes as told.
type fakeWorld struct {
	at      time.Time
	times   cpuTimes
	looks   []float64 // the share stolen in each look to come; then none
	others  float64   // how busy it is while we idle
	rested  []time.Duration
	restErr error
}

func (w *fakeWorld) world() world {
	return world{
		now:   func() time.Time { return w.at },
		times: func() cpuTimes { return w.times },
		rest: func(d time.Duration) error {
			w.rested = append(w.rested, d)
			w.at = w.at.Add(d)
			ticks := uint64(2 * d / time.Millisecond)
			w.times = w.times.plus(cpuTimes{all: ticks, idle: uint64(float64(ticks) * (1 - w.others))})
			return w.restErr
		},
		spin: func(d time.Duration) {
			stolen := 0.0
			if len(w.looks) > 0 {
				stolen, w.looks = w.looks[0], w.looks[1:]
			}
			w.pass(d, stolen)
		},
		tell: func(string, ...any) {},
	}
}

// pass lets time pass with both processors needed and a share of it stolen.
func (w *fakeWorld) pass(d time.Duration, stolen float64) {
	w.at = w.at.Add(d)
	ticks := uint64(2 * d / time.Millisecond)
	w.times = w.times.plus(cpuTimes{all: ticks, stolen: uint64(float64(ticks) * stolen)})
}

// play is a lap of a second for each share that is stolen of it; the lap holds
// its number.
func (w *fakeWorld) play(stolen ...float64) func() (lap, error) {
	number := 0
	return func() (lap, error) {
		w.pass(time.Second, stolen[number%len(stolen)])
		number++
		return lap{"us": {"number": float64(number)}}, nil
	}
}

func numbers(laps []lap) (all []float64) {
	for _, l := range laps {
		all = append(all, l["us"]["number"])
	}
	return all
}

func TestDisturbedLapsArePlayedAgain(t *testing.T) {
	const patience = time.Hour
	for _, test := range []struct {
		name     string
		stolen   []float64
		patience time.Duration
		kept     []float64
		again    int
		above    int
	}{
		{"calm", []float64{0, 0.02, 0.01}, patience, []float64{1, 2, 3}, 0, 0},
		{"one disturbed", []float64{0, 0.3, 0, 0.01}, patience, []float64{1, 3, 4}, 1, 0},
		{"the last disturbed", []float64{0, 0, 0.021, 0}, patience, []float64{1, 2, 4}, 1, 0},
		{"always: the calmest", []float64{0.3, 0.2, 0.5, 0.1, 0.6, 0.4}, patience, []float64{1, 2, 4}, 3, 3},
		{"mostly: at most twice as many", []float64{0.3, 0.3, 0.3, 0.3, 0, 0.3}, patience, []float64{1, 2, 5}, 3, 2},
		{"no patience", []float64{0.3, 0.2, 0.1}, 0, []float64{1, 2, 3}, 0, 3},
		{"patience for a lap", []float64{0.3, 0.2, 0.1, 0, 0}, 1300 * time.Millisecond, []float64{2, 3, 4}, 1, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &fakeWorld{}
			g := &gate{Calm: Calm{Limit: 0.02, Rest: time.Second}, world: w.world(), left: test.patience}
			w.looks = nil
			got, err := g.laps(3, w.play(test.stolen...))
			if err != nil || !slices.Equal(numbers(got), test.kept) {
				t.Errorf("kept %v, want %v; %v", numbers(got), test.kept, err)
			}
			if g.Kept != 3 || g.Again != test.again || g.Above != test.above {
				t.Errorf("%+v", g.Tally)
			}
		})
	}
}

// What a contender measured decides nothing.
func TestResultsDecideNothing(t *testing.T) {
	w := &fakeWorld{}
	g := &gate{Calm: Calm{Limit: 0.02}, world: w.world(), left: time.Hour}
	values := []float64{100, 1, 10000}
	got, err := g.laps(3, func() (lap, error) {
		w.pass(time.Second, 0)
		v := values[0]
		values = values[1:]
		return lap{"us": {"number": v}}, nil
	})
	if err != nil || !slices.Equal(numbers(got), []float64{100, 1, 10000}) || g.Again != 0 {
		t.Errorf("%v, %+v, %v", numbers(got), g.Tally, err)
	}
}

func TestTallyTellsWhatWasStolen(t *testing.T) {
	w := &fakeWorld{}
	g := &gate{Calm: Calm{Limit: 0.02}, world: w.world(), left: time.Hour}
	if _, err := g.laps(4, w.play(0, 0.01, 0.5, 0.01, 0)); err != nil {
		t.Fatal(err)
	}
	if g.Stolen != 0.005 || g.Worst != 0.01 {
		t.Errorf("%+v", g.Tally)
	}
	g.again("one stream, send", time.Minute)
	text := g.Tally.String()
	for _, want := range []string{"4 laps", "others had 0.5 %", "at worst 1 %", "1 laps were played again", "restless peers: one stream, send"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}

func TestGateWaitsForCalm(t *testing.T) {
	for _, test := range []struct {
		name     string
		looks    []float64
		others   float64
		patience time.Duration
		rests    int // beside the idle part of each look
	}{
		{"calm", nil, 0, time.Hour, 0},
		{"calm, as others hardly run", nil, 0.05, time.Hour, 0},
		{"stolen at first", []float64{0.4, 0.03}, 0, time.Hour, 2},
		{"others run", nil, 0.5, time.Hour, int(longestWait / (time.Second + lookIdle + lookBusy))},
		{"stolen for ever", slices.Repeat([]float64{0.4}, 100), 0, time.Hour, int(longestWait / (time.Second + lookIdle + lookBusy))},
		{"little patience", slices.Repeat([]float64{0.4}, 100), 0, 2 * time.Second, 2},
		{"no patience", slices.Repeat([]float64{0.4}, 100), 0, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &fakeWorld{looks: test.looks, others: test.others}
			g := &gate{Calm: Calm{Limit: 0.02, Rest: time.Second}, world: w.world(), left: test.patience}
			if err := g.wait(); err != nil {
				t.Fatal(err)
			}
			rests := 0
			for _, d := range w.rested {
				if d == time.Second {
					rests++
				}
			}
			if rests < test.rests-1 || rests > test.rests+1 || test.rests == 0 && rests != 0 {
				t.Errorf("rested %d times, want about %d", rests, test.rests)
			}
			if g.Waited > longestWait+2*time.Second || g.left != test.patience-g.Waited {
				t.Errorf("waited %v, %v left", g.Waited, g.left)
			}
		})
	}
}

// A calm lap is proof enough for the next; a disturbed one is not.
func TestGateLooksAfterADisturbance(t *testing.T) {
	w := &fakeWorld{}
	g := &gate{Calm: Calm{Limit: 0.02}, world: w.world(), left: time.Hour}
	if _, err := g.laps(4, w.play(0, 0, 0.2, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if looks := len(w.rested); looks != 2 {
		t.Errorf("%d looks, want one before the first lap and one after the third", looks)
	}
}

// A contest has its part of the patience, and what those before it left.
func TestPatienceIsShared(t *testing.T) {
	g := &gate{Calm: Calm{Patience: 10 * time.Minute}, trusted: true}
	g.allow(10)
	g.left -= 20 * time.Second
	if g.allow(10); g.left != 100*time.Second || g.trusted {
		t.Errorf("%v, %v", g.left, g.trusted)
	}
}

func TestGateEndsWithTheRun(t *testing.T) {
	w := &fakeWorld{restErr: context.Canceled}
	g := &gate{Calm: Calm{Limit: 0.02}, world: w.world(), left: time.Hour}
	if _, err := g.laps(3, w.play(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	w.restErr = nil
	broken := errors.New("broken")
	if _, err := g.laps(3, func() (lap, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// A quick run takes the machine as it is.
func TestQuickRunNeitherWaitsNorPlaysAgain(t *testing.T) {
	s := &Session{Options: Options{Quick: true, Rounds: 1, Calm: DefaultCalm}}
	s.openGate()
	w := &fakeWorld{looks: slices.Repeat([]float64{0.9}, 10), others: 0.9}
	s.gate.world = w.world()
	s.gate.allow(1)
	if _, err := s.gate.laps(1, w.play(0.9)); err != nil {
		t.Fatal(err)
	}
	if len(w.rested) > 0 || s.gate.Again != 0 || s.gate.Waited != 0 {
		t.Errorf("rested %v, %+v", w.rested, s.gate.Tally)
	}
}

func TestParseCPUTimes(t *testing.T) {
	before := parseCPUTimes("cpu  100 0 50 800 10 0 5 35 7 0\ncpu0 1 2 3\n")
	if want := (cpuTimes{all: 1000, idle: 810, stolen: 35}); before != want {
		t.Fatalf("%+v, want %+v", before, want)
	}
	took := parseCPUTimes("cpu  160 0 80 895 15 0 10 40 9 0\n").since(before)
	if took.stolenShare() != 0.05 || took.busyShare() != 0.5 {
		t.Errorf("%+v: %v stolen, %v busy", took, took.stolenShare(), took.busyShare())
	}
	if none := parseCPUTimes(""); none.stolenShare() != 0 || none.busyShare() != 0 {
		t.Errorf("%+v", none)
	}
}
