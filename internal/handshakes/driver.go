package handshakes

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// A Driver runs connections from the SYN to the end of TIME-WAIT. One goroutine
// reads the link and does nearly all the work, a batch in and a batch out; one
// waits for timers.
//
// All methods may be called by any goroutine at any time, but not by Done or a
// tracer.
type Driver struct {
	cfg   Config
	start time.Time

	mu       sync.Mutex
	stack    *engine.Stack
	pools    map[netip.Addr]*pool
	targets  map[Target]*target
	orders   []*target // that have connections to open, in turns
	underway int       // connections opened of which nothing was told to Done yet
	opening  int       // those of them whose FIN was not asked for yet
	free     []*call
	news     []*call // that have changed since the last look
	closing  []*call // whose ACK of the handshake goes before their FIN
	leaving  []*call // in TIME-WAIT, that have only the last ACK to send
	patience patience
	out      outbox
	timer    *time.Timer
	armed    engine.Time // what timer is set to, zero if it is not
	excused  bool        // the timer was late and the reader got its grace
	isClosed bool
	failure  error // why the link or the ports ended it
	stats    Stats
	idle     sync.Cond
	result   Result // that is being told
	scratch  [4096]byte

	closed  chan struct{}
	running sync.WaitGroup
}

// Config says what a Driver is made of.
type Config struct {
	Link   engine.Link       // Close closes it
	Tracer engine.Tracer     // may be nil; called with the Driver's lock held
	Conn   engine.ConnConfig // of every connection
	Secret [32]byte          // as of engine.HostConfig

	// ISN, if set, is engine.StackConfig.ISN.
	ISN func(now engine.Time, local, remote netip.AddrPort) segment.Seq

	Parallel int // connections under way at once, those in TIME-WAIT not counted; default 64
	// CloseBehind has a connection count for Parallel until its FIN leaves, as where a
	// program calls close and goes on: what the peer does then is not waited for. At
	// most 4096 connections are under way.
	CloseBehind bool

	Ports    int           // most ports claimed of one local address; default 16384, all dynamic ones
	Patience time.Duration // after our FIN for the peer's; default 2 s. A RST ends the wait

	// Done, if set, is told of each connection that came to its end: in TIME-WAIT,
	// or CLOSED. It is called with the Driver's lock held and must not call back;
	// the Result is valid during the call.
	Done func(*Result)

	// OnPanic, if set, is called when a goroutine of the Driver panics; see
	// engine.HostConfig.
	OnPanic func(cause any)
}

// A Target is a peer's port and the way to it.
type Target struct {
	Local  netip.Addr     // source address
	Remote netip.AddrPort //
	MTU    int            // of the route, octets of IP datagram
}

// A Result is how a connection went.
type Result struct {
	Conn          uint64 // its number in events
	Local, Remote netip.AddrPort
	Connected     bool  // ESTABLISHED was reached
	Err           error // nil: both sides closed; else what errors.Is finds in package engine, or ErrNoFIN
}

// ErrNoFIN is the end of a connection whose peer did not close in time.
var ErrNoFIN = errors.New("the peer did not close")

// Stats count connections.
type Stats struct {
	Opened    int // SYNs, without repetitions
	Connected int // reached ESTABLISHED
	Closed    int // orderly, by both
	Failed    int // otherwise
	Unsent    int // packets that the link did not take
}

// New starts a Driver. Close ends it.
func New(cfg Config) *Driver {
	if cfg.Secret == [32]byte{} {
		_, _ = rand.Read(cfg.Secret[:]) // never fails: it ends the program rather
	}
	if cfg.Parallel <= 0 {
		cfg.Parallel = 64
	}
	if cfg.Ports <= 0 || cfg.Ports > numPorts {
		cfg.Ports = numPorts
	}
	if cfg.Patience <= 0 {
		cfg.Patience = 2 * time.Second
	}
	d := &Driver{
		cfg: cfg, start: time.Now(), timer: time.NewTimer(time.Hour), closed: make(chan struct{}),
		pools: map[netip.Addr]*pool{}, targets: map[Target]*target{},
		stack: engine.NewStack(engine.StackConfig{Secret: cfg.Secret, Tracer: cfg.Tracer, Conn: cfg.Conn, ISN: cfg.ISN}),
	}
	d.timer.Stop()
	d.idle.L = &d.mu
	d.running.Go(func() { d.watched(d.read) })
	d.running.Go(func() { d.watched(d.wait) })
	return d
}

// watched runs f and hands a panic of it to OnPanic.
func (d *Driver) watched(f func()) {
	defer func() {
		if d.cfg.OnPanic == nil {
			return
		}
		if cause := recover(); cause != nil {
			d.cfg.OnPanic(cause)
		}
	}()
	f()
}

