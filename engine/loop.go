package engine

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"rawtcp/segment"
)

// A Host runs a Stack on a Link: it reads the clock, owns the goroutines and
// keeps the lock that Stack and Conn do without. This file alone does these
// things; everything else in the package is told what time it is.
//
// Two goroutines serve any number of connections: one reads the link, one waits
// for the stack's next deadline. Whoever holds the lock also sends what the
// stack has to say before letting go, so that neither Write nor an ACK waits for
// another goroutine to wake up.
//
// All methods may be called by any goroutine at any time.
type Host struct {
	link    Link
	tracer  Tracer
	onPanic func(cause any)
	start   time.Time
	claims  claims

	mu           sync.Mutex
	stack        *Stack
	out          outbox
	timer        *time.Timer
	armed        Time       // what timer is set to, zero if it is not
	deadlines    timerQueue // of Read and Write calls
	excused      bool       // the timer was late and got its grace
	conns        map[*NetConn]struct{}
	listeners    []*NetListener
	spareWaiting []*waiting
	nextPort     int
	leaving      []farewell // claims to release when the lock is given up
	draining     int        // calls of Shutdown that wait
	progress     sync.Cond  // something happened, for them
	stirs        uint64     // counts calls of rouse
	refusing     bool       // Shutdown or Close was called
	isClosed     bool
	failure      error // why the link ended, if not by Close

	closing chan struct{}
	running sync.WaitGroup
}

