package puppet

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A pace lets at most so many packets leave in any one second. Whoever waits is
// served in turn, those of a higher rank before all others. Its methods may be called
// by any goroutine.
//
// A place of the second is taken by a packet that left within the last one, by one
// that may leave now, and by one that is booked: what the places are taken by never
// grows when a packet leaves, whenever that is.
type pace struct {
	rate int
	now  func() time.Duration

	mu       sync.Mutex
	left     []time.Duration // when the packets of the last second left, in order
	leaving  int             // packets that may leave and have not yet
	bookings []*booking
	kept     int     // places that only answers may take
	queue    []*turn // who waits; the first is next
}

// A booking is places for packets that leave when they like until it ends.
type booking struct {
	n     int
	until time.Duration
}

// bookings last so long.
const bookFor = time.Second

// A turn is somebody who waits for n places.
type turn struct {
	n    int
	rank rank
	news chan struct{} // it may be its turn now
}

// A rank says who goes before whom.
type rank int

const (
	inTurn rank = iota
	owing       // an answer
	onCall      // an answer that places are kept for
)

func newPace(perSecond int, now func() time.Duration) *pace { return &pace{rate: perSecond, now: now} }

// take waits until n packets may leave together, and reports whether they may: the
// caller then tells of them by gone. n is at most what a second holds. wait waits for some time or for news, and reports
// false if it is of no more use.
func (p *pace) take(n int, rank rank, wait func(time.Duration, <-chan struct{}) bool) bool {
	t := p.queueUp(n, rank)
	defer p.stepAside(t) // the goroutine may end in wait
	for {
		until, ok := p.try(t)
		if ok {
			return true
		}
		if !wait(until, t.news) {
			return false
		}
	}
}

func (p *pace) queueUp(n int, rank rank) *turn {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &turn{n, rank, make(chan struct{}, 1)}
	at := slices.IndexFunc(p.queue, func(t *turn) bool { return t.rank < rank })
	if at < 0 {
		at = len(p.queue)
	}
	p.queue = slices.Insert(p.queue, at, t)
	return t
}

func (p *pace) stepAside(t *turn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.queue, t); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
	}
	p.callNext()
}

// callNext has whoever is next look again.
func (p *pace) callNext() {
	if len(p.queue) == 0 {
		return
	}
	select {
	case p.queue[0].news <- struct{}{}:
	default:
	}
}

// try takes the places of a turn if it is next and they are free. If not it says
// after which time they may be, unless there is news before.
func (p *pace) try(t *turn) (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.forget(now)
	lack := p.taken() + t.n - p.room(t)
	if p.queue[0] == t && lack <= 0 {
		p.leaving += t.n
		return 0, true
	}
	wait = time.Hour
	if p.queue[0] != t {
		return wait, false
	}
	if n := min(lack, len(p.left)); n > 0 {
		wait = p.left[n-1] + time.Second - now
	}
	for _, b := range p.bookings {
		wait = min(wait, b.until-now)
	}
	return wait, false
}

// room is how many places there are for a turn. One that wants more than are not
// kept takes those too: the answers that they are for may have to wait then.
func (p *pace) room(t *turn) int {
	if free := p.rate - p.kept; t.rank < onCall && t.n <= free {
		return free
	}
	return p.rate
}

// taken returns how many places are.
func (p *pace) taken() int {
	n := len(p.left) + p.leaving
	for _, b := range p.bookings {
		n += b.n
	}
	return n
}

// forget drops what takes no place any more.
func (p *pace) forget(now time.Duration) {
	i := slices.IndexFunc(p.left, func(at time.Duration) bool { return at > now-time.Second })
	if i < 0 {
		i = len(p.left)
	}
	p.left = p.left[i:]
	p.bookings = slices.DeleteFunc(p.bookings, func(b *booking) bool {
		if b.until <= now {
			b.n = 0
		}
		return b.n == 0
	})
}

// gone tells that n packets have left that were allowed to.
func (p *pace) gone(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving -= n
	now := p.now()
	for range n {
		p.left = append(p.left, now)
	}
	p.callNext() // it knows now how long to wait
}

// book makes a booking of n packets that were allowed to leave.
func (p *pace) book(n int) *booking {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := &booking{n, p.now() + bookFor}
	p.leaving -= n
	p.bookings = append(p.bookings, b)
	p.callNext()
	return b
}

// draw allows n packets of a booking to leave, and reports whether it has them.
func (p *pace) draw(b *booking, n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(p.now())
	if b == nil || b.n < n {
		return false
	}
	b.n -= n
	p.leaving += n
	return true
}

// giveBack ends a booking; nil is none.
func (p *pace) giveBack(b *booking) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b != nil {
		b.n = 0
	}
	p.callNext()
}

// keep makes n places that were allowed to be taken ones for answers only, as far
// as they are no more than a quarter of all with those that are, and returns how many.
func (p *pace) keep(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving -= n
	n = max(min(n, p.rate/4-p.kept), 0)
	p.kept += n
	p.callNext()
	return n
}

// release gives up n places of keep.
func (p *pace) release(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept -= n
	p.callNext()
}

// seats are the connections that may exist at the same time.
type seats struct {
	free  chan struct{}
	taker chan struct{} // held while several seats are taken, so that no two takers starve each other
}

func newSeats(n int) *seats {
	s := &seats{free: make(chan struct{}, n), taker: make(chan struct{}, 1)}
	for range n {
		s.free <- struct{}{}
	}
	return s
}

// take takes n seats, or all there are if that is fewer, and returns how many.
func (s *seats) take(ctx context.Context, n int) (int, error) {
	select {
	case s.taker <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	defer func() { <-s.taker }()
	n = min(n, cap(s.free))
	for i := range n {
		select {
		case <-s.free:
		case <-ctx.Done():
			s.give(i)
			return 0, context.Cause(ctx)
		}
	}
	return n, nil
}

func (s *seats) give(n int) {
	for range n {
		s.free <- struct{}{}
	}
}
