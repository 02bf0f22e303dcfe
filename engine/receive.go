package engine

import (
	"time"

	"rawtcp/segment"
)

// tsRecentMaxAge is when TS.Recent says nothing any more: the peer's clock may
// have wrapped (RFC 7323 section 5.5).
const tsRecentMaxAge = 24 * 24 * time.Hour

// Receive processes one segment addressed to the connection, in the order of
// RFC 9293 section 3.10.7. It never fails: a peer's nonsense is news, not an error.
func (c *Conn) Receive(now Time, s *segment.Segment) {
	if c.state == Closed {
		return
	}
	c.traffic.SegmentsIn++
	c.traffic.BytesIn += uint64(len(s.Payload))
	c.noteIn(now, len(s.Payload))
	if s.Checksum == segment.ChecksumPartial {
		c.partials++
	}
	c.stack.holdTrace(s)
	c.tallyIn(s)
	note := c.receive(now, s)
	c.stack.releaseTrace(c, s, note)
	c.stack.wake(c)
}

func (c *Conn) receive(now Time, s *segment.Segment) Note {
	if c.state == SynSent {
		return c.receiveSynSent(now, s)
	}
	c.lastRecv = now
	if note := c.checkTimestamp(now, s); note != NoteNone {
		return note
	}
	if s.Flags.Has(segment.RST) {
		return c.receiveRST(now, s)
	}
	if !c.acceptable(s) {
		return c.refuse(now, s)
	}
	if s.Flags.Has(segment.SYN) {
		return c.receiveSYN(now, s)
	}
	if !s.Flags.Has(segment.ACK) { // "if the ACK bit is off, drop the segment"
		return NoteUnacceptable
	}
	c.touchKeepAlive(now)
	note, ok := c.receiveACK(now, s)
	if !ok {
		return note
	}
	c.receiveTimeout(now, &s.Options)
	c.receiveECN(s)
	c.receiveURG(s)
	if n := c.receiveText(now, s, s.Seq); n != NoteNone {
		note = n
	}
	c.receiveFIN(now, s)
	return note
}

// checkTimestamp is R1 of RFC 7323 section 5.3 and the rule about missing timestamps.
func (c *Conn) checkTimestamp(now Time, s *segment.Segment) Note {
	if !c.ts.on || s.Flags.Any(segment.RST|segment.SYN) { // those prove themselves otherwise
		return NoteNone
	}
	if !s.Options.Has(segment.HasTimestamps) {
		// "If a non-<RST> segment is received without a TSopt, a TCP SHOULD
		// silently drop the segment." RFC 7323 section 3.2. Linux accepts it.
		c.incidents().PAWSDrops++
		return NotePAWS
	}
	old := int32(s.Options.TSVal-c.ts.recent) < 0
	if old && now.Sub(c.ts.recentAt) < tsRecentMaxAge {
		c.incidents().PAWSDrops++
		c.acknowledgeOld(now, s, "PAWS: an old timestamp, RFC 7323 section 5.3")
		return NotePAWS
	}
	if s.Seq.LessEq(c.ts.lastAck) && c.acceptable(s) { // R3
		c.ts.recent, c.ts.recentAt = s.Options.TSVal, now
	}
	return NoteNone
}

// acceptable is the four-case test of RFC 9293 section 3.4.
func (c *Conn) acceptable(s *segment.Segment) bool {
	wnd := c.rcv.edge.Sub(c.rcv.nxt)
	n := s.Len()
	switch {
	case n == 0 && wnd <= 0:
		return s.Seq == c.rcv.nxt
	case n == 0:
		return s.Seq.InWindow(c.rcv.nxt, wnd)
	case wnd <= 0:
		// "special allowance should be made to accept valid ACKs, URGs, and RSTs"
		return s.Seq == c.rcv.nxt && s.Flags.Has(segment.ACK)
	}
	return s.Seq.InWindow(c.rcv.nxt, wnd) || s.End().Add(-1).InWindow(c.rcv.nxt, wnd)
}

