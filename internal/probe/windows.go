package probe

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A windowModel is what a congestion control does after a loss.
type windowModel struct {
	key string

	// window is that of a round trip, 0, 1, 2 …, after the repair of a loss that came
	// when the window was before, in segments.
	window func(before float64, n int, rtt time.Duration) float64
}

var windowModels = []windowModel{
	// RFC 5681 sections 3.1 and 3.2: half, and a segment more in each round trip.
	{"reno", func(before float64, n int, _ time.Duration) float64 { return before/2 + float64(n) }},
	{"cubic", cubicWindow},
	// No loss by itself reduces it.
	{"rate", func(before float64, _ int, _ time.Duration) float64 { return before }},
}

// cubicWindow is W_cubic(t), or the window of the Reno-friendly region where that
// is larger (RFC 9438 sections 4.2 and 4.3).
func cubicWindow(before float64, n int, rtt time.Duration) float64 {
	const c, beta = 0.4, 0.7
	k := math.Cbrt(before * (1 - beta) / c)
	at := float64(n) * rtt.Seconds()
	friendly := before*beta + float64(n)*3*(1-beta)/(1+beta)
	return math.Max(c*math.Pow(at-k, 3)+before, friendly)
}

// fitWindows returns which model the windows after a loss are nearest to, or
// "other"; how sure that is, in percent; and how far each model is off.
func fitWindows(before int, after []int, rtt time.Duration) (key string, confidence int, text string) {
	type fit struct {
		key    string
		misfit float64 // mean, as a part of the window before the loss
	}
	var fits []fit
	for _, m := range windowModels {
		seen := after
		if m.key == "rate" { // which changes for reasons of its own later
			seen = after[:min(len(after), 3)]
		}
		sum := 0.0
		for n, w := range seen {
			off := float64(w) - m.window(float64(before), n, rtt)
			if m.key == "rate" {
				off = min(off, 0) // it may well go on growing
			}
			sum += math.Abs(off)
		}
		fits = append(fits, fit{m.key, sum / float64(len(seen)*before)})
	}
	var parts []string
	for _, f := range fits {
		parts = append(parts, fmt.Sprintf("%s %.0f %%", f.key, 100*f.misfit))
	}
	text = strings.Join(parts, ", ")
	slices.SortStableFunc(fits, func(a, b fit) int { return cmp.Compare(a.misfit, b.misfit) })
	const poor = 0.15
	best, second := fits[0], fits[1]
	switch {
	case best.misfit > poor:
		return "other", 50, text
	case second.misfit == 0:
		return best.key, 50, text
	}
	return best.key, int(math.Round(100 * second.misfit / (best.misfit + second.misfit))), text
}
