package sim

import (
	"slices"

	"rawtcp/segment"
)

// spans is a set of sequence numbers: sorted, disjoint ranges that do not touch.
type spans []segment.SACKBlock

func (s *spans) add(start, end segment.Seq) {
	if !start.Less(end) {
		return
	}
	q := *s
	i := 0
	for i < len(q) && q[i].End.Less(start) {
		i++
	}
	j := i
	for j < len(q) && q[j].Start.LessEq(end) {
		start, end = segment.MinSeq(start, q[j].Start), segment.MaxSeq(end, q[j].End)
		j++
	}
	*s = slices.Replace(q, i, j, segment.SACKBlock{Start: start, End: end})
}

// forget drops all before seq.
func (s *spans) forget(seq segment.Seq) {
	q := *s
	for len(q) > 0 && q[0].End.LessEq(seq) {
		q = q[1:]
	}
	if len(q) > 0 && q[0].Start.Less(seq) {
		q[0].Start = seq
	}
	*s = q
}

// cover reports whether every number of [start, end) is in the set.
func (s spans) cover(start, end segment.Seq) bool {
	for _, b := range s {
		if b.Start.LessEq(start) && end.LessEq(b.End) {
			return true
		}
	}
	return false
}
