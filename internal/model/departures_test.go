package model_test

import (
	"sync/atomic"

	"rawtcp/internal/model"
	"rawtcp/segment"
)

// A departure is where the engine does otherwise than the text of the standards
// on purpose, and may.
type departure struct {
	name, section, reason string

	when func(t *model.TCB, s *segment.Segment) bool
	as   func(t model.TCB) model.TCB // judge as if t were this; nil: nothing happens
	seen atomic.Int64
}

var departures = []*departure{
	{
		name:    "CLOSED is silent",
		section: "9293 3.10.7.1",
		reason: "the stack is one endpoint of a host and not the host: what is addressed to a port that is not its own " +
			"may belong to the kernel or to another program, and a RST would kill that connection",
		when: func(t *model.TCB, _ *segment.Segment) bool { return t.State == model.Closed },
	},
	{
		name:    "a FIN at the right edge of the window is taken",
		section: "9293 3.10.7.4 first",
		reason: "it fills no buffer, all before it has come, and some stacks send a FIN without regard to the window: refusing it, " +
			"when the application does not read on, would hold the connection open for nothing",
		when: func(t *model.TCB, s *segment.Segment) bool {
			return t.State >= model.SynReceived && s.Flags.Has(fin) && s.End().Add(-1) == t.RcvEdge
		},
		as: func(t model.TCB) model.TCB {
			t.RcvEdge = t.RcvEdge.Add(1)
			return t
		},
	},
}

// depart adds what the departures allow to what the engine may be now, and
// reports whether there is any.
func (b *bench) depart(s *segment.Segment, unread int, wire *model.TCB, matched bool) bool {
	for _, d := range departures {
		for i := range b.before {
			if !d.when(&b.before[i], s) {
				continue
			}
			fits := d.fits(b, &b.before[i], s, unread, wire, matched)
			if fits && !matched {
				d.seen.Add(1)
			}
			matched = matched || fits
		}
	}
	return matched
}

// fits reports whether what followed s is the departure from before.
func (d *departure) fits(b *bench, before *model.TCB, s *segment.Segment, unread int, wire *model.TCB, matched bool) (fits bool) {
	if d.as == nil {
		return len(b.out) == 0
	}
	as := d.as(*before)
	for o := range model.Outcomes(&as, s) {
		if b.compare(before, s, o, unread) != "" {
			continue
		}
		after := b.follow(&as, o, wire)
		after.RcvEdge = segment.MaxSeq(after.RcvNxt, wire.RcvEdge)
		b.match(after, o, unread, matched || fits)
		fits = true
	}
	return fits
}
