package engine

import "rawtcp/segment"

// Limits bound what the connections of a stack may keep of it together, beside
// the bounds of each listener and buffer. 0 means no limit. RFC 9293 is silent
// about them; they are Linux's.
type Limits struct {
	// TimeWaits is how many connections may be in TIME-WAIT. One more is CLOSED
	// at once, its last ACK sent, and old duplicates may then disturb the next
	// one of the same pair (Linux: tcp_max_tw_buckets).
	TimeWaits int

	// Orphans is how many connections may live on after Close, until their last
	// octets and the FIN are acknowledged. One more is reset (Linux: tcp_max_orphans).
	Orphans int

	// Conns is how many connections there may be, those in TIME-WAIT too. Beyond
	// them Dial is ErrTooMany, and a listener behaves as with a full backlog: it
	// drops SYNs, and the ACKs that would complete a handshake.
	Conns int
}

// census counts what Limits bound.
type census struct{ timeWaits, orphans int }

// orphaned counts a connection that the application has left to us, and resets
// it if there are too many.
func (c *Conn) orphaned() {
	s := c.stack
	most := s.cfg.Limits.Orphans
	if most <= 0 || c.state == Closed || c.state == TimeWait {
		return
	}
	if s.census.orphans >= most {
		s.counters.OrphansReset++
		c.abort(ErrAborted, "too many connections that no application has any more")
		return
	}
	c.orphan = true
	s.census.orphans++
}

// buried is the end of orphaned: the connection is in TIME-WAIT or CLOSED.
func (c *Conn) buried() {
	if c.orphan {
		c.orphan = false
		c.stack.census.orphans--
	}
}

// crowded reports whether there are as many connections as may be.
func (s *Stack) crowded() bool { return s.cfg.Limits.Conns > 0 && s.conns.len() >= s.cfg.Limits.Conns }

// leftTimeWait is the end of overcrowded.
func (s *Stack) leftTimeWait() {
	if s.cfg.Limits.TimeWaits > 0 {
		s.census.timeWaits--
	}
}

// overcrowded ends a connection that has just come to TIME-WAIT, if there are too
// many, and reports whether it did. Its last ACK is owed all the same.
func (c *Conn) overcrowded() bool {
	s := c.stack
	most := s.cfg.Limits.TimeWaits
	if most <= 0 {
		return false
	}
	if s.census.timeWaits++; s.census.timeWaits <= most {
		return false
	}
	s.counters.TimeWaitsCut++
	ack := segment.Segment{Src: c.local, Dst: c.remote, Seq: c.snd.nxt, Ack: c.rcv.nxt, Flags: segment.ACK, TTL: c.cfg.TTL, TOS: c.cfg.TOS}
	c.addOptions(s.now, &ack, false)
	ack.Window = c.advertise()
	s.say(Event{Conn: c.id, State: TimeWait, Vars: c.vars(), Reason: "acknowledges the FIN, RFC 9293 section 3.10.7.4"}, ack)
	c.traffic.SegmentsOut++
	c.finish(nil, "too many connections in TIME-WAIT")
	return true
}
