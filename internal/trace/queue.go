package trace

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// queueLimit is how many octets wait for a slow reader before records are
// dropped: about 40,000 ladder lines.
const queueLimit = 4 << 20

// A queue carries whole records to a writer that may be slow or fail, without
// ever making the caller wait: put drops and counts what does not fit.
type queue struct {
	w     io.Writer
	limit int // octets
	size  int // octets that one write takes

	mu      sync.Mutex
	waiting [][]byte // chunks of whole records
	octets  int      // in waiting
	free    [][]byte // empty chunks, to be used again
	dropped uint64   // records that did not fit or came after a failure
	err     error    // first failed write
	closed  bool

	wake   chan struct{} // capacity 1
	failed chan struct{} // closed at the first failed write
	done   chan struct{} // closed when the goroutine has ended
}

// newQueue starts the goroutine that writes to w until close, about size octets
// at a time if there are so many.
func newQueue(w io.Writer, limit, size int) *queue {
	q := &queue{
		w:      w,
		limit:  limit,
		size:   size,
		wake:   make(chan struct{}, 1),
		failed: make(chan struct{}),
		done:   make(chan struct{}),
	}
	go q.run()
	return q
}

// chunkSize is what one write of text takes; a chunk is never grown, so that a
// record is copied once.
const chunkSize = 64 << 10

// put appends one record, all of it or nothing. It never waits for the writer.
func (q *queue) put(record []byte) { q.putAll(record, 1) }

// putAll is put for several records at once, which costs the writer one wake-up.
func (q *queue) putAll(record []byte, count uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.err != nil || q.closed || q.octets+len(record) > q.limit:
		q.dropped += count
		return
	case len(q.waiting) == 0 || len(q.last())+len(record) > cap(q.last()):
		q.waiting = append(q.waiting, q.chunk(len(record)))
	}
	last := &q.waiting[len(q.waiting)-1]
	*last = append(*last, record...)
	q.octets += len(record)
	q.signal()
}

// empty returns an empty chunk to fill and to put.
func (q *queue) empty() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.chunk(0)
}

// putChunk is putAll for a chunk that the queue keeps.
func (q *queue) putChunk(chunk []byte, count uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil || q.closed || q.octets+len(chunk) > q.limit {
		q.dropped += count
		return
	}
	q.waiting = append(q.waiting, chunk)
	q.octets += len(chunk)
	q.signal()
}

func (q *queue) last() []byte { return q.waiting[len(q.waiting)-1] }

// chunk returns an empty chunk that has room for n octets.
func (q *queue) chunk(n int) []byte {
	if k := len(q.free); k > 0 && n <= q.size {
		c := q.free[k-1]
		q.free = q.free[:k-1]
		return c
	}
	return make([]byte, 0, max(n, q.size))
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // a wake-up is already waiting
	}
}

func (q *queue) run() {
	defer close(q.done)
	for {
		chunks, closed := q.take()
		if len(chunks) == 0 {
			if closed {
				return
			}
			<-q.wake
			continue
		}
		for _, c := range chunks {
			if err := writeAll(q.w, c); err != nil {
				q.fail(err)
				return
			}
			q.giveBack(c)
		}
	}
}

// take hands the waiting chunks to the writer.
func (q *queue) take() (chunks [][]byte, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	chunks, q.waiting, q.octets = q.waiting, nil, 0
	return chunks, q.closed
}

// maxFree is how many octets of empty chunks are kept.
const maxFree = 4 << 20

func (q *queue) giveBack(c []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if cap(c) == q.size && len(q.free) < maxFree/q.size {
		q.free = append(q.free, c[:0])
	}
}

func (q *queue) fail(err error) {
	q.mu.Lock()
	q.err = err
	q.waiting, q.free = nil, nil
	q.mu.Unlock()
	close(q.failed)
}

func writeAll(w io.Writer, p []byte) error {
	n, err := w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// close writes out what waits, for at most d, and returns the first write
// error, or an error that says the reader did not take the rest in time. The
// goroutine of a writer that never returns stays behind.
func (q *queue) close(d time.Duration) error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-q.done:
	case <-timer.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-q.done:
		return q.err
	default:
		return fmt.Errorf("output is stuck: its reader took nothing more for %v", d)
	}
}

// lost returns the number of records dropped so far.
func (q *queue) lost() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// failure returns the first failed write.
func (q *queue) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// failing is closed at the first failed write.
func (q *queue) failing() <-chan struct{} { return q.failed }
