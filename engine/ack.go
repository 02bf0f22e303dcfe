package engine

import (
	"time"

	"rawtcp/segment"
)

// lossState is what the sender knows about missing segments.
type lossState struct {
	dup      int32       // duplicate ACKs in a row (RFC 5681 section 2)
	recover  segment.Seq // SND.NXT when recovery or timeout began (RFC 6582 section 3.2, RFC 6675 section 4)
	reduced  Time        // when the congestion window was last lowered for a loss
	limited  int32       // octets of new data sent while something was reported missing (RFC 3042)
	recovery bool        // fast recovery
	timeout  bool        // recovering from a retransmission timeout
	over     bool        // the last recovery ended; an ACK of no more than recover begins no new one
	tooBig   bool        // what is held for lost did not fit the path
	urgently bool        // the first retransmission of a fast recovery does not wait for the window
	probe    lossProbe
	rack     rack
	episode  *episode // of the latest recovery, nil: there was none
}

// receiveACK is the fifth check of RFC 9293 section 3.10.7.4. ok says that the
// segment's text may be processed.
func (c *Conn) receiveACK(now Time, s *segment.Segment) (note Note, ok bool) {
	opening := c.state == SynReceived
	if opening {
		if !c.snd.una.Less(s.Ack) || !s.Ack.LessEq(c.snd.nxt) {
			c.stack.reset(s, "SYN-RECEIVED: it acknowledges what was not sent, RFC 9293 section 3.10.7.4")
			return NoteUnacceptable, false
		}
		c.ackSYN(now, s)
		c.begin(now, s, "ACK of our SYN received")
		c.accepted()
	}
	if c.snd.nxt.Less(s.Ack) || s.Ack.Less(c.oldestACK()) {
		c.challengeACK(now, "it acknowledges what was not sent or long past, RFC 5961 section 5.2")
		return NoteUnacceptable, false
	}
	note = c.acknowledged(now, s)
	if opening && note == NoteDupAck { // it is the first of its number, though data left with the SYN-ACK (RFC 7413)
		note, c.loss.dup = NoteNone, 0
	}
	if c.snd.fin == finSent && c.snd.una == c.snd.nxt {
		c.finAcked(now)
	}
	return note, c.state != Closed
}

// oldestACK is the least number that an old ACK may have: "SND.UNA - MAX.SND.WND
// <= SEG.ACK" RFC 5961 section 5.2, and not below the first ACK of the connection,
// that of our SYN: for less no ACK of this connection was ever sent. The octets in
// between are counted, for after 2^31 of them ISS says nothing any more.
func (c *Conn) oldestACK() segment.Seq {
	acked := c.traffic.BytesWritten - uint64(c.snd.buf.len())
	if c.snd.fin == finSent && c.snd.una == c.snd.nxt {
		acked++
	}
	return c.snd.una.Add(-int(min(uint64(c.snd.maxWnd), acked)))
}

// acknowledged takes the news of an acceptable ACK: what arrived, what is
// missing, and the window.
func (c *Conn) acknowledged(now Time, s *segment.Segment) Note {
	if c.snd.una.Less(s.Ack) || c.unanswered > 0 {
		c.progressAt = now
	}
	c.unanswered = 0
	dup, held := c.isDuplicate(s), c.snd.buf.len()
	d := c.delivery(now, s)
	reported, dsack := c.receiveSACK(s, &d)
	recovering := c.loss.recovery
	octets, rtt := 0, time.Duration(0)
	if c.snd.una.Less(s.Ack) {
		octets = c.ackNew(s, &d)
	}
	if reported > 0 || octets > 0 {
		rtt = c.sampleRTT(now, s, &d, octets > 0)
	}
	if octets > 0 {
		if !recovering { // what arrived during a recovery was answered by sending then
			c.grow(now, s, octets, rtt)
		}
		// "When an ACK is received that acknowledges new data, restart the
		// retransmission timer so that it will expire after RTO seconds (for the
		// current value of RTO)" RFC 6298 section 5.3: what this very ACK measured counts.
		c.restartRTO(now)
	}
	c.updateWindow(s, octets > 0)
	c.arrivedWhole(now, d.largest)
	c.noteDelivered(now, octets+reported, held-c.snd.buf.len())
	if dup {
		c.incidents().DupAcksIn++
		c.loss.dup++
	}
	c.probeAcknowledged(now, s, dsack, dup && !s.Options.Has(segment.HasSACK))
	c.judgeRecovery(now, s, &d, octets, reported, dsack)
	if dup || reported > 0 || octets > 0 {
		c.detectLoss(now, d.octets)
	}
	if octets > 0 {
		c.armProbe(now)
	}
	c.ackECN(now, s)
	if dup {
		return NoteDupAck
	}
	return NoteNone
}

