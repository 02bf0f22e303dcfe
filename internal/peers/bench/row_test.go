package bench

import (
	"os"
	"strings"
	"testing"
)

func TestRowComparesRoundByRound(t *testing.T) {
	// The machine was at half its speed in two rounds, for both alike.
	s := series{"us": {"m": {20, 10, 22, 11, 18}}, "them": {"m": {10, 5, 10, 5, 10}}}
	for _, test := range []struct {
		bound *Bound
		want  string
	}{{atLeast(2), "met"}, {atLeast(2.01), "MISSED"}, {atMost(2), "met"}, {atMost(1.99), "MISSED"}, {nil, "told"}} {
		r, err := comparison{metric: "m", ours: "us", peer: "them", bound: test.bound}.row(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := *r.Ratio; got != (Middle{2, 2, 2.2}) {
			t.Errorf("ratios %v", got)
		}
		if r.Verdict() != test.want {
			t.Errorf("%v: %s, want %s", test.bound, r.Verdict(), test.want)
		}
	}
}

func TestRowWantsBothSides(t *testing.T) {
	for name, s := range map[string]series{
		"ours":  {"them": {"m": {1}}},
		"peer":  {"us": {"m": {1}}},
		"round": {"us": {"m": {1, 2}}, "them": {"m": {1}}},
	} {
		if r, err := (comparison{metric: "m", ours: "us", peer: "them"}).row(s); err == nil {
			t.Errorf("without %s: %+v", name, r)
		}
	}
}

func TestMiddle(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   Middle
	}{
		{[]float64{7}, Middle{7, 7, 7}},
		{[]float64{5, 1, 3, 2, 4}, Middle{2, 3, 4}},
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8, 9}, Middle{3, 5, 7}},
	} {
		if got := middle(test.values); got != test.want {
			t.Errorf("middle of %v: %v, want %v", test.values, got, test.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.00004: "4e-05", 0.051: "0.051", 0.65: "0.65", 1: "1.00", 22.14: "22.1", 99.96: "100.0", 12345: "12345"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

// A missed row stands in both tables as plainly as a met one.
func TestReportTellsWhatWasMissed(t *testing.T) {
	r := Report{Rounds: 5, Rows: []Row{
		judged(t, "peer", atLeast(1), 10, 10, 10, 10, 10),
		judged(t, "faster", atLeast(1), 20, 20, 20, 20, 20),
		judged(t, "other", nil, 20, 20, 20, 20, 20),
	}}
	var table, file strings.Builder
	r.Print(&table)
	r.Markdown(&file)
	for _, want := range []string{"1 of 2 rows with a bound meet it; missed by rows of P7", "MISSED"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
	for _, want := range []string{
		"**1 of 2 rows with a bound meet it; missed by rows of P7.**",
		"| work | Gbit/s | ours | 10.0 | peer | 10.0 | 0 % | 1.00 | 1.00 to 1.00 | ≥ 1.00 | met |",
		"| work | Gbit/s | ours | 10.0 | faster | 20.0 | 0 % | 0.50 | 0.50 to 0.50 | ≥ 1.00 | **missed** |",
		"| work | Gbit/s | ours | 10.0 | other | 20.0 | 0 % | 0.50 | 0.50 to 0.50 | - | told |",
		"above 15 %", "5 rounds", "(adr/0016-super-segments.md)",
	} {
		if !strings.Contains(file.String(), want) {
			t.Errorf("no %q in\n%s", want, &file)
		}
	}
	if strings.Contains(file.String(), "%!") {
		t.Errorf("a verb without its value in\n%s", &file)
	}
}

// Who reads why a goal was missed finds what the page points to.
func TestReasonsAreThere(t *testing.T) {
	for goal, names := range reasons {
		for _, name := range names {
			if _, err := os.Stat("../../../docs/adr/" + name + ".md"); err != nil || subjects[goal] == "" {
				t.Errorf("%s: %v", goal, err)
			}
		}
	}
}
