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
// kernel's own time stamps there: what the times of a row are held against.
type witness struct {
	mu   sync.Mutex
	sent map[sighted][]int64 // nanoseconds since 1970
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
	w := &witness{sent: map[sighted][]int64{}}
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
		if err != nil || !known || link.Pkttype != unix.PACKET_OUTGOING {
			continue
		}
		var s segment.Segment
		if s.Parse(packet[:n]) == nil {
			w.note(&s, stampIn(control[:oob]))
		}
	}
}

func (w *witness) note(s *segment.Segment, stamp int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := sighted{s.Dst.Port(), s.Seq, s.Flags, len(s.Payload)}
	w.sent[key] = append(w.sent[key], stamp)
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
