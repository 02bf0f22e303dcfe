package flow

import (
	"rawtcp/segment"
)

// A judgement is one segment seen before the background of what came before it.
type judgement struct {
	c    *Conn
	f, r *End // who sends, and who is to receive
	s    *segment.Segment
	at   int64
	end  segment.Seq // behind its last octet
	text int         // octets of payload
}

const synFinRst = segment.SYN | segment.FIN | segment.RST

// notes tells what is remarkable about the segment. It changes nothing.
func (j *judgement) notes() Notes {
	s, f, r := j.s, j.f, j.r
	var n Notes
	if s.Flags.Has(segment.SYN) && !s.Flags.Has(segment.ACK) && j.text > 0 {
		n |= FastOpen
	}
	bare := s.Flags&synFinRst == 0
	if bare && s.Flags.Has(segment.ACK) && s.Window == 0 {
		n |= ZeroWindow
	}
	if probe := j.probe(); probe != 0 {
		return n | probe
	}
	if j.old() {
		return PAWS
	}
	if f.sent && f.nxt.Less(s.Seq) && !s.Flags.Has(segment.RST) {
		n |= Gap
	}
	if s.Flags.Has(segment.ACK) && r.sent && !s.Flags.Has(segment.RST) && (r.nxt.Less(s.Ack) && !j.probeTaken() || r.skipped(s.Ack)) {
		n |= AckOfUnseen
	}
	if bare && j.text > 0 && r.scaled && r.ackSeen && j.end == r.ack.Add(r.room) {
		n |= WindowFull
	}
	if bare && j.text == 0 {
		n |= j.bareAck()
	}
	if s.Len() > 0 && f.sent && s.Seq.Less(f.nxt) && !s.Flags.Has(segment.RST) {
		n |= j.again()
	}
	return n
}

// old reports whether a segment has octets that are new, and a timestamp from
// before what was sent before them. No sender does that, and no receiver takes
// it (RFC 7323 section 5).
func (j *judgement) old() bool {
	f, s := j.f, j.s
	return f.sent && f.tsSeen && j.text > 0 && s.Options.Has(segment.HasTimestamps) && f.nxt.LessEq(s.Seq) && int32(s.Options.TSVal-f.lastTS) < 0 &&
		int32(s.Options.TSVal-f.topTS) < 0
}

// probe knows the segments that ask whether somebody is still there, or still
// has no room: an octet that was acknowledged already, none at all, or one
// beyond the window.
func (j *judgement) probe() Notes {
	s, f, r := j.s, j.f, j.r
	if s.Flags&synFinRst != 0 || !f.sent || j.text > 1 {
		return 0
	}
	shut := r.ackSeen && r.window == 0
	behind := s.Seq == f.nxt.Add(-1) || f.acked && s.Seq == f.una.Add(-1)
	taken := f.acked && !f.una.Less(j.end) // nothing in it is outstanding
	switch {
	case behind && taken && (j.text == 1 || s.Seq != f.nxt):
		if shut {
			return WindowProbe
		}
		return KeepAlive
	case shut && j.text == 1 && (s.Seq == f.nxt || s.Seq == r.ack):
		return WindowProbe
	}
	return 0
}

// probeTaken reports whether the ACK takes the octet that a probe carried.
func (j *judgement) probeTaken() bool {
	return j.r.lastNotes.Has(WindowProbe) && j.s.Ack == j.r.nxt.Add(1)
}

// bareAck judges a segment that carries nothing but its acknowledgement.
func (j *judgement) bareAck() Notes {
	s, f, r := j.s, j.f, j.r
	if !f.ackSeen || !s.Flags.Has(segment.ACK) || s.Seq != f.nxt {
		return 0
	}
	same := s.Ack == f.ack
	switch {
	case r.lastNotes.Has(WindowProbe) && s.Window == 0 && (same || s.Ack == f.ack.Add(1)):
		return WindowProbeAck
	case r.lastNotes.Has(KeepAlive) && same:
		return KeepAliveAck
	case same && (r.lastNotes.Has(OldSYN) || r.lastRST):
		return ChallengeAck
	case !same:
		return 0
	case j.newSACK(): // "it includes a SACK block that identifies previously unacknowledged ... octets", RFC 6675 section 2
		return DupAck
	case s.Window != f.window:
		if s.Window == 0 {
			return 0
		}
		return WindowUpdate
	case s.Window == 0:
		return 0
	}
	return DupAck
}

