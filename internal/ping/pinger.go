package ping

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"rawtcp/engine"
	"rawtcp/rawsock"
	"rawtcp/segment"
)

// A Link is an engine.Link whose kernel says when it sent what.
type Link interface {
	engine.Link
	TxStamps(dst []rawsock.TxStamp) int
}

// A runner is what half-open and full probing share: a Prober, its clock, and
// the loop that does what is due.
type runner struct {
	onPanic func(cause any)
	link    Link
	taps    []*Tap
	tracer  engine.Tracer // may be nil
	began   time.Time
	wake    chan struct{}
	open    func(syn *segment.Segment) // starts a connection instead of sending its SYN; nil for half-open

	mu      sync.Mutex
	prober  *Prober
	excused bool // a turn came late and the reader got its grace
	failure error
	in      segment.Segment
	out     outbox
	opens   []segment.Segment // SYNs of connections to be opened
	sleeps  engine.Time       // until when the loop does, if nobody rouses it; zero: it is awake
	stamps  [rawsock.BatchSize]rawsock.TxStamp
}

// An outbox holds segments between Transmit and WriteBatch.
type outbox struct {
	segments [rawsock.BatchSize]segment.Segment
	packets  [rawsock.BatchSize][]byte
	n        int
}

func (r *runner) init(link Link, cfg Config, tracer engine.Tracer, taps []*Tap) {
	r.taps, r.onPanic = taps, cfg.OnPanic
	r.link, r.tracer, r.began, r.wake = link, tracer, time.Now(), make(chan struct{}, 1)
	cfg.Random = new(randomness).next
	cfg.Claim = func(local netip.AddrPort) error {
		_, err := link.Claim(local) // given back when the link is closed
		return err
	}
	r.prober = NewProber(r.now(), cfg)
}

// now is the time since the start; it is never zero.
func (r *runner) now() engine.Time { return engine.Time(time.Since(r.began) + 1) }

// stopGrace is how long answers are waited for after a stop: an answer that
// finds us gone is answered by the kernel.
const stopGrace = 200 * time.Millisecond

// loop runs until all is done, until stop is closed and the last answers are
// in, until kill is closed, or until the reader ends with an error.
func (r *runner) loop(stop, kill <-chan struct{}, read <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, done, err := r.turn()
		for i := range r.opens { // which nobody else touches
			r.open(&r.opens[i])
		}
		r.opens = r.opens[:0]
		if err != nil || done {
			return err
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-r.wake:
		case err := <-read:
			return err
		case <-stop:
			stop = nil
			r.stop(stopGrace)
		case <-kill:
			kill = nil
			r.stop(0)
		}
	}
}

// turn does what is due and returns how long there is nothing more to do.
func (r *runner) turn() (wait time.Duration, done bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.takeStamps() // nobody else does while nothing comes
	least := time.Duration(0)
	if now := r.now(); r.late(now) {
		least = grace
	} else {
		r.prober.Advance(now)
	}
	r.flush()
	wait = time.Hour
	now := r.now()
	if due := r.prober.Deadline(); !due.IsZero() {
		wait = max(due.Sub(now), least)
	}
	r.sleeps = now.Add(wait)
	return wait, r.prober.Done(), r.failure
}

// A turn that comes later than tardy after a probe was due means that the process
// was held up, by a busy machine or a SIGSTOP. The answer may be in the link's
// queue by now, so the reader gets grace to bring it before the probe is lost.
const (
	tardy = 2 * time.Millisecond
	grace = 2 * time.Millisecond
)

// late reports, once for each time, whether a probe is long overdue.
func (r *runner) late(now engine.Time) bool {
	due := r.prober.due()
	r.excused = !r.excused && !due.IsZero() && now.Sub(due) >= tardy
	return r.excused
}

func (r *runner) stop(grace time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prober.Stop(r.now(), grace)
}

// rouse has the loop look again.
func (r *runner) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Stats returns the sums of every target so far. It may be called at any time.
func (r *runner) Stats() []Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Stats, len(r.prober.targets))
	for i := range all {
		all[i] = r.prober.Stats(i)
	}
	return all
}

// flush sends what there is to send, in batches.
func (r *runner) flush() {
	o := &r.out
	for more := true; more && r.failure == nil; {
		now := r.now() // before the SYN leaves: see roundTrip
		for more && o.n < len(o.segments) {
			if more, r.failure = r.prober.Transmit(now, &o.segments[o.n]); more && r.failure == nil {
				r.collect()
			}
		}
		r.send(now)
	}
}

// collect makes a packet of the segment that is next in the outbox, or a connection
// of it.
func (r *runner) collect() {
	o := &r.out
	s := &o.segments[o.n]
	if r.open != nil && s.Flags.Has(segment.SYN) {
		r.opens = append(r.opens, *s) // without the lock, which the engine's events take
		return
	}
	var err error
	if o.packets[o.n], err = s.Append(o.packets[o.n][:0]); err != nil {
		r.prober.SendFailed(r.now(), s, err)
		return
	}
	o.n++
}

// send empties the outbox.
func (r *runner) send(now engine.Time) {
	o := &r.out
	for first := 0; first < o.n; {
		n, err := r.write(o.packets[first:o.n])
		for i := first; r.tracer != nil && i < first+n; i++ {
			s := &o.segments[i]
			r.trace(&engine.Event{Kind: engine.EventSegmentOut, At: now, Segment: s}, s.Src, s.Dst)
		}
		if first += n; err != nil && first < o.n {
			r.prober.SendFailed(r.now(), &o.segments[first], err)
			first++
		}
	}
	o.n = 0
}

