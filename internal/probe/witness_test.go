package probe_test

import (
	"encoding/binary"
	"fmt"
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
	open  map[uint16]*flow    // by our port
	trips []trip
}

// A flow is what a host has sent on a connection and waits to see acknowledged.
type flow struct {
	end     segment.Seq // of what has left
	waiting []unanswered
}

type unanswered struct {
	end  segment.Seq
	left int64
}

// A trip is a round trip that the host has seen.
type trip struct {
	ended int64 // nanoseconds since 1970
	took  time.Duration
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
	w := &witness{sent: map[sighted][]int64{}, open: map[uint16]*flow{}}
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
	f := w.open[key.to]
	switch {
	case f == nil || s.Flags.Has(segment.SYN) && f.end != end:
		w.open[key.to] = &flow{end: end, waiting: []unanswered{{end, stamp}}}
	case f.end.Less(end):
		f.end, f.waiting = end, append(f.waiting, unanswered{end, stamp})
	case s.Len() > 0:
		f.waiting = nil // sent again: its answer says nothing (RFC 6298 section 3)
	}
}

func (w *witness) came(s *segment.Segment, stamp int64) {
	f := w.open[s.Src.Port()]
	if f == nil || !s.Flags.Has(segment.ACK) {
		return
	}
	for len(f.waiting) > 0 && f.waiting[0].end.LessEq(s.Ack) {
		w.trips = append(w.trips, trip{stamp, time.Duration(stamp - f.waiting[0].left)})
		f.waiting = f.waiting[1:]
	}
}

// longestTrip returns the longest round trip that the host may have had in mind
// in the last connection of a trial: Linux remembers those of earlier connections
// with the same host (tcp_metrics), so these count, up to the handshake.
func (w *witness) longestTrip(x trial) (longest time.Duration) {
	var opened time.Time
	for _, rec := range x.Record {
		if e := rec.Event; e.Kind == engine.EventSegmentOut && e.Segment.Flags.Has(segment.SYN) {
			opened = x.at(time.Duration(e.At - 1))
		}
	}
	const handshake = time.Second
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, tr := range w.trips {
		if tr.ended <= opened.Add(handshake).UnixNano() {
			longest = max(longest, tr.took)
		}
	}
	return longest
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

// compare returns how far the distances between the arrivals of a row are off
// those between the departures, at most.
func (w *witness) compare(r *probe.Result) (off time.Duration, err error) {
	seen := map[sighted]int{}
	var first time.Duration
	for _, rec := range r.Record {
		e := rec.Event
		if e.Kind != engine.EventSegmentIn {
			continue
		}
		s := e.Segment
		key := sighted{s.Dst.Port(), s.Seq, s.Flags, len(s.Payload)}
		left, ok := w.departure(key, seen[key])
		if seen[key]++; !ok {
			return 0, fmt.Errorf("the host's interface knows nothing of %v", s)
		}
		late := time.Duration(e.At-1) - time.Duration(left)
		if first == 0 {
			first = late
		}
		off = max(off, (late - first).Abs())
	}
	return off, nil
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
