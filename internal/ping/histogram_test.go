package ping

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The four sums are exact, the quantiles within 1/1024.
func TestTimes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var times Times
	var all []time.Duration
	for range 5000 {
		d := time.Duration(math.Exp(random.Float64() * 24)) // 1 ns to 26 s
		all = append(all, d)
		times.Add(d)
	}
	slices.Sort(all)
	var sum, squares float64
	for _, d := range all {
		sum += float64(d)
	}
	mean := sum / float64(len(all))
	for _, d := range all {
		squares += (float64(d) - mean) * (float64(d) - mean)
	}
	near := func(what string, got, want, within float64) {
		if math.Abs(got-want) > within*want+1 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	near("mean", float64(times.Mean()), mean, 1e-9)
	near("deviation", float64(times.Deviation()), math.Sqrt(squares/float64(len(all))), 1e-9)
	if times.Min() != all[0] || times.Max() != all[len(all)-1] || times.Count() != len(all) {
		t.Errorf("%v to %v, %d", times.Min(), times.Max(), times.Count())
	}
	for _, q := range []float64{0.001, 0.5, 0.95, 0.99, 0.999, 1} {
		rank := int(math.Ceil(q * float64(len(all))))
		near("quantile", float64(times.Quantile(q)), float64(all[rank-1]), 1.0/1024)
	}
}

func TestTimesOfFew(t *testing.T) {
	var none Times
	if none.Quantile(0.5) != 0 || none.Deviation() != 0 || none.Mean() != 0 {
		t.Error("an empty series has times")
	}
	var one Times
	one.Add(-5)
	one.Add(123_456_789)
	if one.Min() != 0 || one.Quantile(0.5) != 0 || one.Quantile(0.99).Round(time.Millisecond) != 123*time.Millisecond {
		t.Errorf("%v, %v, %v", one.Min(), one.Quantile(0.5), one.Quantile(0.99))
	}
}

// Cells follow each other without a gap, up to the longest time there is.
func TestCells(t *testing.T) {
	before := cellOf(0)
	for d := time.Duration(1); d < 1<<20; d++ {
		cell := cellOf(d)
		if cell != before && cell != before+1 {
			t.Fatalf("cell %d of %d ns comes after %d", cell, d, before)
		}
		before = cell
	}
	for shift := range 63 {
		d := time.Duration(1) << shift
		if m := cellMiddle(cellOf(d)); m < d || float64(m-d) > float64(d)/2048+1 {
			t.Errorf("%d is counted as %d", d, m)
		}
	}
	if m := cellMiddle(cellOf(math.MaxInt64)); m < math.MaxInt64/1024*1023 {
		t.Errorf("the longest time is counted as %d", m)
	}
}

func TestMerge(t *testing.T) {
	var a, b, both Times
	for i := range 100 {
		d := time.Duration(i*i) * time.Microsecond
		both.Add(d)
		if i%3 == 0 {
			a.Add(d)
		} else {
			b.Add(d)
		}
	}
	var sum Times
	sum.merge(&a)
	sum.merge(&Times{})
	sum.merge(&b)
	if sum.Count() != 100 || sum.Mean() != both.Mean() || sum.Deviation() != both.Deviation() ||
		sum.Quantile(0.9) != both.Quantile(0.9) || sum.Max() != both.Max() || a.Count() != 34 {
		t.Errorf("%+v\n%+v", sum, both)
	}
}

func TestBars(t *testing.T) {
	var times Times
	for _, d := range []time.Duration{10, 11, 19, 20, 39, 500} {
		times.Add(d)
	}
	if bars := times.Bars(10, 40, 3); !slices.Equal(bars, []int{3, 1, 2}) {
		t.Errorf("%v", bars)
	}
}
