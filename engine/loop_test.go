package engine

import (
	"math"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/internal/simnet"
	"rawtcp/segment"
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
		h := NewHost(HostConfig{Link: link, Shards: 1})
		defer h.Close()
		s := h.shards[0]
		cond := sync.NewCond(&s.mu)
		link.written = func() { s.rouse(cond) }
		s.mu.Lock()
		defer s.mu.Unlock()
		c, err := s.stack.Dial(h.now(), us, peer, 1500, ConnConfig{})
		if err != nil {
			t.Fatal(err)
		}
		before := h.now()
		if s.sleep(cond); h.now() != before {
			t.Errorf("slept for %v", h.now().Sub(before))
		}
		c.Abandon(h.now())
	})
}

// What a stack can be told a host can be told, and it passes all of it on.
func TestHostConfigHasAllOfStackConfig(t *testing.T) {
	port := simnet.New(simnet.Config{}).NewPort(simnet.PortConfig{Addrs: []netip.Addr{us.Addr()}, SuperSegment: 5000})
	cfg := HostConfig{
		Link: port, Tracer: judge{t}, Conn: ConnConfig{TTL: 7}, Limits: Limits{TimeWaits: 1, Orphans: 2, Conns: 3}, Secret: [32]byte{3},
		ISN: func(Time, netip.AddrPort, netip.AddrPort) segment.Seq { return segment.MakeSeq(4) },
	}
	h := NewHost(cfg)
	defer h.Close()
	given, got := reflect.ValueOf(cfg), reflect.ValueOf(h.shards[0].stack.cfg)
	for i := range got.NumField() {
		name := got.Type().Field(i).Name
		switch field := given.FieldByName(name); {
		case name == "SuperSegment": // the link says it
			if h.shards[0].stack.cfg.SuperSegment != 5000 {
				t.Errorf("super-segments of %d octets, the link takes 5000", h.shards[0].stack.cfg.SuperSegment)
			}
		case !field.IsValid():
			t.Errorf("HostConfig has no %s", name)
		case field.IsZero():
			t.Errorf("the test sets no %s", name)
		case got.Field(i).IsZero():
			t.Errorf("%s does not reach the stack", name)
		}
	}
	s := h.shards[0]
	s.mu.Lock()
	defer s.unlock()
	c, err := s.stack.Dial(h.now(), us, peer, 1500, ConnConfig{})
	if err != nil || c.snd.iss != segment.MakeSeq(4) || c.cfg.TTL != 7 {
		t.Errorf("ISS %v, TTL %d, %v", c.snd.iss, c.cfg.TTL, err)
	}
	c.Abandon(h.now())
}

// A deadline that is moved at the very moment it expires, while the goroutine
// that fires it waits for the lock, has not expired.
func TestDeadlineMovedWhileItFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := simnet.New(simnet.Config{}).NewPort(simnet.PortConfig{Addrs: []netip.Addr{us.Addr()}})
		h := NewHost(HostConfig{Link: port})
		defer h.Close()
		s := h.shards[0]
		d := newDeadline(&NetConn{shard: s})
		set := func(wait time.Duration) {
			d.set(time.Now().Add(wait))
			s.unlock()
		}
		s.mu.Lock()
		set(time.Second)
		s.mu.Lock()
		time.Sleep(time.Second)
		set(time.Hour)
		check := func(expired bool) {
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if d.expired != expired {
				t.Errorf("expired %v, want %v", d.expired, expired)
			}
		}
		check(false)
		time.Sleep(time.Hour)
		check(true)
		s.mu.Lock()
		set(time.Duration(math.MaxInt64)) // no moment of the clock: as good as none
		check(false)
	})
}

// A process that was held up looks at what has arrived before it holds it for lost.
func TestLateTimerWaitsForTheReaderOnce(t *testing.T) {
	s := &shard{stack: NewStack(StackConfig{}), timer: time.NewTimer(time.Hour)}
	if _, err := s.stack.Dial(1, us, peer, 1500, ConnConfig{ConnectTimeout: time.Second}); err != nil {
		t.Fatal(err)
	}
	due := s.stack.Deadline()
	if s.late(due) || s.late(due.Add(tardy-1)) {
		t.Error("in time, but excused")
	}
	if now := due.Add(time.Minute); !s.late(now) || s.late(now.Add(grace)) {
		t.Error("want one grace")
	}
	if !s.late(due.Add(time.Hour)) {
		t.Error("the next delay is another matter")
	}
}
