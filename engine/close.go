package engine

import "rawtcp/segment"

// CloseWrite ends our side of the conversation: what was written is sent, then
// a FIN. The peer can go on (RFC 9293 section 3.6, half-close).
func (c *Conn) CloseWrite(now Time) {
	c.stack.now = now
	if c.snd.fin != finNone {
		return
	}
	switch c.state {
	case SynSent, SynReceived:
		c.snd.fin = finQueued // "queue for processing after entering ESTABLISHED state"
	case Established:
		c.snd.fin = finQueued
		c.setState(FinWait1, "the application closed")
	case CloseWait:
		c.snd.fin = finQueued
		c.setState(LastAck, "the application closed")
	default:
		return
	}
	c.stack.wake(c)
}

// Close ends the conversation for the application: nothing more will be
// written or read. With octets unread the peer gets a RST, so that it knows
// that they were lost (RFC 9293 section 3.6.1, SHLD-3; RFC 2525 section 2.17).
func (c *Conn) Close(now Time) {
	c.stack.now = now
	if c.readClosed || c.state == Closed {
		return
	}
	c.readClosed = true
	switch {
	case c.state == SynSent:
		c.finish(ErrAborted, "closed before the handshake was done")
		return
	case c.cfg.Linger < 0 && c.state != TimeWait:
		c.abort(ErrAborted, "closed with a negative linger time, an ABORT of RFC 9293 section 3.10.5")
		return
	case c.rcv.buf.readable > 0 && c.state != TimeWait:
		c.abort(ErrAborted, "closed with data unread, RFC 9293 section 3.6.1")
		return
	}
	if c.state == TimeWait {
		c.discard() // nobody will read it
	}
	c.CloseWrite(now)
	if c.state == FinWait2 {
		c.awaitFIN(now)
	}
	c.orphaned()
}

// unsettled reports whether the peer has still to acknowledge our FIN, or what
// stands before it.
func (c *Conn) unsettled() bool {
	switch c.state {
	case FinWait2, TimeWait, Closed:
		return false
	}
	return c.snd.fin != finNone
}

// awaitFIN bounds the wait of a connection that nobody reads any more for the
// peer's FIN, unless FinWait2 says for ever.
func (c *Conn) awaitFIN(now Time) {
	if c.cfg.FinWait2 > 0 {
		c.setTimer(TimerFinWait2, now.Add(c.cfg.FinWait2))
	}
}

// Abort ends the connection at once and tells the peer with a RST
// (RFC 9293 section 3.10.5). CLOSING and LAST-ACK send one too, which the RFC
// does not ask for: our FIN may be lost, and nobody will repeat it.
func (c *Conn) Abort(now Time) {
	c.stack.now = now
	switch c.state {
	case Closed:
	case SynSent: // the peer knows nothing yet
		c.finish(ErrAborted, "aborted")
	case TimeWait: // "respond with ok": all is said, and nothing is lost
		c.finish(nil, "TIME-WAIT is left early")
	default:
		c.abort(ErrAborted, "aborted, RFC 9293 section 3.10.5")
	}
}

// Abandon forgets the connection without a word to the peer.
func (c *Conn) Abandon(now Time) {
	c.stack.now = now
	c.finish(ErrAborted, "abandoned")
}

// abort sends a RST at SND.NXT and ends the connection.
func (c *Conn) abort(err error, why string) {
	e := Event{Conn: c.id, State: Closed, Vars: c.vars(), Reason: why}
	s := segment.Segment{Src: c.local, Dst: c.remote, Seq: c.snd.nxt, Ack: c.rcv.nxt,
		Flags: segment.RST | segment.ACK, TTL: c.cfg.TTL, TOS: c.cfg.TOS}
	c.addOptions(c.stack.now, &s, false) // timestamps: "SHOULD be included in the <RST>" RFC 7323 section 5.2
	c.stack.say(e, s)
	c.traffic.SegmentsOut++
	c.finish(err, why)
}

// peerClosed moves the state on the peer's FIN (RFC 9293 section 3.10.7.4, eighth step).
func (c *Conn) peerClosed(now Time) {
	switch c.state {
	case Established:
		c.setState(CloseWait, "FIN received")
	case FinWait1:
		c.setState(Closing, "FIN received, ours is not acknowledged yet")
	case FinWait2:
		c.enterTimeWait(now, "FIN received")
	}
}

// finAcked moves the state when our FIN is acknowledged.
func (c *Conn) finAcked(now Time) {
	switch c.state {
	case FinWait1:
		c.setState(FinWait2, "our FIN is acknowledged")
		if c.readClosed {
			c.awaitFIN(now)
		}
		c.notify(Writable) // a Close that lingers waits for this
	case Closing:
		c.notify(Writable) // for the same reason, and before it may be the end: see overcrowded
		c.enterTimeWait(now, "our FIN is acknowledged")
	case LastAck:
		c.finish(nil, "our FIN is acknowledged")
	}
}

// enterTimeWait keeps the pair of sockets for 2MSL, so that a lost last ACK can
// be repeated and old duplicates die out (RFC 9293 section 3.6.1, MUST-13).
func (c *Conn) enterTimeWait(now Time, why string) {
	for k := range c.timers {
		c.stopTimer(TimerKind(k))
	}
	c.dropSend()
	c.setState(TimeWait, why)
	c.noteBusy(now)
	c.buried()
	if !c.overcrowded() {
		c.restartTimeWait(now)
	}
}

func (c *Conn) restartTimeWait(now Time) {
	wait := c.cfg.TimeWait
	if wait < 0 {
		wait = c.rtt.rto()
	}
	c.setTimer(TimerTimeWait, now.Add(wait))
}
