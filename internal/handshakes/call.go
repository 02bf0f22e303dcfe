package handshakes

import (
	"errors"
	"io"
	"net/netip"
	"slices"

	"rawtcp/engine"
)

// A call is one connection, from the SYN until its port is free again. Calls are
// used again, each with the function that it made at first.
type call struct {
	driver *Driver
	target *target
	conn   *engine.Conn
	note   func(engine.ConnEvents) // is OnEvent of conn
	id     uint64
	port   uint16
	round  uint32 // counts its uses, so that what is left over of one is known
	events engine.ConnEvents

	pooled    bool // the port is of the target's pool
	noted     bool // stands among the news
	opening   bool // its FIN was not asked for yet
	connected bool
	ended     bool // the peer's FIN was read
	told      bool // to Done
	impatient bool // the wait for the peer's FIN was over
}

// A target is a Target in use.
type target struct {
	Target
	local  netip.Addr     // without zones, as packets show them
	remote netip.AddrPort //
	orders int            // connections to be opened
	pool   *pool
	taken  int      // ports of the pool that this target has had
	rested portRing // and those whose last connection is over, the one longest at rest first
}

// open sends a SYN.
func (d *Driver) open(now engine.Time, port uint16, t *target, pooled bool) error {
	local := netip.AddrPortFrom(t.local, port)
	conn, err := d.stack.Dial(now, local, t.remote, t.MTU, engine.ConnConfig{})
	if err != nil {
		return err
	}
	c := d.newCall()
	c.target, c.port, c.pooled, c.conn, c.id = t, port, pooled, conn, conn.ID()
	conn.OnEvent = c.note
	c.opening = true
	d.opening++
	d.underway++
	d.stats.Opened++
	return nil
}

func (d *Driver) newCall() *call {
	last := len(d.free) - 1
	if last < 0 {
		c := &call{driver: d}
		c.note = c.take
		return c
	}
	c := d.free[last]
	d.free = d.free[:last]
	return c
}

// take is called by the engine and only takes note.
func (c *call) take(e engine.ConnEvents) {
	c.events |= e
	if !c.noted {
		c.noted = true
		c.driver.news = append(c.driver.news, c)
	}
}

// look does what has become possible on each connection that has news.
func (d *Driver) look(now engine.Time) {
	for i := 0; i < len(d.news); i++ { // it may grow
		c := d.news[i]
		c.noted = false
		events := c.events
		c.events = 0
		d.proceed(now, c, events)
	}
	d.news = d.news[:0]
}

// proceed takes one connection on.
func (d *Driver) proceed(now engine.Time, c *call, events engine.ConnEvents) {
	if events&engine.Connected != 0 {
		c.connected = true
		d.stats.Connected++
		d.closing = append(d.closing, c)
	}
	if events&engine.Readable != 0 {
		c.ended = d.drain(now, c)
	}
	switch state := c.conn.State(); {
	case state == engine.Closed:
		d.over(now, c)
	case c.ended && state == engine.TimeWait:
		c.conn.Close(now) // nobody will read or write
		d.tell(c, nil)
		d.leaving = append(d.leaving, c)
	}
}

// retire leaves TIME-WAIT to the stack, once the last ACK has left. Where that
// has something to say still, the call stays until it is CLOSED.
func (d *Driver) retire() {
	for _, c := range d.leaving {
		if c.conn != nil && d.stack.Retire(c.conn) {
			d.release(c)
		}
	}
	d.leaving = d.leaving[:0]
}

// drain throws away what the peer has sent, and reports whether that was all.
func (d *Driver) drain(now engine.Time, c *call) bool {
	for {
		n, err := c.conn.Read(now, d.scratch[:])
		if n == 0 {
			return errors.Is(err, io.EOF)
		}
	}
}

// opened is called when the FIN was asked for, or will never be.
func (d *Driver) opened(c *call) {
	if c.opening {
		c.opening = false
		d.opening--
	}
}

// hangUp sends the FINs of connections whose handshake was completed.
func (d *Driver) hangUp(now engine.Time) {
	for _, c := range d.closing {
		if c.conn.State() == engine.Closed { // and told, or about to be
			continue
		}
		c.conn.CloseWrite(now)
		d.opened(c)
		d.patience.push(waiting{c, c.round, now.Add(d.cfg.Patience)})
	}
	d.closing = d.closing[:0]
}

// losePatience resets the connections whose peers do not close.
func (d *Driver) losePatience(now engine.Time) {
	for w, ok := d.patience.first(); ok; w, ok = d.patience.first() {
		over := w.call.round != w.round || w.call.told
		if !over && w.due > now {
			return
		}
		d.patience.pop()
		if !over {
			w.call.impatient = true
			w.call.conn.Abort(now)
		}
	}
}

// tell tells Done of the end of a connection, once.
func (d *Driver) tell(c *call, err error) {
	if c.told {
		return
	}
	c.told = true
	d.underway--
	d.opened(c)
	if err == nil {
		d.stats.Closed++
	} else {
		d.stats.Failed++
	}
	if d.cfg.Done == nil {
		return
	}
	d.result = Result{Conn: c.id, Local: netip.AddrPortFrom(c.target.local, c.port), Remote: c.target.remote, Connected: c.connected, Err: err}
	d.cfg.Done(&d.result)
}

// over is the end of a call: its connection is CLOSED, and the port is free.
func (d *Driver) over(now engine.Time, c *call) {
	err := c.conn.Err()
	if c.impatient {
		err = ErrNoFIN
	}
	d.tell(c, err)
	if i := slices.Index(d.closing, c); i >= 0 {
		d.closing = slices.Delete(d.closing, i, i+1)
	}
	d.stack.Recycle(c.conn)
	d.release(c)
}

// release makes a call, and its port, ready for the next connection.
func (d *Driver) release(c *call) {
	if c.pooled {
		c.target.rested.push(c.port)
	}
	*c = call{driver: d, note: c.note, round: c.round + 1}
	d.free = append(d.free, c)
}

// patience holds connections in the order of their patience.
type patience struct {
	queue []waiting
	head  int
}

// waiting is a use of a call that has sent its FIN.
type waiting struct {
	call  *call
	round uint32
	due   engine.Time
}

func (p *patience) push(w waiting) {
	if p.head > 0 && len(p.queue) == cap(p.queue) && p.head >= len(p.queue)/2 {
		p.queue, p.head = p.queue[:copy(p.queue, p.queue[p.head:])], 0
	}
	p.queue = append(p.queue, w)
}

func (p *patience) first() (waiting, bool) {
	if p.head == len(p.queue) {
		return waiting{}, false
	}
	return p.queue[p.head], true
}

func (p *patience) pop() {
	if p.head++; p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
	}
}
