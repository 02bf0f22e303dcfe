package differ

import (
	"fmt"
	"slices"
	"strings"

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

var (
	both       = []string{"kernel", "gvisor"}
	kernelOnly = []string{"kernel"}
	gvisorOnly = []string{"gvisor"}
)

// Differences is the list. The order matters: the first that fits is named.
var Differences = []Known{
	{ID: "reset-options", Of: both, Looks: true, Allows: func(d *Difference) bool {
		return d.sameBut(func(r *Reply) {
			if r.Flags.Has(rst) {
				r.Options, r.Echo = 0, 0
			}
		})
	}},
	{ID: "echo", Of: both, Looks: true, Allows: func(d *Difference) bool {
		return d.sameBut(func(r *Reply) { r.Echo = 0 }) && d.eachReply(func(ours, theirs Reply) bool { return ours.Echo >= theirs.Echo })
	}},
	{ID: "dsack", Of: both, Looks: true, Allows: func(d *Difference) bool {
		ahead := func(s Step) bool { return s.Seq == SeqBeyond || s.Seq == SeqLast || s.Seq == SeqEdge }
		return d.sameBut(func(r *Reply) { r.Blocks, r.Echo, r.Options = "", 0, r.Options&^segment.HasSACK }) && len(d.Theirs) == 1 &&
			(!d.atStep(ahead) || d.Turn.Replies[0].Blocks != "" && d.Theirs[0].Blocks != "") && oneHasMore(d.Turn.Replies[0].Blocks, d.Theirs[0].Blocks)
	}},
	{ID: "sack-fin", Of: both, Looks: true, Allows: func(d *Difference) bool {
		return d.afterStep(func(t *Turn) bool { return t.Step.Flags.Has(fin) }) &&
			d.sameBut(func(r *Reply) { r.Blocks, r.Echo, r.Options = "", 0, r.Options&^segment.HasSACK }) &&
			d.eachReply(func(ours, theirs Reply) bool {
				return oneLonger(strings.Fields(ours.Blocks), strings.Fields(theirs.Blocks))
			})
	}},
	{ID: "sack-while-closing", Of: gvisorOnly, Looks: true, Allows: func(d *Difference) bool {
		return d.in("FIN-WAIT-1", "FIN-WAIT-2") && d.sameBut(func(r *Reply) { r.Blocks, r.Echo, r.Options = "", 0, r.Options&^segment.HasSACK }) &&
			len(d.Theirs) == 1 && d.Theirs[0].Blocks == ""
	}},
	{ID: "ack-apart", Of: kernelOnly, Looks: true, Allows: func(d *Difference) bool {
		return d.Turn != nil && len(d.Theirs) == 2 && bareAck(d.Theirs[:1]) && slices.Equal(d.Turn.Replies, d.Theirs[1:])
	}},
	{ID: "acceptable-seq", Of: kernelOnly, Looks: true, Allows: func(d *Difference) bool {
		return d.sameBut(func(r *Reply) { r.Seq, r.Echo, r.Blocks, r.Options = 0, 0, "", r.Options&^segment.HasSACK }) && bareAck(d.Turn.Replies) &&
			d.Theirs[0].Seq < d.Turn.Replies[0].Seq && d.afterStep(func(t *Turn) bool { return t.Step.Window == 0 })
	}},
	{ID: "text-after-fin-resets", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.in("CLOSING", "LAST-ACK", "CLOSE-WAIT", "TIME-WAIT") && d.atStep(func(s Step) bool { return s.Size > 0 }) && quiet(d.Turn.Replies) && allOf(d.Theirs, rst)
	}},
	{ID: "reset-in-last-ack", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.Detail == "our user sees end of data, theirs error" && d.afterStep(func(t *Turn) bool {
			return t.Step.Flags.Has(rst) && (t.State == "LAST-ACK" || t.State == "CLOSING")
		})
	}},
	{ID: "syn-burst", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.Turn != nil && d.Plan.Target == SynSent && len(d.Theirs) > 0 && d.Theirs[0].Flags == syn && d.Theirs[0].Retransmit
	}},
	{ID: "syn-in-syn-received", Of: both, Allows: func(d *Difference) bool {
		return d.in("SYN-RECEIVED") && d.atStep(func(s Step) bool { return s.Flags.Has(syn) }) && quiet(d.Turn.Replies) && allOf(d.Theirs, rst)
	}},
	{ID: "text-in-syn-received", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.in("SYN-RECEIVED") && d.atStep(func(s Step) bool { return s.Size > 0 && s.Flags.Has(ack) }) && quiet(d.Turn.Replies)
	}},
	{ID: "no-challenge-in-syn-received", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.in("SYN-RECEIVED") && d.atStep(func(s Step) bool { return s.Flags.Has(rst) }) && bareAck(d.Turn.Replies) && len(d.Theirs) == 0
	}},
	{ID: "ack-for-syn", Of: both, Allows: func(d *Difference) bool {
		return d.in("SYN-RECEIVED") && d.atStep(func(s Step) bool { return s.Flags.Has(syn) && !s.Flags.Has(ack) }) && allOf(d.Turn.Replies, syn|ack) && bareAck(d.Theirs)
	}},
	{ID: "simultaneous-syn", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.Plan.Target == SynSent && d.afterStep(func(t *Turn) bool { return t.State == "SYN-RECEIVED" && t.Step.Flags.Has(syn) })
	}},
	{ID: "simultaneous-wrong-ack", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.Plan.Target == SynSent && d.in("SYN-RECEIVED") && d.atStep(func(s Step) bool { return s.Flags.Has(ack) && s.Ack != AckNext }) &&
			allOf(d.Turn.Replies, rst) && quiet(d.Theirs)
	}},
	{ID: "text-at-syn", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.Plan.Target == SynSent && d.atStep(func(s Step) bool { return s.Seq == SeqOpposite && s.Flags.Has(fin) && s.Size == 1 }) &&
			bareAck(d.Turn.Replies) && bareAck(d.Theirs) && d.Turn.Replies[0].Ack == d.Theirs[0].Ack+1
	}},
	{ID: "fin-beyond-hole", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.afterStep(func(t *Turn) bool {
			return t.Step.Flags.Has(fin) && (t.Step.Seq == SeqBeyond || t.Step.Seq == SeqLast) && t.State == "SYN-RECEIVED"
		})
	}},
	{ID: "last-ack-seq", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.afterStep(func(t *Turn) bool {
			return t.State == "LAST-ACK" && t.Step.Seq != SeqNext && t.Step.Flags.Has(ack) && quiet(t.Replies)
		})
	}},
	{ID: "reset-under-paws", Of: kernelOnly, Allows: func(d *Difference) bool {
		return d.Plan.Offer&segment.HasTimestamps != 0 && d.afterStep(func(t *Turn) bool {
			return t.State == "SYN-RECEIVED" && t.Step.Flags.Has(rst) && t.Step.Stamp == StampOld
		})
	}},
	{ID: "no-timestamp", Of: both, Allows: func(d *Difference) bool {
		return d.Plan.Offer&segment.HasTimestamps != 0 && d.afterStep(func(t *Turn) bool {
			return t.Step.Stamp == StampNone && t.State != "LISTEN" && len(t.Replies) == 0
		})
	}},
	{ID: "no-ack", Of: both, Allows: func(d *Difference) bool {
		return d.atStep(func(s Step) bool { return s.Flags&(ack|syn|rst) == 0 }) && quiet(d.Turn.Replies) && quiet(d.Theirs)
	}},
	{ID: "no-connection", Of: both, Allows: func(d *Difference) bool {
		return d.in("CLOSED") && len(d.Turn.Replies) == 0 && allOf(d.Theirs, rst)
	}},
	{ID: "syn-fin", Of: both, Allows: func(d *Difference) bool {
		return d.afterStep(func(t *Turn) bool {
			return t.Step.Flags.Has(syn|fin) && slices.Contains([]string{"LISTEN", "SYN-SENT", "TIME-WAIT", "CLOSED", "SYN-RECEIVED"}, t.State) && quiet(t.Replies)
		})
	}},
	{ID: "ack-before-seq", Of: both, Allows: func(d *Difference) bool {
		return d.in("SYN-RECEIVED") && d.atStep(func(s Step) bool { return s.Ack != AckNext && (s.Seq != SeqNext || s.Stamp == StampOld) }) && quiet(d.Turn.Replies) && allOf(d.Theirs, rst)
	}},
	{ID: "text-with-syn-ack", Of: both, Allows: func(d *Difference) bool {
		return d.in("SYN-SENT") && d.atStep(func(s Step) bool { return s.Flags.Has(syn) && s.Size > 0 })
	}},
	{ID: "old-stamp-silent", Of: both, Allows: func(d *Difference) bool {
		return d.atStep(func(s Step) bool { return s.Stamp == StampOld }) && bareAck(d.Turn.Replies) && len(d.Theirs) == 0
	}},
	{ID: "time-wait-syn", Of: both, Allows: func(d *Difference) bool {
		return d.in("TIME-WAIT") && d.atStep(func(s Step) bool { return s.Flags.Has(syn) }) && (quiet(d.Turn.Replies) || allOf(d.Turn.Replies, syn|ack))
	}},
	{ID: "time-wait", Of: both, Allows: func(d *Difference) bool {
		return d.in("TIME-WAIT") && quiet(d.Turn.Replies) && quiet(d.Theirs)
	}},
	{ID: "beyond-edge", Of: both, Allows: func(d *Difference) bool {
		return d.afterStep(func(t *Turn) bool { return t.Step.Seq == SeqLast && t.Step.Size > 1 && !someOf(t.Replies, rst|syn) })
	}},
	{ID: "second-fin", Of: both, Allows: func(d *Difference) bool {
		return d.in("CLOSE-WAIT", "CLOSING", "LAST-ACK") && d.atStep(func(s Step) bool { return s.Flags.Has(fin) }) && quiet(d.Turn.Replies) && quiet(d.Theirs)
	}},
	{ID: "ack-below-iss", Of: kernelOnly, Allows: func(d *Difference) bool {
		return d.atStep(func(s Step) bool { return s.Ack == AckBelow }) && quiet(d.Turn.Replies) && quiet(d.Theirs)
	}},
	{ID: "old-ack-text", Of: kernelOnly, Allows: func(d *Difference) bool {
		return d.atStep(func(s Step) bool { return s.Ack == AckOld && s.Seq == SeqNext && s.Size > 0 }) && bareAck(d.Turn.Replies)
	}},
	{ID: "simultaneous-ack", Of: kernelOnly, Allows: func(d *Difference) bool {
		return d.Plan.Target == SynSent && d.afterStep(func(t *Turn) bool {
			return t.State == "SYN-RECEIVED" && t.Step.Flags.Has(ack) && t.Step.Ack != AckNext
		})
	}},
	{ID: "reset-with-text", Of: kernelOnly, Allows: func(d *Difference) bool {
		return d.atStep(func(s Step) bool { return s.Flags.Has(rst) && s.Size > 0 && s.Seq != SeqNext }) && len(d.Turn.Replies) == 0 && bareAck(d.Theirs)
	}},
	{ID: "initial-window", Of: kernelOnly, Allows: func(d *Difference) bool {
		return d.Turn != nil && d.Turn.Step.Call == CallWrite && d.afterStep(func(t *Turn) bool {
			return t.State == "SYN-RECEIVED" && t.Step.Flags.Has(syn) && t.Step.Seq == SeqPrevious
		})
	}},
	{ID: "delayed-ack", Of: both, Allows: func(d *Difference) bool {
		return d.atStep(func(s Step) bool { return s.Seq == SeqNext && (s.Size > 0 || s.Flags.Has(fin)) }) && bareAck(d.Turn.Replies) && len(d.Theirs) == 0
	}},
	{ID: "reset-after-end", Of: both, Allows: func(d *Difference) bool {
		return d.Detail == "our user sees error, theirs end of data" && d.afterStep(func(t *Turn) bool { return t.Step.Flags.Has(rst) && len(t.Replies) == 0 })
	}},
	{ID: "left-edge", Of: both, Allows: func(d *Difference) bool {
		return d.afterStep(func(t *Turn) bool { return t.Step.Seq == SeqPrevious && quiet(t.Replies) })
	}},
	{ID: "edge", Of: both, Allows: func(d *Difference) bool {
		return d.afterStep(func(t *Turn) bool { return t.Step.Seq == SeqEdge && quiet(t.Replies) })
	}},
	{ID: "two-fins", Of: both, Allows: func(d *Difference) bool {
		held := func(t *Turn) bool { return t.Step.Flags.Has(fin) && (t.Step.Seq == SeqBeyond || t.Step.Seq == SeqLast) }
		return d.afterStep(held) && d.afterStep(func(t *Turn) bool { return t.Step.Flags.Has(fin|ack) && !held(t) })
	}},
	{ID: "fin-against-text", Of: both, Allows: func(d *Difference) bool {
		covers := func(s Step) bool { return s.Seq == SeqBeyond || s.Seq == SeqNext && s.Size > 0 }
		bare := func(t *Turn) bool { return t.Step.Flags.Has(fin) && t.Step.Seq == SeqBeyond && t.Step.Size == 0 }
		if d.afterStep(bare) && d.atStep(func(s Step) bool { return s.Seq == SeqBeyond && s.Size > 0 }) {
			return true
		}
		return d.afterStep(func(t *Turn) bool { return t.Step.Flags.Has(fin) && covers(t.Step) }) &&
			d.afterStep(func(t *Turn) bool { return t.Step.Seq == SeqBeyond }) &&
			d.afterStep(func(t *Turn) bool { return t.Step.Seq == SeqNext && t.Step.Size > 0 })
	}},
	{ID: "window-tail", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.afterStep(func(t *Turn) bool { return t.Step.Seq == SeqLast && quiet(t.Replies) })
	}},
	{ID: "unchecked-ack", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.afterStep(func(t *Turn) bool {
			return t.Step.Flags.Has(ack) && !t.Step.Flags.Any(syn|rst) && t.Step.Ack != AckNext && t.Step.Ack != AckUna && quiet(t.Replies)
		})
	}},
	{ID: "no-paws", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.Plan.Offer&segment.HasTimestamps != 0 && d.afterStep(func(t *Turn) bool { return t.Step.Stamp == StampOld && quiet(t.Replies) })
	}},
	{ID: "closed-window", Of: gvisorOnly, Allows: func(d *Difference) bool {
		text := func(r Reply) bool { return r.Len > 0 }
		return d.afterStep(func(t *Turn) bool { return t.Step.Window == 0 && t.Step.Flags.Has(ack) }) &&
			d.Turn != nil && (slices.ContainsFunc(d.Turn.Replies, text) || slices.ContainsFunc(d.Theirs, text))
	}},
	{ID: "time-wait-reset", Of: gvisorOnly, Allows: func(d *Difference) bool {
		return d.afterStep(func(t *Turn) bool { return t.State == "TIME-WAIT" && t.Step.Flags.Has(rst) && len(t.Replies) == 0 })
	}},
}

