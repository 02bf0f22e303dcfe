package engine

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"rawtcp/segment"
)

// memory is what the buffers of all connections of a stack hold together, and
// what becomes of it when it comes near Limits.Memory. There are three marks:
//
//	0 ........ relief (5/8) .... high (3/4) ........ most
//
// What would cross high first drops what others hold out of order, the oldest
// first: their peers have it still. What is out of order itself is not taken, so
// that it was never reported either. If that is not enough, the stack is pressed:
// no window grows, writes are cut, and an orphan whose timer expires is reset.
// In-order octets that were invited by a window are taken up to most. It is over
// below relief.
//
// Each connection may hold its least in each direction whatever the others do,
// or two programs that wait for one another would wait for ever.
type memory struct {
	most, high, relief int
	held               int      // sum of holding over the connections
	pressed            bool     // high was crossed, and relief not seen since
	relieved           bool     // it was just seen; those who wait do not know yet
	holes              holeList // of all receive buffers with holes, the oldest first
}

// leastHeld is what a connection may hold in each direction under pressure,
// octets, as Linux's least tcp_rmem and tcp_wmem.
const leastHeld = 4096

// newMemory returns the share of one of so many stacks. Each has its own to keep:
// what a segment does in one touches nothing of another.
func newMemory(most, stacks int) memory {
	if most < 0 {
		most = math.MaxInt
	}
	most /= stacks
	return memory{most: most, high: most - most/4, relief: most/8*5 + most%8}
}

// Buffered returns how many octets the buffers of all connections hold, as
// Limits.Memory counts them.
func (s *Stack) Buffered() int { return s.memory.held }

// holding is what c counts for: unacknowledged and unsent octets, and received
// ones from the first that is unread to the last beyond a hole, holes included,
// since their place is kept.
func (c *Conn) holding() int {
	if c.state == Closed { // what is left is the application's
		return 0
	}
	return c.snd.buf.len() + c.rcv.buf.extent()
}

// hold counts n octets more, or less.
func (s *Stack) hold(n int) {
	m := &s.memory
	m.held += n
	if m.pressed && m.held <= m.relief {
		m.pressed, m.relieved = false, true
	}
}

// claim makes place for n octets below high, by dropping what is held out of
// order, and reports whether there is so much.
func (s *Stack) claim(n int) bool {
	m := &s.memory
	for m.held+n > m.high {
		h := m.holes.oldest
		if h == nil {
			if !m.pressed {
				m.pressed = true
				s.counters.MemoryPressures++
			}
			return false
		}
		s.counters.MemoryShed += uint64(h.owner.forgetHoles())
	}
	return true
}

// least is what the connection may hold in each direction in any case: two
// segments, or no window would be worth a segment (RFC 9293 section 3.8.6.2).
func (c *Conn) least() int { return max(leastHeld, 2*c.snd.mss) }

// affords reports whether the octets p that stand at seq may be stored: within the
// least also beyond a hole, for a sender that has to begin anew at each hole
// gets a few segments a timeout through (RFC 5682 sends new data first).
func (c *Conn) affords(seq segment.Seq, p []byte) bool {
	b, m := &c.rcv.buf, &c.stack.memory
	n := b.growth(seq, len(p))
	if len(p) == 0 || n <= 0 || m.held+n <= m.high || b.extent()+n <= c.least() {
		return true
	}
	fits := false
	if !b.nxt.Less(seq) {
		fits = c.stack.claim(n)
		n = b.growth(seq, len(p)) // our own holes may be gone
		fits = fits || m.held+n <= m.most || b.extent()+n <= c.least()
	}
	if !fits {
		c.stack.counters.MemoryRefused++
	}
	return fits
}

// mayWrite cuts a write of n octets to what the stack can hold.
func (c *Conn) mayWrite(n int) int {
	if n = min(n, c.snd.buf.room()); n == 0 || c.stack.claim(n) {
		return n
	}
	m := &c.stack.memory
	return max(0, min(n, max(m.high-m.held, c.least()-c.snd.buf.len())))
}

