package engine

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// A NetListener accepts the connections of a port. Each shard of the host has a
// Listener for it, which keeps the handshakes of its peers; what can be accepted
// waits in one line.
type NetListener struct {
	host  *Host
	claim *claim
	local netip.AddrPort
	parts []*Listener // as the host's shards, whose locks guard them

	mu         sync.Mutex // guards what follows; it may be taken with a shard's lock held
	ready      []int      // which shards have a connection to accept, in the order of their coming
	acceptable sync.Cond
	isClosed   bool
	failure    error
}

// open starts to listen in every shard.
func (l *NetListener) open(cfg ListenConfig) error {
	common := new(listenerCommons)
	for i, s := range l.host.shards {
		part, err := s.listen(common, l.local, cfg, func() {
			s.awaited = true
			l.push(i)
		})
		if err != nil {
			return err
		}
		l.parts = append(l.parts, part)
	}
	return nil
}

// push notes that a connection of a shard can be accepted.
func (l *NetListener) push(shard int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = append(l.ready, shard)
	l.acceptable.Signal()
}

// next waits for a connection and returns its shard.
func (l *NetListener) next() (shard int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.isClosed:
			return 0, net.ErrClosed
		case l.failure != nil:
			return 0, l.failure
		case len(l.ready) > 0:
			shard = l.ready[0]
			l.ready = l.ready[:copy(l.ready, l.ready[1:])]
			return shard, nil
		}
		l.acceptable.Wait()
	}
}

// Accept waits for a connection.
func (l *NetListener) Accept() (net.Conn, error) {
	c, err := l.AcceptConn()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptConn waits for a connection. After Close the error is net.ErrClosed.
func (l *NetListener) AcceptConn() (*NetConn, error) {
	for {
		shard, err := l.next()
		if err != nil {
			return nil, opError("accept", l.local, netip.AddrPort{}, err)
		}
		if c := l.accept(shard); c != nil { // nil: Close was quicker
			return c, nil
		}
	}
}

func (l *NetListener) accept(shard int) *NetConn {
	s := l.host.shards[shard]
	s.mu.Lock()
	defer s.unlock()
	conn := l.parts[shard].Accept()
	if conn == nil {
		return nil
	}
	return s.adopt(conn, l.claim.share())
}

// Close stops listening. Connections that were accepted live on; those that
// wait to be are reset.
func (l *NetListener) Close() error {
	h := l.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Contains(h.listeners, l) {
		return opError("close", l.local, netip.AddrPort{}, net.ErrClosed)
	}
	h.listeners = slices.DeleteFunc(h.listeners, func(other *NetListener) bool { return other == l })
	l.close()
	return nil
}

// close is Close with the host's lock held. The claim is released when what each
// shard has to say to the peers has left.
func (l *NetListener) close() {
	l.end(func() { l.isClosed = true })
	for i, part := range l.parts {
		s := l.host.shards[i]
		s.mu.Lock()
		part.Close(s.now())
		s.leave(l.claim.share(), nil)
		s.unlock()
	}
	l.claim.release()
}

// end tells those who wait in Accept that nothing will come any more.
func (l *NetListener) end(why func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	why()
	l.acceptable.Broadcast()
}

// Addr returns the address listened on, a *net.TCPAddr.
func (l *NetListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }
