package ping

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// Times are the round-trip times of a series. Count, least, greatest, mean and
// deviation are exact. Quantiles come from a histogram whose cells are at most
// 1/1024 of the time wide, so that a run may last for years: there are never
// more than some 20,000 cells. The zero value is an empty series.
type Times struct {
	count    int
	min, max time.Duration
	mean, m2 float64 // of ns; Welford's sums, which do not cancel out
	cells    map[uint32]int
}

// cellBits is how finely a power of two is divided.
const cellBits = 10

// Add takes one time; a negative one counts as 0.
func (t *Times) Add(d time.Duration) {
	d = max(d, 0)
	if t.cells == nil {
		t.cells = make(map[uint32]int)
		t.min = d
	}
	t.count++
	t.min, t.max = min(t.min, d), max(t.max, d)
	delta := float64(d) - t.mean
	t.mean += delta / float64(t.count)
	t.m2 += delta * (float64(d) - t.mean)
	t.cells[cellOf(d)]++
}

// cellOf numbers the cells in the order of their times: one for each nanosecond
// at first, then 1<<cellBits for each power of two.
func cellOf(d time.Duration) uint32 {
	shift := max(bits.Len64(uint64(d))-cellBits-1, 0)
	return uint32(shift)<<cellBits + uint32(d>>shift)
}

// cellMiddle is the time in the middle of a cell.
func cellMiddle(cell uint32) time.Duration {
	if cell < 2<<cellBits {
		return time.Duration(cell)
	}
	shift := cell>>cellBits - 1
	low := time.Duration(cell-shift<<cellBits) << shift
	return low + (1<<shift-1)/2
}

// Count returns how many times there are.
func (t *Times) Count() int { return t.count }

// Min returns the least time, 0 if there is none.
func (t *Times) Min() time.Duration { return t.min }

// Max returns the greatest time.
func (t *Times) Max() time.Duration { return t.max }

// Mean returns the arithmetic mean.
func (t *Times) Mean() time.Duration { return time.Duration(math.Round(t.mean)) }

// Deviation returns the standard deviation, which ping calls mdev.
func (t *Times) Deviation() time.Duration {
	if t.count == 0 {
		return 0
	}
	return time.Duration(math.Round(math.Sqrt(t.m2 / float64(t.count))))
}

// Quantile returns the least time that a share q of the times, 0 to 1, does not
// exceed, within 1/2048 of it; 0 if there is none.
func (t *Times) Quantile(q float64) time.Duration {
	rank := int(math.Ceil(q * float64(t.count)))
	for _, cell := range t.sorted() {
		if rank -= t.cells[cell]; rank <= 0 {
			return min(max(cellMiddle(cell), t.min), t.max)
		}
	}
	return t.max
}

func (t *Times) sorted() []uint32 {
	cells := make([]uint32, 0, len(t.cells))
	for cell := range t.cells {
		cells = append(cells, cell)
	}
	slices.Sort(cells)
	return cells
}

// Bars divides the time from low to high into n equal parts and returns how
// many times fall into each; what is outside counts in the part next to it.
func (t *Times) Bars(low, high time.Duration, n int) []int {
	bars := make([]int, n)
	width := max((high-low)/time.Duration(n), 1)
	for cell, count := range t.cells {
		i := int((min(max(cellMiddle(cell), t.min), t.max) - low) / width)
		bars[min(max(i, 0), n-1)] += count
	}
	return bars
}

// merge adds the times of another series.
func (t *Times) merge(o *Times) {
	if o.count == 0 {
		return
	}
	if t.count == 0 {
		*t = o.clone()
		return
	}
	both := float64(t.count + o.count)
	delta := o.mean - t.mean
	t.mean += delta * float64(o.count) / both
	t.m2 += o.m2 + delta*delta*float64(t.count)*float64(o.count)/both
	t.count += o.count
	t.min, t.max = min(t.min, o.min), max(t.max, o.max)
	for cell, count := range o.cells {
		t.cells[cell] += count
	}
}

// clone returns a copy that does not change any more.
func (t *Times) clone() Times {
	copied := *t
	copied.cells = make(map[uint32]int, len(t.cells))
	for cell, count := range t.cells {
		copied.cells[cell] = count
	}
	return copied
}
