package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"rawtcp/segment"
)

// A Host runs stacks on a Link: it reads the clock and owns the goroutines. This
// file alone does these things; everything else in the package is told what time
// it is. Each stack is a shard with a lock of its own, and a connection belongs to
// one of them by its addresses and ports.
//
// One goroutine reads the link, a second one while much comes, and one for each
// shard waits for its next deadline; they serve any number of connections.
//
// All methods may be called by any goroutine at any time.
type Host struct {
	link     Link
	tracer   Tracer
	onPanic  func(cause any)
	start    time.Time
	claims   claims
	shards   []*shard
	seed     maphash.Seed // of shardOf
	nextPort atomic.Int64
	isClosed atomic.Bool

	mu        sync.Mutex // guards what follows; a shard's lock may be taken with it held, never the other way round
	listeners []*NetListener
	refusing  bool // Shutdown or Close was called

	reading turnstile

	closing chan struct{}
	running sync.WaitGroup
}

// HostConfig says what a Host is made of.
type HostConfig struct {
	Link   Link       // Close closes it
	Tracer Tracer     // may be nil; see Shards
	Conn   ConnConfig // defaults of every connection
	Limits Limits     // of all connections together
	Secret [32]byte   // key of sequence numbers and ports; zero: from the system's random source

	// Shards is into how many the connections are divided, each with a lock of its
	// own, 1 to 64; what happens in two of them happens at the same time where there
	// are processors. Default: one for each processor (runtime.GOMAXPROCS), at most
	// 16, and not more than leave each 64 MiB of Limits.Memory, which is divided
	// among them; with a Tracer one, so that events come in the order of time. With
	// more, its calls come one at a time, from all shards mixed.
	Shards int

	// ISN, if set, is StackConfig.ISN. It is called with a lock of the host held,
	// by several shards at a time, and must not call back.
	ISN func(now Time, local, remote netip.AddrPort) segment.Seq

	// OnPanic, if set, is called when one of the host's own goroutines panics,
	// in that goroutine, with the cause. It should end the program: the host is
	// in disorder, and its lock may be held. Without it the panic does.
	OnPanic func(cause any)
}

// The sizes of batches. A received packet may be a merged one of up to 64 KiB,
// whatever the MTU.
const (
	readBatch = 32
	maxPacket = 65535 + segment.IPv6HeaderLen
)

// The bounds of HostConfig.Shards.
const (
	maxShards   = 64
	usualShards = 16
	shardMemory = 64 << 20
)

// shards is how many there are to be.
func (cfg *HostConfig) shards() int {
	limits := cfg.Limits
	limits.defaults()
	switch {
	case cfg.Shards > 0:
		return min(cfg.Shards, maxShards)
	case cfg.Tracer != nil:
		return 1
	case limits.Memory > 0:
		return max(1, min(runtime.GOMAXPROCS(0), usualShards, limits.Memory/shardMemory))
	}
	return min(runtime.GOMAXPROCS(0), usualShards)
}

// NewHost starts a host. Close ends it.
func NewHost(cfg HostConfig) *Host {
	if cfg.Secret == [32]byte{} {
		rand.Read(cfg.Secret[:])
	}
	h := &Host{
		link: cfg.Link, tracer: cfg.Tracer, onPanic: cfg.OnPanic, start: time.Now(),
		claims:  claims{link: cfg.Link, held: map[uint16][]*claim{}},
		shards:  make([]*shard, cfg.shards()),
		seed:    maphash.MakeSeed(),
		closing: make(chan struct{}),
	}
	link := h.link
	if len(h.shards) > 1 {
		link, h.tracer = oneWriter(link), oneTeller(h.tracer)
	}
	cutter, super := superSegment(link)
	common := newCommons(len(h.shards))
	for i := range h.shards {
		stack := newStack(StackConfig{Secret: cfg.Secret, Tracer: h.tracer, Conn: cfg.Conn, Limits: cfg.Limits, ISN: cfg.ISN, SuperSegment: super}, common)
		h.shards[i] = h.newShard(stack, link, cutter)
	}
	h.reading.init()
	h.running.Go(func() { h.watched(h.read) })
	if len(h.shards) > 1 {
		h.running.Go(func() { h.watched(h.assist) })
	}
	for _, s := range h.shards {
		h.running.Go(func() { h.watched(s.wait) })
	}
	return h
}

