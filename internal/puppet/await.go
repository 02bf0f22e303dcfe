package puppet

import (
	"slices"
	"time"

	"rawtcp/segment"
)

// A Match says whether an arrival is what is waited for.
type Match func(*Arrival) bool

// Any matches every segment.
func Any(*Arrival) bool { return true }

// SYNACK matches a SYN with ACK.
func SYNACK(a *Arrival) bool {
	return a.Flags&(segment.SYN|segment.ACK|segment.RST) == segment.SYN|segment.ACK
}

// RST matches every RST.
func RST(a *Arrival) bool { return a.Flags.Has(segment.RST) }

// FIN matches every FIN.
func FIN(a *Arrival) bool { return a.Flags.Has(segment.FIN) && !a.Flags.Has(segment.RST) }

// Data matches a segment with a payload.
func Data(a *Arrival) bool { return len(a.Payload) > 0 }

// PureACK matches an ACK without SYN, FIN, RST and data.
func PureACK(a *Arrival) bool {
	return a.Flags&(segment.ACK|segment.SYN|segment.FIN|segment.RST) == segment.ACK && len(a.Payload) == 0
}

// Acks matches a segment that acknowledges up to n at least.
func Acks(n segment.Seq) Match {
	return func(a *Arrival) bool {
		return a.Flags&(segment.ACK|segment.RST) == segment.ACK && n.LessEq(a.Ack)
	}
}

// Either matches what one of the matches does.
func Either(matches ...Match) Match {
	return func(a *Arrival) bool {
		for _, m := range matches {
			if m(a) {
				return true
			}
		}
		return false
	}
}

// Await waits up to d for a segment that matches, among those that arrived since
// the last segment was sent and were not looked at yet. It returns nil if none
// came. match may call methods of the puppet that ask.
func (p *Puppet) Await(d time.Duration, match Match) *Arrival {
	return p.await(d, func() *Arrival {
		for {
			a := p.next()
			if a == nil || match(a) {
				return a
			}
		}
	})
}

// next returns the next segment that was not looked at yet, or nil.
func (p *Puppet) next() *Arrival {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	for p.cursor < len(p.inbox) {
		p.cursor++
		if a := p.inbox[p.cursor-1]; !p.stale(a) {
			return a
		}
	}
	return nil
}

// stale reports whether a segment was on this host before the last one was sent,
// although we have read it after that: by the wall clock, which the kernel's
// stamps are of. Called with the Board's lock held.
func (p *Puppet) stale(a *Arrival) bool {
	const accuracy = 100 * time.Microsecond
	return a.stamp != 0 && a.stamp < p.sentAt-int64(accuracy)
}

// AwaitICMP waits up to d for an ICMP error about this connection, which may
// have come already.
func (p *Puppet) AwaitICMP(d time.Duration) *Arrival {
	return p.await(d, p.nextICMP)
}

// AwaitOrICMP is Await that takes an ICMP error about the connection too.
func (p *Puppet) AwaitOrICMP(d time.Duration, match Match) *Arrival {
	return p.await(d, func() *Arrival {
		if a := p.nextICMP(); a != nil {
			return a
		}
		for a := p.next(); a != nil; a = p.next() {
			if match(a) {
				return a
			}
		}
		return nil
	})
}

func (p *Puppet) nextICMP() *Arrival {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	if len(p.icmp) == 0 {
		return nil
	}
	a := p.icmp[0]
	p.icmp = p.icmp[1:]
	return a
}

// await waits until find finds something.
func (p *Puppet) await(d time.Duration, find func() *Arrival) *Arrival {
	until := p.board.Now() + d
	timer := time.NewTimer(d)
	defer timer.Stop()
	for late, patient := false, true; ; {
		if a := find(); a != nil {
			return a
		}
		if late || !p.stage.ok() {
			return nil
		}
		select {
		case <-p.news:
		case <-timer.C:
			grace := p.grace(until)
			late = !patient || grace == 0 // what came at the last moment still counts
			patient = false
			timer.Reset(grace)
		case <-p.stage.done():
		}
	}
}

// grace is how long to wait on when a wait that should have ended has ended late:
// this host is busy, and what has arrived in time may not have been read yet.
func (p *Puppet) grace(until time.Duration) time.Duration {
	const punctual, longest = 2 * time.Millisecond, 200 * time.Millisecond
	late := p.board.Now() - until
	if late < punctual {
		return 0
	}
	return min(2*late, longest)
}

// Collect waits for d and returns everything that arrived since the last segment
// was sent and was not looked at yet.
func (p *Puppet) Collect(d time.Duration) []*Arrival {
	until := p.board.Now() + d
	if !p.stage.Wait(d) || !p.stage.Wait(p.grace(until)) {
		return nil
	}
	return locked(p, func() []*Arrival {
		all := slices.DeleteFunc(slices.Clone(p.inbox[p.cursor:]), p.stale)
		p.cursor = len(p.inbox)
		return all
	})
}

// CollectUntil is Collect that ends as soon as a segment matches, which is the
// last one returned.
func (p *Puppet) CollectUntil(d time.Duration, match Match) (all []*Arrival) {
	p.Await(d, func(a *Arrival) bool {
		all = append(all, a)
		return match(a)
	})
	return all
}

// Arrivals returns every segment of the connection so far.
func (p *Puppet) Arrivals() []*Arrival {
	return locked(p, func() []*Arrival { return append([]*Arrival(nil), p.inbox...) })
}
