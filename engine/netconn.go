package engine

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// A NetConn is a connection of a Host with the manners of net.Conn. All methods
// may be called by any goroutine at any time.
//
// Errors are *net.OpError around one of this package's errors, net.ErrClosed
// after Close, or os.ErrDeadlineExceeded.
type NetConn struct {
	host  *Host
	conn  *Conn
	claim *claim

	// The host's lock guards what follows.
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
	calls              int // that wait
}

var (
	_ net.Conn     = (*NetConn)(nil)
	_ net.Listener = (*NetListener)(nil)
)

// adopt makes the face of a connection. The claim becomes its own.
func (h *Host) adopt(conn *Conn, claim *claim) *NetConn {
	c := &NetConn{host: h, conn: conn, claim: claim}
	h.conns[c] = struct{}{}
	conn.OnEvent = c.onEvent
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
	delete(c.host.conns, c)
	c.host.leave(c.claim, c)
	c.wake()
}

// sleepReader waits until there may be something to read: call it in a loop.
func (c *NetConn) sleepReader() { c.sleep(func(w *waiting) *sync.Cond { return &w.readable }) }

// sleepWriter waits until there may be room to write: call it in a loop.
func (c *NetConn) sleepWriter() { c.sleep(func(w *waiting) *sync.Cond { return &w.writable }) }

func (c *NetConn) sleep(on func(*waiting) *sync.Cond) {
	h := c.host
	if c.waiting == nil {
		c.waiting = h.takeWaiting()
	}
	w := c.waiting
	w.calls++
	h.sleep(on(w))
	if w.calls--; w.calls == 0 {
		h.giveWaiting(w)
		c.waiting = nil
	}
}

// maxSpareWaiting bounds what is kept for the next who wait.
const maxSpareWaiting = 256

func (h *Host) takeWaiting() *waiting {
	if last := len(h.spareWaiting) - 1; last >= 0 {
		w := h.spareWaiting[last]
		h.spareWaiting = h.spareWaiting[:last]
		return w
	}
	w := new(waiting)
	w.readable.L, w.writable.L = &h.mu, &h.mu
	return w
}

func (h *Host) giveWaiting(w *waiting) {
	if len(h.spareWaiting) < maxSpareWaiting {
		h.spareWaiting = append(h.spareWaiting, w)
	}
}

func (c *NetConn) wake() {
	c.rouseReaders()
	c.rouseWriters()
}

func (c *NetConn) rouseReaders() {
	c.host.stirs++
	if c.waiting != nil {
		c.waiting.readable.Broadcast()
	}
}

func (c *NetConn) rouseWriters() {
	c.host.stirs++
	if c.waiting != nil {
		c.waiting.writable.Broadcast()
	}
}

// Read waits for data and copies what there is, up to len(p). It returns io.EOF
// after the peer's FIN.
func (c *NetConn) Read(p []byte) (int, error) {
	h := c.host
	h.mu.Lock()
	defer h.unlock()
	for {
		if err := c.mayNot(c.readBy); err != nil {
			return 0, c.opError("read", err)
		}
		n, err := c.conn.Read(h.now(), p)
		if n > 0 || len(p) == 0 && err == nil {
			return n, nil
		}
		if err != nil {
			return 0, c.opError("read", err)
		}
		c.sleepReader()
	}
}

// Write queues all of p for the peer, waiting for room in the send buffer. It
// returns less than len(p) only with an error.
func (c *NetConn) Write(p []byte) (int, error) { return c.write(p, (*Conn).Write) }

func (c *NetConn) write(p []byte, how func(*Conn, Time, []byte) (int, error)) (n int, err error) {
	h := c.host
	h.mu.Lock()
	defer h.unlock()
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
		m, err := how(c.conn, h.now(), p[n:])
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
	h := c.host
	h.mu.Lock()
	defer h.unlock()
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
	h := c.host
	h.mu.Lock()
	defer h.unlock()
	c.isClosed = true
	if c.ended {
		return c.opError("close", net.ErrClosed)
	}
	c.readBy.stop()
	c.writeBy.stop()
	how(c.conn, h.now())
	c.wake()
	return nil
}

// close is Close with the lock held. A second time is harmless.
func (c *NetConn) close() {
	c.isClosed = true
	c.readBy.stop()
	c.writeBy.stop()
	c.conn.Close(c.host.now())
	c.wake()
}

// CloseWrite sends a FIN after what is queued. Reading goes on.
func (c *NetConn) CloseWrite() error {
	h := c.host
	h.mu.Lock()
	defer h.unlock()
	if c.isClosed {
		return c.opError("close", net.ErrClosed)
	}
	c.conn.CloseWrite(h.now())
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
	h := c.host
	h.mu.Lock()
	defer h.unlock()
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
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
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
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	return c.conn.Info(c.host.now())
}

// State returns the connection's state now.
func (c *NetConn) State() State {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	return c.conn.State()
}

// ID returns the number of the connection in its host's trace.
func (c *NetConn) ID() uint64 { return c.conn.ID() }

// Err returns how the connection ended, nil if it did not or was orderly.
func (c *NetConn) Err() error {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	return c.conn.Err()
}

// terminal is the error of a connection that ended before it was open.
func (c *NetConn) terminal() error {
	switch {
	case c.host.failure != nil:
		return c.host.failure
	case c.conn.Err() != nil:
		return c.conn.Err()
	}
	return ErrAborted
}

func (c *NetConn) opError(op string, err error) error {
	if c.host.failure != nil && c.ended && !errors.Is(err, os.ErrDeadlineExceeded) {
		err = c.host.failure
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

// A NetListener accepts the connections of a port.
type NetListener struct {
	host  *Host
	claim *claim
	local netip.AddrPort

	// The host's lock guards what follows.
	listener   *Listener
	acceptable sync.Cond
	isClosed   bool
}

// Accept waits for a connection.
func (l *NetListener) Accept() (net.Conn, error) {
	c, err := l.AcceptConn()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptConn waits for a connection. After Close the error is net.ErrClosed.
func (l *NetListener) AcceptConn() (*NetConn, error) {
	h := l.host
	h.mu.Lock()
	defer h.unlock()
	for {
		switch {
		case l.isClosed:
			return nil, opError("accept", l.local, netip.AddrPort{}, net.ErrClosed)
		case h.failure != nil:
			return nil, opError("accept", l.local, netip.AddrPort{}, h.failure)
		}
		if conn := l.listener.Accept(); conn != nil {
			return h.adopt(conn, l.claim.share()), nil
		}
		h.sleep(&l.acceptable)
	}
}

// Close stops listening. Connections that were accepted live on; those that
// wait to be are reset.
func (l *NetListener) Close() error {
	h := l.host
	h.mu.Lock()
	defer h.unlock()
	if l.isClosed {
		return opError("close", l.local, netip.AddrPort{}, net.ErrClosed)
	}
	l.close()
	return nil
}

func (l *NetListener) close() {
	h := l.host
	l.isClosed = true
	h.listeners = slices.DeleteFunc(h.listeners, func(other *NetListener) bool { return other == l })
	l.listener.Close(h.now())
	h.leave(l.claim, nil)
	h.rouse(&l.acceptable)
}

// Addr returns the address listened on, a *net.TCPAddr.
func (l *NetListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }
