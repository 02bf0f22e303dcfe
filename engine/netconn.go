package engine

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// A NetConn is a connection of a Host with the manners of net.Conn. All methods
// may be called by any goroutine at any time.
//
// Errors are *net.OpError around one of this package's errors, net.ErrClosed
// after Close, or os.ErrDeadlineExceeded.
type NetConn struct {
	shard *shard
	conn  *Conn
	claim *claim

	// The shard's lock guards what follows.
	waiting         *waiting        // nil until somebody waits
	done            chan struct{}   // nil until somebody asks
	notices         chan ConnEvents // nil until there is news or somebody asks
	readBy, writeBy *deadline       // nil until one is set
	writing         bool            // a Write is under way: the bytes of two do not mix
	connected       bool
	isClosed        bool // by Close, Abort or Abandon
	ended           bool // CLOSED
	left            bool // the port is given back
}

// waiting is where calls wait for their connection. An idle connection that
// nobody reads has none.
type waiting struct {
	readable, writable sync.Cond
	calls              int    // that wait
	into               []byte // the buffer of a Read that waits, nil: none is offered
	taken              int    // octets in it
}

var (
	_ net.Conn     = (*NetConn)(nil)
	_ net.Listener = (*NetListener)(nil)
)

// adopt makes the face of a connection. The claim becomes its own.
func (s *shard) adopt(conn *Conn, claim *claim) *NetConn {
	c := &NetConn{shard: s, conn: conn, claim: claim}
	conn.face = c
	if conn.State() == Closed {
		c.end()
	}
	return c
}

// onEvent is called by the core, with the lock held.
func (c *NetConn) onEvent(events ConnEvents) {
	if events&Connected != 0 {
		c.connected = true
	}
	if events&(Connected|Readable) != 0 {
		c.rouseReaders()
	}
	if events&Writable != 0 {
		c.rouseWriters()
	}
	c.notice(events)
	if events&Settled != 0 {
		c.end()
	}
}

// end takes leave of a connection that has become CLOSED.
func (c *NetConn) end() {
	c.ended = true
	c.shard.leave(c.claim, c)
	c.wake()
}

// sleepReader waits until there may be something to read: call it in a loop. It
// returns how many octets have come into p meanwhile.
func (c *NetConn) sleepReader(p []byte) (taken int) {
	w := c.enter()
	mine := w.into == nil && len(p) > 0 // of several calls one at a time
	if mine {
		w.into = p
	}
	c.shard.sleep(&w.readable)
	if mine {
		taken = w.taken
		w.into, w.taken = nil, 0
	}
	c.exit(w)
	return taken
}

// take copies octets that come next in line into the buffer of a Read that waits,
// and returns how many: none if nobody does.
func (c *NetConn) take(p []byte) int {
	if c.waiting == nil {
		return 0
	}
	w := c.waiting
	n := copy(w.into[w.taken:], p)
	w.taken += n
	return n
}

// overtaken ends what a Read that waits takes, for another call has read what
// comes behind that.
func (c *NetConn) overtaken() {
	if w := c.waiting; w != nil && w.taken > 0 {
		w.into = w.into[:w.taken]
	}
}

// sleepWriter waits until there may be room to write: call it in a loop.
func (c *NetConn) sleepWriter() {
	w := c.enter()
	c.shard.sleep(&w.writable)
	c.exit(w)
}

// enter returns where to wait, for exit to give back.
func (c *NetConn) enter() *waiting {
	if c.waiting == nil {
		c.waiting = c.shard.takeWaiting()
	}
	c.waiting.calls++
	return c.waiting
}

func (c *NetConn) exit(w *waiting) {
	if w.calls--; w.calls == 0 {
		c.shard.giveWaiting(w)
		c.waiting = nil
	}
}

// maxSpareWaiting bounds what is kept for the next who wait.
const maxSpareWaiting = 256

func (s *shard) takeWaiting() *waiting {
	if last := len(s.spareWaiting) - 1; last >= 0 {
		w := s.spareWaiting[last]
		s.spareWaiting = s.spareWaiting[:last]
		return w
	}
	w := new(waiting)
	w.readable.L, w.writable.L = &s.mu, &s.mu
	return w
}

func (s *shard) giveWaiting(w *waiting) {
	if len(s.spareWaiting) < maxSpareWaiting {
		s.spareWaiting = append(s.spareWaiting, w)
	}
}

func (c *NetConn) wake() {
	c.rouseReaders()
	c.rouseWriters()
}

func (c *NetConn) rouseReaders() {
	c.shard.stirs++
	if c.waiting != nil {
		c.waiting.readable.Broadcast()
		c.shard.awaited = true
	}
}

func (c *NetConn) rouseWriters() {
	c.shard.stirs++
	if c.waiting != nil {
		c.waiting.writable.Broadcast()
	}
}

// Read waits for data and copies what there is, up to len(p). It returns io.EOF
// after the peer's FIN.
func (c *NetConn) Read(p []byte) (int, error) {
	s := c.shard
	s.mu.Lock()
	defer s.unlock()
	for {
		if err := c.mayNot(c.readBy); err != nil {
			return 0, c.opError("read", err)
		}
		n, err := c.conn.Read(s.now(), p)
		if n > 0 || len(p) == 0 && err == nil {
			c.overtaken()
			return n, nil
		}
		if err != nil {
			return 0, c.opError("read", err)
		}
		if n = c.sleepReader(p); n > 0 {
			return n, nil
		}
	}
}

// Write queues all of p for the peer, waiting for room in the send buffer. It
// returns less than len(p) only with an error.
func (c *NetConn) Write(p []byte) (int, error) { return c.write(p, (*Conn).Write) }

