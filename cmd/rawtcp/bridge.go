package main

import (
	"context"
	"errors"
	"net"

	"rawtcp/engine"
	"rawtcp/internal/trace"
)

// A bridge joins connections on our own TCP with connections on the kernel's,
// each pair by a pump. It is what proxy and listen --to have in common.
type bridge struct {
	session *session
	rein    *control
	watch   *errorWatch
}

func newBridge(s *session, rein *control) (*bridge, error) {
	watch, err := newErrorWatch()
	if err != nil {
		return nil, err
	}
	return &bridge{session: s, rein: rein, watch: watch}, nil
}

// close ends what serves the pumps. They have ended before.
func (b *bridge) close() { b.watch.close() }

// end makes an end of a kernel connection. done is to be called when it was
// closed or reset.
func (b *bridge) end(c *net.TCPConn) (e kernelEnd, done func(), err error) {
	broken, forget, err := b.watch.add(c)
	if err != nil {
		_ = c.Close()
		return kernelEnd{}, nil, err
	}
	return newKernelEnd(c, broken), forget, nil
}

// join pumps until both connections were closed in order or reset, and then
// waits until ours is forgotten, TIME-WAIT and all, or the run is stopped.
func (b *bridge) join(own *engine.NetConn, kernel kernelEnd) error {
	p := &pump{a: kernel, b: ownEnd{own}, stop: b.rein.stop.Done(), kill: b.rein.kill}
	err := p.run()
	if err == nil && b.rein.stopped() == nil {
		select {
		case <-own.Done():
		case <-b.rein.stop.Done():
		}
	}
	return err
}

// while returns a context of the run that also ends when gone is closed, and
// what frees it.
func (b *bridge) while(gone <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(b.rein.stop)
	spawn(func() {
		select {
		case <-gone:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// say tells people something about a pair of connections.
func (b *bridge) say(text string) {
	if !b.session.o.quiet {
		b.session.say(text)
	}
}

// fail tells why a pair of connections came to a bad end, or to none.
func (b *bridge) fail(text string, err error) {
	if b.rein.stopped() != nil && isStop(err) {
		return // that is what was asked for
	}
	b.session.say(text)
	if b.session.json != nil {
		b.session.json.Error(trace.ErrorLine{Code: bridgeCode(err), Message: text, Hint: hintOf(err)})
	}
}

// bridgeCode is the exit code that an error would have if it were the run's.
func bridgeCode(err error) int {
	if code := codeOf(err); code != exitInternal {
		return code
	}
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Timeout():
		return exitTimeout
	case errors.As(err, &op) && op.Op == "dial":
		return exitRefused
	}
	return exitReset
}
