package puppet

import (
	"net/netip"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// A Door is a local port at which SYNs of one host become puppets. It says
// nothing by itself.
type Door struct {
	stage *Stage
	local netip.AddrPort
	guest netip.Addr
	mtu   int
	shape Shape
	news  chan struct{}
	queue []*Puppet // the Board's lock guards it
}

// Door claims a local port for SYNs from guest, whose puppets have the given
// shape. It returns nil if the stage cannot go on. The Stage closes it.
func (s *Stage) Door(number uint16, guest netip.Addr, shape Shape) *Door {
	if !s.ok() {
		return nil
	}
	b := s.board
	guest = guest.WithZone("")
	source, mtu, err := b.cfg.Link.Route(guest, b.cfg.Source)
	if err != nil {
		s.fail(err)
		return nil
	}
	d := &Door{stage: s, local: netip.AddrPortFrom(source.WithZone(""), number), guest: guest, mtu: mtu, shape: shape, news: make(chan struct{}, 1)}
	if err := b.claimPort(d.local); err != nil {
		s.fail(err)
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ports[d.local].users++
	b.doors[d.local] = d
	s.doors = append(s.doors, d)
	return d
}

// Local returns the address and port to connect to.
func (d *Door) Local() netip.AddrPort { return d.local }

// Await waits up to so long for a SYN and returns its puppet, which has not
// answered, or nil.
func (d *Door) Await(wait time.Duration) *Puppet {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for late := false; ; {
		if p := d.take(); p != nil {
			return p
		}
		if late || !d.stage.ok() {
			return nil
		}
		select {
		case <-d.news:
		case <-timer.C:
			late = true
		case <-d.stage.done():
		}
	}
}

func (d *Door) take() *Puppet {
	d.stage.board.mu.Lock()
	defer d.stage.board.mu.Unlock()
	if len(d.queue) == 0 {
		return nil
	}
	p := d.queue[0]
	d.queue = d.queue[1:]
	return p
}

// knock makes a puppet of a SYN. Called with the Board's lock held.
func (d *Door) knock(s *segment.Segment) *Puppet {
	const most = 64 // that nobody has asked for
	if s.Flags&(segment.SYN|segment.ACK|segment.RST) != segment.SYN || s.Src.Addr() != d.guest || len(d.queue) >= most {
		return nil
	}
	p := d.stage.place(d.local, s.Src, d.mtu, d.shape)
	p.state = engine.SynReceived
	p.meet(s)
	d.queue = append(d.queue, p)
	select {
	case d.news <- struct{}{}:
	default:
	}
	return p
}

// close gives the port back.
func (d *Door) close() {
	b := d.stage.board
	b.mu.Lock()
	delete(b.doors, d.local)
	b.mu.Unlock()
	b.release(d.local)
}
