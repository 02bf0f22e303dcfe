package differ

import (
	"bytes"
	"fmt"
	"slices"
)

// A Difference is a turn that two subjects took differently.
type Difference struct {
	Plan   *Plan
	Before []string // the stimuli before it
	Turn   *Turn    // ours; nil if all turns are equal and the ends differ
	Theirs []Reply
	Detail string // of the ends
	Known  string // the entry of the list that allows it, "" for none
}

// Compare returns the differences between two transcripts up to the first that
// leaves the two in different states: what follows says nothing. Entries of the
// list that change nothing but the look of a reply do not end the comparison.
func Compare(plan *Plan, ours, theirs *Transcript, list []Known) []*Difference {
	var found []*Difference
	var before []string
	for i := range ours.Turns {
		a, b := &ours.Turns[i], &theirs.Turns[i]
		if !slices.Equal(a.Replies, b.Replies) {
			d := &Difference{Plan: plan, Before: before, Turn: a, Theirs: b.Replies}
			found = append(found, d)
			if goesOn := d.classify(list); !goesOn {
				return found
			}
		}
		before = append(before, a.What)
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
	if d.Turn == nil {
		return fmt.Sprintf("%v%s", d.Plan, d.Detail)
	}
	return fmt.Sprintf("%vafter %q,\nin %s, at %q\n  ours   %v\n  theirs %v", d.Plan, d.Before, d.Turn.State, d.Turn.What, d.Turn.Replies, d.Theirs)
}

// Kind is the difference without its numbers, to count what is alike.
func (d *Difference) Kind() string {
	if d.Turn == nil {
		return d.Detail
	}
	return fmt.Sprintf("%s | %v | ours %v | theirs %v", d.Turn.State, d.Turn.What, shapes(d.Turn.Replies), shapes(d.Theirs))
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