// in reports whether the difference is about a turn in one of our states.
func (d *Difference) in(states ...string) bool {
	return d.Turn != nil && slices.Contains(states, d.Turn.State)
}

// atStep reports whether the difference is about a segment that is like this.
func (d *Difference) atStep(like func(Step) bool) bool {
	return d.Turn != nil && d.Turn.segment() && like(d.Turn.Step)
}

// afterStep reports whether a segment like this came before the difference, or
// is what it is about. It may have gone unnoticed.
func (d *Difference) afterStep(like func(*Turn) bool) bool {
	return slices.ContainsFunc(append(slices.Clone(d.Before), d.Turn), func(t *Turn) bool { return t != nil && t.segment() && like(t) })
}

// segment reports whether the stimulus was a segment.
func (t *Turn) segment() bool { return t.What != "open" && t.Step.Call == NoCall }

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

// eachReply reports whether like holds for the replies two by two.
func (d *Difference) eachReply(like func(ours, theirs Reply) bool) bool {
	for i, r := range d.Turn.Replies {
		if i >= len(d.Theirs) || !like(r, d.Theirs[i]) {
			return false
		}
	}
	return true
}

func allOf(replies []Reply, flags segment.Flags) bool {
	return len(replies) > 0 && !slices.ContainsFunc(replies, func(r Reply) bool { return !r.Flags.Has(flags) })
}