// HostConfig says what a Host is made of.
type HostConfig struct {
	Link   Link       // Close closes it
	Tracer Tracer     // may be nil
	Conn   ConnConfig // defaults of every connection
	Limits Limits     // of all connections together
	Secret [32]byte   // key of sequence numbers and ports; zero: from the system's random source

	// ISN, if set, is StackConfig.ISN. It is called with the host's lock held and
	// must not call back.
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

// NewHost starts a host. Close ends it.
func NewHost(cfg HostConfig) *Host {
	if cfg.Secret == [32]byte{} {
		rand.Read(cfg.Secret[:])
	}
	cutter, super := superSegment(cfg.Link)
	h := &Host{
		link: cfg.Link, tracer: cfg.Tracer, onPanic: cfg.OnPanic, start: time.Now(),
		claims:  claims{link: cfg.Link, held: map[uint16][]*claim{}},
		stack:   NewStack(StackConfig{Secret: cfg.Secret, Tracer: cfg.Tracer, Conn: cfg.Conn, Limits: cfg.Limits, ISN: cfg.ISN, SuperSegment: super}),
		out:     outbox{link: cutter},
		timer:   time.NewTimer(time.Hour),
		conns:   map[*NetConn]struct{}{},
		closing: make(chan struct{}),
	}
	h.timer.Stop()
	h.progress.L = &h.mu
	h.running.Go(func() { h.watched(h.read) })
	h.running.Go(func() { h.watched(h.wait) })
	return h
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

// now is the stack's clock: monotonic, and never the zero Time.
func (h *Host) now() Time { return Time(time.Since(h.start)) + 1 }

// read delivers what the link receives, a batch at a time, until the link ends.
func (h *Host) read() {
	bufs, sizes, stamps := make([][]byte, readBatch), make([]int, readBatch), make([]int64, readBatch)
	for i := range bufs {
		bufs[i] = make([]byte, maxPacket)
	}
	for {
		n, err := h.link.ReadBatch(bufs, sizes, stamps)
		h.mu.Lock()
		now := h.now()
		// "A TCP endpoint MUST process all queued segments before sending an
		// ACK" (RFC 9293 section 3.10.7.4, MUST-59): the sending is in unlock.
		for i := range n {
			h.stack.Deliver(now, bufs[i][:sizes[i]], stamps[i])
		}
		end := err != nil && !h.readError(now, err)
		h.unlock()
		if end {
			return
		}
	}
}

// readError takes news from the link and reports whether it can be read again.
func (h *Host) readError(now Time, err error) bool {
	var icmp ICMPError
	var passing interface{ Temporary() bool }
	switch {
	case errors.As(err, &icmp):
		var m ICMP
		m.From, m.Type, m.Code, m.MTU, m.Quoted = icmp.ICMP()
		h.stack.DeliverICMP(now, m)
		return true
	case errors.Is(err, net.ErrClosed):
		return false
	case errors.As(err, &passing) && passing.Temporary():
		h.traceLocal(now, netip.AddrPort{}, netip.AddrPort{}, fmt.Sprintf("receive error: %v", err))
		return true
	}
	h.fail(now, fmt.Errorf("link failed: %w", err))
	return false
}

// fail ends every connection without a word: there is no link to say it on.
func (h *Host) fail(now Time, err error) {
	h.traceLocal(now, netip.AddrPort{}, netip.AddrPort{}, err.Error())
	h.refusing, h.failure = true, err
	for _, c := range h.sortedConns() {
		c.conn.Abandon(now)
		c.wake()
	}
	for _, l := range h.listeners {
		h.rouse(&l.acceptable)
	}
}

// wait fires the stack's timers.
func (h *Host) wait() {
	for {
		select {
		case <-h.closing:
			return
		case <-h.timer.C:
			h.mu.Lock()
			h.armed = 0
			now := h.now()
			h.deadlines.fire(now)
			if !h.late(now) {
				h.stack.Advance(now)
			}
			h.unlock()
		}
	}
}

// A timer that fires later than tardy means that the process was held up, by a
// busy machine or a SIGSTOP. What it waited for may be in the link's queue by
// now, so the reader gets grace to bring it before a retransmission is wasted.
const (
	tardy = 2 * time.Millisecond
	grace = time.Millisecond
)

// late reports, once for each time, whether the stack's deadline is long past.
func (h *Host) late(now Time) bool {
	due := h.stack.Deadline()
	if h.excused || due.IsZero() || now.Sub(due) < tardy {
		h.excused = false
		return false
	}
	h.excused = true
	h.armed = now.Add(grace)
	h.timer.Reset(grace)
	return true
}

// arm sets the timer to the next deadline. A timer that is set to an earlier
// moment stays: a deadline moves away with every ACK, and to follow it each time
// would cost more than to look once too often.
func (h *Host) arm(now Time) {
	due := earlier(h.stack.Deadline(), earlier(h.deadlines.due(), h.out.retry))
	if due.IsZero() || !h.armed.IsZero() && (h.armed <= due || h.excused) {
		return
	}
	h.armed = due
	h.timer.Reset(max(due.Sub(now), 0))
}

// earlier returns the earlier of two moments, of which the zero Time is none.
func earlier(a, b Time) Time {
	if a.IsZero() || !b.IsZero() && b < a {
		return b
	}
	return a
}

// A farewell is what remains to be done, without the lock, for a connection or
// a listener that has come to its end.
type farewell struct {
	claim *claim
	conn  *NetConn // nil for a listener
}

// unlock sends what the stack has to say, gives up the lock and releases the
// claims of what has come to its end.
func (h *Host) unlock() {
	leaving := h.letGo()
	for _, f := range leaving {
		f.claim.release()
	}
	if len(leaving) > 0 {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, f := range leaving {
			if f.conn != nil {
				f.conn.leftPort()
			}
		}
	}
}

// letGo sends, gives up the lock, and returns whose claims are to be released.
// Should the core panic, the lock is free all the same, so that what runs on the
// way out of a panic does not wait for it for ever.
func (h *Host) letGo() (leaving []farewell) {
	defer h.mu.Unlock()
	h.flush()
	if h.mayRelease() {
		leaving, h.leaving = h.leaving, nil
	}
	if h.draining > 0 {
		h.progress.Broadcast()
	}
	return leaving
}

// mayRelease: a claim outlives the last segment, for without it the kernel
// might answer before that segment is out.
func (h *Host) mayRelease() bool { return len(h.leaving) > 0 && h.out.isEmpty() }

// sleep waits for cond, whose lock is the host's. What there is to send and to
// release comes first, so that it may return at once: call it in a loop.
func (h *Host) sleep(cond *sync.Cond) {
	stirs := h.stirs
	h.flush()
	switch {
	case h.stirs != stirs: // flush itself brought what the caller waits for
	case h.mayRelease():
		h.unlock()
		h.mu.Lock()
	default:
		cond.Wait()
	}
}

// rouse wakes those who sleep.
func (h *Host) rouse(cond *sync.Cond) {
	h.stirs++
	cond.Broadcast()
}

func (h *Host) traceLocal(now Time, local, remote netip.AddrPort, reason string) {
	if h.stack.wants(EventLocal) {
		h.tracer.Trace(&Event{Kind: EventLocal, At: now, Local: local, Remote: remote, Reason: reason})
	}
}

// A deadline ends waiting at a time of the wall clock. The host's lock guards
// it, and the host's one timer fires it: a runtime timer for each of a hundred
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
	h := d.conn.host
	h.deadlines.set(&d.node, h.now().Add(min(wait, farOff)))
}

// stop takes the deadline, which may be nil, out of the queue.
func (d *deadline) stop() {
	if d != nil {
		d.conn.host.deadlines.set(&d.node, 0)
	}
}

// Advance is called when the deadline has come.
func (d *deadline) Advance(Time) {
	d.expired = true
	d.conn.wake()
}
