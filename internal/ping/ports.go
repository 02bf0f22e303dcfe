package ping

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"rawtcp/engine"
)

// How long a port rests before the same peer sees it again. A peer that did not
// get our RST repeats its SYN-ACK: Linux does so for 63 s.
const (
	restAnswered = 2 * time.Second
	restLost     = 64 * time.Second
)

// maxPorts bounds the claims of one target, and so its probes under way.
const maxPorts = 512

// The dynamic ports (RFC 6335 section 6).
const (
	firstPort = 49152
	numPorts  = 16384
)

// ports are the source ports of one target: claimed one by one as they are
// needed, next to each other, and used again when they have rested.
type ports struct {
	local   netip.Addr
	claim   func(netip.AddrPort) error
	next    int // offset from firstPort of the port to be claimed next
	tried   int
	claimed int
	limit   int

	answered, lost queue[restingPort] // that rest, in the order in which they have rested
}

type restingPort struct {
	port  uint16
	until engine.Time
}

// errNoPort means that every port has a probe under way.
var errNoPort = errors.New("every source port has a probe under way")

// take returns a port that has no probe under way: a rested one, else a new one,
// else the one that has rested longest.
func (p *ports) take(now engine.Time) (uint16, error) {
	best := p.longest()
	var err error
	if (best == nil || best.first().until > now) && p.claimed < p.limit && p.tried < numPorts {
		var port uint16
		if port, err = p.claimNext(); err == nil {
			return port, nil
		}
	}
	switch {
	case best != nil:
		port := best.first().port
		best.pop()
		return port, nil
	case err != nil:
		return 0, err
	case p.claimed == 0:
		return 0, fmt.Errorf("no source port is free: %w", syscall.EADDRINUSE)
	}
	return 0, errNoPort
}

// claimNext claims the next port that nobody else has.
func (p *ports) claimNext() (uint16, error) {
	for {
		port := uint16(firstPort + p.next%numPorts)
		if p.limit == 1 {
			port = uint16(p.next)
		}
		err := p.claim(netip.AddrPortFrom(p.local, port))
		p.next++
		p.tried++
		if err == nil {
			p.claimed++
			return port, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || p.limit == 1 || p.tried >= numPorts {
			return 0, err
		}
	}
}

// longest returns the queue whose first port has rested next, nil if none rests.
func (p *ports) longest() *queue[restingPort] {
	switch {
	case p.answered.len() > 0 && (p.lost.len() == 0 || p.answered.first().until <= p.lost.first().until):
		return &p.answered
	case p.lost.len() > 0:
		return &p.lost
	}
	return nil
}

// rest takes a port back whose probe is decided at a time, which never goes back.
func (p *ports) rest(port uint16, at engine.Time, lost bool) {
	if lost {
		p.lost.push(restingPort{port, at.Add(restLost)})
	} else {
		p.answered.push(restingPort{port, at.Add(restAnswered)})
	}
}
