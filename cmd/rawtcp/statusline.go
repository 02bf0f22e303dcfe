package main

import (
	"io"
	"sync"
)

// A statusLine keeps a line at the bottom of a terminal, below all that is
// written through it.
type statusLine struct {
	out     io.Writer
	columns int

	mu   sync.Mutex
	text string
}

// Write implements io.Writer: whole lines, with the status below them.
func (s *statusLine) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text == "" {
		return s.out.Write(p)
	}
	whole := append([]byte("\r"+clearLine), p...)
	if _, err := s.out.Write(append(whole, s.text...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// set shows another status; an empty one leaves no trace.
func (s *statusLine) set(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text = cutTo(text, s.columns-1)
	if text == s.text {
		return
	}
	s.text = text
	_, _ = io.WriteString(s.out, "\r"+clearLine+text)
}