// isDuplicate is the definition of RFC 5681 section 2.
func (c *Conn) isDuplicate(s *segment.Segment) bool {
	return s.Ack == c.snd.una && !c.snd.sent.empty() && s.Len() == 0 &&
		int(s.Window)<<c.snd.scale == c.snd.wnd
}

// receiveSACK marks what the peer reports beyond SND.UNA. Blocks that name what
// was not sent, or nothing, are ignored (RFC 2018 section 5; CVE-2019-11477).
// dsack says that the first block names what had arrived before (RFC 2883).
func (c *Conn) receiveSACK(s *segment.Segment, d *delivery) (octets int, dsack bool) {
	if !c.sack || !s.Options.Has(segment.HasSACK) {
		return 0, false
	}
	blocks := s.Options.Blocks()
	if isDSACK(blocks, s.Ack) {
		if dsack = c.wasSent(blocks[0]); dsack {
			c.incidents().DSACKsIn++
			c.loss.rack.duplicateReported(c.snd.una, c.snd.nxt)
		} else {
			c.incidents().BadSACKs++
		}
	}
	for i, b := range blocks {
		switch {
		case !b.Start.Less(b.End) || c.snd.nxt.Less(b.End):
			c.incidents().BadSACKs++
		case i == 0 && dsack, !s.Ack.Less(b.End), b.Start.Less(s.Ack):
		default:
			octets += c.snd.sent.sack(b.Start, b.End, d)
		}
	}
	return octets, dsack
}

// wasSent: a DSACK that names what was not sent in this window or the one
// before it is made up.
func (c *Conn) wasSent(b segment.SACKBlock) bool {
	return !b.Start.Less(c.snd.una.Add(-c.snd.maxWnd)) && c.snd.iss.Less(b.Start) && b.End.LessEq(c.snd.nxt)
}

// isDSACK: the first block lies below the cumulative ACK, or inside the second
// block (RFC 2883 section 4).
func isDSACK(blocks []segment.SACKBlock, ack segment.Seq) bool {
	if len(blocks) == 0 || !blocks[0].Start.Less(blocks[0].End) {
		return false
	}
	first := blocks[0]
	return first.End.LessEq(ack) ||
		len(blocks) > 1 && blocks[1].Start.LessEq(first.Start) && first.End.LessEq(blocks[1].End)
}

// delivery starts the account of one ACK.
func (c *Conn) delivery(now Time, s *segment.Segment) delivery {
	return delivery{now: now, rack: &c.loss.rack, before: c.loss.rack.delivered, fack: c.loss.rack.fack, stamped: c.ts.on && s.Options.Has(segment.HasTimestamps),
		echoed: s.Options.TSEcr, offset: c.ts.offset}
}

