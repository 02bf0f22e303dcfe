package engine

import "time"

// Time is a moment on a stack's monotonic clock: nanoseconds since an epoch
// that only the stack's owner knows. The zero Time means "none"; a running
// clock starts above it. The core never reads a clock: now is an argument.
type Time int64

// Add returns the moment d after t.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the time from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// IsZero reports whether t means "none".
func (t Time) IsZero() bool { return t == 0 }

// earlier returns the earlier of two moments, of which the zero Time is none.
func earlier(a, b Time) Time {
	if a.IsZero() || !b.IsZero() && b < a {
		return b
	}
	return a
}
