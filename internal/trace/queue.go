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

	mu      sync.Mutex
	buf     []byte // waiting records
	spare   []byte // the other of two buffers, empty while the writer holds it
	dropped uint64 // records that did not fit or came after a failure
	err     error  // first failed write
	closed  bool

	wake   chan struct{} // capacity 1
	failed chan struct{} // closed at the first failed write
	done   chan struct{} // closed when the goroutine has ended
}

// newQueue starts the goroutine that writes to w until close.
func newQueue(w io.Writer, limit int) *queue {
	q := &queue{
		w:      w,
		limit:  limit,
		wake:   make(chan struct{}, 1),
		failed: make(chan struct{}),
		done:   make(chan struct{}),
	}
	go q.run()
	return q
}

// put appends one record, all of it or nothing. It never waits for the writer.
func (q *queue) put(record []byte) {
	q.mu.Lock()
	if q.closed || q.err != nil || len(q.buf)+len(record) > q.limit {
		q.dropped++
		q.mu.Unlock()
		return
	}
	q.buf = append(q.buf, record...)
	q.mu.Unlock()
	q.signal()
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
		batch, closed := q.take()
		if len(batch) == 0 {
			if closed {
				return
			}
			<-q.wake
			continue
		}
		if err := writeAll(q.w, batch); err != nil {
			q.fail(err)
			return
		}
		q.giveBack(batch)
	}
}

// take hands the waiting octets to the writer and leaves the other buffer.
func (q *queue) take() (batch []byte, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch, q.buf, q.spare = q.buf, q.spare[:0], nil
	return batch, q.closed
}

func (q *queue) giveBack(batch []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spare = batch[:0]
}

func (q *queue) fail(err error) {
	q.mu.Lock()
	q.err = err
	q.buf = nil
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
