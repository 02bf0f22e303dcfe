package puppet

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"rawtcp/engine"
)

// A Stage is where the puppets of one test stand. It keeps the evidence: every
// segment they sent and received, and ICMP errors.
type Stage struct {
	board   *Board
	ctx     context.Context
	cfg     StageConfig
	seats   int
	puppets []*Puppet // the Board's lock guards it
	doors   []*Door
	err     error
	closing bool

	log []Record // the Board's lock guards it
}

// A Record is one segment or ICMP error of the evidence.
type Record struct {
	Number int // 1, 2, 3 … over all of a Board
	Event  *engine.Event
}

// Log returns the evidence so far, in order. The records are not to be changed.
func (s *Stage) Log() []Record {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	return slices.Clone(s.log)
}

// Now returns the time since the Board began.
func (s *Stage) Now() time.Duration { return s.board.Now() }

// Err returns why the stage cannot go on, or nil.
func (s *Stage) Err() error { return s.err }

// fail notes why the stage cannot go on.
func (s *Stage) fail(err error) {
	if s.closing {
		return
	}
	if s.err == nil {
		s.err = err
	}
	if s.cfg.Abort != nil {
		s.cfg.Abort(s.err)
	}
}

// ok reports whether the stage can go on, and fails if not.
func (s *Stage) ok() bool {
	if s.closing {
		return s.board.alive()
	}
	if s.err == nil && s.ctx.Err() != nil {
		s.err = context.Cause(s.ctx)
	}
	if s.err == nil && !s.board.alive() {
		s.err = s.board.Err()
	}
	if s.err != nil {
		s.fail(s.err)
		return false
	}
	return true
}

func (b *Board) alive() bool { return b.Err() == nil }

// Wait lets time pass. It reports false if the stage cannot go on.
func (s *Stage) Wait(d time.Duration) bool { return s.pause(d, nil) }

// pause is Wait that news ends.
func (s *Stage) pause(d time.Duration, news <-chan struct{}) bool {
	if !s.ok() {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-news:
	case <-s.done():
	}
	return s.ok()
}

// done is closed when the context has ended, but not while the stage tears
// down: that is done in any case.
func (s *Stage) done() <-chan struct{} {
	if s.closing {
		return nil
	}
	return s.ctx.Done()
}

// Puppet claims a local port for a connection to remote and returns the puppet
// that will open it. It returns nil if the stage cannot go on.
func (s *Stage) Puppet(remote netip.AddrPort, shape Shape) *Puppet {
	if !s.ok() {
		return nil
	}
	remote = netip.AddrPortFrom(remote.Addr().WithZone(""), remote.Port())
	local, mtu, err := s.board.claim(remote)
	if err != nil {
		s.fail(err)
		return nil
	}
	return s.seat(local, remote, mtu, shape)
}

// seat puts a puppet on a claimed port.
func (s *Stage) seat(local, remote netip.AddrPort, mtu int, shape Shape) *Puppet {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	return s.place(local, remote, mtu, shape)
}

// place is seat with the lock held.
func (s *Stage) place(local, remote netip.AddrPort, mtu int, shape Shape) *Puppet {
	b := s.board
	p := &Puppet{stage: s, board: b, local: local, remote: remote, mtu: mtu, news: make(chan struct{}, 1)}
	p.shape = shape.or(mtu, local.Addr().Is4())
	p.begin()
	b.lines[line{local, remote}] = p
	b.ports[local].users++
	s.puppets = append(s.puppets, p)
	return p
}

// Twin returns a puppet with the same local port and another remote one: a second
// connection that only the remote port tells apart.
func (s *Stage) Twin(p *Puppet, remote netip.AddrPort, shape Shape) *Puppet {
	if !s.ok() {
		return nil
	}
	return s.seat(p.local, remote, p.mtu, shape)
}

// Close tears down what the puppets of the stage have opened and gives their
// ports and its seats back. It does so even if the stage cannot go on.
func (s *Stage) Close() {
	if s.closing {
		return
	}
	s.closing = true
	for _, d := range s.doors {
		d.close()
	}
	s.board.mu.Lock()
	puppets := slices.Clone(s.puppets)
	s.board.mu.Unlock()
	for _, p := range puppets {
		p.Close()
	}
	s.board.seats.give(s.seats)
}

// leave takes a puppet off the switchboard and gives its part of the port back.
func (b *Board) leave(p *Puppet) {
	b.mu.Lock()
	delete(b.lines, line{p.local, p.remote})
	b.mu.Unlock()
	b.release(p.local)
}

// release gives one user's part of a port back.
func (b *Board) release(local netip.AddrPort) {
	b.mu.Lock()
	held := b.ports[local]
	held.users--
	last := held.users == 0
	if last {
		delete(b.ports, local)
	}
	b.mu.Unlock()
	if last {
		_ = held.claim.Close()
	}
}
