package dossier

import (
	"cmp"
	"slices"
	"strconv"

	"rawtcp/internal/probe"
)

// A Difference is a row that two runs do not agree on.
type Difference struct {
	Row, Name string
	A, B      *probe.Line // nil: the run does not have the row
}

// Diff returns the rows in which two runs differ, in verdict or outcome, in the
// order of the catalogue, and how many rows both have. Times always differ, and
// are no difference.
func Diff(a, b *Run) (differ []Difference, shared int) {
	left, right := a.byRow(), b.byRow()
	var ids []string
	for id := range left {
		ids = append(ids, id)
	}
	for id := range right {
		if left[id] == nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, byCatalogue)
	for _, id := range ids {
		l, r := left[id], right[id]
		if l != nil && r != nil {
			shared++
			if l.Verdict == r.Verdict && l.Outcome == r.Outcome {
				continue
			}
		}
		d := Difference{Row: id, A: l, B: r}
		if l == nil {
			l = r
		}
		d.Name = l.Name
		differ = append(differ, d)
	}
	return differ, shared
}

// byRow are the rows of a run; the last line of a row counts.
func (run *Run) byRow() map[string]*probe.Line {
	rows := map[string]*probe.Line{}
	for i := range run.Rows {
		rows[run.Rows[i].Row] = &run.Rows[i]
	}
	return rows
}

// byCatalogue sorts C2 before C10.
func byCatalogue(a, b string) int {
	letter := func(id string) string { return id[:min(1, len(id))] }
	number := func(id string) int {
		n, _ := strconv.Atoi(id[min(1, len(id)):])
		return n
	}
	return cmp.Or(cmp.Compare(letter(a), letter(b)), cmp.Compare(number(a), number(b)), cmp.Compare(a, b))
}
