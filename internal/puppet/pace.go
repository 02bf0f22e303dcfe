package puppet

import (
	"context"
	"sync"
	"time"
)

// A pace lets at most so many packets leave in any one second.
type pace struct {
	mu   sync.Mutex
	last []time.Duration // when each of the latest packets left or will; a ring
	next int             // the oldest of them, behind the latest
}

func newPace(perSecond int) *pace {
	p := &pace{last: make([]time.Duration, perSecond)}
	for i := range p.last {
		p.last[i] = -time.Second
	}
	return p
}

// reserve books n packets to leave together, at the earliest now, and returns
// when. n is at most what a second holds.
func (p *pace) reserve(now time.Duration, n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Never before the latest, or the ring would not be in the order of the packets.
	at := max(now, p.last[(p.next+len(p.last)-1)%len(p.last)])
	for i := range n {
		at = max(at, p.last[(p.next+i)%len(p.last)]+time.Second)
	}
	for range n {
		p.last[p.next] = at
		p.next = (p.next + 1) % len(p.last)
	}
	return at
}

// bookings last so long.
const bookFor = time.Second

// book is reserve for packets that leave when they like within bookFor. Until one
// does, it counts as if it left at the end of that time.
func (p *pace) book(now time.Duration, n int) (at time.Duration) {
	at = p.reserve(now, n)
	p.move(at, at+bookFor, n)
	return at
}

// spend lets n packets leave now that were booked at a time.
func (p *pace) spend(booked, now time.Duration, n int) { p.move(booked+bookFor, now, n) }

// move changes when n packets leave.
func (p *pace) move(from, to time.Duration, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// The latest of them, if others leave at the same time.
	for i := len(p.last) - 1; i >= 0 && n > 0; i-- {
		if at := &p.last[(p.next+i)%len(p.last)]; *at == from {
			*at = to
			n--
		}
	}
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
