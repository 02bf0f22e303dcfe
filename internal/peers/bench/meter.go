package bench

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A meter counts what is done, and what it costs this process.
type meter struct {
	done     atomic.Int64
	segments func() uint64 // sent and received; may be nil
	started  sync.Once
	began    chan struct{} // closed with the first count
}

func newMeter() *meter { return &meter{began: make(chan struct{})} }

// count adds what was done. It may be called by any goroutine.
func (m *meter) count(n int) {
	m.done.Add(int64(n))
	m.started.Do(func() { close(m.began) })
}

// A reading is a moment of a meter.
type reading struct {
	at       time.Time
	count    int64
	cpu      time.Duration
	mallocs  uint64
	segments uint64
}

func (m *meter) read() (reading, error) {
	r := reading{at: time.Now(), count: m.done.Load()}
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return r, err
	}
	r.cpu = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	r.mallocs = memory.Mallocs
	if m.segments != nil {
		r.segments = m.segments()
	}
	return r, nil
}

// window reads after the warm part that follows the first count, and again after
// the length, or when there was something to count at last: a busy machine may let
// nothing pass for longer than a short window.
func (m *meter) window(spec Spec) (from, to reading, err error) {
	select {
	case <-m.began:
	case <-time.After(shortTimeout):
		return from, to, errors.New("nothing was done that could be counted")
	}
	time.Sleep(spec.Warm)
	if from, err = m.read(); err != nil {
		return from, to, err
	}
	for until := time.Now().Add(shortTimeout); ; {
		time.Sleep(spec.Length)
		if to, err = m.read(); err != nil || to.count > from.count && (m.segments == nil || to.segments > from.segments) {
			return from, to, err
		}
		if time.Now().After(until) {
			return from, to, errors.New("nothing more was done while it counted")
		}
	}
}