// someOf reports whether a reply has one of the flags.
func someOf(replies []Reply, flags segment.Flags) bool {
	return slices.ContainsFunc(replies, func(r Reply) bool { return r.Flags.Any(flags) })
}

// oneLonger reports whether theirs are our SACK blocks with one octet more, at the
// end of one of them or as a block of its own, or ours with a report of a
// duplicate before them.
func oneLonger(ours, theirs []string) bool {
	more := 0
	for _, b := range theirs {
		switch {
		case slices.Contains(ours, b):
		case slices.ContainsFunc(ours, func(o string) bool { return extent(b) == extent(o)+1 }), extent(b) == 1:
			more++
		default:
			return false
		}
	}
	return more >= 1 && more <= 2 && len(theirs) >= len(ours)
}

// extent is how many octets a SACK block as Reply has it stands for.
func extent(block string) int {
	var start, end int
	if n, _ := fmt.Sscanf(block, "%d:%d", &start, &end); n == 2 {
		return end - start
	}
	if n, _ := fmt.Sscanf(block, "edge(%d)", &end); n == 1 {
		return end
	}
	return 0
}

// oneHasMore reports whether one of two lists of SACK blocks is the other with
// something before it.
func oneHasMore(a, b string) bool { return strings.HasSuffix(a, b) || strings.HasSuffix(b, a) }

// quiet reports whether there is nothing but bare ACKs, if that.
func quiet(replies []Reply) bool {
	return len(replies) == 0 || bareAck(replies)
}

// bareAck reports whether there is one ACK and nothing else.
func bareAck(replies []Reply) bool {
	return len(replies) == 1 && replies[0].Flags == ack && replies[0].Len == 0
}
