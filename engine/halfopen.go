package engine

import (
	"rawtcp/segment"
)

// receiveHalfOpen is SYN-RECEIVED of a passive open, in the order of RFC 9293
// section 3.10.7.4. Only a segment that completes the handshake makes a connection.
func (l *Listener) receiveHalfOpen(now Time, e *synEntry, s *segment.Segment) {
	c := &l.scratch
	l.restore(c, e)
	if s.Flags.Has(segment.RST) {
		l.receiveRST(now, e, s)
		return
	}
	if s.Flags.Has(segment.SYN) && s.Seq == e.irs && !s.Flags.Has(segment.ACK) {
		l.traceIn(e.id, s, SynReceived, NoteDuplicate)
		if e.answered() {
			l.answer(e)
		}
		return
	}
	if c.ts.on && !l.checkTimestamp(now, e, s) {
		l.traceIn(e.id, s, SynReceived, NotePAWS)
		return
	}
	switch {
	case !c.acceptable(s), s.Flags.Has(segment.SYN) && s.Seq == e.irs:
		l.traceIn(e.id, s, SynReceived, NoteUnacceptable)
		l.challenge(now, e, "SYN-RECEIVED: the segment is outside the window, RFC 9293 section 3.10.7.4")
	case s.Flags.Has(segment.SYN): // "return this connection to the LISTEN state"
		l.traceChange(e, s, SynReceived, Listen, NoteUnacceptable, "a SYN inside the window")
		l.forget(e)
	case !s.Flags.Has(segment.ACK):
		l.traceIn(e.id, s, SynReceived, NoteUnacceptable)
	case s.Ack != e.iss.Add(1):
		l.traceIn(e.id, s, SynReceived, NoteUnacceptable)
		l.stack.reset(s, "SYN-RECEIVED: it acknowledges what was not sent, RFC 9293 section 3.10.7.4")
	case l.isFull():
		l.countFull()
		l.traceIn(e.id, s, SynReceived, NoteUnacceptable)
	default:
		l.forget(e)
		l.promote(now, e, s)
	}
}

// receiveRST: exactly at RCV.NXT it returns the connection to LISTEN, and the
// peer's old duplicate SYN is done with (RFC 9293 section 3.5, figure 8);
// elsewhere in the window it is challenged (RFC 5961 section 3.2).
func (l *Listener) receiveRST(now Time, e *synEntry, s *segment.Segment) {
	exact, inWindow := l.scratch.resetAt(s.Seq)
	if exact {
		l.traceChange(e, s, SynReceived, Listen, NoteNone, "RST received")
		l.forget(e)
		return
	}
	l.traceIn(e.id, s, SynReceived, NoteUnacceptable)
	if inWindow {
		l.challenge(now, e, "a RST inside the window but not at RCV.NXT, RFC 5961 section 3.2")
	}
}

// checkTimestamp is Conn.checkTimestamp for a handshake under way: a segment
// without a timestamp is dropped, one with an old timestamp is answered.
func (l *Listener) checkTimestamp(now Time, e *synEntry, s *segment.Segment) bool {
	if !s.Options.Has(segment.HasTimestamps) {
		return false
	}
	if int32(s.Options.TSVal-e.tsVal) < 0 {
		l.challenge(now, e, "PAWS: an old timestamp, RFC 7323 section 5.3")
		return false
	}
	return true
}

// challenge answers for a handshake under way, limited like Conn.challengeACK.
func (l *Listener) challenge(now Time, e *synEntry, why string) {
	if e.ackAt != 0 && now.Sub(e.ackAt) < l.conn.ChallengeACK {
		return
	}
	e.ackAt = now
	l.say(e, segment.ACK, why)
}

func (l *Listener) say(e *synEntry, flags segment.Flags, why string) {
	ev := Event{Conn: e.id, State: SynReceived, Vars: e.vars(), Reason: why}
	seg := segment.Segment{Src: e.local(), Dst: e.remote(), Seq: e.iss.Add(1), Ack: e.irs.Add(1),
		Flags: flags, TTL: l.conn.TTL, TOS: e.tos}
	c := &l.scratch
	l.restore(c, e)
	if !flags.Has(segment.RST) {
		seg.Window = uint16(c.rcv.edge.Sub(c.rcv.nxt) >> c.rcv.scale) // what the SYN-ACK offered: more would not be remembered
	}
	if c.ts.on {
		seg.Options.Set |= segment.HasTimestamps
		seg.Options.TSVal, seg.Options.TSEcr = c.tsNow(l.stack.now), e.tsVal
	}
	l.stack.say(ev, seg)
}

