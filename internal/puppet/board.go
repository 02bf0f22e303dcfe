package puppet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// Config describes a Board.
type Config struct {
	Link   engine.Link
	Source netip.Addr    // our address; zero: by route
	Tracer engine.Tracer // is told of every segment; may be nil

	Rate    int           // packets in any one second; default 10
	Conns   int           // connections at the same time; default 1
	Spacing time.Duration // between two provocations of one connection; default 600 ms

	// Random numbers for ISNs, ports and the like; default: the runtime's.
	// Called by one goroutine at a time.
	Random func() uint64

	OnPanic func(cause any) // of the Board's own goroutine; nil: the program dies
}

// A Board is a switchboard: it hands what a Link receives to the puppet whose
// connection it belongs to, and lets what they send leave at its pace. Its
// methods may be called by any goroutine.
type Board struct {
	cfg   Config
	began time.Time
	pace  *pace
	seats *seats
	gone  chan struct{} // closed when the reader has ended

	mu     sync.Mutex
	lines  map[line]*Puppet
	ports  map[netip.AddrPort]*port
	doors  map[netip.AddrPort]*Door
	conns  uint64 // connections so far
	number int    // segments so far
	asked  int    // segments of ours that any host answers
	resent int    // of them, those sent again for want of an answer
	offset int    // of the port to be tried next
	fault  error  // why the link is of no more use
	read   segment.Segment
}

// A line is a connection as packets name it.
type line struct{ local, remote netip.AddrPort }

// A port is a claimed local port and how many puppets use it.
type port struct {
	claim io.Closer
	users int
}

// NewBoard returns a Board on a link, which it owns from now on.
func NewBoard(cfg Config) *Board {
	if cfg.Rate <= 0 {
		cfg.Rate = 10
	}
	if cfg.Conns <= 0 {
		cfg.Conns = 1
	}
	if cfg.Spacing <= 0 {
		cfg.Spacing = 600 * time.Millisecond
	}
	if cfg.Random == nil {
		cfg.Random = rand.Uint64
	}
	b := &Board{
		cfg: cfg, began: time.Now(), seats: newSeats(cfg.Conns),
		gone: make(chan struct{}), lines: map[line]*Puppet{}, ports: map[netip.AddrPort]*port{}, doors: map[netip.AddrPort]*Door{},
	}
	b.pace = newPace(cfg.Rate, b.Now)
	// One after the other, so that no port comes back while the peer may still
	// remember it.
	b.offset = int(cfg.Random() % numPorts)
	go b.serve()
	return b
}

// Now returns the time since the Board began.
func (b *Board) Now() time.Duration { return time.Since(b.began) }

// Began returns the wall clock's time at which Now was 0.
func (b *Board) Began() time.Time { return b.began }

// Resent returns how many segments were sent again because no answer came: a
// sign that the path loses packets.
func (b *Board) Resent() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.resent
}

// Loss returns how many segments were sent that any host answers, and how many of
// them again.
func (b *Board) Loss() (asked, resent int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked, b.resent
}

// Err returns why the link is of no more use, or nil.
func (b *Board) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fault
}

// Close closes the link. Stages should be closed before, or their connections
// are left to the kernel, which resets them at their next word.
func (b *Board) Close() error {
	err := b.cfg.Link.Close()
	<-b.gone
	return err
}

// batch is how many packets are read at a time; one may hold 64 KiB.
const batch = 16

func (b *Board) serve() {
	defer close(b.gone)
	defer func() {
		if b.cfg.OnPanic == nil {
			return
		}
		if cause := recover(); cause != nil {
			b.cfg.OnPanic(cause)
		}
	}()
	var bufs [batch][]byte
	var sizes [batch]int
	var stamps [batch]int64
	for i := range bufs {
		bufs[i] = make([]byte, 65600)
	}
	for {
		n, err := b.cfg.Link.ReadBatch(bufs[:], sizes[:], stamps[:])
		if !b.take(bufs[:n], sizes[:n], stamps[:n], err) {
			return
		}
	}
}