func (c *NetConn) write(p []byte, how func(*Conn, Time, []byte) (int, error)) (n int, err error) {
	s := c.shard
	s.mu.Lock()
	defer s.unlock()
	for c.writing {
		if err := c.mayNot(c.writeBy); err != nil {
			return 0, c.opError("write", err)
		}
		c.sleepWriter()
	}
	c.writing = true
	defer func() {
		c.writing = false
		c.rouseWriters()
	}()
	for {
		if err := c.mayNot(c.writeBy); err != nil {
			return n, c.opError("write", err)
		}
		m, err := how(c.conn, s.now(), p[n:])
		if n += m; err != nil {
			return n, c.opError("write", err)
		}
		if n == len(p) {
			return n, nil
		}
		c.sleepWriter()
	}
}

// mayNot says why a call that observes a deadline must not go on.
func (c *NetConn) mayNot(by *deadline) error {
	switch {
	case c.isClosed:
		return net.ErrClosed
	case by != nil && by.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Close sends what is queued and a FIN, and returns at once, or as SetLinger
// says; the host goes on until the connection is CLOSED, see Done. If data was
// left unread, the peer gets a RST (RFC 9293 section 3.6.1, SHLD-3).
func (c *NetConn) Close() error {
	s := c.shard
	s.mu.Lock()
	defer s.unlock()
	if c.isClosed {
		return c.opError("close", net.ErrClosed)
	}
	c.close()
	c.linger()
	return nil
}

// Abort drops the connection with a RST, also one that Close has left to the
// host. The error is net.ErrClosed if it is CLOSED already.
func (c *NetConn) Abort() error { return c.drop((*Conn).Abort) }

// Abandon forgets the connection without a word to the peer. The error is as
// for Abort.
func (c *NetConn) Abandon() error { return c.drop((*Conn).Abandon) }

func (c *NetConn) drop(how func(*Conn, Time)) error {
	s := c.shard
	s.mu.Lock()
	defer s.unlock()
	c.isClosed = true
	if c.ended {
		return c.opError("close", net.ErrClosed)
	}
	c.readBy.stop()
	c.writeBy.stop()
	how(c.conn, s.now())
	c.wake()
	return nil
}

// close is Close with the lock held. A second time is harmless.
func (c *NetConn) close() {
	c.isClosed = true
	c.readBy.stop()
	c.writeBy.stop()
	c.conn.Close(c.shard.now())
	c.wake()
}

// CloseWrite sends a FIN after what is queued. Reading goes on.
func (c *NetConn) CloseWrite() error {
	s := c.shard
	s.mu.Lock()
	defer s.unlock()
	if c.isClosed {
		return c.opError("close", net.ErrClosed)
	}
	c.conn.CloseWrite(s.now())
	c.rouseWriters()
	return nil
}

// SetDeadline sets both deadlines. The zero time means none.
func (c *NetConn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.readBy, &c.writeBy) }

// SetReadDeadline bounds Read calls, those that wait already included.
func (c *NetConn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.readBy) }

// SetWriteDeadline bounds Write calls, those that wait already included.
func (c *NetConn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.writeBy) }

func (c *NetConn) setDeadlines(t time.Time, deadlines ...**deadline) error {
	s := c.shard
	s.mu.Lock()
	defer s.unlock()
	if c.isClosed {
		return c.opError("set", net.ErrClosed)
	}
	for _, d := range deadlines {
		if *d == nil {
			*d = newDeadline(c)
		}
		(*d).set(t)
	}
	c.wake()
	return nil
}

// Done is closed when the connection is CLOSED, TIME-WAIT included, and its port
// is given back.
func (c *NetConn) Done() <-chan struct{} {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.left {
			close(c.done)
		}
	}
	return c.done
}

// leftPort says that nothing is left of the connection.
func (c *NetConn) leftPort() {
	c.left = true
	if c.done != nil {
		close(c.done)
	}
}

// LocalAddr returns our address, a *net.TCPAddr.
func (c *NetConn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.conn.Local()) }

// RemoteAddr returns the peer's address, a *net.TCPAddr.
func (c *NetConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.conn.Remote()) }

// Info returns what is known of the connection now.
func (c *NetConn) Info() Info {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	return c.conn.Info(c.shard.now())
}

// State returns the connection's state now.
func (c *NetConn) State() State {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	return c.conn.State()
}

// ID returns the number of the connection in its host's trace.
func (c *NetConn) ID() uint64 { return c.conn.ID() }

// Err returns how the connection ended, nil if it did not or was orderly.
func (c *NetConn) Err() error {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	return c.conn.Err()
}

// terminal is the error of a connection that ended before it was open.
func (c *NetConn) terminal() error {
	switch {
	case c.shard.failure != nil:
		return c.shard.failure
	case c.conn.Err() != nil:
		return c.conn.Err()
	}
	return ErrAborted
}

func (c *NetConn) opError(op string, err error) error {
	if c.shard.failure != nil && c.ended && !errors.Is(err, os.ErrDeadlineExceeded) {
		err = c.shard.failure
	}
	return opError(op, c.conn.Local(), c.conn.Remote(), err)
}

// opError dresses an error as package net does. io.EOF stays bare.
func opError(op string, local, remote netip.AddrPort, err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	if errors.Is(err, ErrTimeout) {
		err = timeoutError{err}
	}
	e := &net.OpError{Op: op, Net: "tcp", Err: err}
	if local.IsValid() {
		e.Source = net.TCPAddrFromAddrPort(local)
	}
	if remote.IsValid() {
		e.Addr = net.TCPAddrFromAddrPort(remote)
	}
	return e
}

// A timeoutError is an error for which net.Error's Timeout is true, as it is
// for ETIMEDOUT.
type timeoutError struct{ error }

func (timeoutError) Timeout() bool   { return true }
func (e timeoutError) Unwrap() error { return e.error }
