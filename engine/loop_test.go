package engine

import (
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/internal/simnet"
)

// A tellingLink tells of writes.
type tellingLink struct {
	Link
	written func()
}

func (l *tellingLink) WriteBatch(pkts [][]byte) (int, error) {
	l.written()
	return l.Link.WriteBatch(pkts)
}

// Going to sleep sends first, and sending may bring the very event that the
// sleeper wants: it must not be slept through.
func TestSleepDoesNotMissWhatItCausesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := simnet.New(simnet.Config{}).NewPort(simnet.PortConfig{Addrs: []netip.Addr{us.Addr()}})
		link := &tellingLink{Link: port, written: func() {}}
		h := NewHost(HostConfig{Link: link})
		defer h.Close()
		cond := sync.NewCond(&h.mu)
		link.written = func() { h.rouse(cond) }
		h.mu.Lock()
		defer h.mu.Unlock()
		c, err := h.stack.Dial(h.now(), us, peer, 1500, ConnConfig{})
		if err != nil {
			t.Fatal(err)
		}
		before := h.now()
		if h.sleep(cond); h.now() != before {
			t.Errorf("slept for %v", h.now().Sub(before))
		}
		c.Abandon(h.now())
	})
}

// A deadline that is moved at the very moment it expires, while its timer's
// function waits for the lock, has not expired.
func TestDeadlineMovedWhileItFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Host
		var d deadline
		woken := 0
		h.mu.Lock()
		d.set(&h, time.Now().Add(time.Second), func() { woken++ })
		time.Sleep(time.Second)
		d.set(&h, time.Now().Add(time.Hour), func() { woken++ })
		h.mu.Unlock()
		check := func(expired bool, times int) {
			synctest.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			if d.expired != expired || woken != times {
				t.Errorf("expired %v, %d calls of wake; want %v, %d", d.expired, woken, expired, times)
			}
		}
		check(false, 0)
		time.Sleep(time.Hour)
		check(true, 1)
	})
}

// A process that was held up looks at what has arrived before it holds it for lost.
func TestLateTimerWaitsForTheReaderOnce(t *testing.T) {
	h := &Host{stack: NewStack(StackConfig{}), timer: time.NewTimer(time.Hour)}
	if _, err := h.stack.Dial(1, us, peer, 1500, ConnConfig{ConnectTimeout: time.Second}); err != nil {
		t.Fatal(err)
	}
	due := h.stack.Deadline()
	if h.late(due) || h.late(due.Add(tardy-1)) {
		t.Error("in time, but excused")
	}
	if now := due.Add(time.Minute); !h.late(now) || h.late(now.Add(grace)) {
		t.Error("want one grace")
	}
	if !h.late(due.Add(time.Hour)) {
		t.Error("the next delay is another matter")
	}
}