// ackNew takes the acknowledgement of new octets and returns how many they are.
func (c *Conn) ackNew(s *segment.Segment, d *delivery) int {
	octets := c.settle(s.Ack, d)
	c.snd.una = s.Ack
	ended := c.snd.roundEnd.Less(s.Ack)
	if ended {
		c.snd.round++
		c.snd.roundEnd = c.snd.nxt
	}
	c.tuneSend(d.now, ended, octets)
	if c.snd.urgent && c.snd.up.LessEq(c.snd.una) {
		c.snd.urgent = false
	}
	c.retries = 0
	if c.snd.sent.sacked == 0 {
		c.loss.limited = 0
	}
	if c.loss.recovery && !c.sack { // what left the network while the hole was open still counts
		c.loss.dup = max(0, c.loss.dup-int32(octets/max(1, c.snd.mss)))
	} else {
		c.loss.dup = 0 // only those in a row mean loss
	}
	c.recoverBy(octets)
	if c.snd.buf.room() >= c.snd.buf.limit/3 { // not for each octet: wake-ups cost more than they carry
		c.notify(Writable)
	}
	return octets
}

// grow lets congestion control open its window for new data acknowledged.
// "SHOULD NOT increase the congestion window in response to the receipt of an
// ECN-Echo ACK packet" RFC 3168 section 6.1.2.
func (c *Conn) grow(now Time, s *segment.Segment, octets int, rtt time.Duration) {
	if !c.echoes(s) {
		c.cc.OnAck(Ack{Now: now, Acked: octets, InFlight: c.inFlight(), RTT: rtt, SRTT: c.rtt.srtt, Round: int(c.snd.round)})
	}
}

// sampleRTT measures from a segment that was sent once (Karn, RFC 6298 section
// 3), or else from the echoed timestamp (RFC 7323 section 4) if it is that of
// the last transmission: an older one would measure how long an ACK was lost.
// Without a sample the RTO stays backed off (RFC 6298 section 5.5).
func (c *Conn) sampleRTT(now Time, s *segment.Segment, d *delivery, cumulative bool) (rtt time.Duration) {
	switch {
	case d.sent != 0 && (d.resent == 0 || !cumulative):
		rtt = now.Sub(d.sent)
	case d.resent != 0 && d.stamped && d.echo(d.resent):
		if ms := int32(c.tsNow(now) - s.Options.TSEcr); ms >= 0 {
			rtt = max(1, time.Duration(ms)*time.Millisecond)
		}
	}
	if rtt == 0 {
		return 0
	}
	if e := c.loss.episode; e != nil && e.revive.pending && e.revive.from.Less(c.snd.una) {
		c.rtt.revive(rtt, e.revive.srtt, e.revive.rttvar)
		e.revive = revival{}
	} else {
		c.rtt.sample(rtt)
	}
	c.loss.rack.minRTT.add(now, rtt)
	c.loss.probe.sampled = true
	return rtt
}

// recoverBy ends a recovery that the acknowledgement completes, and on a
// partial one sends the next hole (RFC 6582 section 3.2 step 3).
func (c *Conn) recoverBy(octets int) {
	if !c.loss.recovery && !c.loss.timeout {
		return
	}
	if c.loss.recover.LessEq(c.snd.una) {
		c.loss.recovery, c.loss.timeout, c.loss.dup, c.loss.over = false, false, 0, true
		c.loss.episode.undo.over, c.loss.episode.undo.until = true, c.snd.nxt
		c.loss.rack.recovered()
		return
	}
	if c.loss.recovery && octets > 0 && !c.sack && !c.snd.sent.empty() { // with SACK the reports tell
		if first := c.snd.sent.numbered(c.snd.sent.first()); !first.lost && !first.sacked {
			c.snd.sent.markFirstLost()
			c.loss.urgently = true
		}
	}
}

