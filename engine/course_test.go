package engine

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"rawtcp/segment"
)

// A course is one bulk transfer over a path that is described by a rate, a
// drop-tail queue, a delay and what is lost. Time is virtual and everything runs
// in one goroutine, so that a million segments take a second or two.
type course struct {
	t      testing.TB
	now    Time
	rng    *rand.Rand
	path   coursePath
	stacks [2]*Stack
	a, b   *Conn
	wire   []flying
	spare  [][]byte
	order  int
	idle   Time // when the bottleneck has sent all that waits
	data   int  // data segments that entered the path
	queued int  // octets, at most
	buf    []byte
	read   int  // octets that the receiver has read
	gap    int  // data segments until the next loss of a periodic one
	left   int  // octets the application has still to write; negative: no end
	began  Time // when the handshake was over
}

// A coursePath is the way of the data; ACKs meet only the delay.
type coursePath struct {
	rtt    time.Duration
	rate   int // octets of IP packet per second, 0: no limit
	queue  int // octets that may wait for the rate, 0: no limit
	loss   float64
	every  int                                      // every so many data segments one is lost
	fate   func(c *course, s *segment.Segment) fate // nil: by the above
	acks   func(c *course, s *segment.Segment) fate
	mark   int // octets in the queue above which CE is set, 0: never
	cfg    ConnConfig
	server ConnConfig
}

// A fate is what happens to a segment.
type fate struct {
	lost  bool
	late  time.Duration
	marks bool
}

type flying struct {
	at    Time
	order int
	to    int
	pkt   []byte
}

type flight struct{ c *course }

func (f flight) Len() int { return len(f.c.wire) }
func (f flight) Less(i, j int) bool {
	a, b := &f.c.wire[i], &f.c.wire[j]
	return a.at < b.at || a.at == b.at && a.order < b.order
}
func (f flight) Swap(i, j int) { f.c.wire[i], f.c.wire[j] = f.c.wire[j], f.c.wire[i] }
func (f flight) Push(x any)    { f.c.wire = append(f.c.wire, x.(flying)) }
func (f flight) Pop() any {
	last := f.c.wire[len(f.c.wire)-1]
	f.c.wire = f.c.wire[:len(f.c.wire)-1]
	return last
}

// newCourse opens the connection; octets is what the client will send, negative
// without end.
func newCourse(t testing.TB, seed uint64, path coursePath, octets int) *course {
	t.Helper()
	c := &course{t: t, now: Time(time.Second), rng: rand.New(rand.NewPCG(seed, 17)), path: path, buf: make([]byte, 1<<16), left: octets, gap: path.every}
	for i := range c.stacks {
		c.stacks[i] = NewStack(StackConfig{Secret: [32]byte{byte(seed), byte(i)}})
	}
	l, err := c.stacks[1].Listen(c.now, peer, func(netip.Addr) int { return 1500 }, ListenConfig{Conn: path.server})
	if err != nil {
		t.Fatal(err)
	}
	if c.a, err = c.stacks[0].Dial(c.now, us, peer, 1500, path.cfg); err != nil {
		t.Fatal(err)
	}
	c.flush(0)
	for c.b == nil {
		c.step()
		c.b = l.Accept()
	}
	c.began = c.now
	return c
}

// flush puts what a stack has to say on the path.
func (c *course) flush(i int) {
	var seg segment.Segment
	for c.stacks[i].Transmit(c.now, &seg) {
		var pkt []byte
		if n := len(c.spare); n > 0 {
			pkt, c.spare = c.spare[n-1][:0], c.spare[:n-1]
		}
		at := c.now.Add(c.path.rtt / 2)
		var f fate
		switch {
		case i == 1 && c.path.acks != nil:
			f = c.path.acks(c, &seg)
		case i == 0 && len(seg.Payload) > 0:
			f = c.dataFate(&seg)
			if f.marks {
				seg.TOS |= ecnCE
			}
		}
		pkt, err := seg.Append(pkt)
		if err != nil {
			c.t.Fatal(err)
		}
		if i == 0 && c.path.rate > 0 && !f.lost {
			wait := max(0, c.idle.Sub(c.now))
			waiting := int(int64(wait) * int64(c.path.rate) / int64(time.Second))
			if c.path.queue > 0 && waiting+len(pkt) > c.path.queue {
				f.lost = true
			} else {
				c.queued = max(c.queued, waiting)
				c.idle = c.now.Add(wait + time.Duration(int64(len(pkt))*int64(time.Second)/int64(c.path.rate)))
				at = c.idle.Add(c.path.rtt / 2)
			}
		}
		if f.lost {
			c.spare = append(c.spare, pkt)
			continue
		}
		c.order++
		heap.Push(flight{c}, flying{at.Add(f.late), c.order, 1 - i, pkt})
	}
}

func (c *course) dataFate(s *segment.Segment) (f fate) {
	c.data++
	if c.path.mark > 0 && c.path.rate > 0 {
		wait := int64(max(0, c.idle.Sub(c.now)))
		f.marks = wait*int64(c.path.rate)/int64(time.Second) > int64(c.path.mark)
	}
	switch {
	case c.path.fate != nil:
		g := c.path.fate(c, s)
		g.marks = g.marks || f.marks
		return g
	case c.path.loss > 0:
		f.lost = c.rng.Float64() < c.path.loss
	case c.path.every > 0:
		if c.gap--; c.gap == 0 {
			f.lost, c.gap = true, c.path.every
		}
	}
	return f
}

// next returns when something happens next, 0: nothing will.
func (c *course) next() (next Time) {
	if len(c.wire) > 0 {
		next = c.wire[0].at
	}
	for _, s := range c.stacks {
		if d := s.Deadline(); d != 0 && (next == 0 || d < next) {
			next = d
		}
	}
	return next
}

// step lets it happen.
func (c *course) step() {
	c.now = max(c.now, c.next())
	for len(c.wire) > 0 && c.wire[0].at <= c.now {
		x := heap.Pop(flight{c}).(flying)
		c.stacks[x.to].Deliver(c.now, x.pkt, 0)
		c.spare = append(c.spare, x.pkt)
		c.work()
		c.flush(x.to)
	}
	for i, s := range c.stacks {
		s.Advance(c.now)
		c.flush(i)
	}
}

// work is both applications: one writes all it may, the other reads all there is.
func (c *course) work() {
	if c.b != nil {
		for {
			n, _ := c.b.Read(c.now, c.buf)
			c.read += n
			if n == 0 {
				break
			}
		}
		c.flush(1)
	}
	if c.a != nil && c.a.State() == Established && c.left != 0 {
		for c.left != 0 {
			n := len(c.buf)
			if c.left > 0 {
				n = min(n, c.left)
			}
			n, _ = c.a.Write(c.now, c.buf[:n])
			if n == 0 {
				break
			}
			if c.left > 0 {
				c.left -= n
			}
		}
		c.flush(0)
	}
}

// run goes on for a while of virtual time and returns how many octets were read.
func (c *course) run(d time.Duration) int {
	before := c.read
	c.runUntil(c.now.Add(d))
	return c.read - before
}

// runUntil goes on to a point in virtual time.
func (c *course) runUntil(end Time) {
	c.work()
	for next := c.next(); next != 0 && next <= end; next = c.next() {
		c.step()
	}
	c.now = max(c.now, end)
}
