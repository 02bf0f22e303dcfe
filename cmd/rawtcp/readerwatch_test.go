package main

import (
	"io"
	"os"
	"testing"
	"time"
)

// A pipeSession is a session whose stdout is a pipe, and the reader of that.
func pipeSession(t *testing.T) (s *session, rein *control, reader *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	rein = newControl(t.Context(), 0, func() {})
	s = &session{p: &program{stdout: writer, stderr: io.Discard}}
	if err := s.watchReader(rein); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
		rein.end()
		_, _ = writer.Close(), reader.Close()
	})
	return s, rein, reader
}

// The reader that goes away ends the run, though nothing is written.
func TestReaderGone(t *testing.T) {
	_, rein, reader := pipeSession(t)
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-rein.stop.Done():
	case <-time.After(patience):
		t.Fatal("the run goes on")
	}
	if got := rein.stopped(); got != errReaderGone {
		t.Error(got)
	}
}

// The end of the data reaches the reader while the watch is young, and its going
// then is no news any more: the number of the pipe may be another file's.
func TestStdoutClosesBehindItsWatch(t *testing.T) {
	for range 50 {
		s, rein, reader := pipeSession(t)
		s.closeStdout()
		select {
		case <-s.reader.ended:
		default:
			t.Fatal("the watch goes on")
		}
		if text, err := io.ReadAll(reader); len(text) != 0 || err != nil {
			t.Fatalf("%q, %v", text, err)
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
		s.closeStdout() // once more is harmless
		if got := rein.stopped(); got != nil {
			t.Fatal(got)
		}
	}
}

// A file has no reader that could go away, and what is no file even less.
func TestNoPipeNoWatch(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []io.Writer{file, io.Discard} {
		s := &session{p: &program{stdout: out}}
		if err := s.watchReader(nil); err != nil || s.reader != nil {
			t.Errorf("%T: %v, %v", out, s.reader, err)
		}
		s.closeStdout()
	}
}
