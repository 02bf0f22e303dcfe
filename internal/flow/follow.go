package flow

import (
	"rawtcp/engine"
	"rawtcp/segment"
)

// follow takes the segment into account, after it was judged.
func (j *judgement) follow(n Notes) {
	j.seeSequence(n)
	if j.s.Flags.Has(segment.ACK) {
		j.seeAck(n)
	}
	f := j.f
	f.lastNotes, f.lastAt, f.lastRST = n, j.at, false
	if j.s.Flags.Has(segment.RST) {
		return // it may be somebody else's
	}
	f.lastTTL = j.s.TTL
	f.seeID(j.s.IPID)
	f.seeTS(j.s)
	if j.end == f.nxt && j.s.Len() > 0 {
		f.topTS = j.s.Options.TSVal
	}
	f.answered = f.answered || j.s.Flags.Has(segment.SYN|segment.ACK)
}

// seeSequence follows what its sender has sent.
func (j *judgement) seeSequence(n Notes) {
	s, f := j.s, j.f
	if s.Flags.Has(segment.RST) {
		return // its number may be anything
	}
	f.Octets += uint64(j.text)
	fresh := 0
	if s.Flags.Has(segment.SYN) && f.sent && !f.SYN.Seen && s.Seq != f.Base {
		f.sent, f.acked, f.holes = false, false, f.holes[:0] // what came before was of another connection
	}
	switch {
	case !f.sent:
		f.sent, f.nxt, f.nxtAt = true, j.end, j.at
		f.Base = s.Seq
		if !s.Flags.Has(segment.SYN) {
			f.Base = s.Seq.Add(-1)
		}
		fresh = j.text
	case n.Has(WindowProbe) && s.Seq == f.nxt: // not sent before it is taken
	case f.nxt.Less(j.end):
		if f.nxt.Less(s.Seq) {
			f.addHole(j.hole(f.nxt, s.Seq))
		}
		fresh = min(j.text, j.end.Sub(f.nxt)) + f.unseen(s.Seq, f.nxt)
		f.fill(s.Seq, f.nxt)
		f.nxt, f.nxtAt = j.end, j.at
	default:
		if len(f.holes) > 0 {
			fresh = min(f.unseen(s.Seq, j.end), j.text)
			f.fill(s.Seq, j.end)
		}
	}
	f.Bytes += uint64(min(fresh, j.text))
	if s.Len() > 0 {
		f.lastData, f.dataEnd = Moment{1, j.at}, j.end
	}
	if n.Has(Retransmission) && !f.inTimeout && (s.Flags.Has(segment.SYN) || j.at-max(f.nxtAt, j.r.ackAt) >= timeoutLeast) {
		f.inTimeout, f.recover = true, f.nxt
	}
}

// hole is what the segment has passed over.
func (j *judgement) hole(start, end segment.Seq) hole {
	return hole{start: start, end: end, at: j.at, ts: j.s.Options.TSVal, stamped: j.s.Options.Has(segment.HasTimestamps)}
}

// seeAck follows what its sender has received.
func (j *judgement) seeAck(n Notes) {
	s, f, r := j.s, j.f, j.r
	if s.Flags.Has(segment.RST) {
		return
	}
	if r.sent && r.nxt.Less(s.Ack) && j.believable() {
		if !n.Has(WindowProbe) && !j.probeTaken() {
			r.addHole(hole{start: r.nxt, end: s.Ack, at: j.at, acked: true})
		}
		r.nxt, r.nxtAt = s.Ack, j.at
	}
	if !r.sent { // the other direction was not seen yet
		r.Base = s.Ack.Add(-1)
	}
	r.ackHoles(s.Ack)
	if r.lastData.Seen() && s.Ack == r.dataEnd && (!r.acked || r.una.Less(s.Ack)) {
		if took := j.at - r.lastData.At; took > 0 && (f.fastest == 0 || took < f.fastest) {
			f.fastest = took
		}
	}
	if !r.sent || s.Ack.LessEq(r.nxt) {
		if !r.acked || r.una.Less(s.Ack) {
			r.una, r.acked = s.Ack, true
		}
		if r.inTimeout && r.recover.LessEq(r.una) {
			r.inTimeout = false
		}
	}
	switch {
	case !f.ackSeen || s.Ack != f.ack:
		f.repeats = 0
	case n.Has(DupAck) && r.sent && s.Ack.Less(r.nxt):
		f.repeats++
	}
	j.seeWindow()
	f.ack, f.ackSeen, f.ackAt = s.Ack, true, j.at
	j.seeSACK()
}

