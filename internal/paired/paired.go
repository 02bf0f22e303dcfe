// Package paired compares two ways of doing the same thing on a machine that
// also does other things: in turns, so that what troubles one troubles the other,
// and by the middle of many ratios, so that a bad moment does not count.
package paired

import (
	"slices"
	"testing"
	"time"
)

// A Way does the thing once and returns the time and the processor time it took.
type Way func() (wall, cpu time.Duration)

// Rounds measures both ways as many times as n says and returns what the first
// takes against the second, of both times: below 1 is what it costs to do it with.
// Either comes first in every second round.
func Rounds(n int, without, with Way) (walls, cpus []float64) {
	for i := range n {
		var wall, wallWith, cpu, cpuWith time.Duration
		if i%2 == 0 {
			wall, cpu = without()
		}
		wallWith, cpuWith = with()
		if i%2 != 0 {
			wall, cpu = without()
		}
		walls = append(walls, wall.Seconds()/wallWith.Seconds())
		cpus = append(cpus, cpu.Seconds()/cpuWith.Seconds())
	}
	return walls, cpus
}

// Quartiles returns the middle of the ratios and between what the middle half of
// them lies. There must be one at least; they are sorted.
func Quartiles(ratios []float64) (low, middle, high float64) {
	slices.Sort(ratios)
	n := len(ratios)
	return ratios[n/4], ratios[n/2], ratios[n-1-n/4]
}

// Report makes the middle of the ratios a metric of b and logs the quartiles.
func Report(b *testing.B, ratios []float64, unit string) {
	b.Helper()
	low, middle, high := Quartiles(ratios)
	b.ReportMetric(middle, unit)
	b.Logf("%s: %.3f to %.3f to %.3f", unit, low, middle, high)
}