// now is the stack's clock: monotonic, and never the zero Time.
func (d *Driver) now() engine.Time { return engine.Time(time.Since(d.start)) + 1 }

// Open has n connections made to a target, from ports of the Driver's choice, as
// soon as there is room for them. The error is about what the link or the ports
// can never do.
func (d *Driver) Open(to Target, n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.refusal(); err != nil {
		return err
	}
	t := d.target(to)
	if t.orders == 0 && n > 0 {
		d.orders = append(d.orders, t)
	}
	t.orders += max(n, 0)
	d.work(d.now())
	return d.failure
}

// OpenFrom makes one connection from a port that the caller has claimed, whatever
// else is under way. A pair of sockets that is in use is engine.ErrInUse.
func (d *Driver) OpenFrom(local netip.AddrPort, to Target) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.refusal(); err != nil {
		return err
	}
	now := d.now()
	err := d.open(now, local.Port(), d.target(to), false)
	d.work(now)
	return err
}

// Reserve claims n ports of a local address in advance.
func (d *Driver) Reserve(local netip.Addr, n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.refusal(); err != nil {
		return err
	}
	p := d.pool(local)
	for len(p.ports) < min(n, d.cfg.Ports) {
		if err := p.claimNext(); err != nil {
			return err
		}
	}
	return nil
}

func (d *Driver) refusal() error {
	if d.isClosed {
		return net.ErrClosed
	}
	return d.failure
}

// target finds or makes what the Driver knows of a target.
func (d *Driver) target(to Target) *target {
	t := d.targets[to]
	if t == nil {
		t = &target{
			Target: to, pool: d.pool(to.Local),
			local: to.Local.WithZone(""), remote: netip.AddrPortFrom(to.Remote.Addr().WithZone(""), to.Remote.Port()),
		}
		d.targets[to] = t
	}
	return t
}

func (d *Driver) pool(local netip.Addr) *pool {
	p := d.pools[local]
	if p == nil {
		p = &pool{
			link: d.cfg.Link, local: local, limit: d.cfg.Ports,
			next: int(d.stack.EphemeralPort(local.WithZone(""), netip.AddrPort{}, 0)) - firstPort, // a start that nobody foresees
		}
		d.pools[local] = p
	}
	return p
}

// Wait waits until every connection that was asked for has come to its end, those
// in TIME-WAIT included, or ctx ends. The error is ctx's, or what has ended the
// Driver.
func (d *Driver) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.idle.Broadcast()
	})
	defer stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.underway > 0 || len(d.orders) > 0 {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case d.refusal() != nil:
			return d.refusal()
		}
		d.idle.Wait()
	}
	return d.failure
}

// Cancel forgets the connections that were asked for and are not opened yet.
func (d *Driver) Cancel() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgetOrders()
	d.idle.Broadcast()
}

// GiveUp is Cancel, and ends what has sent a SYN and heard nothing yet.
func (d *Driver) GiveUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgetOrders()
	now := d.now()
	d.stack.Each(func(c *engine.Conn) {
		if c.State() == engine.SynSent {
			c.Abort(now)
		}
	})
	d.work(now)
}

func (d *Driver) forgetOrders() {
	for _, t := range d.orders {
		t.orders = 0
	}
	d.orders = nil
}

// Stats returns what was counted so far.
func (d *Driver) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// Close resets every connection that is still open, gives the ports back and
// closes the link. When it returns nothing of the Driver runs any more.
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.isClosed {
		d.mu.Unlock()
		return net.ErrClosed
	}
	d.isClosed = true
	d.forgetOrders()
	now := d.now()
	d.stack.Each(func(c *engine.Conn) { c.Abort(now) })
	d.work(now)
	for _, p := range d.pools {
		p.release()
	}
	d.idle.Broadcast()
	d.mu.Unlock()
	close(d.closed)
	err := d.cfg.Link.Close()
	d.running.Wait()
	return err
}

// fail ends everything without a word: there is no link to say it on.
func (d *Driver) fail(now engine.Time, err error) {
	d.failure = err
	d.forgetOrders()
	d.stack.Each(func(c *engine.Conn) { c.Abandon(now) })
	d.idle.Broadcast()
}

// traceLocal tells of something that happened on this host.
func (d *Driver) traceLocal(now engine.Time, local, remote netip.AddrPort, reason string) {
	if engine.InterestOf(d.cfg.Tracer)&engine.InterestIn(engine.EventLocal) != 0 {
		d.cfg.Tracer.Trace(&engine.Event{Kind: engine.EventLocal, At: now, Local: local, Remote: remote, Reason: reason})
	}
}

// linkFailed is the error of a link that cannot be read any more.
func linkFailed(err error) error { return fmt.Errorf("link failed: %w", err) }