// newSACK reports whether the segment tells of octets that were not reported before.
func (j *judgement) newSACK() bool {
	for _, b := range j.s.Options.Blocks() {
		if b.Start.Less(j.s.Ack) {
			continue // a DSACK, RFC 2883
		}
		known := false
		for _, k := range j.f.sacked[:j.f.sacks] {
			known = known || k.Start.LessEq(b.Start) && b.End.LessEq(k.End)
		}
		if !known {
			return true
		}
	}
	return false
}

// again judges a segment that begins below what was sent before.
func (j *judgement) again() Notes {
	s, f := j.s, j.f
	// What a probe has asked with is not sent again but sent at last.
	if f.lastNotes.Has(WindowProbe) && s.Len() > 1 && s.Seq == f.nxt.Add(-1) {
		return 0
	}
	seen := segment.MinSeq(j.end, f.nxt).Sub(s.Seq) - f.unseen(s.Seq, segment.MinSeq(j.end, f.nxt))
	if seen <= 0 && j.late() {
		return OutOfOrder
	}
	return j.resent(seen > 0)
}

// late reports whether a segment that was not seen before was overtaken on its
// way, rather than sent again after the first one was lost before it got here.
func (j *judgement) late() bool {
	if j.f.acked && j.end.LessEq(j.f.una) {
		return true // it has arrived: only the capture has it late
	}
	if older, known := j.f.older(j.s); known {
		return older
	}
	const unknownRTT = 3e6 // ns
	limit := j.c.RTT() * 3 / 4
	if limit == 0 {
		limit = unknownRTT
	}
	// Nobody repairs a loss faster than the path is long, and the repair passes
	// here one round trip after what has shown the loss.
	since := j.f.nxtAt
	if h := j.f.holeAt(j.s.Seq); h != nil {
		since = h.at
	}
	return j.at-since < limit
}

// soon is how long, in ns, what an ACK has asked for may take to come.
const soon = 20e6

// timeoutLeast is the shortest time, in ns, that is taken for a timeout: stacks
// wait for 200 ms at least, their clocks are coarse.
const timeoutLeast = 150e6

// resent tells why a segment is sent again.
func (j *judgement) resent(seen bool) Notes {
	s, f, r := j.s, j.f, j.r
	if s.Flags.Has(segment.SYN) {
		if s.Flags.Has(segment.ACK) && !f.answered {
			return 0 // both open at once: its SYN comes again with the ACK of the other's
		}
		return Retransmission
	}
	if seen && f.acked && j.end.LessEq(f.una) {
		return SpuriousRetransmission
	}
	if f.inTimeout {
		return Retransmission
	}
	fresh := j.at-r.ackAt < max(soon, j.c.RTT())
	if fresh && (r.repeats >= 2 && r.ack == s.Seq || r.reports(s.Seq, j.end)) {
		return FastRetransmission
	}
	if j.end == f.nxt && r.repeats == 0 && j.at-f.nxtAt < timeoutLeast && j.at-f.nxtAt > j.c.RTT() {
		return LossProbe
	}
	return Retransmission
}

// reports reports whether the side has said with SACK that it has something
// behind a range, but not the range.
func (t *track) reports(start, end segment.Seq) bool {
	behind := false
	for _, b := range t.sacked[:t.sacks] {
		if b.Start.LessEq(start) && end.LessEq(b.End) {
			return false
		}
		behind = behind || end.LessEq(b.Start)
	}
	return behind
}
