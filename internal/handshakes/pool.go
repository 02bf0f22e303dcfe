package handshakes

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"syscall"

	"rawtcp/engine"
)

// The dynamic ports (RFC 6335 section 6).
const (
	firstPort = 49152
	numPorts  = 16384
)

// A pool are the ports of one local address that the kernel leaves to us: claimed
// one after the other as they are needed, next to each other, so that the link's
// filter stays short, and kept until the end. Every target may use them all.
type pool struct {
	link   engine.Link
	local  netip.Addr
	next   int // offset from firstPort of the port to be claimed next
	tried  int
	limit  int
	ports  []uint16
	claims []io.Closer
	last   error // why the latest claim failed
}

// claimNext claims the next port that nobody else has.
func (p *pool) claimNext() error {
	for p.tried < numPorts {
		port := uint16(firstPort + p.next%numPorts)
		p.next++
		p.tried++
		claim, err := p.link.Claim(netip.AddrPortFrom(p.local, port))
		if err == nil {
			p.ports, p.claims = append(p.ports, port), append(p.claims, claim)
			return nil
		}
		if p.last = err; !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return fmt.Errorf("no source port is free: %w", syscall.EADDRINUSE)
}

// release gives the ports back.
func (p *pool) release() {
	for _, c := range p.claims {
		_ = c.Close()
	}
	p.ports, p.claims = nil, nil
}

// errNoPort means that every port of the pool has a connection to the target, or
// is in TIME-WAIT after one.
var errNoPort = errors.New("every source port is in use")

// take returns a port for a connection to the target: a claimed one that it never
// had, or the one that rests longest, if its TIME-WAIT is over, or a new one. Should claims come to an end,
// by the limit of open files, say, those that are there have to do. OpenFrom may
// have the port: then Dial refuses.
func (t *target) take(s *engine.Stack) (uint16, error) {
	p := t.pool
	if t.taken == len(p.ports) {
		if port, ok := t.rested.first(); ok && !s.InUse(netip.AddrPortFrom(t.local, port), t.remote) {
			t.rested.pop()
			return port, nil
		}
		if err := p.more(); err != nil {
			return 0, err
		}
	}
	port := p.ports[t.taken]
	t.taken++
	return port, nil
}

// more claims one more port, up to the limit.
func (p *pool) more() error {
	if len(p.ports) >= p.limit {
		return errNoPort
	}
	err := p.claimNext()
	if err != nil && len(p.ports) > 0 {
		p.limit = len(p.ports)
		return errNoPort
	}
	return err
}

// A portRing is a queue of ports.
type portRing struct {
	ports []uint16
	head  int // of the oldest
	n     int
}

func (r *portRing) push(port uint16) {
	if r.n == len(r.ports) {
		r.grow()
	}
	r.ports[(r.head+r.n)%len(r.ports)] = port
	r.n++
}

func (r *portRing) grow() {
	grown := make([]uint16, max(16, 2*len(r.ports)))
	for i := range r.n {
		grown[i] = r.ports[(r.head+i)%len(r.ports)]
	}
	r.ports, r.head = grown, 0
}

func (r *portRing) first() (uint16, bool) {
	if r.n == 0 {
		return 0, false
	}
	return r.ports[r.head], true
}

func (r *portRing) pop() {
	r.head = (r.head + 1) % len(r.ports)
	r.n--
}
