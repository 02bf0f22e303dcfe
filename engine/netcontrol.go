package engine

import (
	"net"
	"time"
)

// The controls of a NetConn, named as those of net.TCPConn where that has them.
// They take effect at once; after Close they fail with net.ErrClosed.

// SetReadBuffer changes how many octets are held for Read; see Conn.SetReceiveBuffer.
func (c *NetConn) SetReadBuffer(octets int) error {
	return c.control(func(now Time) error { return c.conn.SetReceiveBuffer(now, octets) })
}

// SetWriteBuffer changes how many octets Write can be ahead of the peer; see
// Conn.SetSendBuffer.
func (c *NetConn) SetWriteBuffer(octets int) error {
	return c.control(func(Time) error { return c.conn.SetSendBuffer(octets) })
}

// SetNoDelay switches Nagle's algorithm off (true) or on. Unlike that of
// net.TCPConn it is on at first, as ConnConfig.NoDelay says.
func (c *NetConn) SetNoDelay(on bool) error {
	return c.control(func(Time) error { c.conn.SetNoDelay(on); return nil })
}

// SetCork keeps back, while on, what does not fill a segment, for at most 200 ms.
func (c *NetConn) SetCork(on bool) error {
	return c.control(func(Time) error { c.conn.SetCork(on); return nil })
}

// SetKeepAliveConfig changes keep-alives. A field that is zero or negative takes
// the engine's default: 2 h, 75 s and 9.
func (c *NetConn) SetKeepAliveConfig(cfg net.KeepAliveConfig) error {
	idle := pick(cfg.Idle, 2*time.Hour)
	if !cfg.Enable {
		idle = 0
	}
	return c.control(func(now Time) error {
		return c.conn.SetKeepAlive(now, idle, pick(cfg.Interval, 75*time.Second), pick(cfg.Count, 9))
	})
}

func pick[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// SetUserTimeout changes how long data may stay unacknowledged before the
// connection ends with ErrTimeout; 0 leaves that to the count of retransmissions.
func (c *NetConn) SetUserTimeout(d time.Duration) error {
	return c.control(func(now Time) error { return c.conn.SetUserTimeout(now, d) })
}

// SetLinger changes what Close does, as that of net.TCPConn: negative seconds
// (as at first): it returns at once, and what is queued goes on; 0: the
// connection is reset; else Close waits so long for the peer to have all, and
// returns.
func (c *NetConn) SetLinger(seconds int) error {
	linger := time.Duration(seconds) * time.Second
	switch {
	case seconds < 0:
		linger = 0
	case seconds == 0:
		linger = -1
	}
	return c.control(func(Time) error { c.conn.SetLinger(linger); return nil })
}

// SetCongestion changes the congestion control, "cubic" or "reno".
func (c *NetConn) SetCongestion(name string) error {
	return c.control(func(Time) error { return c.conn.SetCongestion(name) })
}

// SetPacing changes how data is spread over time; see Conn.SetPacing.
func (c *NetConn) SetPacing(auto bool, most int64) error {
	return c.control(func(Time) error { return c.conn.SetPacing(auto, most) })
}

// SetTTL changes the TTL or hop limit of what is sent, 0 for the default of 64.
func (c *NetConn) SetTTL(ttl uint8) error {
	return c.control(func(Time) error { c.conn.SetTTL(ttl); return nil })
}

// SetTOS changes the DiffServ field of what is sent.
func (c *NetConn) SetTOS(tos uint8) error {
	return c.control(func(Time) error { c.conn.SetTOS(tos); return nil })
}

// control runs a change with the lock held.
func (c *NetConn) control(change func(now Time) error) error {
	s := c.shard
	s.mu.Lock()
	defer s.unlock()
	if c.isClosed || c.ended {
		return c.opError("set", net.ErrClosed)
	}
	if err := change(s.now()); err != nil {
		return c.opError("set", err)
	}
	return nil
}

// CloseRead ends reading: Read returns io.EOF, and what still comes is
// acknowledged and thrown away. Writing goes on.
func (c *NetConn) CloseRead() error {
	return c.control(func(now Time) error { c.conn.CloseRead(now); return nil })
}

// WriteUrgent is Write, and marks the octets as urgent up to and with the last
// one (RFC 9293 section 3.8.5). New applications should not use it (SHLD-13).
func (c *NetConn) WriteUrgent(p []byte) (int, error) { return c.write(p, (*Conn).WriteUrgent) }

// Urgent returns how many octets are still to be read up to the end of the
// peer's urgent data, 0 if there is none.
func (c *NetConn) Urgent() int {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	return c.conn.Urgent()
}

// Notices delivers what is news beside the data: Urgent, Troubled and
// TimeoutTold, one or several in one value. News that nobody takes are put
// together, so that none is lost.
func (c *NetConn) Notices() <-chan ConnEvents {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	return c.news()
}

// news is the channel of Notices; it has room for one.
func (c *NetConn) news() chan ConnEvents {
	if c.notices == nil {
		c.notices = make(chan ConnEvents, 1)
	}
	return c.notices
}

// notice puts news where Notices finds them. The shard's lock makes it the only
// one who does.
func (c *NetConn) notice(events ConnEvents) {
	if events &= Urgent | Troubled | TimeoutTold; events == 0 {
		return
	}
	news := c.news()
	select {
	case before := <-news:
		events |= before
	default:
	}
	news <- events
}

// linger waits until the peer has acknowledged all and our FIN, or the linger
// time is over; what is left then goes on without the caller.
func (c *NetConn) linger() {
	wait := c.conn.cfg.Linger
	if wait <= 0 {
		return
	}
	end := newDeadline(c)
	end.in(wait)
	defer end.stop()
	for !end.expired && c.conn.unsettled() {
		c.sleepWriter()
	}
}
