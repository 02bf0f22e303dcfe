package differ

import (
	"slices"

	"rawtcp/segment"
)

// A Known is a difference that was looked into: both sides are allowed, or
// theirs is the wrong one. docs/differences.md has the clauses, a line for each.
type Known struct {
	ID     string
	Of     []string // the subjects that differ so from ours: "kernel", "gvisor"
	Looks  bool     // it changes nothing but the look of a reply
	Allows func(d *Difference) bool
}

// KnownOf returns the entries that are about one subject.
func KnownOf(subject string) []Known {
	var list []Known
	for _, k := range Differences {
		if slices.Contains(k.Of, subject) {
			list = append(list, k)
		}
	}
	return list
}

var both = []string{"kernel", "gvisor"}

// Differences is the list.
var Differences = []Known{
	{ID: "reset-options", Of: both, Looks: true, Allows: func(d *Difference) bool {
		return d.sameBut(func(r *Reply) {
			if r.Flags.Has(rst) {
				r.Options, r.Echo = 0, 0
			}
		})
	}},
	{ID: "echo", Of: []string{"gvisor"}, Looks: true, Allows: func(d *Difference) bool {
		return d.sameBut(func(r *Reply) { r.Echo = 0 })
	}},
	{ID: "no-timestamp", Of: both, Allows: func(d *Difference) bool {
		return d.step(func(s Step) bool { return s.Stamp == StampNone }) && len(d.Turn.Replies) == 0 && d.stamped()
	}},
	{ID: "no-ack", Of: both, Allows: func(d *Difference) bool {
		return d.step(func(s Step) bool { return s.Flags&(ack|syn|rst) == 0 }) && len(d.Theirs) == 0
	}},
	{ID: "no-connection", Of: both, Allows: func(d *Difference) bool {
		return d.Turn != nil && d.Turn.State == "CLOSED" && len(d.Turn.Replies) == 0 && allOf(d.Theirs, rst)
	}},
	{ID: "time-wait-text", Of: both, Allows: func(d *Difference) bool {
		return d.step(func(s Step) bool { return s.Size > 0 }) && d.Turn.State == "TIME-WAIT" && len(d.Turn.Replies) == 0 && bareAck(d.Theirs)
	}},
}

// step reports whether the difference is about a segment that is like this.
func (d *Difference) step(like func(Step) bool) bool {
	return d.Turn != nil && d.Turn.What != "open" && d.Turn.Step.Call == NoCall && like(d.Turn.Step)
}

// stamped reports whether the peer offered timestamps.
func (d *Difference) stamped() bool { return d.Plan.Offer&segment.HasTimestamps != 0 }

// sameBut reports whether the replies are equal once mask has taken something
// away from each.
func (d *Difference) sameBut(mask func(*Reply)) bool {
	if d.Turn == nil {
		return false
	}
	ours, theirs := slices.Clone(d.Turn.Replies), slices.Clone(d.Theirs)
	for _, list := range [][]Reply{ours, theirs} {
		for i := range list {
			mask(&list[i])
		}
	}
	return slices.Equal(ours, theirs)
}

func allOf(replies []Reply, flags segment.Flags) bool {
	return len(replies) > 0 && !slices.ContainsFunc(replies, func(r Reply) bool { return !r.Flags.Has(flags) })
}

// bareAck reports whether there is one ACK and nothing else.
func bareAck(replies []Reply) bool {
	return len(replies) == 1 && replies[0].Flags == ack && replies[0].Len == 0
}