// detectLoss judges what is missing: by time where the peer reports what it
// holds (RFC 8985), and by counting duplicate ACKs where it does not (RFC 5681
// section 3.2). delivered is what the ACK at hand told of for the first time.
func (c *Conn) detectLoss(now Time, delivered int) {
	if c.sack {
		c.detectByTime(now)
	} else if c.loss.dup >= dupThresh && !c.loss.recovery && !c.loss.timeout && !c.atRecover() {
		c.snd.sent.markFirstLost()
	}
	if c.loss.recovery {
		c.loss.episode.prr.ack(delivered, c.inFlight(), c.cc.Window(), c.payloadRoom(0))
	}
	c.enterRecovery(now, delivered)
}

// atRecover: the duplicate ACKs are those of what the last recovery sent
// needlessly, unless "the Cumulative Acknowledgment field covers more than
// recover" RFC 6582 section 3.2 step 2.
func (c *Conn) atRecover() bool { return c.loss.over && c.snd.una == c.loss.recover }

// enterRecovery starts fast recovery when something is held for lost (RFC 5681
// section 3.2).
func (c *Conn) enterRecovery(now Time, delivered int) {
	if c.loss.recovery || c.loss.timeout || c.loss.tooBig || c.snd.sent.lost == 0 || c.probeLost(now) {
		return
	}
	c.armUndo(false)
	c.stopTimer(TimerProbe)
	c.loss.recovery, c.loss.recover, c.loss.urgently, c.loss.reduced = true, c.snd.nxt, true, now
	c.incidents().FastRecoveries++
	c.noteReduction()
	flight := c.flightBefore(delivered)
	c.cc.OnLoss(now, flight)
	c.loss.episode.prr.begin(flight)
	c.loss.episode.prr.ack(delivered, c.inFlight(), c.cc.Window(), c.payloadRoom(0))
}

// flightBefore is FlightSize when a loss happened: "additional data sent in
// limited transmit MUST NOT be included in this calculation" RFC 5681 section
// 3.2. That data went out for what arrived beyond the hole, and is no more than
// it. delivered is what the ACK at hand reports.
func (c *Conn) flightBefore(delivered int) int {
	arrived := c.snd.sent.sacked - delivered
	if !c.sack {
		arrived = int(c.loss.dup-1) * c.snd.mss
	}
	return max(c.snd.nxt.Sub(c.snd.una)-max(0, min(int(c.loss.limited), arrived)), 1)
}

// window is how much may be in the network: the congestion window, or in fast
// recovery what leads there.
func (c *Conn) window() int {
	if c.loss.recovery && c.sack {
		return max(c.loss.episode.prr.window, c.payloadRoom(0))
	}
	return c.cc.Window()
}

// inFlight estimates the octets in the network (RFC 6675 section 4). Without
// SACK each duplicate ACK stands for one segment that has left it.
func (c *Conn) inFlight() int {
	if c.sack {
		return c.snd.sent.pipe
	}
	return max(0, c.snd.sent.pipe-int(c.loss.dup)*c.snd.mss)
}

// updateWindow takes SEG.WND if the segment is newer than the last one that
// did (RFC 9293 section 3.10.7.4), so that a reordered old one cannot shrink it.
// One that acknowledges new octets is newer whatever its sequence number, which
// is old in a retransmission: SND.UNA moved, and with the window of before the
// right edge would move along, beyond what the peer ever offered. SND.WL2 is not
// kept: it is the acknowledgement of a segment before, so never above SND.UNA,
// and one below that is turned away first.
func (c *Conn) updateWindow(s *segment.Segment, acknowledges bool) {
	if s.Ack.Less(c.snd.una) {
		return
	}
	if !acknowledges && s.Seq.Less(c.snd.wl1) {
		return
	}
	wnd := int(s.Window) << c.snd.scale
	if wnd == 0 && c.snd.wnd > 0 {
		c.incidents().ZeroWindows++
	}
	c.snd.wnd = wnd
	c.snd.maxWnd = max(c.snd.maxWnd, wnd)
	c.snd.wl1 = s.Seq
	if wnd > 0 && c.timers[TimerPersist] != 0 {
		c.stopTimer(TimerPersist)
		c.probes = 0
	}
}
