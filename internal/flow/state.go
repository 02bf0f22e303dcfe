package flow

import (
	"rawtcp/engine"
	"rawtcp/segment"
)

// A Change is a change of state of one side.
type Change struct {
	Side     Side
	From, To engine.State
	Cause    string
}

// move changes the state of a side and tells so in the event.
func (t *Tracker) move(side Side, to engine.State, cause string) {
	e := &t.event.Conn.Ends[side]
	if e.State == to {
		return
	}
	t.event.Changes = append(t.event.Changes, Change{side, e.State, to, cause})
	e.pass(to)
}

// states follows both sides over one segment that is no RST.
func (t *Tracker) states(j *judgement, m Moment) {
	t.revive(j, m)
	switch {
	case j.s.Flags.Has(segment.SYN | segment.ACK):
		t.synAck(j, m)
	case j.s.Flags.Has(segment.SYN):
		t.syn(j, m)
		return
	default:
		t.midst(j)
	}
	if j.s.Flags.Has(segment.ACK) {
		t.ack(j, m)
	}
	if j.s.Flags.Has(segment.FIN) && !j.f.finSent {
		t.fin(j, m)
	}
}

// midst is what both sides are in if the capture has not their beginning.
func (t *Tracker) midst(j *judgement) {
	if j.f.State != engine.Closed || j.r.State != engine.Closed || j.c.Over.Seen() {
		return
	}
	t.move(t.event.From, engine.Established, "seen in the midst of its life")
	t.move(t.event.From.Other(), engine.Established, "seen in the midst of its life")
}

// syn is a SYN without an ACK.
func (t *Tracker) syn(j *judgement, m Moment) {
	from := t.event.From
	if t.event.Notes.Has(OldSYN) {
		return
	}
	if !j.c.SYN.Seen() {
		j.c.SYN = m
	}
	switch j.f.State {
	case engine.Closed, engine.Listen:
		t.move(from, engine.SynSent, "SYN sent")
	}
	if j.r.State == engine.SynSent { // "SYN received, ... form a SYN,ACK", RFC 9293 section 3.10.7.3
		j.c.Opening = Simultaneous
		t.move(from.Other(), engine.SynReceived, "SYN received")
	}
}

// synAck is a SYN with an ACK.
func (t *Tracker) synAck(j *judgement, m Moment) {
	from := t.event.From
	if !j.c.SYNACK.Seen() {
		j.c.SYNACK = m
	}
	switch j.f.State {
	case engine.Closed, engine.Listen, engine.SynSent:
		t.move(from, engine.SynReceived, "SYN received")
	case engine.Established:
		if t.event.Notes.Has(Retransmission) {
			t.move(from, engine.SynReceived, "sends its SYN-ACK again: the ACK of it was lost")
		}
	}
	switch j.r.State {
	case engine.SynSent, engine.Closed:
		if !j.r.sent || j.s.Ack == j.r.nxt || j.s.Ack == j.r.Base.Add(1) {
			t.move(from.Other(), engine.Established, "SYN-ACK received")
		}
	}
}

// ack is what an acknowledgement changes: the receiver's SYN or FIN is acknowledged.
func (t *Tracker) ack(j *judgement, m Moment) {
	from, s := t.event.From, j.s
	to := from.Other()
	if !s.Flags.Has(segment.SYN) {
		switch j.f.State { // what it can send only when it has heard the other
		case engine.SynSent:
			t.move(from, engine.Established, "acknowledges the other's SYN")
		case engine.SynReceived:
			if j.text > 0 && j.c.Ends[Local].Count(FastOpen) == 0 { // with Fast Open it may do so before
				t.move(from, engine.Established, "sends data")
			}
		}
	}
	if j.r.State == engine.SynReceived && (!j.r.sent || j.r.Base.Less(s.Ack)) {
		t.move(to, engine.Established, "ACK of its SYN received")
		if !j.c.Established.Seen() {
			j.c.Established = m
		}
	}
	if j.r.finSent && j.r.finSeq.Less(s.Ack) {
		t.finAcked(j, m, to)
	}
}

func (t *Tracker) finAcked(j *judgement, m Moment, to Side) {
	if !j.r.FINAcked.Seen() {
		j.r.FINAcked = m
	}
	switch j.r.State {
	case engine.FinWait1:
		t.move(to, engine.FinWait2, "its FIN is acknowledged")
	case engine.Closing:
		t.move(to, engine.TimeWait, "its FIN is acknowledged")
	case engine.LastAck:
		t.move(to, engine.Closed, "its FIN is acknowledged")
	}
}

// fin is the first FIN of a side.
func (t *Tracker) fin(j *judgement, m Moment) {
	from, f := t.event.From, j.f
	f.finSent, f.finSeq, f.FIN = true, j.end.Add(-1), m
	if !j.c.Closing.Seen() {
		j.c.Closing, j.c.ClosedBy = m, from
	}
	heard := j.r.finSent && f.ackSeen && j.r.finSeq.Less(f.ack) // it knows of the other's FIN
	switch f.State {
	case engine.Established, engine.SynReceived, engine.SynSent:
		t.move(from, engine.FinWait1, "FIN sent")
	case engine.CloseWait:
		if heard {
			t.move(from, engine.LastAck, "FIN sent")
			break
		}
		j.c.Crossed = true
		t.move(from, engine.FinWait1, "FIN sent, before the other's came")
		t.move(from, engine.Closing, "FIN received")
	}
	if len(f.holes) == 0 {
		t.finArrives(j)
	}
}

