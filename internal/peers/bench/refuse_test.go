package bench

import (
	"slices"
	"strings"
	"testing"
)

// judged is a row whose peer measured these values.
func judged(t *testing.T, peer string, bound *Bound, theirs ...float64) Row {
	t.Helper()
	s := series{"ours": {"m": slices.Repeat([]float64{10}, len(theirs))}, peer: {"m": theirs}}
	r, err := comparison{goal: "P7", work: "work", metric: "m", unit: "Gbit/s", ours: "ours", peer: peer, bound: bound}.row(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name   string
		theirs []float64
		bound  *Bound
		refuse bool
	}{
		{"steady", []float64{100, 101, 99, 100, 102}, atLeast(1), false},
		{"one round disturbed", []float64{100, 101, 20, 100, 102}, atLeast(1), false},
		{"one round disturbed each way", []float64{100, 300, 20, 100, 102}, atLeast(1), false},
		{"just within", []float64{10, 95, 100, 110, 500}, atLeast(1), false},
		{"just beyond", []float64{10, 95, 100, 110.5, 500}, atLeast(1), true},
		{"restless", []float64{50, 75, 100, 125, 150}, atLeast(1), true},
		{"restless, and nothing asked", []float64{50, 75, 100, 125, 150}, nil, false},
		{"restless, and missed", []float64{500, 750, 1000, 1250, 1500}, atLeast(1), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := judged(t, "peer", test.bound, test.theirs...)
			if got := Refusals([]Row{r}); (len(got) > 0) != test.refuse {
				t.Errorf("a spread of %.3f: %q", r.Peer.Spread, got)
			}
		})
	}
}

// A peer that is in several rows is named once in each work.
func TestRefusalsNameThePeer(t *testing.T) {
	r := judged(t, "noisy", atLeast(1), 50, 75, 100, 125, 150)
	calm := judged(t, "calm", atLeast(1), 100, 100, 100, 100, 100)
	got := Refusals([]Row{calm, r, r})
	if len(got) != 1 || !strings.Contains(got[0], "noisy varied by 50 % (75.0 to 125 Gbit/s)") {
		t.Errorf("%q", got)
	}
}

// A row without a peer cannot be refused: there is nothing to compare with.
func TestOwnBoundIsNeverRefused(t *testing.T) {
	s := series{"ours": {"m": {1, 5, 9}}}
	r, err := comparison{metric: "m", ours: "ours", bound: atMost(3)}.row(s)
	if err != nil || len(Refusals([]Row{r})) != 0 || r.Verdict() != "MISSED" {
		t.Errorf("%+v, %v", r, err)
	}
}
