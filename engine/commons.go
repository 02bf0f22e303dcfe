package engine

import (
	"sync"
	"sync/atomic"
)

// commons are what the stacks of one host have in common: the numbers of
// connections, what Limits and ListenConfig count over all of them, and what their
// clients know of servers. A stack of its own has commons of its own. It is all
// touched once in a connection's life and never for a segment.
type commons struct {
	stacks   int           // that share it, at least 1
	lastID   atomic.Uint64 // of a connection or a handshake under way
	census   census
	fastOpen fastOpenCache
}

// census counts what Limits bound, over all stacks. Who looks and then counts may
// be one of several: then a limit is exceeded by one for each other stack at most.
type census struct{ conns, timeWaits, orphans, halfOpen atomic.Int64 }

func newCommons(stacks int) *commons { return &commons{stacks: stacks} }

// nextID numbers connections: 1, 2, 3 …
func (c *commons) nextID() uint64 { return c.lastID.Add(1) }

// listenerCommons are what the listeners that a host has in its stacks for one
// port count together.
type listenerCommons struct {
	waiting  atomic.Int64 // connections to be accepted: see ListenConfig.Backlog
	halfOpen atomic.Int64 // handshakes under way
	early    atomic.Int64 // connections opened by data on a SYN that count as unconfirmed
}

// shared is a bounded that several stacks use.
type shared[K comparable, V any] struct {
	mu sync.Mutex
	bounded[K, V]
}

func (s *shared[K, V]) get(k K) (V, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bounded.get(k)
}

func (s *shared[K, V]) put(k K, v V) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bounded.put(k, v)
}

func (s *shared[K, V]) remove(k K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bounded.remove(k)
}

// oneWriter returns a link for several shards, which write one at a time unless it
// takes more.
func oneWriter(l Link) Link {
	if many, ok := l.(ConcurrentLink); ok && many.ConcurrentWrites() {
		return l
	}
	w := &writerLink{Link: l}
	if cutter, ok := l.(SegmentingLink); ok {
		return &segmentingWriterLink{writerLink: w, cutter: cutter}
	}
	return w
}

// A writerLink lets one goroutine at a time into WriteBatch.
type writerLink struct {
	Link
	mu sync.Mutex
}

func (l *writerLink) WriteBatch(pkts [][]byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Link.WriteBatch(pkts)
}

// A segmentingWriterLink is a writerLink that cuts super-segments.
type segmentingWriterLink struct {
	*writerLink
	cutter SegmentingLink
}

func (l *segmentingWriterLink) SuperSegment() int { return l.cutter.SuperSegment() }

func (l *segmentingWriterLink) WriteSegments(pkts [][]byte, segmentSizes []int) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cutter.WriteSegments(pkts, segmentSizes)
}

// oneTeller returns a tracer for several shards, which tell one at a time.
func oneTeller(t Tracer) Tracer {
	if t == nil {
		return nil
	}
	return &tellerTracer{tracer: t}
}

// A tellerTracer lets one goroutine at a time into Trace.
type tellerTracer struct {
	mu     sync.Mutex
	tracer Tracer
}

func (t *tellerTracer) Trace(e *Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tracer.Trace(e)
}

func (t *tellerTracer) Interest() Interest { return InterestOf(t.tracer) }
