package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// An end is one of the two connections that a pump joins.
type end interface {
	io.ReadWriteCloser
	CloseWrite() error
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error

	// reset ends the connection with a RST, whatever it is doing.
	reset()

	// broken is closed when the connection is no more, also while nobody
	// reads or writes; fault then says why, nil if the end was orderly.
	broken() <-chan struct{}
	fault() error
}

// A pump carries a conversation over two connections, so that each of its two
// parties sees what it would see of the other on one: data in order, a
// half-close as a half-close, a reset as a reset. It holds no more than a
// buffer's length of either direction: who does not read makes the other wait.
type pump struct {
	a, b end
	stop <-chan struct{} // asks for an orderly end within graceTime
	kill <-chan struct{} // asks for an end at once
}

// pumpBuffer is how much a pump holds of one direction, in octets.
const pumpBuffer = 64 << 10

// buffers are those of pumps that have ended.
var buffers = sync.Pool{New: func() any { return new([pumpBuffer]byte) }}

// run returns when both connections were closed in order, or with why they were
// reset. Nothing of the pump runs after it.
func (p *pump) run() error {
	halves := make(chan error, 2)
	spawn(func() { halves <- carry(p.b, p.a) })
	spawn(func() { halves <- carry(p.a, p.b) })
	cause := p.await(halves)
	if cause == nil {
		cause = errors.Join(p.a.Close(), p.b.Close())
	}
	return cause
}

// await waits for both halves. The first bad news resets both connections,
// which makes the halves end.
func (p *pump) await(halves <-chan error) (cause error) {
	stop, kill, aBroken, bBroken := p.stop, p.kill, p.a.broken(), p.b.broken()
	var grace <-chan time.Time
	for running := 2; running > 0; {
		var news error
		select {
		case news = <-halves:
			running--
		case <-aBroken:
			aBroken, news = nil, p.a.fault()
		case <-bBroken:
			bBroken, news = nil, p.b.fault()
		case <-stop:
			stop = nil
			p.interrupt()
			grace = time.After(graceTime)
		case <-grace:
			news = errStopped
		case <-kill:
			kill, news = nil, errStopped
		}
		if news != nil && cause == nil {
			cause = news
			p.a.reset()
			p.b.reset()
		}
	}
	return cause
}

// interrupt makes each half stop carrying, close what it writes to, and throw
// away what still comes until the other party has closed too. An error means
// that the connection is gone, which its half tells.
func (p *pump) interrupt() {
	past := time.Unix(1, 0)
	_, _ = p.a.SetDeadline(past), p.b.SetDeadline(past)
}

// carry copies one direction to its end, and passes that on.
func carry(to, from end) error {
	buf := buffers.Get().(*[pumpBuffer]byte)
	defer buffers.Put(buf)
	_, err := io.CopyBuffer(onlyWriter{to}, onlyReader{from}, buf[:])
	interrupted := errors.Is(err, os.ErrDeadlineExceeded)
	if err != nil && !interrupted {
		return err
	}
	if err := to.CloseWrite(); err != nil || !interrupted {
		return err
	}
	// What is left unread at the close would turn it into a reset
	// (RFC 2525 section 2.17).
	if err := from.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	_, err = io.CopyBuffer(onlyWriter{io.Discard}, onlyReader{from}, buf[:])
	return err
}

// onlyReader keeps io.CopyBuffer from finding other methods of a connection.
type onlyReader struct{ io.Reader }
