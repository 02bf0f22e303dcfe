package bench

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// quiet is a session on a machine that is always calm, and measures nothing real.
func quiet(rounds int) *Session {
	s := &Session{Options: Options{Rounds: rounds, Log: io.Discard}}
	s.gate = &gate{Calm: Calm{Limit: 0.02}, world: (&fakeWorld{}).world(), left: time.Hour}
	return s
}

// scripted is a contest of two whose peer measures the values in turn.
func scripted(theirs ...float64) contest {
	return contest{
		name:        "scripted",
		comparisons: []comparison{{goal: "P7", metric: "m", ours: "us", peer: "them", bound: atLeast(1)}},
		contenders: []contender{
			{"us", func(*Session) (sample, error) { return sample{"m": 100}, nil }},
			{"them", func(*Session) (sample, error) {
				v := theirs[0]
				theirs = append(theirs[1:], v)
				return sample{"m": v}, nil
			}},
		},
	}
}

func TestTurnsAlternate(t *testing.T) {
	var order []string
	note := func(name string) contender {
		return contender{name, func(*Session) (sample, error) { order = append(order, name); return sample{}, nil }}
	}
	c := contest{contenders: []contender{note("A"), note("B")}}
	if _, err := c.turns(quiet(4)); err != nil || strings.Join(order, "") != "ABBAABBA" {
		t.Errorf("%s, %v", order, err)
	}
}

// Whether a contest is held again is for its peers to say, and it ends.
func TestRestlessContestIsHeldAgain(t *testing.T) {
	for _, test := range []struct {
		name   string
		theirs []float64
		held   int
		calm   bool
	}{
		{"steady", []float64{100, 100, 100, 100, 100}, 1, true},
		{"steady the second time", []float64{50, 75, 100, 125, 150, 100, 100, 100, 100, 100}, 2, true},
		{"never", []float64{50, 75, 100, 125, 150}, 3, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, held := scripted(test.theirs...), 0
			c.setUp = func(*Session) error { held++; return nil }
			rows, err := c.rows(quiet(5))
			if err != nil || held != test.held || (len(Refusals(rows)) == 0) != test.calm {
				t.Errorf("held %d times: %+v, %v", held, rows, err)
			}
		})
	}
}

// A benchmark whose patience is out holds nothing again.
func TestImpatientContestIsHeldOnce(t *testing.T) {
	c, held := scripted(50, 75, 100, 125, 150), 0
	s := quiet(5)
	w := &fakeWorld{}
	s.gate = &gate{Calm: Calm{Limit: 0.02}, world: w.world(), left: time.Minute}
	c.setUp = func(*Session) error { held++; w.pass(2*time.Minute, 0); return nil }
	if _, err := c.rows(s); err != nil || held != 1 || len(s.gate.HeldAgain) != 0 {
		t.Errorf("held %d times, %v", held, err)
	}
}

// The figure of a round is the median of its laps.
func TestRoundIsTheMedianOfItsLaps(t *testing.T) {
	c := scripted(10, 1000, 11, 5, 20, 21)
	c.laps = 3
	got, err := c.turns(quiet(2))
	if want := []float64{11, 20}; err != nil || !slices.Equal(got["them"]["m"], want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func TestContestFailsWithItsContender(t *testing.T) {
	broken := errors.New("broken")
	c := scripted(1)
	c.contenders[1].run = func(*Session) (sample, error) { return nil, broken }
	if _, err := c.rows(quiet(5)); !errors.Is(err, broken) || !strings.Contains(err.Error(), "scripted: them") {
		t.Errorf("%v", err)
	}
}

// A goal brings its comparisons and who takes part in them, and nobody else.
func TestWanted(t *testing.T) {
	c, ok := sendContest().wanted([]string{"P14"})
	var names []string
	for _, who := range c.contenders {
		names = append(names, who.name)
	}
	if !ok || !slices.Equal(names, []string{ourRaw, ourPacket}) || len(c.comparisons) != 2 {
		t.Errorf("%v, %+v", names, c.comparisons)
	}
	if _, ok := sendContest().wanted([]string{"P8"}); ok {
		t.Error("a contest without a row of P8 is wanted for it")
	}
	if all, ok := sendContest().wanted(nil); !ok || len(all.contenders) != len(sendContest().contenders) {
		t.Error("no goal named is not all of them")
	}
}

// Each comparison is between contenders of its contest, and of a goal that the
// report has words for.
func TestComparisonsAreOfTheirContest(t *testing.T) {
	for _, c := range contests() {
		var names []string
		for _, who := range c.contenders {
			names = append(names, who.name)
		}
		for _, cmp := range c.comparisons {
			if subjects[cmp.goal] == "" {
				t.Errorf("%s: nothing says what %s is about", c.name, cmp.goal)
			}
			if c.measure == nil && (!slices.Contains(names, cmp.ours) || cmp.peer != "" && !slices.Contains(names, cmp.peer)) {
				t.Errorf("%s: %s or %s does not take part", c.name, cmp.ours, cmp.peer)
			}
		}
	}
}

func TestIperfRate(t *testing.T) {
	out := `{"intervals":[{"sum":{"start":0,"seconds":0.2,"bytes":1e9}},{"sum":{"start":0.2,"seconds":0.2,"bytes":1e8}},
		{"sum":{"start":0.4,"seconds":0.1,"bytes":2e8}}],"end":{}}`
	got, err := iperfRate([]byte(out), 200*time.Millisecond)
	if want := 8.0; err != nil || got[rate] < want-1e-9 || got[rate] > want+1e-9 {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "{}", `{"error":"unable to connect"}`} {
		if got, err := iperfRate([]byte(bad), 0); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}
