package trace

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A stuckWriter takes nothing until it is released.
type stuckWriter struct {
	release chan struct{}
	out     bytes.Buffer
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.release
	return w.out.Write(p)
}

func TestQueueWritesAllInOrder(t *testing.T) {
	var out bytes.Buffer
	q := newQueue(&out, 1<<20, chunkSize)
	var want strings.Builder
	for i := range 1000 {
		line := strings.Repeat("x", i%7) + "\n"
		want.WriteString(line)
		q.put([]byte(line))
	}
	if err := q.close(time.Minute); err != nil {
		t.Fatal(err)
	}
	if out.String() != want.String() || q.lost() != 0 {
		t.Errorf("wrote %d octets, want %d; lost %d", out.Len(), want.Len(), q.lost())
	}
}

// A reader that does not read costs records and never time.
func TestQueueDropsWholeRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuckWriter{release: make(chan struct{})}
		q := newQueue(w, 10, chunkSize)
		q.put([]byte("1234\n"))
		synctest.Wait() // the writer has taken the first record and hangs
		for range 5 {
			q.put([]byte("5678\n"))
		}
		if q.lost() != 3 {
			t.Errorf("lost %d, want 3: two records wait", q.lost())
		}
		close(w.release)
		if err := q.close(time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := w.out.String(); got != "1234\n5678\n5678\n" {
			t.Errorf("wrote %q", got)
		}
	})
}

func TestQueueCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuckWriter{release: make(chan struct{})}
		q := newQueue(w, 10, chunkSize)
		q.put([]byte("1234\n"))
		start := time.Now()
		if err := q.close(2 * time.Second); err == nil {
			t.Error("no error, though nothing was written")
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("close took %v", d)
		}
		close(w.release) // let the goroutine of the bubble end
	})
}

type failingWriter struct{ left int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left == 0 {
		return 0, syscall.ENOSPC
	}
	w.left--
	return len(p), nil
}

func TestQueueRemembersTheFailure(t *testing.T) {
	q := newQueue(&failingWriter{}, 1<<20, chunkSize)
	q.put([]byte("x"))
	<-q.failed
	q.put([]byte("y"))
	if err := q.close(time.Minute); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if q.lost() != 1 {
		t.Errorf("lost %d, want 1", q.lost())
	}
}

type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error) { return len(p) - 1, nil }

func TestQueueTakesAShortWriteForAFailure(t *testing.T) {
	q := newQueue(shortWriter{}, 1<<20, chunkSize)
	q.put([]byte("xyz"))
	if err := q.close(time.Minute); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v", err)
	}
}
