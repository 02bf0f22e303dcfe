package explain

import (
	"fmt"
	"strings"

	"rawtcp/engine"
	"rawtcp/internal/flow"
)

// resets tells of each RST who sent it, by all that its looks tell.
func (t *teller) resets() {
	for i := range t.c.Resets {
		t.reset(&t.c.Resets[i])
	}
}

func (t *teller) reset(r *flow.Reset) {
	from, to := t.who(r.From), t.who(r.From.Other())
	what := fmt.Sprintf("RST in the name of %s in %s, %s", from, t.at(r.Moment), t.circumstance(r))
	box, own := t.evidence(r)
	severity, side := Problem, r.From.String()
	if r.Accepted && !t.c.Established.Seen() && r.From == flow.Remote && t.c.Opening == flow.Active && t.c.Ends[flow.Remote].SYN.Count == 0 {
		t.add("refused", severity, side, r.Moment, nil, "%s refused the connection: RST with TTL %d in %s, %s after the SYN. Nobody listens there, or a firewall answered in its name",
			from, r.TTL, t.at(r.Moment), took(r.At-t.c.Ends[flow.Local].SYN.Last.At))
		return
	}
	if !r.Accepted {
		severity = Note
		what += fmt.Sprintf(", which %s does not have to believe", to)
		if t.c.Over.Seen() && t.c.Over.At <= r.At {
			what = fmt.Sprintf("RST in the name of %s in %s, when the connection was over", from, t.at(r.Moment))
		}
	}
	switch {
	case len(box) >= 2 || t.goesOn(r):
		side = "path"
		what += fmt.Sprintf(". A box in between sent it, not %s: %s", from, strings.Join(box, "; "))
	case len(box) == 1:
		side = "path"
		what += fmt.Sprintf(". Perhaps a box in between sent it: %s", box[0])
		if len(own) > 0 {
			what += "; against it, " + strings.Join(own, "; ")
		}
	case len(own) > 0:
		what += fmt.Sprintf(". %s sent it itself: %s", strings.ToUpper(from[:1])+from[1:], strings.Join(own, "; "))
	default:
		what += fmt.Sprintf(". Nothing tells whether %s sent it: the capture has nothing else of it", from)
	}
	t.add("reset", severity, side, r.Moment, nil, "%s", what)
}

// circumstance tells what state the sender was in, and what the RST followed.
func (t *teller) circumstance(r *flow.Reset) string {
	words := "from " + r.State.String()
	switch r.State {
	case engine.Closed, engine.Listen, engine.TimeWait:
		words = "where no connection was (any more)"
	}
	const recent = 1e9
	if r.Distance > 0 && r.Distance < recent && r.AnswerHas {
		words += fmt.Sprintf(", %s after data, SYN or FIN of %s", took(r.Distance), t.who(r.From.Other()))
	}
	return words
}

// evidence tells what speaks for a box on the path as the sender, and what for
// the endpoint.
func (t *teller) evidence(r *flow.Reset) (box, own []string) {
	if t.goesOn(r) {
		box = append(box, fmt.Sprintf("%s goes on in frame %d as if nothing had happened", t.who(r.From), t.c.Ends[r.From].AfterReset.Frame))
	}
	if r.UsualTTL != 0 {
		usual, here := hops(r.UsualTTL), hops(r.TTL)
		switch {
		case r.TTL == r.UsualTTL:
			own = append(own, fmt.Sprintf("TTL %d as before", r.TTL))
		case usual == here:
			own = append(own, fmt.Sprintf("TTL %d is as many hops away as the TTL %d before", r.TTL, r.UsualTTL))
		default:
			box = append(box, fmt.Sprintf("its TTL is %d, that of the other segments %d", r.TTL, r.UsualTTL))
		}
	}
	if r.Counting && r.IPID != 0 {
		const near = 1024
		if step := int16(r.IPID - r.LastIPID); step > 0 && step < near {
			own = append(own, "its IP ID goes on counting")
		} else {
			box = append(box, fmt.Sprintf("its IP ID %d does not go on from %d", r.IPID, r.LastIPID))
		}
	}
	if r.Window != 0 && r.Window == r.LastWindow {
		own = append(own, "its window is the one that was offered before")
	}
	if n := t.volley(r); n > 1 {
		box = append(box, fmt.Sprintf("%d RSTs with different numbers came at once, as from somebody who guesses", n))
	}
	if r.Known && r.State.Synchronized() {
		switch {
		case r.Offset == 0:
			own = append(own, "its sequence number is exact")
		case !r.Accepted:
			box = append(box, fmt.Sprintf("its sequence number is %d octets off", r.Offset))
		}
	}
	if r.AnswerHas && r.FastestRTT > 0 && r.Distance > 0 && r.Distance < r.FastestRTT/4 {
		box = append(box, fmt.Sprintf("it came after %s, and %s never answered in less than %s", took(r.Distance), t.who(r.From), took(r.FastestRTT)))
	}
	return box, own
}

// goesOn reports whether the alleged sender of an RST was seen to live on.
func (t *teller) goesOn(r *flow.Reset) bool { return t.c.Ends[r.From].AfterReset.Frame > r.Frame }

// volley is how many RSTs with different numbers came in the same name close to
// this one.
func (t *teller) volley(r *flow.Reset) (n int) {
	const close = 20e6 // ns
	offsets := map[int]bool{}
	for i := range t.c.Resets {
		if x := &t.c.Resets[i]; x.From == r.From && x.Known && x.At-r.At < close && r.At-x.At < close {
			offsets[x.Offset] = true
		}
	}
	return len(offsets)
}

// hops is how many routers a packet has passed, if its sender began with one of
// the usual values.
func hops(ttl uint8) int {
	switch {
	case ttl <= 64:
		return 64 - int(ttl)
	case ttl <= 128:
		return 128 - int(ttl)
	}
	return 255 - int(ttl)
}
