package bench

import (
	"fmt"
	"math"
	"slices"
)

// A Row compares one figure of ours with that of a peer, both taken in turns, or,
// without a peer, holds it to a bound of its own.
type Row struct {
	Goal  string    `json:"goal"` // such as "P7"
	Work  string    `json:"work"` // such as "one stream, send"
	Unit  string    `json:"unit"`
	Ours  Figure    `json:"ours"`
	Peer  *Figure   `json:"peer,omitempty"`
	Ratio *Middle   `json:"ratio,omitempty"` // ours to the peer's, of each round
	Bound *Bound    `json:"bound,omitempty"` // of the ratio, or without a peer of our figure; nil: only told
	Met   *bool     `json:"met,omitempty"`   // nil without a bound
	Raw   []float64 `json:"-"`               // the ratios, round by round
}

// A Figure is what one contender did over all rounds.
type Figure struct {
	Name string `json:"name"`
	Middle
	Spread float64 `json:"spread"` // see Spread
}

// A Middle is the median of some values and what the middle half of them lies
// between.
type Middle struct {
	Low    float64 `json:"low"`
	Median float64 `json:"median"`
	High   float64 `json:"high"`
}

// middle returns the quartiles of at least one value.
func middle(values []float64) Middle {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return Middle{Low: sorted[n/4], Median: sorted[n/2], High: sorted[n-1-n/4]}
}

// Spread is how far the middle half of a contender's rounds lie apart, as a share
// of their median. Half of the rounds may be disturbed by a neighbour without
// moving it; a machine that was never quiet shows.
func Spread(m Middle) float64 {
	if m.High == m.Low {
		return 0
	}
	return (m.High - m.Low) / math.Abs(m.Median)
}

// figure sums up the rounds of a contender.
func figure(name string, values []float64) Figure {
	m := middle(values)
	return Figure{Name: name, Middle: m, Spread: Spread(m)}
}

// A Bound is what a goal asks for.
type Bound struct {
	AtLeast bool    `json:"at_least"` // else at most
	Value   float64 `json:"value"`
}

func atLeast(v float64) *Bound { return &Bound{AtLeast: true, Value: v} }
func atMost(v float64) *Bound  { return &Bound{Value: v} }

// holds reports whether v is within the bound.
func (b Bound) holds(v float64) bool {
	if b.AtLeast {
		return v >= b.Value
	}
	return v <= b.Value
}

// String is the bound as the table shows it.
func (b Bound) String() string {
	sign := "≤"
	if b.AtLeast {
		sign = "≥"
	}
	return sign + " " + number(b.Value)
}

// A comparison says which row to make of the series of a contest.
type comparison struct {
	goal, work   string
	metric, unit string
	ours, peer   string // names of contenders; without a peer the bound is on ours
	bound        *Bound
}

// A series is what each contender measured: by name and metric, a value a round.
type series map[string]map[string][]float64

// add appends what a contender measured in one round.
func (s series) add(name string, got sample) {
	if s[name] == nil {
		s[name] = map[string][]float64{}
	}
	for metric, v := range got {
		s[name][metric] = append(s[name][metric], v)
	}
}

// A sample is what one run of a contender measured, by metric.
type sample map[string]float64

// row makes the row of c.
func (c comparison) row(s series) (Row, error) {
	ours := s[c.ours][c.metric]
	if len(ours) == 0 {
		return Row{}, fmt.Errorf("%s, %s: %s measured no %s", c.goal, c.work, c.ours, c.metric)
	}
	r := Row{Goal: c.goal, Work: c.work, Unit: c.unit, Ours: figure(c.ours, ours), Bound: c.bound}
	judged := r.Ours.Median
	if c.peer != "" {
		theirs := s[c.peer][c.metric]
		if len(theirs) != len(ours) {
			return Row{}, fmt.Errorf("%s, %s: %d rounds of %s and %d of %s", c.goal, c.work, len(ours), c.ours, len(theirs), c.peer)
		}
		for i := range ours {
			r.Raw = append(r.Raw, ours[i]/theirs[i])
		}
		peer, ratio := figure(c.peer, theirs), middle(r.Raw)
		r.Peer, r.Ratio, judged = &peer, &ratio, ratio.Median
	}
	if c.bound != nil {
		met := c.bound.holds(judged)
		r.Met = &met
	}
	return r, nil
}

// Verdict is the row's last word: met, MISSED, or told where nothing was asked.
func (r Row) Verdict() string {
	switch {
	case r.Met == nil:
		return "told"
	case *r.Met:
		return "met"
	default:
		return "MISSED"
	}
}

// number prints three significant digits.
func number(v float64) string {
	switch size := math.Abs(v); {
	case size == 0:
		return "0"
	case size >= 100:
		return fmt.Sprintf("%.0f", v)
	case size >= 10:
		return fmt.Sprintf("%.1f", v)
	case size >= 0.1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.2g", v)
	}
}
