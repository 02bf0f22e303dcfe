package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"rawtcp/engine"
)

const (
	// graceTime is how long a stopped run waits for the peer before it resets
	// the connection.
	graceTime = 2 * time.Second

	// finTime is how long an orderly close waits for the peer's FIN, as long
	// as the kernel's FIN-WAIT-2 lasts.
	finTime = 60 * time.Second

	// noticeTime is how long a close may take before a person is told why
	// nothing happens.
	noticeTime = time.Second
)

// errStopped ends a conversation whose run was stopped; control knows why.
var errStopped = errors.New("stopped")

// A conversation is what the application does on one connection. Its reader
// takes all that comes, from the beginning: what nobody reads would be reset
// at the close (RFC 2525 section 2.17).
type conversation struct {
	nc    *engine.NetConn
	rein  *control
	out   io.Writer
	ended chan struct{} // closed when the reader is done: the peer's FIN, or fault
	fault error         // set before ended is closed; nil after a FIN
	lost  error         // why out takes no more
	heard atomic.Int64  // when the last octets came, ns since 1970
}

// converse starts the reader, which writes what comes to out.
func converse(nc *engine.NetConn, rein *control, out io.Writer) *conversation {
	c := &conversation{nc: nc, rein: rein, out: out, ended: make(chan struct{})}
	c.heard.Store(time.Now().UnixNano())
	spawn(c.read)
	return c
}

func (c *conversation) read() {
	defer close(c.ended)
	buf := make([]byte, 64<<10)
	for {
		n, err := c.nc.Read(buf)
		if n > 0 {
			c.heard.Store(time.Now().UnixNano())
			c.write(buf[:n])
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.fault = err
			}
			return
		}
	}
}

// write passes data on. When that fails the connection goes on: the rest is
// read and thrown away.
func (c *conversation) write(data []byte) {
	if c.lost != nil {
		return
	}
	if _, err := c.out.Write(data); err != nil {
		c.lost = err
		if isReaderGone(err) {
			c.rein.cancel(errReaderGone)
		}
	}
}

// interruptible makes a stopped run end a Write that waits for the peer, and
// returns what undoes that.
func (c *conversation) interruptible() (undo func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	spawn(func() {
		defer close(ended)
		select {
		case <-c.rein.stop.Done():
			_ = c.nc.SetWriteDeadline(time.Unix(1, 0))
		case <-done:
		}
	})
	return func() {
		close(done)
		<-ended
		_ = c.nc.SetWriteDeadline(time.Time{})
	}
}

// send writes all of data to the peer.
func (c *conversation) send(data io.Reader) error {
	defer c.interruptible()()
	_, err := io.Copy(onlyWriter{c.nc}, data)
	switch {
	case err == nil:
		return nil
	case c.rein.stopped() != nil && errors.Is(err, os.ErrDeadlineExceeded):
		return errStopped
	}
	return err
}

// onlyWriter keeps io.Copy from finding other methods of the connection.
type onlyWriter struct{ io.Writer }

// untilEnd waits for the peer's FIN.
func (c *conversation) untilEnd() error {
	select {
	case <-c.ended:
		return c.fault
	case <-c.rein.stop.Done():
		return errStopped
	}
}

// untilQuiet waits for the peer's FIN, or until nothing has come for d.
func (c *conversation) untilQuiet(d time.Duration) error {
	c.heard.Store(time.Now().UnixNano())
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-c.ended:
			return c.fault
		case <-c.rein.stop.Done():
			return errStopped
		case <-timer.C:
			left := d - time.Since(time.Unix(0, c.heard.Load()))
			if left <= 0 {
				return nil
			}
			timer.Reset(left)
		}
	}
}

// hold waits for d, come what may but a reset.
func (c *conversation) hold(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	ended := c.ended
	for {
		select {
		case <-ended:
			if c.fault != nil {
				return c.fault
			}
			ended = nil // the peer's FIN: we need not close yet
		case <-c.rein.stop.Done():
			return errStopped
		case <-timer.C:
			return nil
		}
	}
}

// fin closes our side, waits for the peer to close its own, and then for the
// connection's end. notice is called when the peer takes its time.
func (c *conversation) fin(notice func()) error {
	if err := c.nc.CloseWrite(); err != nil {
		return err
	}
	slow := time.AfterFunc(noticeTime, notice)
	defer slow.Stop()
	timer := time.NewTimer(finTime)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-c.rein.stop.Done():
		return errStopped
	case <-timer.C:
		_ = c.nc.Abort()
		return fail(exitTimeout, "", "the peer did not close its side within %v of our FIN", finTime)
	}
	slow.Stop()
	if c.fault != nil {
		return c.fault
	}
	return c.settle()
}

// settle waits until nothing is left of a connection that both sides have closed.
func (c *conversation) settle() error {
	_ = c.nc.Close()
	select {
	case <-c.nc.Done():
		return c.nc.Err()
	case <-c.rein.stop.Done():
		if c.over() {
			return nil
		}
		return errStopped
	}
}

// over reports whether all is said: what TIME-WAIT still waits for is not ours.
func (c *conversation) over() bool {
	s := c.nc.State()
	return s == engine.TimeWait || s == engine.Closed
}

// leave ends a conversation whose run was stopped: a FIN, and after the grace
// time a RST; a RST at once when there is no time left or a second signal.
func (c *conversation) leave() {
	defer func() { _ = c.nc.Abort() }() // says nothing if all is over
	if errors.Is(c.rein.stopped(), errDeadline) {
		return
	}
	_ = c.nc.CloseWrite()
	grace := time.NewTimer(graceTime)
	defer grace.Stop()
	select {
	case <-c.ended:
	case <-grace.C:
		return
	case <-c.rein.kill:
		return
	}
	_ = c.nc.Close()
	for !c.over() {
		poll := time.NewTimer(time.Millisecond)
		select {
		case <-c.nc.Done():
		case <-poll.C:
		case <-grace.C:
			return
		case <-c.rein.kill:
			return
		}
		poll.Stop()
	}
}

// closeAs ends the conversation in one of the ways of --close.
func (c *conversation) closeAs(how string, notice func()) error {
	switch how {
	case "rst":
		return c.nc.Abort()
	case "none":
		return c.nc.Abandon()
	}
	return c.fin(notice)
}

// outcome joins how the talk ended with how the output did: the talk counts
// more.
func (c *conversation) outcome(err error, out string) error {
	if err != nil {
		return err
	}
	select {
	case <-c.ended:
	default:
		return nil // the reader still reads; c.lost is its own
	}
	if c.lost != nil && !isReaderGone(c.lost) {
		return &failure{code: exitOutput, err: fmt.Errorf("cannot write %s: %w", out, c.lost)}
	}
	return nil
}