// mayOffer is the receive window we offer: as wanted, but under pressure none
// grows beyond what was offered already, or beyond the least.
func (c *Conn) mayOffer() int {
	free := c.windowWanted()
	if c.stack.memory.pressed {
		free = min(free, max(c.rcv.edge.Sub(c.rcv.nxt), c.least()-c.rcv.buf.readable))
	}
	return free
}

// forsaken reports whether the connection is to be reset for lack of memory: no
// application has it any more, and its peer takes nothing.
func (c *Conn) forsaken() bool {
	return c.stack.memory.pressed && c.readClosed && c.holding() > 0
}

// forsake resets what is forsaken.
func (c *Conn) forsake() {
	c.stack.counters.OrphansReset++
	c.abort(ErrAborted, "memory is short, and no application has the connection any more")
}

// relieve tells all connections that the pressure is over: windows may open, and
// who could not write tries again.
func (s *Stack) relieve(now Time) {
	s.memory.relieved = false
	s.Each(func(c *Conn) {
		c.noteWindow(now)
		if c.snd.buf.room() > 0 {
			c.notify(Writable)
		}
	})
}

// A holeList is a queue of holes, which know their neighbours and their connection.
type holeList struct{ oldest, newest *holes }

// push adds the holes of c, unless they are there.
func (l *holeList) push(h *holes, c *Conn) {
	if h.owner != nil {
		return
	}
	h.owner, h.prev = c, l.newest
	if l.newest == nil {
		l.oldest = h
	} else {
		l.newest.next = h
	}
	l.newest = h
}

// remove takes h out, if it is there.
func (l *holeList) remove(h *holes) {
	if h.owner == nil {
		return
	}
	if h.prev == nil {
		l.oldest = h.next
	} else {
		h.prev.next = h.next
	}
	if h.next == nil {
		l.newest = h.prev
	} else {
		h.next.prev = h.prev
	}
	h.owner, h.next, h.prev = nil, nil, nil
}

// Audit recounts from scratch what the stack keeps in sums over its connections:
// the octets they hold, those with holes, how many there are, and the handshakes
// under way. It changes nothing, and costs a walk over all of them.
func (s *Stack) Audit() error { return audit(s) }

// audit is Audit of all stacks that have their commons in common.
func audit(stacks ...*Stack) error {
	conns, halfOpen := 0, 0
	for _, s := range stacks {
		if err := s.auditMemory(); err != nil {
			return err
		}
		conns += s.Conns()
		byAddr := func(a, b *Listener) int { return a.local.Compare(b.local) }
		for _, l := range slices.SortedFunc(maps.Values(s.listeners), byAddr) {
			halfOpen += l.cache.len()
		}
	}
	counted := &stacks[0].common.census
	if n := counted.halfOpen.Load(); int64(halfOpen) != n {
		return fmt.Errorf("%d handshakes under way, %d counted", halfOpen, n)
	}
	if n := counted.conns.Load(); int64(conns) != n {
		return fmt.Errorf("%d connections, %d counted", conns, n)
	}
	return nil
}

func (s *Stack) auditMemory() error {
	held, listed, holed := 0, 0, 0
	for _, c := range s.conns.inOrder() {
		held += c.holding()
		if h := c.rcv.buf.holes; h != nil {
			if holed++; h.owner != c {
				return fmt.Errorf("memory: the holes of connection %d are not listed", c.id)
			}
		}
	}
	for h := s.memory.holes.oldest; h != nil && listed <= holed; h = h.next {
		listed++
	}
	if held != s.memory.held || listed != holed {
		return fmt.Errorf("memory: %d octets held, %d recounted; %d connections with holes, %d listed", s.memory.held, held, holed, listed)
	}
	return nil
}
