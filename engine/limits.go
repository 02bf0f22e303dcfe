package engine

import "rawtcp/segment"

// Limits bound what the connections of a stack may keep of it together, beside
// the bounds of each listener and buffer. 0 means the default given, or without
// one no limit. RFC 9293 is silent about them; they are Linux's.
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

	// HalfOpen is how many handshakes may be under way in the SYN caches of all
	// listeners; default 131072, some 20 MiB, negative: no limit. Beyond them a
	// listener behaves as with a full cache of its own: it answers by cookies, or
	// drops its oldest handshake, or the SYN if it has none.
	HalfOpen int

	// Memory is how many octets all send buffers and receive queues may hold
	// together, holes between them included; default 512 MiB, negative: no limit.
	// From three quarters on, what arrives out of order is dropped, no window
	// grows, Write takes less, and a connection after Close is reset at its next
	// timeout. What was acknowledged is never dropped. Each connection may hold
	// 4096 octets, or two segments if these are more, in each direction beside it
	// (Linux: tcp_mem, with the least of tcp_rmem and tcp_wmem).
	Memory int
}

// defaults fills in what is zero.
func (l *Limits) defaults() {
	setInt(&l.HalfOpen, 131072)
	setInt(&l.Memory, 512<<20)
}

// orphaned counts a connection that the application has left to us, and resets
// it if there are too many.
func (c *Conn) orphaned() {
	s := c.stack
	most := s.cfg.Limits.Orphans
	if most <= 0 || c.state == Closed || c.state == TimeWait {
		return
	}
	if s.common.census.orphans.Load() >= int64(most) {
		s.counters.OrphansReset++
		c.abort(ErrAborted, "too many connections that no application has any more")
		return
	}
	c.orphan = true
	s.common.census.orphans.Add(1)
}

// buried is the end of orphaned: the connection is in TIME-WAIT or CLOSED.
func (c *Conn) buried() {
	if c.orphan {
		c.orphan = false
		c.stack.common.census.orphans.Add(-1)
	}
}

// crowded reports whether there are as many connections as may be.
func (s *Stack) crowded() bool {
	return s.cfg.Limits.Conns > 0 && s.common.census.conns.Load() >= int64(s.cfg.Limits.Conns)
}

// manyHalfOpen reports whether as many handshakes are under way as may be.
func (s *Stack) manyHalfOpen() bool {
	return s.cfg.Limits.HalfOpen > 0 && s.common.census.halfOpen.Load() >= int64(s.cfg.Limits.HalfOpen)
}

// leftTimeWait is the end of overcrowded.
func (s *Stack) leftTimeWait() {
	if s.cfg.Limits.TimeWaits > 0 {
		s.common.census.timeWaits.Add(-1)
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
	if s.common.census.timeWaits.Add(1) <= int64(most) {
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
