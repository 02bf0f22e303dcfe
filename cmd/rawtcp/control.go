package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// Why a run was stopped before its end, for context.Cause.
var (
	errDeadline   = errors.New("the run's time is over")
	errReaderGone = errors.New("nobody reads our output any more")
)

// errSignal is a signal that asked for the end.
type errSignal struct{ sig os.Signal }

// Error implements error.
func (e errSignal) Error() string { return e.sig.String() }

// code is the exit code of a run that the signal ended before a result.
func (e errSignal) code() int {
	if e.sig == os.Interrupt {
		return exitInterrupted
	}
	return exitTerminated
}

// control is the rein on a run: stop asks for an orderly end, kill for an end
// at once.
type control struct {
	stop   context.Context // ends with the first signal, the deadline, or the last reader
	kill   chan struct{}   // closed by the second signal
	cancel context.CancelCauseFunc
	status func() // called on SIGQUIT, by a goroutine of its own
	end    func()
}

// newControl takes the rein until end is called. A timeout of 0 is none.
func newControl(ctx context.Context, timeout time.Duration, status func()) *control {
	c := &control{kill: make(chan struct{}), status: status}
	c.stop, c.cancel = context.WithCancelCause(ctx)
	expire := func() {}
	if timeout > 0 {
		timer := time.AfterFunc(timeout, func() { c.cancel(errDeadline) })
		expire = func() { timer.Stop() }
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	done := make(chan struct{})
	spawn(func() { c.watch(signals, done) })
	c.end = sync.OnceFunc(func() {
		signal.Stop(signals)
		close(done)
		expire()
	})
	return c
}

func (c *control) watch(signals <-chan os.Signal, done <-chan struct{}) {
	asked := 0
	for {
		select {
		case <-done:
			return
		case sig := <-signals:
			if sig == syscall.SIGQUIT {
				c.status()
				continue
			}
			c.cancel(errSignal{sig})
			if asked++; asked == 2 {
				close(c.kill)
			}
		}
	}
}

// stopped returns why the run was stopped, or nil.
func (c *control) stopped() error {
	if c.stop.Err() == nil {
		return nil
	}
	return context.Cause(c.stop)
}

// sleep waits for d, and reports whether it was not stopped.
func (c *control) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.stop.Done():
		return false
	}
}
