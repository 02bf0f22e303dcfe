package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rawtcp/internal/explain"
)

// After a signal a pipe is read as long as something comes, and a file no more.
func TestCaptureReaderStops(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("octets"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop, cancel := context.WithCancelCause(t.Context())
	p := &program{stdin: r}
	piped, size, err := p.openCapture(stop, "-")
	if err != nil || size != 0 {
		t.Fatalf("%d octets, %v", size, err)
	}
	whole, size, err := p.openCapture(stop, file)
	if err != nil || size != 6 {
		t.Fatalf("%d octets, %v", size, err)
	}
	defer whole.Close()
	b := make([]byte, 3)
	if n, err := whole.Read(b); n != 3 || err != nil {
		t.Fatalf("%d octets, %v", n, err)
	}
	if _, err := w.WriteString("late"); err != nil {
		t.Fatal(err)
	}
	cancel(errSignal{os.Interrupt})
	if n, err := io.ReadFull(piped, b); n != 3 || err != nil {
		t.Errorf("%d octets, %v", n, err)
	}
	for _, in := range []*captureReader{piped, whole} {
		rest, err := io.ReadAll(in)
		if in.wait == nil && len(rest) > 0 || !errors.Is(err, explain.ErrStopped) || !errors.As(err, new(errSignal)) || in.stopped == nil {
			t.Errorf("%q, %v", rest, err)
		}
	}
}

// A pipe that never ends does not keep us.
func TestCaptureReaderLeavesAFlood(t *testing.T) {
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	stop, cancel := context.WithCancelCause(t.Context())
	cancel(errSignal{os.Interrupt})
	in, _, err := (&program{stdin: zero}).openCapture(stop, "-")
	if err != nil {
		t.Fatal(err)
	}
	in.until = time.Now().Add(10 * time.Millisecond)
	if _, err := io.Copy(io.Discard, in); !errors.Is(err, explain.ErrStopped) {
		t.Error(err)
	}
}

// A name is shown as a terminal may have it.
func TestCaptureThatIsNotThere(t *testing.T) {
	_, _, err := new(program).openCapture(t.Context(), "no\x1b[31msuch\xff")
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), `open no\x1b[31msuch\xff: no such file`) {
		t.Error(err)
	}
}
