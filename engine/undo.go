package engine

import (
	"time"

	"rawtcp/segment"
)

// An undo remembers what began the latest recovery, to take the reduction of
// the window back when the recovery proves needless: what was held for lost was
// late. Three things prove it:
//
//   - the ACK of the first retransmission echoes an older timestamp, so that the
//     original drew it (Eifel detection, RFC 3522);
//   - without timestamps, after a timeout, ACKs arrive for what was never sent
//     again (F-RTO, RFC 5682);
//   - the peer reports every single retransmission as a duplicate (DSACK, RFC
//     2883 section 5.2), which says it a round trip later.
//
// A peer can lie in all three. It gains no more than the window that it had
// granted itself before, once for each recovery.
type undo struct {
	armed   bool
	over    bool        // the recovery has ended; reports may still come until SND.UNA passes until
	until   segment.Seq // SND.NXT at that time
	timeout bool        // it began with a retransmission timeout
	at      Time        // when the first retransmission left, 0: none yet
	end     segment.Seq // and where it ended
	judged  bool        // the ACK of the first retransmission has come
	frto    frtoStep
	unsent  int // segments of new data that F-RTO still sends

	resent  [16]span // sent again, and not reported as duplicates yet
	resents int
	silent  bool // DSACKs prove nothing: not all that was sent again is in resent

	srtt, rttvar time.Duration // as before the timeout (RFC 4015 section 3.1, step 0)
}

// An episode is what only a connection needs that found something lost. It is
// that of the latest recovery.
type episode struct {
	prr    prr  // significant in fast recovery with SACK
	undo   undo // of the latest recovery
	revive revival
}

// frtoStep is where F-RTO stands (RFC 5682 sections 2.1 and 3.1).
type frtoStep uint8

const (
	frtoOff    frtoStep = iota
	frtoFirst           // step 2: waits for the ACK of the retransmission
	frtoSecond          // step 3: has sent new data, and waits for the next ACK
)

// noteResent records a retransmission of a recovery.
func (u *undo) noteResent(now Time, start, end segment.Seq) {
	if !u.armed || u.over {
		return
	}
	if u.at == 0 {
		u.at, u.end = now, end
	}
	held := u.resent[:u.resents]
	for i := range held {
		if held[i].start.Less(end) && start.Less(held[i].end) {
			u.silent = true // twice: which of the two the peer will mean is not known
			return
		}
		if held[i].end == start {
			held[i].end = end
			return
		}
	}
	if u.resents == len(u.resent) {
		u.silent = true
		return
	}
	u.resent[u.resents] = span{start, end}
	u.resents++
}

// reported takes a DSACK block off what was sent again. It returns true when
// nothing is left: every retransmission was needless.
func (u *undo) reported(b segment.SACKBlock) bool {
	if !u.armed || u.silent || u.resents == 0 {
		return false
	}
	kept := 0
	for _, s := range u.resent[:u.resents] {
		left := span{s.start, segment.MinSeq(s.end, segment.MaxSeq(s.start, b.Start))}
		right := span{segment.MaxSeq(s.start, segment.MinSeq(s.end, b.End)), s.end}
		switch {
		case right.start.LessEq(left.end): // not touched
			left, right = s, span{}
		case left.start.Less(left.end) && right.start.Less(right.end):
			return false // out of the middle: not a segment of ours
		}
		for _, part := range [2]span{left, right} {
			if part.start.Less(part.end) {
				u.resent[kept] = part
				kept++
			}
		}
	}
	u.resents = kept
	return kept == 0
}

// armUndo starts to watch a recovery that is about to begin.
func (c *Conn) armUndo(timeout bool) {
	u := undo{armed: true, timeout: timeout, srtt: c.rtt.srtt + 2*rttGranularity, rttvar: c.rtt.rttvar}
	if timeout {
		fresh := !c.loss.recovery && !c.loss.timeout
		if fresh && !c.ts.on && c.snd.sent.sacked == 0 {
			u.frto = frtoFirst // "SHOULD NOT be applied if … already in loss recovery" RFC 5682 section 3.1
		}
		u.silent = !fresh // an older retransmission may be what a DSACK means
	}
	if c.loss.episode == nil {
		c.loss.episode = new(episode)
	}
	c.loss.episode.undo = u
}

// disarmUndo forgets a recovery: something else has lowered the window since.
func (c *Conn) disarmUndo() {
	if e := c.loss.episode; e != nil {
		e.undo = undo{}
	}
}

// frto returns where F-RTO stands.
func (c *Conn) frto() frtoStep {
	if c.loss.episode == nil {
		return frtoOff
	}
	return c.loss.episode.undo.frto
}

// noteSent accounts for a transmission of the range [start, end), of new data
// or again, in the latest recovery.
func (c *Conn) noteSent(now Time, start, end segment.Seq, again bool) {
	e := c.loss.episode
	if e == nil {
		return
	}
	e.prr.out += end.Sub(start)
	if again {
		e.undo.noteResent(now, start, end)
	} else {
		e.undo.unsent--
	}
}