// believable reports whether an ACK of what was not seen may be true: it lies
// within what its sender could have been sent. Who has sent a SYN alone has
// nothing else that could be acknowledged.
func (j *judgement) believable() bool {
	if j.r.State == engine.SynSent {
		return false
	}
	const slack = 1 << 20
	room := 2 * j.f.room
	if !j.f.scaled {
		room = int(j.f.window) << 14
	}
	return j.s.Ack.Sub(j.r.nxt) <= room+slack
}

// seeWindow follows the window that is offered, and for how long it was shut.
func (j *judgement) seeWindow() {
	s, f := j.s, j.f
	if s.Flags.Has(segment.SYN) {
		f.window, f.room, f.closedAt = s.Window, int(s.Window), 0
		return
	}
	switch {
	case s.Window == 0 && f.closedAt == 0:
		f.Closures++
		f.closedAt = j.at
	case s.Window != 0 && f.closedAt != 0:
		f.ClosedFor += j.at - f.closedAt
		f.closedAt = 0
	}
	f.window, f.room = s.Window, int(s.Window)<<f.scale
}

// seeSACK remembers what is reported as received out of order, and counts what
// is reported as received twice (RFC 2883 section 4).
func (j *judgement) seeSACK() {
	f := j.f
	f.sacks = 0
	blocks := j.s.Options.Blocks()
	for i, b := range blocks {
		twice := b.End.LessEq(j.s.Ack) || i == 0 && len(blocks) > 1 && blocks[1].Start.LessEq(b.Start) && b.End.LessEq(blocks[1].End)
		if twice {
			if i == 0 {
				f.Needless += uint32(max(b.End.Sub(b.Start), 0))
			}
			continue
		}
		f.sacked[f.sacks] = b
		f.sacks++
	}
}

// seeSYN keeps what a SYN offers. The shift of the window counts only if both
// have offered one (RFC 7323 section 2.2).
func (j *judgement) seeSYN(m Moment, cut bool) {
	s, o := j.s, &j.s.Options
	y := &j.f.SYN
	y.Count++
	y.Last = m
	if y.Seen {
		return
	}
	*y = SYN{
		Seen: true, Count: y.Count, First: m, Last: m, Window: s.Window, Scale: min(o.WindowScale, 14),
		HasScale: o.Has(segment.HasWindowScale), SACKPermitted: o.Has(segment.HasSACKPermitted), Timestamps: o.Has(segment.HasTimestamps), Cut: cut,
	}
	if o.Has(segment.HasMSS) {
		y.MSS = o.MSS
	}
	y.ECN = s.Flags.Has(segment.ECE | segment.CWR)
	if s.Flags.Has(segment.ACK) {
		y.ECN = s.Flags.Has(segment.ECE) && !s.Flags.Has(segment.CWR)
	}
	if !y.HasScale {
		y.Scale = 0
	}
	if j.r.SYN.Seen && (y.HasScale || !y.Cut) && (j.r.SYN.HasScale || !j.r.SYN.Cut) {
		both := y.HasScale && j.r.SYN.HasScale
		for _, e := range []*End{j.f, j.r} {
			e.scaled, e.scale = true, 0
			if both {
				e.scale = e.SYN.Scale
			}
		}
	}
}

// Scale is the shift of the side's windows, 0 too if it is not known.
func (e *End) Scale() uint8 { return e.scale }

// ScaleKnown reports whether both SYNs were seen.
func (e *End) ScaleKnown() bool { return e.scaled }

// pass changes the state of a side.
func (e *End) pass(to engine.State) {
	e.State = to
	if n := len(e.Passed); n < maxStates && (n == 0 || e.Passed[n-1] != to) {
		e.Passed = append(e.Passed, to)
	}
}
