package engine

import "fmt"

// Audit recounts from scratch what the connection keeps in sums and in order:
// the reassembly queue, the scoreboard, the send buffer and the timers. It
// returns the first thing that does not agree, nil if all does. It changes
// nothing, costs a walk over both queues, and is meant for simulators and
// fuzzers, that call it after an event.
func (c *Conn) Audit() error {
	for _, audit := range [...]func() error{c.auditReassembly, c.snd.sent.audit, c.auditSender, c.auditPacer, c.auditTimers} {
		if err := audit(); err != nil {
			return err
		}
	}
	return nil
}

// Queued returns how many ranges Audit would walk over.
func (c *Conn) Queued() int { return len(c.snd.sent.ranges()) + len(c.rcv.buf.spans()) }

// Steps returns how many turns the loops over the connection's queues have taken
// so far: the work that a peer may try to make large (CVE-2018-5390).
func (c *Conn) Steps() int {
	n := c.snd.sent.steps
	if c.rcv.buf.holes != nil {
		n += c.rcv.buf.holes.steps
	}
	return n
}

// auditReassembly: ranges are sorted, do not touch, lie beyond RCV.NXT and
// inside what was offered, and their octets are there.
func (c *Conn) auditReassembly() error {
	b := &c.rcv.buf
	if b.head < 0 || b.readable < 0 || b.head+b.readable > len(b.buf) || len(b.spans()) > maxSpans {
		return fmt.Errorf("reassembly: %d read, %d readable, %d held, %d ranges", b.head, b.readable, len(b.buf), len(b.spans()))
	}
	before := b.nxt
	for _, s := range b.spans() {
		if !before.Less(s.start) || !s.start.Less(s.end) {
			return fmt.Errorf("reassembly: range %v to %v behind %v", s.start, s.end, before)
		}
		before = s.end
	}
	if len(b.spans()) == 0 {
		return nil
	}
	if edge := c.rcv.edge; edge.Less(before) {
		return fmt.Errorf("reassembly: held up to %v, offered up to %v", before, edge)
	}
	if off := b.offset(before); off > len(b.buf) {
		return fmt.Errorf("reassembly: held up to offset %d of %d", off, len(b.buf))
	}
	return nil
}

// audit recounts the sums of the scoreboard.
func (s *sentQueue) audit() error {
	var sum sentQueue
	for i, r := range s.ranges() {
		if r.sacked && r.lost || !r.start.Less(r.end) {
			return fmt.Errorf("scoreboard: range %v to %v, sacked %t lost %t resent %t", r.start, r.end, r.sacked, r.lost, r.resent)
		}
		if i > 0 && s.ranges()[i-1].end != r.start {
			return fmt.Errorf("scoreboard: a gap before %v", r.start)
		}
		sum.count(&r, +1)
	}
	if err := s.auditOrder(); err != nil {
		return err
	}
	if sum.pipe != s.pipe || sum.sacked != s.sacked || sum.reports != s.reports || sum.lost != s.lost {
		return fmt.Errorf("scoreboard: pipe %d sacked %d in %d lost %d, recounted %d %d %d %d",
			s.pipe, s.sacked, s.reports, s.lost, sum.pipe, sum.sacked, sum.reports, sum.lost)
	}
	return nil
}

// auditOrder: what is in flight hangs in the order of its transmission, and
// what waits to be sent again is found.
func (s *sentQueue) auditOrder() error {
	linked, inFlight, waiting := 0, 0, 0
	if s.waiting != nil {
		waiting = len(*s.waiting)
	}
	for n, before := s.oldest, int32(0); n != 0; n, before = s.numbered(n).after, n {
		r := s.numbered(n)
		if linked++; linked > len(s.ranges()) || !r.inFlight() || r.before != before {
			return fmt.Errorf("scoreboard: range %v to %v is out of the order of transmission", r.start, r.end)
		}
		if before != 0 && sentAfter(s.numbered(before).order, r.order) {
			return fmt.Errorf("scoreboard: %v stands behind what was sent after it", r.start)
		}
	}
	for i := range s.ranges() {
		if s.ranges()[i].inFlight() {
			inFlight++
		}
	}
	if linked != inFlight || s.lost > 0 && waiting == 0 {
		return fmt.Errorf("scoreboard: %d in flight, %d in order, %d octets lost, %d wait", inFlight, linked, s.lost, waiting)
	}
	return nil
}

// auditSender: the scoreboard spans SND.UNA to SND.NXT, and the send buffer
// has all of it.
func (c *Conn) auditSender() error {
	q, b := c.snd.sent.ranges(), &c.snd.buf
	switch {
	case c.state == Closed && (len(q) > 0 || len(b.buf) > 0):
		return fmt.Errorf("CLOSED with %d ranges and %d octets to send", len(q), b.len())
	case c.state == Closed:
		return nil
	case len(q) == 0 && c.snd.una != c.snd.nxt:
		return fmt.Errorf("scoreboard: empty, SND.UNA %v, SND.NXT %v", c.snd.una, c.snd.nxt)
	case len(q) > 0 && (q[0].start != c.snd.una || q[len(q)-1].end != c.snd.nxt):
		return fmt.Errorf("scoreboard: %v to %v, SND.UNA %v, SND.NXT %v", q[0].start, q[len(q)-1].end, c.snd.una, c.snd.nxt)
	case b.len() > b.limit:
		return fmt.Errorf("send buffer: %d octets, limit %d", b.len(), b.limit)
	case c.state.Synchronized() && c.state != TimeWait && c.snd.una.Less(b.start):
		return fmt.Errorf("send buffer: begins at %v, SND.UNA %v", b.start, c.snd.una)
	}
	return nil
}

// auditTimers: the stack waits for the first of the connection's deadlines, and
// for none of a connection that is gone.
func (c *Conn) auditTimers() error {
	want := c.Deadline()
	if c.state == Closed {
		want = 0
	}
	if c.node.due != want || (want != 0) != (c.node.index != 0) {
		return fmt.Errorf("timers: %v is due first, the stack waits for %v at %d", want, c.node.due, c.node.index)
	}
	return nil
}
