package probe_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A stall is a time in which a processor did nothing for whoever waited for it:
// others were running, or the machine below this virtual one took it away. The
// timers of a host there are late, or early: its clock stood still when it set
// them.
type stall struct{ from, to time.Time }

// A stallMeter sleeps for a moment on each processor, again and again, and takes
// down when it overslept.
type stallMeter struct {
	mu     sync.Mutex
	stalls []stall
}

func newStallMeter(t *testing.T) *stallMeter {
	t.Helper()
	m := &stallMeter{}
	quit := make(chan struct{})
	var group sync.WaitGroup
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	for cpu := range runtime.NumCPU() * 2 {
		if !allowed.IsSet(cpu) {
			continue
		}
		group.Go(func() { m.watch(cpu, quit) })
	}
	t.Cleanup(func() {
		close(quit)
		group.Wait()
	})
	return m
}

// watch keeps its thread: it ends with the goroutine.
func (m *stallMeter) watch(cpu int, quit <-chan struct{}) {
	const nap, punctual = 2 * time.Millisecond, time.Millisecond
	runtime.LockOSThread()
	var only unix.CPUSet
	only.Set(cpu)
	_ = unix.SchedSetaffinity(0, &only)
	for last := time.Now(); ; {
		select {
		case <-quit:
			return
		default:
		}
		pause := unix.NsecToTimespec(int64(nap))
		_ = unix.Nanosleep(&pause, nil)
		now := time.Now()
		if now.Sub(last) > nap+punctual {
			m.mu.Lock()
			m.stalls = append(m.stalls, stall{last, now})
			m.mu.Unlock()
		}
		last = now
	}
}

// during returns the longest stall between two moments.
func (m *stallMeter) during(from, to time.Time) (longest time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.stalls {
		if s.from.Before(to) && s.to.After(from) {
			longest = max(longest, s.to.Sub(s.from))
		}
	}
	return longest
}

// calm is the longest stall of a machine that is.
const calm = 3 * time.Millisecond

// await waits until the machine has been calm for a moment, no longer than to the end.
func (m *stallMeter) await(end time.Time) {
	const moment = 300 * time.Millisecond
	for time.Sleep(moment); m.during(time.Now().Add(-moment), time.Now()) > calm && time.Now().Before(end); {
		time.Sleep(moment)
	}
}

// around returns for how long the machine stood still about a moment at which a
// timer was set or ran out.
func (m *stallMeter) around(at time.Time) (sum time.Duration) {
	const before, after = 20 * time.Millisecond, 5 * time.Millisecond
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.stalls {
		if s.from.Before(at.Add(after)) && s.to.After(at.Add(-before)) {
			sum += s.to.Sub(s.from)
		}
	}
	return sum
}
