package handshakes_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/handshakes"
	"rawtcp/segment"
)

// A mirror is a link to a peer that accepts every connection and closes it when we
// do. It allocates nothing once its queue is long enough.
type mirror struct {
	mu       sync.Mutex
	arrived  *sync.Cond
	queue    [][]byte
	n        int // of queue that wait
	in       segment.Segment
	isClosed bool
	claims   int
}

func newMirror() *mirror {
	m := &mirror{queue: make([][]byte, 4096)}
	for i := range m.queue {
		m.queue[i] = make([]byte, 0, 128)
	}
	m.arrived = sync.NewCond(&m.mu)
	return m
}

func (m *mirror) WriteBatch(pkts [][]byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, pkt := range pkts {
		if err := m.in.Parse(pkt); err != nil {
			return 0, err
		}
		m.answer(&m.in)
	}
	m.arrived.Signal()
	return len(pkts), nil
}

func (m *mirror) answer(s *segment.Segment) {
	out := segment.Segment{Src: s.Dst, Dst: s.Src, Seq: segment.MakeSeq(1001), Ack: s.End(), Flags: segment.ACK, Window: 1000, TTL: 64,
		Options: segment.Options{Set: segment.HasTimestamps, TSVal: s.Options.TSVal, TSEcr: s.Options.TSVal}}
	switch {
	case s.Flags.Has(segment.SYN):
		out.Seq, out.Flags = segment.MakeSeq(1000), segment.SYN|segment.ACK
	case s.Flags.Has(segment.FIN):
		out.Flags |= segment.FIN
	default:
		return
	}
	pkt, err := out.Append(m.queue[m.n][:0])
	if err != nil {
		panic(err)
	}
	m.queue[m.n] = pkt
	m.n++
}

func (m *mirror) ReadBatch(bufs [][]byte, sizes []int, _ []int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.n == 0 && !m.isClosed {
		m.arrived.Wait()
	}
	if m.isClosed {
		return 0, net.ErrClosed
	}
	n := min(len(bufs), m.n)
	for i := range n {
		sizes[i] = copy(bufs[i], m.queue[i])
	}
	for i := n; i < m.n; i++ { // in a circle, so that no array is lost
		m.queue[i-n], m.queue[i] = m.queue[i], m.queue[i-n]
	}
	m.n -= n
	return n, nil
}

func (m *mirror) Claim(netip.AddrPort) (io.Closer, error) {
	m.claims++
	return m, nil
}

func (m *mirror) Route(_, local netip.Addr) (netip.Addr, int, error) { return local, 1500, nil }

func (m *mirror) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.isClosed = true
	m.arrived.Broadcast()
	return nil
}

// In the steady state neither the driver nor the engine allocates for a connection,
// and no goroutine is started. (A few allocations are the runtime's own.)
func TestNothingForEachConnection(t *testing.T) {
	link := newMirror()
	d := handshakes.New(handshakes.Config{Link: link, Conn: engine.ConnConfig{TimeWait: time.Millisecond, MinRTO: time.Second}, Ports: 2000})
	rounds := func(n int) {
		if err := d.Open(web, n); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := d.Wait(ctx); err != nil {
			t.Fatalf("%v after %+v", err, d.Stats())
		}
	}
	rounds(6000)
	goroutines := runtime.NumGoroutine()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const n = 6000
	rounds(n)
	runtime.ReadMemStats(&after)
	if got := after.Mallocs - before.Mallocs; got > n/10 {
		t.Errorf("%d allocations for %d connections", got, n)
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines before, %d after", goroutines, got)
	}
	if s := d.Stats(); s.Closed != 2*n || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
	if link.claims > 2000 {
		t.Errorf("%d claims", link.claims)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkConnections is what a connection costs without a kernel: the driver, the
// engine and the codec, and a little for the peer.
func BenchmarkConnections(b *testing.B) {
	d := handshakes.New(handshakes.Config{Link: newMirror(), Conn: engine.ConnConfig{TimeWait: time.Millisecond}, Ports: 4000})
	b.ReportAllocs()
	b.ResetTimer()
	if err := d.Open(web, b.N); err != nil {
		b.Fatal(err)
	}
	if err := d.Wait(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	_ = d.Close()
}