// finArrives is the receiver's side of a FIN with everything before it.
func (t *Tracker) finArrives(j *judgement) {
	to := t.event.From.Other()
	switch j.r.State {
	case engine.Established, engine.SynReceived:
		t.move(to, engine.CloseWait, "FIN received")
	case engine.FinWait1:
		t.move(to, engine.Closing, "FIN received")
	case engine.FinWait2:
		t.move(to, engine.TimeWait, "FIN received")
	}
}

// lateFIN delivers a FIN that came before what was to come before it, once
// nothing is missing, or the receiver acknowledges it.
func (t *Tracker) lateFIN(j *judgement) {
	if j.f.finSent && len(j.f.holes) == 0 && !j.s.Flags.Has(segment.FIN) && open(j.r.State) {
		t.finArrives(j)
	}
	if j.r.finSent && j.f.ackSeen && j.r.finSeq.Less(j.f.ack) && open(j.f.State) {
		t.event.From = t.event.From.Other()
		t.finArrives(&judgement{c: j.c, f: j.r, r: j.f, s: j.s, at: j.at})
		t.event.From = t.event.From.Other()
	}
}

// open reports whether a side still waits for the other's FIN.
func open(s engine.State) bool {
	return s == engine.Established || s == engine.FinWait1 || s == engine.FinWait2
}

// reset is an RST: its sender is closed, and its receiver if it has to believe it.
func (t *Tracker) reset(j *judgement, r Reset) {
	from, m := t.event.From, r.Moment
	t.midst(j)
	r.State, r.Accepted = j.f.State, j.believed()
	if len(j.c.Resets) < maxResets {
		j.c.Resets = append(j.c.Resets, r)
	}
	j.f.lastRST = !r.Accepted
	if r.Accepted && !j.c.Closing.Seen() {
		j.c.Closing, j.c.ClosedBy, j.c.ByReset = m, from, true
	}
	if r.Accepted {
		t.strike(from.Other(), m, "RST received")
	}
	// In SYN-SENT an RST answers an ACK of something else, and changes nothing
	// (RFC 9293 section 3.10.7.3).
	if j.f.State != engine.SynSent {
		t.strike(from, m, "RST sent")
	}
}

// strike closes a side for an RST, and remembers what it was: the RST may have
// been somebody else's.
func (t *Tracker) strike(side Side, m Moment, cause string) {
	e := &t.event.Conn.Ends[side]
	to := engine.Closed
	if e.State == engine.SynReceived && side == Remote && t.event.Conn.Opening == Active && cause == "RST received" {
		to = engine.Listen // "If this connection was initiated with a passive OPEN, then return this connection to the LISTEN state", RFC 9293 section 3.10.7.4
	}
	if gone(e.State) && e.State != engine.TimeWait {
		if e.State == engine.Listen && cause == "RST sent" {
			t.move(side, engine.Closed, "nobody listens")
		}
		return
	}
	e.struck, e.before, e.struckAt = true, e.State, m.At
	e.struckSender = cause == "RST sent"
	t.move(side, to, cause)
}

// revive takes back what an RST has done to a side that goes on as if nothing
// had happened. What it had sent before the RST came does not count.
func (t *Tracker) revive(j *judgement, m Moment) {
	f := j.f
	if !f.struck {
		return
	}
	if older, known := f.older(j.s); known && older {
		return
	}
	const onTheWay = 50e6 // ns
	if !f.struckSender && j.at-f.struckAt < max(onTheWay, 2*j.c.RTT()) {
		return
	}
	if f.before == engine.LastAck || f.before == engine.SynSent || f.before == engine.SynReceived {
		return // what follows these from a closed port says little
	}
	f.struck = false
	if f.struckSender && !f.AfterReset.Seen() {
		f.AfterReset = m
	}
	t.move(t.event.From, f.before, "it goes on in spite of the RST")
}

// believed reports whether the receiver of an RST has to believe it.
func (j *judgement) believed() bool {
	s, f, r := j.s, j.f, j.r
	switch r.State {
	case engine.Closed, engine.Listen:
		return false
	case engine.SynSent: // "If the RST bit is set: ... if the ACK was acceptable", RFC 9293 section 3.10.7.3
		return s.Flags.Has(segment.ACK) && (s.Ack == r.nxt || s.Ack == r.Base.Add(1))
	}
	if !f.sent && !r.ackSeen {
		return true // nothing is known that speaks against it
	}
	// "If the RST bit is set and the sequence number exactly matches the next expected sequence number", RFC 5961 section 3.2
	return f.sent && s.Seq == f.nxt || r.ackSeen && s.Seq == r.ack
}

// look describes an RST before what its sender has sent so far.
func (j *judgement) look(m Moment, from Side) Reset {
	s, f, r := j.s, j.f, j.r
	x := Reset{
		Moment: m, From: from, Window: s.Window, LastWindow: f.window, TTL: s.TTL, UsualTTL: f.lastTTL,
		IPID: s.IPID, LastIPID: f.lastID, Counting: f.counting(), State: f.State, FastestRTT: f.fastest,
	}
	switch {
	case f.sent:
		x.Offset, x.Known = s.Seq.Sub(f.nxt), true
		if r.ackSeen && s.Seq == r.ack {
			x.Offset = 0
		}
	case r.ackSeen:
		x.Offset, x.Known = s.Seq.Sub(r.ack), true
	}
	if r.lastAt != 0 {
		x.Distance = m.At - r.lastAt
		x.AnswerHas = r.lastData.Seen() && r.lastData.At == r.lastAt
	}
	return x
}
