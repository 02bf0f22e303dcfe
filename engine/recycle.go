package engine

// maxSpareConns is how many recycled connections wait for use, and how many of
// their controllers.
const maxSpareConns = 4096

// Recycle gives the memory of a connection back for the next one that is opened:
// a program that opens and closes many then allocates nothing for each. The
// connection must be CLOSED, which Settled tells, and neither the caller nor
// anybody else may use it any more; one that is still on the stack stays what it
// is. What was not read is lost.
func (s *Stack) Recycle(c *Conn) {
	if c.stack != s || c.state != Closed {
		return
	}
	if s.tallies.conn == c {
		s.tellTally()
	}
	s.spares.giveOctets(&c.rcv.buf.buf)
	s.spares.giveConn(c)
}

// giveConn takes back a connection that nobody uses. It may still stand on the
// list of those that have something to say, where the next one will find itself.
func (s *spares) giveConn(c *Conn) {
	if _, ours := c.cc.(windowed); ours && len(s.controllers) < maxSpareConns {
		s.controllers = append(s.controllers, c.cc)
	}
	if c.cold != nil {
		*c.cold = coldState{}
	}
	*c = Conn{cold: c.cold, queued: c.queued}
	if len(s.conns) < maxSpareConns {
		s.conns = append(s.conns, c)
	}
}

// takeConn returns a connection in CLOSED of which nothing is set.
func (s *spares) takeConn() *Conn {
	last := len(s.conns) - 1
	if last < 0 {
		return new(Conn)
	}
	c := s.conns[last]
	s.conns[last] = nil
	s.conns = s.conns[:last]
	return c
}

// takeController returns one whose memory may be used, or nil.
func (s *spares) takeController() Controller {
	last := len(s.controllers) - 1
	if last < 0 {
		return nil
	}
	cc := s.controllers[last]
	s.controllers[last] = nil
	s.controllers = s.controllers[:last]
	return cc
}
