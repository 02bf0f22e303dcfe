package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/handshakes"
	"rawtcp/internal/trace"
)

// A handshakeSeries is connect -c without data: handshakes and closes by a driver,
// which needs no socket and no goroutine for each.
type handshakeSeries struct {
	*connectRun
	driver *handshakes.Driver
	target handshakes.Target

	mu      sync.Mutex
	wake    chan struct{}                // something of what follows has changed
	results map[uint64]handshakes.Result // of what is not summed up yet, by the numbers of events
	ended   []uint64                     // connections that are CLOSED and not summed up
	done    int                          // connections that came to TIME-WAIT or CLOSED
	latest  error                        // why the latest that is summed up has failed
}

// onlyHandshakes reports whether a run makes several connections on which nothing
// is said, from ports of our choice.
func (o *connectOptions) onlyHandshakes() bool {
	return o.count > 1 && o.sourcePort == 0 && !o.hasSend && o.sendFile == "" && !o.cat && o.out == "" &&
		!o.hasWait && o.hold == 0 && (o.close == "fin" || o.close == "half")
}

// prepareSeries is what prepare does where a driver serves.
func (r *connectRun) prepareSeries(tracer engine.Tracer) {
	s := &handshakeSeries{
		connectRun: r, wake: make(chan struct{}, 1), results: map[uint64]handshakes.Result{},
		target: handshakes.Target{Local: r.route.Source, Remote: r.remote, MTU: r.route.MTU},
	}
	s.driver = handshakes.New(handshakes.Config{
		Link: r.session.link(r.link), Tracer: trace.Tee{tracer, endWatch{s}}, Conn: r.o.conn,
		Patience: finTime, Done: s.note, OnPanic: crash,
	})
	r.handshakes = s
}

// note takes a connection that came to its end. It is called with the driver's lock
// held.
func (s *handshakeSeries) note(result *handshakes.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[result.Conn] = *result
	s.done++
	s.rouse()
}

// rouse has the series look again.
func (s *handshakeSeries) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// An endWatch is told when connections are CLOSED: after their last event.
type endWatch struct{ *handshakeSeries }

// Interest implements engine.Selective.
func (endWatch) Interest() engine.Interest { return engine.InterestIn(engine.EventState) }

// Trace implements engine.Tracer.
func (w endWatch) Trace(e *engine.Event) {
	if e.Kind != engine.EventState || e.To != engine.Closed {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = append(w.ended, e.Conn)
	w.rouse()
}

// run makes the connections, one at a time, and returns why the last one failed.
func (s *handshakeSeries) run() error {
	for i := range s.o.count {
		began := time.Now()
		if err := s.driver.Open(s.target, 1); err != nil {
			err = s.explain(err, nil)
			s.session.fail(err)
			return err
		}
		if !s.until(func() bool { return s.done > i }) {
			break
		}
		if i < s.o.count-1 && !s.pause(s.o.interval-time.Since(began)) {
			break
		}
	}
	if s.rein.stopped() != nil || !s.until(func() bool { return len(s.results) == 0 }) {
		s.leave()
	}
	_ = s.driver.Close()
	s.sumUp()
	return s.latest
}

// until waits for a condition, which is asked with the lock held, and sums up
// meanwhile what has ended. It reports false if the run was stopped before.
func (s *handshakeSeries) until(holds func() bool) bool {
	slow := time.AfterFunc(noticeTime, func() {
		if st := s.driver.Stats(); st.Connected > st.Closed+st.Failed {
			s.session.say(noticeWaiting)
		}
	})
	defer slow.Stop()
	for {
		s.sumUp()
		s.mu.Lock()
		enough := holds()
		s.mu.Unlock()
		if enough {
			return true
		}
		select {
		case <-s.wake:
		case <-s.rein.stop.Done():
			return false
		}
	}
}

// pause waits for d, and sums up meanwhile what has ended. It reports false if the
// run was stopped before.
func (s *handshakeSeries) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-s.wake:
			s.sumUp()
		case <-s.rein.stop.Done():
			return false
		}
	}
}

// leave ends a run that was stopped: what is not connected yet at once, the rest
// when its peer has closed, or after the grace time, or a second signal, by a RST.
func (s *handshakeSeries) leave() {
	s.driver.GiveUp()
	if errors.Is(s.rein.stopped(), errDeadline) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), graceTime)
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	spawn(func() {
		select {
		case <-s.rein.kill:
			cancel()
		case <-over:
		}
	})
	_ = s.driver.Wait(ctx)
}

// sumUp tells of the connections that are CLOSED. One of which the driver has not
// told yet waits for the next call.
func (s *handshakeSeries) sumUp() {
	s.mu.Lock()
	var over []handshakes.Result
	s.ended = slices.DeleteFunc(s.ended, func(id uint64) bool {
		result, ok := s.results[id]
		if ok {
			over = append(over, result)
			delete(s.results, id)
		}
		return ok
	})
	s.mu.Unlock()
	for _, result := range over {
		s.tell(result)
	}
}

// tell writes the summary of a connection.
func (s *handshakeSeries) tell(result handshakes.Result) {
	sum, ok := s.session.sums.Take(result.Conn)
	if !ok {
		return
	}
	if result.Connected {
		s.replied++
	}
	cause := s.failureOf(result)
	err := s.explain(cause, &sum)
	sum.Result = resultOf(cause, err, sum.Result)
	s.latest = err
	s.session.fail(err)
	s.session.sum(sum, s.sumText)
}

// failureOf is what a result is to the command.
func (s *handshakeSeries) failureOf(result handshakes.Result) error {
	switch {
	case result.Err == nil:
		return nil
	case s.rein.stopped() != nil && errors.Is(result.Err, engine.ErrAborted):
		return errStopped
	case errors.Is(result.Err, handshakes.ErrNoFIN):
		return fail(exitTimeout, "", "the peer did not close its side within %v of our FIN", finTime)
	}
	return fmt.Errorf("%v to %v: %w", result.Local, result.Remote, result.Err)
}
