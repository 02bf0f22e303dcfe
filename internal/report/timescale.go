package report

import (
	"cmp"
	"math"
	"slices"
)

// A timescale places moments along an axis. It is linear but for silences that
// would leave no room for anything else: they are folded to a fixed length and
// marked as folds, and nothing happens within one.
type timescale struct {
	first, last int64  // microseconds
	folds       []fold // in order
	perUS       float64
	foldLength  float64
}

// A fold is a silence, from one event to the next, in microseconds.
type fold struct{ from, to int64 }

// newTimescale makes the scale of some moments, sorted, with the silences to be
// folded. trip is a round trip, or 0 if it is not known: what is not much longer
// than that is no silence.
func newTimescale(moments []int64, trip int64) *timescale {
	if len(moments) == 0 {
		moments = []int64{0}
	}
	s := &timescale{first: moments[0], last: moments[len(moments)-1]}
	s.folds = silences(moments, trip)
	s.fit(1, 0)
	return s
}

// silences are the gaps that dwarf the rest: longer than 20 round trips, and
// than half of all shorter ones together.
func silences(moments []int64, trip int64) []fold {
	const trips, most = 20, 200
	if trip <= 0 {
		return nil // nobody answered: the gaps are what there is to see
	}
	margin := trip // an arrow that set off arrives before the silence is folded
	var gaps []fold
	var rest int64
	for i := 1; i < len(moments); i++ {
		if gap := moments[i] - moments[i-1]; gap > trips*trip {
			gaps = append(gaps, fold{moments[i-1] + margin, moments[i] - margin})
			rest += 2 * margin
		} else {
			rest += gap
		}
	}
	slices.SortStableFunc(gaps, func(a, b fold) int { return cmp.Compare(a.length(), b.length()) })
	for len(gaps) > 0 && (gaps[0].length() <= rest/2 || len(gaps) > most) {
		rest += gaps[0].length()
		gaps = gaps[1:]
	}
	slices.SortFunc(gaps, func(a, b fold) int { return cmp.Compare(a.from, b.from) })
	return gaps
}

func (f fold) length() int64 { return f.to - f.from }

// awake is the time that is not folded, in microseconds.
func (s *timescale) awake() int64 {
	n := s.last - s.first
	for _, f := range s.folds {
		n -= f.length()
	}
	return n
}

// fit makes the whole scale length units long, of which each fold takes
// foldLength.
func (s *timescale) fit(length, foldLength float64) {
	s.foldLength = foldLength
	room := max(length-foldLength*float64(len(s.folds)), 1)
	s.perUS = room / float64(max(s.awake(), 1))
}

// length is that of the whole scale.
func (s *timescale) length() float64 { return s.at(s.last) }

// at places a moment: 0 is the first one.
func (s *timescale) at(us int64) float64 {
	us = min(max(us, s.first), s.last)
	var place float64
	from := s.first
	for _, f := range s.folds {
		if us <= f.from {
			break
		}
		place += float64(f.from-from) * s.perUS
		if us < f.to {
			return place + s.foldLength*float64(us-f.from)/float64(f.length())
		}
		place += s.foldLength
		from = f.to
	}
	return place + float64(us-from)*s.perUS
}

// A tick is a moment with its place.
type tick struct {
	Place float64
	US    int64
}

// ticks are round moments at least apart from each other, none of them within a
// fold, and the moments at which a silence ends, where there is room.
func (s *timescale) ticks(apart float64) (ticks []tick, step int64) {
	const most = 400
	step = niceStep(apart / s.perUS)
	from := s.first
	for i := range len(s.folds) + 1 {
		to := s.last
		if i < len(s.folds) {
			to = s.folds[i].from
		}
		add := func(us int64) {
			place := s.at(us)
			if n := len(ticks); n == 0 || place-ticks[n-1].Place >= apart*0.9 {
				ticks = append(ticks, tick{place, us})
			}
		}
		if i > 0 {
			add(from)
		}
		for us := (from + step - 1) / step * step; us <= to && len(ticks) < most; us += step {
			add(us)
		}
		if i < len(s.folds) {
			from = s.folds[i].to
		}
	}
	return ticks, step
}

// niceStep is the least of 1, 2, 5, 10, 20 ... that is not below want.
func niceStep(want float64) int64 {
	if !(want > 1) { // also if it is no number
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(min(want, 1e15))))
	for _, n := range []float64{1, 2, 5, 10} {
		if n*power >= want {
			return int64(n * power)
		}
	}
	return int64(10 * power)
}