// take takes what one read brought and reports whether there will be another.
func (b *Board) take(bufs [][]byte, sizes []int, stamps []int64, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range bufs {
		b.deliver(bufs[i][:sizes[i]], stamps[i])
	}
	var icmp engine.ICMPError
	var passing interface{ Temporary() bool }
	switch {
	case err == nil:
		return true
	case errors.As(err, &icmp):
		m := new(engine.ICMP)
		m.From, m.Type, m.Code, m.MTU, m.Quoted = icmp.ICMP()
		b.deliverICMP(m)
		return true
	case !errors.Is(err, net.ErrClosed) && errors.As(err, &passing) && passing.Temporary():
		return true
	}
	b.fault = err
	for _, p := range b.lines {
		p.wake()
	}
	for _, d := range b.doors {
		close(d.news)
	}
	return false
}

// moment turns a kernel's time stamp into a time since the Board began. A stamp
// that cannot be, because somebody has set the clock, is not believed.
func (b *Board) moment(stamp int64) time.Duration {
	now := b.Now()
	if stamp == 0 {
		return now
	}
	at := time.Duration(stamp - b.began.UnixNano())
	if at > now || at < now-10*time.Second {
		return now
	}
	return at
}

func (b *Board) deliver(packet []byte, stamp int64) {
	s := &b.read
	if s.Parse(packet) != nil {
		return
	}
	p := b.lines[line{s.Dst, s.Src}]
	if s.Checksum == segment.ChecksumBad {
		return
	}
	if door := b.doors[s.Dst]; p == nil && door != nil {
		p = door.knock(s)
	}
	if p == nil {
		return
	}
	p.arrive(packet, b.moment(stamp), stamp)
}

func (b *Board) deliverICMP(m *engine.ICMP) {
	src, dst, _, err := segment.ParseQuoted(m.Quoted)
	if err != nil {
		return
	}
	if p := b.lines[line{src, dst}]; p != nil {
		p.arriveICMP(m, b.Now())
	}
}

// trace tells the tracer and the evidence of a stage about an event.
func (b *Board) trace(s *Stage, e *engine.Event) int {
	b.number++
	s.log = append(s.log, Record{Number: b.number, Event: e})
	if b.cfg.Tracer != nil {
		b.cfg.Tracer.Trace(e)
	}
	return b.number
}

// The ports that puppets use: the upper half of the dynamic ones (RFC 6335
// section 6), away from where most systems take theirs for outgoing connections.
const (
	firstPort = 57344
	numPorts  = 8192
)

// claim finds a free local port towards a remote one and claims it.
func (b *Board) claim(remote netip.AddrPort) (local netip.AddrPort, mtu int, err error) {
	source, mtu, err := b.cfg.Link.Route(remote.Addr(), b.cfg.Source)
	if err != nil {
		return local, 0, err
	}
	source = source.WithZone("")
	for range numPorts {
		b.mu.Lock()
		b.offset = (b.offset + 1) % numPorts
		local = netip.AddrPortFrom(source, uint16(firstPort+b.offset))
		b.mu.Unlock()
		if err = b.claimPort(local); !errors.Is(err, syscall.EADDRINUSE) {
			return local, mtu, err
		}
	}
	return local, 0, fmt.Errorf("no source port is free: %w", err)
}

// claimPort claims a local port that no other puppet of ours has.
func (b *Board) claimPort(local netip.AddrPort) error {
	b.mu.Lock()
	taken := b.ports[local] != nil
	b.mu.Unlock()
	if taken {
		return syscall.EADDRINUSE
	}
	claim, err := b.cfg.Link.Claim(local)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ports[local] != nil { // another stage was faster: some links share claims
		_ = claim.Close()
		return syscall.EADDRINUSE
	}
	b.ports[local] = &port{claim: claim}
	return nil
}

// write sends packets. Called with the lock held: the moment before is that of
// the segments.
func (b *Board) write(packets [][]byte) error {
	var err error
	for range 3 {
		// An ICMP error about one peer is the error of whatever is sent next; one
		// that concerns us comes again.
		var n int
		n, err = b.cfg.Link.WriteBatch(packets)
		packets = packets[n:]
		if !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.ENETUNREACH) && !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
	}
	return err
}

// StageConfig describes a Stage.
type StageConfig struct {
	Label   string      // stands with every packet in a capture
	Puppets int         // how many connections it needs at a time; default 1
	Abort   func(error) // is called by the stage's goroutine when it cannot go on
}

// Stage waits for seats and opens a Stage.
func (b *Board) Stage(ctx context.Context, cfg StageConfig) (*Stage, error) {
	n, err := b.seats.take(ctx, max(cfg.Puppets, 1))
	if err != nil {
		return nil, err
	}
	return &Stage{board: b, ctx: ctx, cfg: cfg, seats: n}, nil
}
