package simnet

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// A Network joins ports. Its methods may be called by any goroutine at any time.
type Network struct {
	cfg   Config
	start time.Time

	mu     sync.Mutex
	ports  map[netip.Addr]*Port
	paths  map[pair]*path
	number uint64 // ports made so far
	flying parcels
	timer  *time.Timer
	free   []*parcel
}

// Config describes a Network.
type Config struct {
	Seed uint64     // where all chance comes from; every value is a good one
	Path PathConfig // of every direction that SetPath did not change

	// Tap, if not nil, is told of every packet when it is sent. It is called
	// with the network's lock held and must not call back.
	Tap func(Packet)
}

// A pair is one direction between two ports.
type pair struct{ from, to *Port }

// New returns a network without ports.
func New(cfg Config) *Network {
	return &Network{cfg: cfg, start: time.Now(), ports: map[netip.Addr]*Port{}, paths: map[pair]*path{}}
}

// String names the network by its seed, for the messages of a failing test.
func (n *Network) String() string { return fmt.Sprintf("simnet seed %d", n.cfg.Seed) }

// SetPath changes one direction, for packets sent from now on.
func (n *Network) SetPath(from, to *Port, cfg PathConfig) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.path(from, to).cfg = cfg
}

// SetPaths changes both directions between two ports.
func (n *Network) SetPaths(a, b *Port, cfg PathConfig) {
	n.SetPath(a, b, cfg)
	n.SetPath(b, a, cfg)
}

// Counters returns what has happened to the packets of one direction.
func (n *Network) Counters(from, to *Port) Counters {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.path(from, to).count
}

// path finds or makes one direction. Called with the lock held.
func (n *Network) path(from, to *Port) *path {
	p := n.paths[pair{from, to}]
	if p == nil {
		stream := from.number<<32 | to.number
		p = &path{cfg: n.cfg.Path, rng: rand.New(rand.NewPCG(n.cfg.Seed, stream))}
		n.paths[pair{from, to}] = p
	}
	return p
}

func (n *Network) now() time.Duration { return time.Since(n.start) }

// fly puts a copy of a packet on its way. Called with the lock held.
func (n *Network) fly(to *Port, data []byte, due time.Duration) {
	p := n.newParcel(data)
	p.to, p.due = to, due
	n.flying.push(p)
}

// land delivers what is due and sets the timer for the rest. Called with the
// lock held.
func (n *Network) land() {
	now := n.now()
	for len(n.flying.heap) > 0 && n.flying.heap[0].due <= now {
		p := n.flying.pop()
		p.to.arrive(p, n.start.Add(p.due).UnixNano())
	}
	if len(n.flying.heap) == 0 {
		return
	}
	wait := n.flying.heap[0].due - now
	if n.timer == nil {
		n.timer = time.AfterFunc(wait, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.land()
		})
		return
	}
	n.timer.Reset(wait)
}

// newParcel takes a parcel from the free list and fills it with a copy of data.
func (n *Network) newParcel(data []byte) *parcel {
	if len(n.free) == 0 {
		return &parcel{data: append(make([]byte, 0, max(len(data), 2048)), data...)}
	}
	last := len(n.free) - 1
	p := n.free[last]
	n.free = n.free[:last]
	p.data = append(p.data[:0], data...)
	return p
}

func (n *Network) recycle(p *parcel) {
	p.to, p.err = nil, nil
	n.free = append(n.free, p)
}