// judgeRecovery looks whether an ACK, which acknowledged octets of new data and
// reported others, proves the recovery needless.
func (c *Conn) judgeRecovery(now Time, s *segment.Segment, d *delivery, octets, reported int, dsack bool) {
	if c.loss.episode == nil || !c.loss.episode.undo.armed {
		return
	}
	u := &c.loss.episode.undo
	switch {
	case u.over && u.until.Less(c.snd.una):
		*u = undo{}
	case c.originalArrived(s, d, octets, dsack):
		c.needless(now, s, octets, "the original of what was sent again has arrived, RFC 3522 section 3.2")
	case c.stepFRTO(s, octets, reported):
		c.needless(now, s, octets, "what was not sent again arrives, RFC 5682 section 2.1")
	case dsack && u.reported(s.Options.Blocks()[0]) && c.snd.sent.lost == 0:
		c.needless(now, s, octets, "all that was sent again had arrived before, RFC 2883 section 5.2")
	}
}

// originalArrived is the Eifel detection of RFC 3522 section 3.2, steps 4 and 5:
// the first ACK after a retransmission that acknowledges new data is older.
func (c *Conn) originalArrived(s *segment.Segment, d *delivery, octets int, dsack bool) bool {
	u := &c.loss.episode.undo
	if octets == 0 || u.at == 0 || u.judged || c.snd.una.Less(u.end) {
		return false
	}
	u.judged = true
	if !d.stamped || d.echo(u.at) || dsack || c.snd.sent.lost > 0 && !u.timeout {
		return false
	}
	// An ACK of everything may be the last of several that were lost.
	return c.incidents().DSACKsIn > 0 || c.snd.una.Less(c.snd.nxt)
}

// stepFRTO is F-RTO, steps 2 and 3, with SACK and without; true: the timeout
// was spurious.
func (c *Conn) stepFRTO(s *segment.Segment, octets, reported int) bool {
	u := &c.loss.episode.undo
	switch u.frto {
	case frtoFirst:
		if octets == 0 && c.sack { // "Stay in step 2 and wait for the next new acknowledgment"
			return false
		}
		u.frto = frtoOff
		if octets > 0 && c.loss.timeout && u.end.LessEq(c.snd.una) && c.mayProbeWithNew() {
			u.frto, u.unsent = frtoSecond, 2
		}
	case frtoSecond:
		beyond := c.loss.recover.Less(c.snd.una)
		for _, b := range s.Options.Blocks() {
			beyond = beyond || c.loss.recover.Less(b.End)
		}
		u.frto = frtoOff
		if octets == 0 && !c.sack { // "retransmitting unacknowledged segments", the new ones too: some peers keep nothing out of order
			c.snd.sent.markAllLost()
			c.loss.recover = c.snd.nxt
		}
		return !beyond && octets+reported > 0
	}
	return false
}

// mayProbeWithNew: there is new data and the peer's window takes it; else F-RTO
// would wait for an answer to nothing.
func (c *Conn) mayProbeWithNew() bool {
	unsent := c.snd.buf.end().Sub(c.snd.nxt)
	return unsent > 0 && c.snd.una.Add(c.snd.wnd).Sub(c.snd.nxt) >= min(unsent, c.snd.mss)
}

// needless ends a recovery that should not have been, and gives back what it
// cost: the response of RFC 4015 section 3.1 and RFC 9438 section 4.9.
func (c *Conn) needless(now Time, s *segment.Segment, acked int, why string) {
	u := c.loss.episode.undo
	c.disarmUndo()
	c.incidents().SpuriousRecoveries++
	c.loss.rack.reordering = true // what was held for lost was overtaken
	if c.loss.timeout {
		c.snd.sent.unmarkLost()
		c.snd.lastData = now // "T_last <- tcpnow": it was no idle time
	}
	if u.timeout {
		c.loss.episode.revive = revival{pending: true, from: c.snd.nxt, srtt: u.srtt, rttvar: u.rttvar}
	}
	c.loss.recovery, c.loss.timeout, c.loss.over, c.loss.dup = false, false, false, 0
	if !c.echoes(s) { // "the TCP sender MUST refrain from reversing congestion control state"
		flight := c.snd.nxt.Sub(c.snd.una)
		c.cc.OnSpurious(now, flight+min(acked, c.cfg.InitialWindow*c.payloadRoom(0)))
	}
	if c.tracing(EventLocal) {
		c.trace(&Event{Kind: EventLocal, At: now, Reason: "the recovery was needless and is undone: " + why})
	}
}

// A revival makes the RTO more careful after a spurious timeout, with the first
// round trip of data that was not sent yet when that was found out (RFC 4015
// section 3.1, step 11).
type revival struct {
	pending      bool
	from         segment.Seq
	srtt, rttvar time.Duration
}
