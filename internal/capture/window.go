package capture

import (
	"errors"
	"io"
)

// A window is the part of a stream that is looked at.
type window struct {
	r     io.Reader
	buf   []byte
	start int   // of what was not taken yet
	end   int   // of what was read
	at    int64 // octets taken since the stream's beginning
	err   error // of r, which may come with octets
}

// A window begins with what makes a read worth its system call, and never grows
// beyond the longest thing that is looked at as a whole.
const (
	windowLeast = 128 << 10
	windowSize  = 1 << 20
)

// peek returns the next n octets, without taking them, n being at most
// windowSize. They are valid until the next call. Where the stream has fewer it
// returns those and false.
func (w *window) peek(n int) ([]byte, bool) {
	if w.end-w.start < n && !w.fill(n) {
		return w.buf[w.start:w.end], false
	}
	return w.buf[w.start : w.start+n], true
}

// fill reads until n octets are there. Not taken octets move to the front.
func (w *window) fill(n int) bool {
	buf := w.buf
	if len(buf) < max(n, windowLeast) {
		buf = make([]byte, max(n, windowLeast, min(2*len(buf), windowSize)))
	}
	w.end = copy(buf, w.buf[w.start:w.end])
	w.buf, w.start = buf, 0
	idle := 0
	for w.end < n && w.err == nil {
		var got int
		got, w.err = w.r.Read(w.buf[w.end:])
		w.end += got
		if got > 0 {
			idle = 0
		} else if idle++; idle == 100 && w.err == nil {
			w.err = io.ErrNoProgress
		}
	}
	return w.end >= n
}

// take moves on by n octets that were peeked at.
func (w *window) take(n int) {
	w.start += n
	w.at += int64(n)
}

// skip moves on by n octets, however many. It reports whether they were there.
func (w *window) skip(n int64) bool {
	for n > 0 {
		part := int(min(n, windowLeast))
		got, ok := w.peek(part)
		w.take(len(got))
		if !ok {
			return false
		}
		n -= int64(part)
	}
	return true
}

// broken returns the error that ended the stream, if it was not its end.
func (w *window) broken() error {
	if errors.Is(w.err, io.EOF) {
		return nil
	}
	return w.err
}