// refuse answers an unacceptable segment: "an acknowledgment should be sent in
// reply (unless the RST bit is set)". RFC 9293 section 3.10.7.4.
func (c *Conn) refuse(now Time, s *segment.Segment) Note {
	c.incidents().Unacceptable++
	if s.Flags.Has(segment.SYN) {
		return c.receiveSYN(now, s)
	}
	c.touchKeepAlive(now)
	if c.state == TimeWait && s.Flags.Has(segment.FIN) {
		// "retransmission of the remote FIN. Acknowledge it, and restart the 2 MSL timeout"
		c.restartTimeWait(now)
	}
	if s.Len() == 0 && s.Seq == c.rcv.nxt.Add(-1) {
		c.ackDue("answers a keep-alive or window probe, RFC 9293 section 3.8.4")
		c.ackNote = NoteKeepAliveAck
		return NoteKeepAlive
	}
	c.acknowledgeOld(now, s, "the segment is outside the window, RFC 9293 section 3.10.7.4")
	if s.End().LessEq(c.rcv.nxt) {
		c.arrivedAgain(s.Seq, s.Seq.Add(len(s.Payload)))
		c.incidents().DuplicatesIn++
		return NoteDuplicate
	}
	return NoteUnacceptable
}

// acknowledgeOld sends the ACK that an unacceptable segment is owed: at once
// for old data (our ACK may be lost), limited for anything else, so that two
// confused ends cannot feed each other (RFC 5961 section 7).
func (c *Conn) acknowledgeOld(now Time, s *segment.Segment, why string) {
	if s.Len() > 0 && s.Seq.Less(c.rcv.nxt) {
		c.ackDue(why)
		return
	}
	c.challengeACK(now, why)
}

// challengeACK sends an ACK that makes a peer prove itself, no more than one
// per ChallengeACK on this connection: the limit is never shared, so that it
// tells a third party nothing (RFC 5961 section 7, CVE-2016-5696).
func (c *Conn) challengeACK(now Time, why string) {
	last := &c.rare().challenge
	if *last != 0 && now.Sub(*last) < c.cfg.ChallengeACK {
		return
	}
	*last = now
	c.incidents().ChallengeAcks++
	c.ackDue(why)
	c.ackNote = NoteChallengeAck
}

// resetAt says what the sequence number of a RST makes of it, by the three
// checks of RFC 5961 section 3.2. Its length does not count: "all reset (RST)
// segments are validated by checking their SEQ fields" RFC 9293 section 3.5.3,
// nor does a closed window (MUST-66).
func (c *Conn) resetAt(seq segment.Seq) (exact, inWindow bool) {
	return seq == c.rcv.nxt, seq == c.rcv.nxt || seq.InWindow(c.rcv.nxt, c.rcv.edge.Sub(c.rcv.nxt))
}

// receiveRST is the second check of section 3.10.7.4, with RFC 5961 section 3.2.
func (c *Conn) receiveRST(now Time, s *segment.Segment) Note {
	exact, inWindow := c.resetAt(s.Seq)
	if !inWindow {
		c.incidents().Unacceptable++
		return NoteUnacceptable
	}
	if c.state == TimeWait && c.cfg.TimeWaitRST != On {
		return NoteUnacceptable // RFC 1337: TIME-WAIT assassination
	}
	if !exact {
		c.challengeACK(now, "a RST inside the window but not at RCV.NXT, RFC 5961 section 3.2")
		return NoteUnacceptable
	}
	switch c.state {
	case SynReceived:
		err := ErrRefused
		if c.fast().early != nil { // the application has it already
			err = ErrReset
		}
		c.confirmed(now, true)
		c.finish(err, "RST received")
	case Closing, LastAck, TimeWait:
		c.finish(c.resetIfUnfinished(), "RST received")
	default:
		c.finish(ErrReset, "RST received")
	}
	return NoteNone
}

// resetIfUnfinished tells an abort from an end that only skipped the last ACK:
// with data outstanding the peer did not get all (RFC 9293 section 3.6, MUST-12).
func (c *Conn) resetIfUnfinished() error {
	if c.snd.buf.len() > 0 {
		return ErrReset
	}
	return nil
}

