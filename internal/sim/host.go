package sim

import (
	"net/netip"
	"time"

	"rawtcp/engine"
)

// A host is one stack with a clock and a process of its own.
type host struct {
	w       *world
	id      int
	stack   *engine.Stack
	drift   int64 // parts in a million
	epoch   int64 // what its clock shows at the start, nanoseconds
	paused  bool
	mailbox []happening // arrived while it stood still
	watches []*watch    // by number of the connection
	touched []*watch    // had events since they were judged
	listens []*engine.Listener
	due     engine.Time   // the stack's deadline
	dueAt   time.Duration // when that is
}

// mailboxSize is how many packets wait for a process that stands still.
const mailboxSize = 256

// clock is what the host's clock shows at a moment of true time.
func (h *host) clock(at time.Duration) engine.Time {
	return engine.Time(h.epoch + int64(at) + int64(at)/1_000_000*h.drift)
}

// when is the first moment of true time at which the clock shows t.
func (h *host) when(t engine.Time) time.Duration {
	at := time.Duration(float64(int64(t)-h.epoch) / (1 + float64(h.drift)/1e6))
	step := time.Duration(1 << 12)
	for h.clock(at) < t {
		at += step
	}
	for ; step > 0; step /= 2 {
		for h.clock(at-step) >= t {
			at -= step
		}
	}
	return at
}

// deadline is when the host's next timer is due, in true time.
func (h *host) deadline() (time.Duration, bool) {
	due := h.stack.Deadline()
	if due == 0 || h.paused {
		return 0, false
	}
	if due != h.due {
		h.due, h.dueAt = due, h.when(due)
	}
	return max(h.dueAt, h.w.now), true
}

// address returns the host's side of a talk.
func (w *world) address(talk, host int) netip.AddrPort {
	t := &w.plan.Talks[talk]
	port := uint16(20000 + talk)
	if host != t.Opener && !t.Simultaneous {
		port = uint16(1000 + talk)
	}
	return netip.AddrPortFrom(hostAddrs[host][v6Index(t.V6)], port)
}

var hostAddrs = [2][2]netip.Addr{
	{netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("2001:db8::1")},
	{netip.MustParseAddr("198.18.0.2"), netip.MustParseAddr("2001:db8::2")},
}

func v6Index(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}
