package differ

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A Difference is a turn that two subjects took differently.
type Difference struct {
	Plan   *Plan
	Before []*Turn // ours, that came before
	Turn   *Turn   // ours; nil if all turns are equal and the ends differ
	Theirs []Reply
	Detail string // of the ends
	Known  string // the entry of the list that allows it, "" for none
}

// Compare returns the differences between two transcripts up to the first that
// leaves the two in different states: what follows says nothing. Entries of the
// list that change nothing but the look of a reply do not end the comparison.
func Compare(plan *Plan, ours, theirs *Transcript, list []Known) []*Difference {
	var found []*Difference
	var before []*Turn
	for i := range ours.Turns {
		a, b := &ours.Turns[i], &theirs.Turns[i]
		if !slices.Equal(a.Replies, b.Replies) {
			d := &Difference{Plan: plan, Before: before, Turn: a, Theirs: b.Replies}
			found = append(found, d)
			if goesOn := d.classify(list); !goesOn {
				return found
			}
		}
		before = append(before, a)
	}
	d := &Difference{Plan: plan, Before: before}
	switch {
	case !bytes.Equal(ours.Stream, theirs.Stream):
		d.Detail = fmt.Sprintf("our user has read %d octets, theirs %d", len(ours.Stream), len(theirs.Stream))
	case ours.End != theirs.End:
		d.Detail = fmt.Sprintf("our user sees %s, theirs %s", ours.End, theirs.End)
	default:
		return found
	}
	d.classify(list)
	return append(found, d)
}

// classify looks the difference up, and reports whether the two are still in
// the same state.
func (d *Difference) classify(list []Known) (goesOn bool) {
	for _, k := range list {
		if k.Allows(d) {
			d.Known = k.ID
			return k.Looks
		}
	}
	return false
}

// String tells a difference to a person.
func (d *Difference) String() string {
	var b strings.Builder
	fmt.Fprint(&b, d.Plan)
	for _, t := range d.Before {
		fmt.Fprintf(&b, "    %-13s %s  %v\n", t.State, t.What, t.Replies)
	}
	if d.Turn == nil {
		fmt.Fprintf(&b, "  in the end %s", d.Detail)
	} else {
		fmt.Fprintf(&b, "    %-13s %s\n  ours   %v\n  theirs %v", d.Turn.State, d.Turn.What, d.Turn.Replies, d.Theirs)
	}
	return b.String()
}

// Kind is the difference without its numbers, to count what is alike.
func (d *Difference) Kind() string {
	if d.Turn == nil {
		return d.Detail
	}
	what := d.Turn.What
	if d.Turn.Step.Call == NoCall && what != "open" {
		s := d.Turn.Step
		s.Window, s.Size = 0, min(s.Size, 1)
		what = s.String()
	}
	return fmt.Sprintf("%s | %v | ours %v | theirs %v", d.Turn.State, what, shapes(d.Turn.Replies), shapes(d.Theirs))
}

// shapes are replies without numbers.
func shapes(replies []Reply) []string {
	var list []string
	for _, r := range replies {
		s := r.Flags.String()
		if r.Len > 0 && r.Flags&(syn|fin) == 0 {
			s += "+text"
		}
		if r.Blocks != "" {
			s += "+sack"
		}
		if r.Retransmit {
			s += " again"
		}
		list = append(list, s)
	}
	return list
}