// receiveSYN is the fourth check of section 3.10.7.4, with RFC 5961 section 4.2:
// "TCP endpoints MUST send a challenge ACK", whatever the sequence number.
func (c *Conn) receiveSYN(now Time, s *segment.Segment) Note {
	if c.state == SynReceived && s.Seq == c.rcv.irs {
		stamped := !c.ts.on || s.Options.Has(segment.HasTimestamps)    // RFC 7323 section 3.2
		if s.Flags.Has(segment.ACK) && s.Ack == c.snd.nxt && stamped { // the SYN-ACK of a simultaneous open
			// R3 of RFC 7323 section 5.3; text or a FIN on it is not taken and comes again
			if c.ts.on && s.Len() == 1 && int32(s.Options.TSVal-c.ts.recent) >= 0 {
				c.ts.recent, c.ts.recentAt = s.Options.TSVal, now
			}
			c.ackSYN(now, s)
			c.begin(now, s, "simultaneous open: SYN-ACK received")
			c.ackDue("completes the simultaneous open, RFC 9293 section 3.5")
			return NoteNone
		}
		c.synNow = true
		return NoteDuplicate
	}
	c.challengeACK(now, "a SYN on a synchronized connection, RFC 5961 section 4.2")
	return NoteUnacceptable
}

// receiveText is the seventh step: the payload, which stands at seq.
func (c *Conn) receiveText(now Time, s *segment.Segment, seq segment.Seq) Note {
	if len(s.Payload) == 0 {
		return NoteNone
	}
	switch c.state {
	case Established, FinWait1, FinWait2:
	case SynReceived: // data on the SYN, RFC 7413
	default:
		return NoteNone // "This should not occur since a FIN has been received"
	}
	p := c.cutToWindow(seq, s.Payload)
	if c.readClosed && len(p) > 0 && c.rcv.nxt.Less(seq.Add(len(p))) {
		c.abort(ErrReset, "data after the application closed, RFC 9293 section 3.6.1")
		return NoteNone
	}
	if !c.affords(seq, p) {
		c.ackDue("no memory for the data: it has to come again")
		return NoteUnacceptable
	}
	holes, nxt := len(c.rcv.buf.spans()), c.rcv.nxt
	handed := c.handOver(seq, p)
	readable, stored := handed, handed
	if rest := p[handed:]; len(rest) > 0 {
		r, st := c.store(seq.Add(handed), rest)
		readable, stored = readable+r, stored+st
	}
	if stored == 0 && nxt.LessEq(seq) && !c.rcv.buf.holds(seq) { // no duplicate, though nothing is new
		c.ackDue("the data finds no room and has to come again, RFC 9293 section 3.10.7.4")
		return NoteUnacceptable
	}
	if seq.Less(nxt) {
		c.arrivedAgain(seq, segment.MinSeq(nxt, seq.Add(len(p))))
	} else if stored == 0 {
		c.arrivedAgain(seq, seq.Add(len(p)))
	}
	c.rcv.nxt = c.rcv.buf.nxt
	if readable > 0 {
		c.tuneReceive(now, s)
		c.rcv.tuning.add(handed)
		c.traffic.BytesRead += uint64(readable)
		c.traceData(EventDataIn, readable)
		c.notify(Readable)
	}
	if c.deaf {
		c.discard()
	}
	note := c.acknowledgeText(now, readable, stored, holes)
	if len(p) < len(s.Payload) {
		c.ackDue("not all of it fits the window, RFC 9293 section 3.10.7.4")
	}
	if handed > 0 && c.acksDue == 0 { // an ACK tells the window anyway
		c.noteWindow(now)
	}
	return note
}

// handOver copies octets that stand at seq to who waits in NetConn.Read, and
// returns how many: as if that call had come right behind the segment. It spares
// bulk transfer one of two copies. What has to wait for others goes to the buffer.
func (c *Conn) handOver(seq segment.Seq, p []byte) int {
	b := &c.rcv.buf
	if c.face == nil || c.deaf || seq != b.nxt || !b.idle() {
		return 0
	}
	n := c.face.take(p)
	b.nxt = b.nxt.Add(n)
	return n
}

// arrivedAgain notes octets that were here already, for the next ACK to report.
func (c *Conn) arrivedAgain(start, end segment.Seq) {
	if c.sack && c.cfg.DSACK.or(true) {
		c.rcv.again = segment.SACKBlock{Start: start, End: end}
	}
}