// write sends packets and returns how many; the error is about the next one. The
// kernel hands an ICMP error about one target to whatever is sent next, to another
// target too: with the error queue emptied it has to come again to be believed.
func (r *runner) write(packets [][]byte) (sent int, err error) {
	for range 3 {
		var n int
		n, err = r.link.WriteBatch(packets[sent:])
		sent += n
		if !errors.Is(err, syscall.EHOSTUNREACH) && !errors.Is(err, syscall.ENETUNREACH) {
			return sent, err
		}
		r.takeStamps()
	}
	return sent, err
}

// A Pinger makes half-open probes on a link.
type Pinger struct{ runner }

// NewPinger returns a Pinger; Run starts it. Claim and Random of cfg are filled
// in; Emit is called by whichever goroutine has the news, one at a time, and
// must not call back. tracer, if not nil, is shown every segment. The stamps of
// the taps go before those of the link.
func NewPinger(link Link, cfg Config, tracer engine.Tracer, taps ...*Tap) *Pinger {
	p := new(Pinger)
	p.init(link, cfg, tracer, taps)
	return p
}

// Run probes until all is done, until stop is closed and the last answers are
// in, or until kill is closed. The error is about the link or a source port.
// When Run returns the link is closed, and nothing asks a tap or calls Emit any
// more.
func (p *Pinger) Run(stop, kill <-chan struct{}) error {
	read := make(chan error, 1)
	var reading sync.WaitGroup
	reading.Go(func() { p.watched(func() { read <- p.read() }) })
	err := p.loop(stop, kill, read)
	_ = p.link.Close()
	reading.Wait()
	return err
}

// watched runs f and hands a panic of it to OnPanic.
func (r *runner) watched(f func()) {
	defer func() {
		if r.onPanic == nil {
			return
		}
		if cause := recover(); cause != nil {
			r.onPanic(cause)
		}
	}()
	f()
}

// readRoom is enough for the headers and options of any segment, and no multiple of
// a page: the headers of a batch would contend for the same lines of a cache.
const readRoom = 2048 + 192

// read takes packets from the link until it is closed.
func (p *Pinger) read() error {
	var bufs [rawsock.BatchSize][]byte
	var sizes [rawsock.BatchSize]int
	var stamps [rawsock.BatchSize]int64
	room := make([]byte, len(bufs)*readRoom)
	for i := range bufs {
		bufs[i] = room[i*readRoom:][:readRoom:readRoom]
	}
	for {
		n, err := p.link.ReadBatch(bufs[:], sizes[:], stamps[:])
		p.mu.Lock()
		p.takeStamps()
		now := p.now() // of all of them: what we do with the first is not the road of the last
		for i := range n {
			p.deliver(now, bufs[i][:sizes[i]], stamps[i])
		}
		fatal := p.news(err)
		if fatal == nil {
			p.flush()
		}
		idle := fatal != nil || !p.prober.Done() && p.prober.Deadline() >= p.sleeps && p.failure == nil
		p.mu.Unlock()
		if fatal != nil {
			return fatal
		}
		if !idle {
			p.rouse()
		}
	}
}

// takeStamps fetches timestamps: that of a SYN is there before its answer, and
// what passed a tap before the link has it.
func (r *runner) takeStamps() {
	for _, t := range r.taps {
		for packet, stamp, out, ok := t.next(); ok; packet, stamp, out, ok = t.next() {
			var s segment.Segment
			if s.Parse(packet) == nil {
				r.prober.Passed(&s, stamp, out)
			}
		}
	}
	for {
		n := r.link.TxStamps(r.stamps[:])
		for _, s := range r.stamps[:n] {
			r.prober.Stamped(s.Local, s.Remote, s.Seq, s.Stamp)
		}
		if n < len(r.stamps) {
			return
		}
	}
}

func (p *Pinger) deliver(now engine.Time, packet []byte, stamp int64) {
	s := &p.in
	if s.Parse(packet) != nil {
		return
	}
	if p.tracer != nil && p.prober.find(s.Dst, s.Src) != nil {
		p.trace(&engine.Event{Kind: engine.EventSegmentIn, At: now, Stamp: stamp, Segment: s, Packet: packet}, s.Dst, s.Src)
	}
	p.prober.Deliver(now, s, stamp)
}

// news sorts an error of the link: an ICMP message, something passing, or the end.
func (p *Pinger) news(err error) error {
	var icmp engine.ICMPError
	var passing interface{ Temporary() bool }
	switch {
	case err == nil:
		return nil
	case errors.As(err, &icmp):
		m := new(engine.ICMP)
		m.From, m.Type, m.Code, m.MTU, m.Quoted = icmp.ICMP()
		p.prober.DeliverICMP(p.now(), m)
		return nil
	case errors.Is(err, net.ErrClosed):
		return err
	case errors.As(err, &passing) && passing.Temporary():
		return nil
	}
	return err
}

// trace shows a segment as one of a connection that has the target's number.
func (r *runner) trace(e *engine.Event, local, remote netip.AddrPort) {
	w := r.prober.find(local, remote)
	if r.tracer == nil || w == nil {
		return
	}
	e.Conn, e.Local, e.Remote, e.State = uint64(w.target.index+1), local, remote, engine.SynSent
	e.Vars.ISS = w.isn
	if e.Kind == engine.EventSegmentIn && e.Segment.Flags.Has(segment.SYN) {
		e.Vars.IRS = e.Segment.Seq
	}
	r.tracer.Trace(e)
}
