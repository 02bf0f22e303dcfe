package trace

import (
	"io"
	"sync"
	"time"
)

// A recorder takes whole records to a writer.
type recorder interface {
	put(record []byte)
	lost() uint64
	failing() <-chan struct{}
	failure() error
	close(d time.Duration) error
}

// direct is a recorder that writes at once.
type direct struct {
	w      io.Writer
	failed chan struct{}

	mu  sync.Mutex
	err error
}

func newDirect(w io.Writer) *direct { return &direct{w: w, failed: make(chan struct{})} }

func (d *direct) put(record []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return
	}
	if _, d.err = d.w.Write(record); d.err != nil {
		close(d.failed)
	}
}

func (d *direct) lost() uint64              { return 0 }
func (d *direct) failing() <-chan struct{}  { return d.failed }
func (d *direct) close(time.Duration) error { return d.failure() }

func (d *direct) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}