// restore makes c the connection that e stands for.
func (l *Listener) restore(c *Conn, e *synEntry) {
	*c = Conn{stack: l.stack, id: e.id, local: e.local(), remote: e.remote(), cfg: l.conn,
		state: SynReceived, passive: true}
	c.mtu = int(e.mtu)
	c.link = int32(c.mtu)
	c.ts.offset = l.stack.secrets.tsOffset(c.local, c.remote)
	c.startAt(e.iss)
	c.rcv.buf.limit = c.cfg.ReceiveBuffer
	c.snd.buf.limit = c.cfg.SendBuffer
	c.rtt.init(c.cfg.InitialRTO, c.cfg.MinRTO, c.cfg.MaxRTO)
	c.learn(l.stack.now, e.irs, e.peer(), e.tsVal)
	c.ecn.on = c.cfg.ECN == On && c.peer.ecn
}

// synAck fills s with the SYN-ACK of e.
func (l *Listener) synAck(now Time, e *synEntry, s *segment.Segment) {
	c := &l.scratch
	l.restore(c, e)
	if e.grant != 0 && !e.answered() { // "retransmit SYN-ACK without the cookie options" RFC 7413 section 4.2.1
		c.grantFastOpen(now, e.grant)
	}
	*s = segment.Segment{Src: c.local, Dst: c.remote, Seq: e.iss, Ack: c.rcv.nxt,
		Flags: segment.SYN | segment.ACK, TTL: c.cfg.TTL, TOS: c.cfg.TOS, Window: uint16(min(c.windowWanted(), 0xffff))}
	c.synOptions(now, &s.Options, true)
	if c.ecn.on {
		s.Flags |= segment.ECE
	}
}

// transmit sends the SYN-ACK of e.
func (l *Listener) transmit(now Time, e *synEntry, s *segment.Segment) {
	l.synAck(now, e, s)
	ev := Event{Kind: EventSegmentOut, Conn: e.id, Local: s.Src, Remote: s.Dst, State: SynReceived,
		Vars: e.vars(), Segment: s, Reason: "answers the SYN, RFC 9293 section 3.5"}
	if e.answered() {
		ev.Note, ev.Reason = NoteRetransmission, "no answer to the SYN-ACK, RFC 6298 section 5"
		e.has |= synResent
	}
	e.has |= synAnswered
	e.at = now
	l.cache.waiting[min(int(e.retries), len(l.cache.waiting)-1)].push(e)
	l.schedule()
	if l.stack.cfg.Tracer != nil {
		l.stack.trace(&ev)
	}
}

// build makes the connection that e stands for.
func (l *Listener) build(now Time, e *synEntry) *Conn {
	c := new(Conn)
	l.restore(c, e)
	c.node.owner = c
	c.account(now)
	c.created, c.lastRecv = e.at, now
	return c
}

// promote makes the connection that e stands for, and gives it the segment
// that completes the handshake.
func (l *Listener) promote(now Time, e *synEntry, s *segment.Segment) {
	c := l.build(now, e)
	c.listener = l
	resent := e.has&synResent != 0
	if c.retries = int32(e.retries); resent {
		c.retries = max(1, c.retries)
	}
	c.snd.nxt = e.iss.Add(1)
	if e.answered() { // or else nobody knows when the SYN-ACK left, and nothing is measured
		c.track(sentRange{start: e.iss, end: c.snd.nxt, at: e.at, flags: segment.SYN, everResent: resent})
	}
	l.stack.add(c)
	c.Receive(now, s)
}

func (e *synEntry) vars() Vars {
	return Vars{ISS: e.iss, IRS: e.irs, SndUna: e.iss, SndNxt: e.iss.Add(1), RcvNxt: e.irs.Add(1)}
}

func (l *Listener) traceState(e *synEntry, from, to State, why string) {
	if l.stack.cfg.Tracer != nil {
		ev := e.change(from, to, why)
		l.stack.trace(&ev)
	}
}

// traceChange tells of a segment and of the change of state that it causes.
func (l *Listener) traceChange(e *synEntry, s *segment.Segment, from, to State, note Note, why string) {
	if l.stack.cfg.Tracer == nil {
		return
	}
	change := e.change(from, to, why)
	change.At = l.stack.now
	l.traceIn(e.id, s, to, note, change)
	l.stack.trace(&change)
}

func (e *synEntry) change(from, to State, why string) Event {
	return Event{Kind: EventState, Conn: e.id, Local: e.local(), Remote: e.remote(),
		State: to, From: from, To: to, Reason: why, Vars: e.vars()}
}

func (l *Listener) traceIn(id uint64, s *segment.Segment, state State, note Note, follows ...Event) {
	if l.stack.cfg.Tracer == nil {
		return
	}
	ev := l.stack.segmentIn(s, note)
	ev.Conn, ev.State, ev.Follows = id, state, follows
	if e := l.find(s.Dst, s.Src); e != nil {
		ev.Vars = e.vars()
	}
	l.stack.trace(&ev)
}
