package engine

import "rawtcp/segment"

// windowWanted is the receive window we would like to offer, octets.
func (c *Conn) windowWanted() int {
	free := max(0, c.rcv.buf.limit-c.rcv.buf.readable)
	if c.cfg.Window > 0 {
		return min(c.cfg.Window, free)
	}
	return free
}

// advertise returns the window field for a segment that leaves now and moves
// the right edge. The edge never moves left (SHLD-14), and moves right only by
// a worthwhile step (RFC 9293 section 3.8.6.2.2, MUST-39).
//
// A scaled field cannot name every edge. It is rounded up as long as that
// offers less than one unit beyond the buffer, and else down: the peer then sees
// an edge that went back by a few octets, as RFC 7323 section 2.4 expects, but
// all that was ever offered is still taken.
func (c *Conn) advertise() uint16 {
	open := max(0, c.rcv.edge.Sub(c.rcv.nxt))
	free := c.mayOffer()
	want := max(free, open)
	if free-open < min(c.rcv.buf.limit/2, c.snd.mss) && c.cfg.Window == 0 {
		want = open
	}
	unit := 1 << c.rcv.scale
	field := want / unit
	if up := (open + unit - 1) / unit; field < up && up*unit < free+unit {
		field = up
	}
	field = min(field, 0xffff)
	c.rcv.edge = segment.MaxSeq(c.rcv.edge, c.rcv.nxt.Add(field*unit))
	return uint16(field)
}

// noteWindow sends a window update when the application's reading has made
// room worth telling: at least two segments, and less than half was on offer.
func (c *Conn) noteWindow(Time) {
	switch c.state {
	case Established, FinWait1, FinWait2:
	default:
		return
	}
	open := max(0, c.rcv.edge.Sub(c.rcv.nxt))
	most := 0xffff << c.rcv.scale // that the field can say
	gain := min(c.mayOffer(), most) - open
	half := min(c.rcv.buf.limit, most) / 2
	if open >= half || gain < min(half, 2*c.snd.mss) {
		return
	}
	c.ackDue("tells that the window opened, RFC 9293 section 3.8.6.2.2")
	c.ackNote = NoteWindowUpdate
	c.stack.wake(c)
}
