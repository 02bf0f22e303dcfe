package netlab

import "context"

// TB is what the helpers below need of a *testing.T, so that a shipped program
// that imports netlab does not import package testing.
type TB interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// NewTest returns a lab that ends with the test.
func NewTest(t TB) *Lab {
	t.Helper()
	l := New()
	t.Cleanup(l.Close)
	return l
}

// Pair returns two joined hosts, a and b, of a lab that ends with the test.
func Pair(t TB, cfg LinkConfig) (a, b *Host) {
	t.Helper()
	l := NewTest(t)
	a, b = l.MustHost(t, "a"), l.MustHost(t, "b")
	if _, err := l.Join(a, b, cfg); err != nil {
		t.Fatalf("%v", err)
	}
	return a, b
}

// PairHere returns this process's own namespace as host here, joined to a host
// there, of a lab that ends with the test.
func PairHere(t TB, cfg LinkConfig) (here, there *Host) {
	t.Helper()
	l := NewTest(t)
	here, there = l.MustHere(t, "here"), l.MustHost(t, "there")
	if _, err := l.Join(here, there, cfg); err != nil {
		t.Fatalf("%v", err)
	}
	return here, there
}

// MustHere is Here, or the end of the test.
func (l *Lab) MustHere(t TB, name string) *Host {
	t.Helper()
	h, err := l.Here(name)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return h
}

// RelayPair returns two hosts, a and b, joined by a relay, of a lab that ends
// with the test. The relay's seed is in the test's log.
func RelayPair(t TB, cfg RelayConfig) (a, b *Host, r *Relay) {
	t.Helper()
	l := NewTest(t)
	a, b = l.MustHost(t, "a"), l.MustHost(t, "b")
	r, err := l.Relay(a, b, cfg)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Logf("relay seed %d", r.Seed())
	return a, b, r
}

// MustHost makes a host or ends the test.
func (l *Lab) MustHost(t TB, name string) *Host {
	t.Helper()
	h, err := l.Host(name)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return h
}

// MustServe is Serve on a port of the kernel's choice, or the end of the test.
func (h *Host) MustServe(t TB, handler Handler) *Server {
	t.Helper()
	s, err := h.Serve(0, handler)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return s
}
