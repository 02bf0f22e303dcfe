package probe_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawtcp/engine"
	"rawtcp/internal/netlab"
	"rawtcp/internal/probe"
	"rawtcp/segment"
)

// A witness takes down when segments leave the interface of a host, by the
// kernel's own time stamps there: what the times of a row are held against. It
// knows the round trips that the host has seen, too.
type witness struct {
	mu    sync.Mutex
	sent  map[sighted][]int64 // nanoseconds since 1970
	flows map[uint16]*flow    // by our port
	off   time.Duration       // how far a time of ours was off, at most
}

// A flow is what a host has sent on a connection and waits to see acknowledged.
type flow struct {
	end     segment.Seq // of what has left
	waiting []unanswered
	longest time.Duration // of the round trips that the host has seen
}

type unanswered struct {
	end  segment.Seq
	left int64
}

// sighted is what tells a segment from others; one that comes again is the same.
type sighted struct {
	to    uint16 // port
	seq   segment.Seq
	flags segment.Flags
	size  int
}

func newWitness(t *testing.T, host *netlab.Host) *witness {
	t.Helper()
	fd := -1
	err := host.Do(func() (err error) {
		every := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL & 255})
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(every)); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<20)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return err
		}
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100000})
	})
	if err != nil {
		t.Fatalf("watch the host's interface: %v", err)
	}
	w := &witness{sent: map[sighted][]int64{}, flows: map[uint16]*flow{}}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		w.watch(fd, quit)
	}()
	t.Cleanup(func() {
		close(quit)
		<-ended
		_ = unix.Close(fd)
	})
	return w
}

// watch reads until quit is closed.
func (w *witness) watch(fd int, quit <-chan struct{}) {
	packet, control := make([]byte, 1<<16), make([]byte, 256)
	for {
		select {
		case <-quit:
			return
		default:
		}
		n, oob, _, from, err := unix.Recvmsg(fd, packet, control, 0)
		link, known := from.(*unix.SockaddrLinklayer)
		var s segment.Segment
		if err != nil || !known || s.Parse(packet[:n]) != nil {
			continue
		}
		stamp := stampIn(control[:oob])
		w.mu.Lock()
		if link.Pkttype == unix.PACKET_OUTGOING {
			w.left(&s, stamp)
		} else {
			w.came(&s, stamp)
		}
		w.mu.Unlock()
	}
}

func (w *witness) left(s *segment.Segment, stamp int64) {
	key := sighted{s.Dst.Port(), s.Seq, s.Flags, len(s.Payload)}
	w.sent[key] = append(w.sent[key], stamp)
	end := s.Seq.Add(s.Len())
	f := w.flows[key.to]
	switch {
	case f == nil || s.Flags.Has(segment.SYN) && f.end != end:
		w.flows[key.to] = &flow{end: end, waiting: []unanswered{{end, stamp}}}
	case f.end.Less(end):
		f.end, f.waiting = end, append(f.waiting, unanswered{end, stamp})
	case s.Len() > 0:
		f.waiting = nil // sent again: its answer says nothing (RFC 6298 section 3)
	}
}

func (w *witness) came(s *segment.Segment, stamp int64) {
	f := w.flows[s.Src.Port()]
	if f == nil || !s.Flags.Has(segment.ACK) {
		return
	}
	for len(f.waiting) > 0 && f.waiting[0].end.LessEq(s.Ack) {
		f.longest = max(f.longest, time.Duration(stamp-f.waiting[0].left))
		f.waiting = f.waiting[1:]
	}
}

// longestTrip returns the longest round trip that the host has seen on the last
// connection of a trial.
func (w *witness) longestTrip(x trial) time.Duration {
	var port uint16
	for _, rec := range x.Record {
		if e := rec.Event; e.Kind == engine.EventSegmentOut && e.Segment.Flags.Has(segment.SYN) {
			port = e.Segment.Src.Port()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.flows[port]; f != nil {
		return f.longest
	}
	return 0
}

func stampIn(control []byte) int64 {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			return int64(binary.NativeEndian.Uint64(m.Data))*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:]))
		}
	}
	return 0
}

// A crossing is a segment of the host's that a row has seen: when it left the
// host's interface, in nanoseconds since 1970, and when it came, in the time of the
// row's battery.
type crossing struct {
	left int64
	came time.Duration
}

// crossings are all that a row has seen, in order.
func (w *witness) crossings(r *probe.Result) (all []crossing, err error) {
	seen := map[sighted]int{}
	for _, rec := range r.Record {
		e := rec.Event
		if e.Kind != engine.EventSegmentIn {
			continue
		}
		s := e.Segment
		key := sighted{s.Dst.Port(), s.Seq, s.Flags, len(s.Payload)}
		left, ok := w.departure(key, seen[key])
		if seen[key]++; !ok {
			return nil, fmt.Errorf("the host's interface knows nothing of %v", s)
		}
		all = append(all, crossing{left, time.Duration(e.At - 1)})
	}
	return all, nil
}

// vouch holds the distances between the times of a trial, which count from start,
// to those at which the segments left the host's interface: to 3 %, or 5 ms, and
// what the machine stood still meanwhile. What is no time of an arrival, as a
// median, is not looked at.
func (w *witness) vouch(x trial, start time.Duration, times []time.Duration, stalled func(time.Duration) time.Duration) error {
	all, err := w.crossings(x.Result)
	if err != nil {
		return err
	}
	left := func(at time.Duration) (stamp int64, ok bool) {
		i := slices.IndexFunc(all, func(c crossing) bool { return c.came == at })
		if i < 0 {
			return 0, false
		}
		return all[i].left, true
	}
	last := time.Duration(0)
	for i, at := range times {
		from, known := left(start + last)
		to, ok := left(start + at)
		if gap := time.Duration(to - from); known && ok {
			off := (at - last - gap).Abs()
			w.off = max(w.off, off)
			if most := slack(gap) + stalled(last) + stalled(at); off > most {
				return fmt.Errorf("distance %d is %v, and was %v at the host: off by more than %v", i+1, at-last, gap, most)
			}
		}
		last = at
	}
	return nil
}

// departure returns when a segment left for the n-th time, counted from 0. The
// witness may still be reading.
func (w *witness) departure(key sighted, n int) (stamp int64, ok bool) {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		all := w.sent[key]
		w.mu.Unlock()
		if n < len(all) {
			return all[n], true
		}
		if time.Now().After(deadline) {
			return 0, false
		}
	}
}