// cutToWindow drops what lies beyond the right edge or the peer's FIN.
func (c *Conn) cutToWindow(seq segment.Seq, p []byte) []byte {
	edge := c.rcv.edge
	if c.rcv.fin {
		edge = segment.MinSeq(edge, c.rcv.finAt)
	}
	return p[:max(0, min(len(p), edge.Sub(seq)))]
}

// acknowledgeText decides when the data is acknowledged.
func (c *Conn) acknowledgeText(now Time, readable, stored, holes int) Note {
	switch {
	case readable == 0 && stored == 0:
		c.incidents().DuplicatesIn++
		c.ackDue("the data was here already, RFC 9293 section 3.10.7.4")
		return NoteDuplicate
	case readable == 0:
		c.incidents().OutOfOrderIn++
		c.acksDue++ // "SHOULD send an immediate duplicate ACK" RFC 5681 section 3.2, one for each
		c.ackReason, c.ackNote = "an immediate duplicate ACK for data beyond a hole, RFC 5681 section 3.2", NoteDupAck
		return NoteOutOfOrder
	case holes > 0:
		c.ackDue("the data fills a hole, RFC 5681 section 3.2")
		return NoteNone
	}
	c.rcv.unacked += readable
	if why, ok := c.ackAtOnce(now); ok {
		c.ackDue(why)
	} else if c.timers[TimerDelayedAck] == 0 {
		c.setTimer(TimerDelayedAck, now.Add(c.cfg.DelayedAck))
	}
	return NoteNone
}

// fullSegment is the payload of a full-sized segment of the peer: RMSS, "the
// MSS specified by the TCP endpoint receiving the segments" or else the default
// (RFC 9293 section 3.8.6.3, SHLD-19), no more than the peer's own link takes,
// and less the timestamps that stand in each.
func (c *Conn) fullSegment() int {
	n := c.ownMSS()
	if c.cfg.MSS < 0 {
		n = defaultMSS
	}
	if n = min(n, c.snd.mss); c.ts.on {
		n -= timestampsLen
	}
	return n
}

// receiveFIN is the eighth step. A FIN that arrives before its data waits.
func (c *Conn) receiveFIN(now Time, s *segment.Segment) {
	if at := s.End().Add(-1); s.Flags.Has(segment.FIN) && at.InWindow(c.rcv.nxt, max(1, c.rcv.edge.Sub(c.rcv.nxt)+1)) {
		if (!c.rcv.fin || at.Less(c.rcv.finAt)) && !c.rcv.buf.holds(at) { // an octet that came first stays; of two FINs the first in order counts
			c.rcv.fin, c.rcv.finAt = true, at
		}
		if at != c.rcv.nxt && len(s.Payload) == 0 {
			c.ackDue("an immediate duplicate ACK for a FIN beyond a hole, RFC 5681 section 3.2")
			c.ackNote = NoteDupAck
		}
	}
	if !c.rcv.fin || c.rcv.nxt != c.rcv.finAt {
		return
	}
	switch c.state {
	case Established, FinWait1, FinWait2:
	default:
		return
	}
	c.rcv.nxt = c.rcv.nxt.Add(1)
	c.rcv.edge = segment.MaxSeq(c.rcv.edge, c.rcv.nxt)
	c.forgetHoles() // no text lies behind a FIN, whatever came before it did
	c.ackDue("acknowledges the FIN, RFC 9293 section 3.10.7.4")
	c.peerClosed(now)
	if c.state != Closed {
		c.notify(Readable)
	}
}

// receiveURG is the sixth step (RFC 9293 section 3.8.5): the data stays in
// line; the application is told where the urgent part ends.
func (c *Conn) receiveURG(s *segment.Segment) {
	if !s.Flags.Has(segment.URG) || s.Urgent == 0 || c.rcv.fin {
		return
	}
	up := s.Seq.Add(int(s.Urgent))
	if !c.rcv.nxt.Less(up) || c.rcv.urgent && !c.rcv.up.Less(up) {
		return
	}
	c.rcv.up, c.rcv.urgent = up, true
	c.notify(Readable | Urgent)
}

// ackDue asks for one pure ACK, unless something else carries it first.
func (c *Conn) ackDue(why string) {
	c.acksDue = max(c.acksDue, 1)
	c.ackReason, c.ackNote = why, NoteNone
}