// newShard returns a shard that writes to link, or to cutter if that is of use.
func (h *Host) newShard(stack *Stack, link Link, cutter SegmentingLink) *shard {
	s := &shard{host: h, link: link, stack: stack, out: outbox{link: cutter}, timer: time.NewTimer(time.Hour)}
	s.timer.Stop()
	s.progress.L, s.turn.L = &s.mu, &s.mu
	return s
}

// watched runs f and hands a panic of it to OnPanic.
func (h *Host) watched(f func()) {
	defer func() {
		if h.onPanic == nil {
			return
		}
		if cause := recover(); cause != nil {
			h.onPanic(cause)
		}
	}()
	f()
}

// now is the clock of all stacks: monotonic, and never the zero Time.
func (h *Host) now() Time { return Time(time.Since(h.start)) + 1 }

// shardOfPacket returns the shard for a received packet. What is no TCP segment
// is counted by the first.
func (h *Host) shardOfPacket(pkt []byte) *shard {
	if len(h.shards) == 1 {
		return h.shards[0]
	}
	src, dst, _, err := segment.ParseQuoted(pkt)
	if err != nil {
		return h.shards[0]
	}
	return h.shardOf(dst, src)
}

// shardOf returns the shard of all segments between two sockets. Nobody outside
// knows the seed, so that nobody can choose ports that fall together.
func (h *Host) shardOf(local, remote netip.AddrPort) *shard {
	if len(h.shards) == 1 {
		return h.shards[0]
	}
	var key [36]byte
	putAddrPort(key[:], local)
	putAddrPort(key[18:], remote)
	return h.shards[maphash.Bytes(h.seed, key[:])%uint64(len(h.shards))]
}

// readError takes news from the link and reports whether it can be read again.
func (h *Host) readError(err error) bool {
	var icmp ICMPError
	var passing interface{ Temporary() bool }
	switch {
	case errors.As(err, &icmp):
		var m ICMP
		m.From, m.Type, m.Code, m.MTU, m.Quoted = icmp.ICMP()
		h.deliverICMP(m)
		return true
	case errors.Is(err, net.ErrClosed):
		return false
	case errors.As(err, &passing) && passing.Temporary():
		h.shards[0].note(fmt.Sprintf("receive error: %v", err))
		return true
	}
	h.fail(fmt.Errorf("link failed: %w", err))
	return false
}

// deliverICMP gives a message to the shard that has sent what it quotes.
func (h *Host) deliverICMP(m ICMP) {
	s := h.shards[0]
	if src, dst, _, err := segment.ParseQuoted(m.Quoted); err == nil {
		s = h.shardOf(src, dst)
	}
	s.mu.Lock()
	defer s.unlock()
	s.stack.DeliverICMP(s.now(), m)
}

// fail ends all there is: the link has failed.
func (h *Host) fail(err error) {
	h.shards[0].note(err.Error())
	for _, s := range h.shards {
		s.fail(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.listeners {
		l.end(func() { l.failure = err })
	}
}

// A deadline ends waiting at a time of the wall clock. The shard's lock guards
// it, and the shard's one timer fires it: a runtime timer for each of a hundred
// thousand connections would be too many.
type deadline struct {
	node    timerNode
	conn    *NetConn
	expired bool
}

// farOff bounds deadlines: what lies beyond is as good as none.
const farOff = 100 * 365 * 24 * time.Hour

func newDeadline(c *NetConn) *deadline {
	d := &deadline{conn: c}
	d.node.owner = d
	return d
}

// set moves the deadline; the zero time means none.
func (d *deadline) set(t time.Time) {
	d.stop()
	d.expired = false
	if !t.IsZero() {
		d.in(time.Until(t))
	}
}

// in makes the deadline pass after wait.
func (d *deadline) in(wait time.Duration) {
	if wait <= 0 {
		d.expired = true
		return
	}
	s := d.conn.shard
	s.deadlines.set(&d.node, s.now().Add(min(wait, farOff)))
}

// stop takes the deadline, which may be nil, out of the queue.
func (d *deadline) stop() {
	if d != nil {
		d.conn.shard.deadlines.set(&d.node, 0)
	}
}

// Advance is called when the deadline has come.
func (d *deadline) Advance(Time) {
	d.expired = true
	d.conn.wake()
}
