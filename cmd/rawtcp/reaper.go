package main

import (
	"time"

	"rawtcp/engine"
	"rawtcp/internal/trace"
)

// A reaper sums connections up as they close, also those that no application
// ever saw.
type reaper struct {
	session *session
	rein    *control
	show    func(trace.Summary) string
	done    chan struct{}
}

// reapTime is how long a closed connection is left to its last events before
// it is summed up.
const reapTime = 50 * time.Millisecond

// start reaps until the returned function is called, which sums up the rest.
func (r *reaper) start() (end func()) {
	stop := make(chan struct{})
	r.done = make(chan struct{})
	spawn(func() { r.run(stop) })
	return func() {
		close(stop)
		<-r.done
		r.sumUp(true)
	}
}

func (r *reaper) run(stop <-chan struct{}) {
	defer close(r.done)
	tick := time.NewTicker(reapTime)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			r.sumUp(false)
		}
	}
}

// sumUp takes the summaries of the connections that have closed, or of all.
func (r *reaper) sumUp(all bool) {
	for _, id := range r.session.sums.Over(all) {
		if s, ok := r.session.sums.Take(id); ok {
			if r.rein.stopped() != nil && !allSaid(s) {
				s.Result = trace.ResultInterrupted
			}
			r.session.sum(s, r.show)
		}
	}
}

// allSaid reports whether a connection had come to its end: what TIME-WAIT still
// waits for is not ours.
func allSaid(s trace.Summary) bool {
	last := s.States[len(s.States)-1]
	return last == engine.Closed.String() || last == engine.TimeWait.String()
}
