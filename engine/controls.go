package engine

import (
	"time"

	"rawtcp/segment"
)

// What an application may change in the life of a connection. Each call is
// about what happens from now on; none blocks.

// change gives the connection other settings: those it has may be shared.
func (c *Conn) change(f func(*ConnConfig)) error {
	cfg := *c.cfg
	f(&cfg)
	shared, err := c.stack.share(cfg)
	if err == nil {
		c.cfg = shared
	}
	return err
}

// set is change for what cannot be out of its range.
func (c *Conn) set(f func(*ConnConfig)) { _ = c.change(f) }

// SetSendBuffer changes how many octets may be held for the peer, 1 to 2^30, and
// from now on the buffer does not grow by itself (ConnConfig.SendBufferMax).
// What is held stays: with a smaller buffer Write takes nothing until there is
// room again.
func (c *Conn) SetSendBuffer(octets int) error {
	if err := c.change(func(cfg *ConnConfig) { cfg.SendBuffer, cfg.SendBufferMax = octets, octets }); err != nil {
		return err
	}
	c.snd.buf.limit = octets
	if c.snd.buf.room() > 0 {
		c.notify(Writable)
	}
	return nil
}

// SetReceiveBuffer changes how many octets may be held for the application, 1
// to 2^30, and from now on the buffer does not grow by itself. A window that was offered is never taken back (RFC 9293 section
// 3.8.6, SHLD-14): a smaller buffer shows as the peer fills it. The scale was
// fixed by the handshake, so the buffer is at least two units of it: else an
// empty one would be told as a closed window, for ever.
func (c *Conn) SetReceiveBuffer(now Time, octets int) error {
	if err := c.change(func(cfg *ConnConfig) { cfg.ReceiveBuffer, cfg.ReceiveBufferMax = octets, octets }); err != nil {
		return err
	}
	c.rcv.buf.limit = max(octets, 2<<c.rcv.scale)
	c.noteWindow(now)
	return nil
}

// SetNoDelay switches Nagle's algorithm off or on again (RFC 9293 section
// 3.7.4, MUST-17).
func (c *Conn) SetNoDelay(on bool) {
	c.set(func(cfg *ConnConfig) { cfg.NoDelay = on })
	c.stack.wake(c)
}

// SetKeepAlive changes when an idle peer is asked whether it lives (RFC 9293
// section 3.8.4, MUST-24): after idle without a word from it, then each
// interval, and count unanswered ones end the connection. An idle time of 0
// switches keep-alives off; 0 for another means that it stays as it is.
func (c *Conn) SetKeepAlive(now Time, idle, interval time.Duration, count int) error {
	err := c.change(func(cfg *ConnConfig) {
		cfg.KeepAliveIdle = idle
		if interval != 0 {
			cfg.KeepAliveInterval = interval
		}
		if count != 0 {
			cfg.KeepAliveCount = count
		}
	})
	if err != nil {
		return err
	}
	c.keepProbes, c.keepNow = 0, false
	c.stopTimer(TimerKeepAlive)
	c.touchKeepAlive(now)
	return nil
}

// SetCongestion changes the congestion control, "cubic" or "reno". The window
// and its threshold stay as they are.
func (c *Conn) SetCongestion(name string) error {
	if err := c.change(func(cfg *ConnConfig) { cfg.Congestion = name }); err != nil || c.cc == nil {
		return err // or the handshake is not done
	}
	cc, err := newController(c.cfg, c.payloadRoom(0), c.cfg.InitialWindow, nil)
	if err != nil {
		return err
	}
	to, ok := cc.(windowed)
	from, known := c.cc.(windowed)
	if ok && known {
		*to.shared() = *from.shared()
	}
	c.cc = cc
	return nil
}

// windowed is what every algorithm here has: a window that another one can
// take over.
type windowed interface{ shared() *window }

func (w *window) shared() *window { return w }

// SetTTL changes the TTL, or hop limit, of what we send; 0 means 64 (RFC 9293
// section 3.9.2, MUST-49).
func (c *Conn) SetTTL(ttl uint8) {
	if ttl == 0 {
		ttl = 64
	}
	c.set(func(cfg *ConnConfig) { cfg.TTL = ttl })
}

// SetTOS changes the DiffServ field of what we send (RFC 9293 section 3.9.1.9,
// SHLD-21), with the ECN field in its two low bits; on a connection with ECN
// these are RFC 3168's.
func (c *Conn) SetTOS(tos uint8) { c.set(func(cfg *ConnConfig) { cfg.TOS = tos }) }

// SetLinger changes how Close ends the connection: with 0 by a FIN, with a
// negative time by a RST. A positive one is by a FIN too; to wait is the affair
// of who blocks.
func (c *Conn) SetLinger(d time.Duration) { c.set(func(cfg *ConnConfig) { cfg.Linger = d }) }

// CloseRead says that the application will not read any more. What is unread
// and what still comes is acknowledged and thrown away, as shutdown has it on
// BSD; the peer is not told. Write goes on.
func (c *Conn) CloseRead(now Time) {
	if c.deaf || c.state == Closed {
		return
	}
	c.deaf = true
	c.discard()
	c.noteWindow(now)
	c.notify(Readable)
}

// troubled tells the application that a segment was sent R1 times in vain
// (RFC 9293 section 3.8.3, SHLD-9). R2, later, ends the connection.
func (c *Conn) troubled() {
	if int(c.retries) == c.cfg.R1 {
		c.notify(Troubled)
	}
}

// push sets PSH as the policy says. last says that the segment ends with the
// last octet that is buffered: there it "MUST set the PSH bit" (RFC 9293 section
// 3.9.1.2, MUST-61).
func (c *Conn) push(s *segment.Segment, last bool) {
	switch c.cfg.Push {
	case PushLast:
		if !last {
			return
		}
	case PushNever:
		return
	}
	s.Flags |= segment.PSH
}
