package sim

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// A Result is what one run came to.
type Result struct {
	Seed        uint64
	Violation   string // empty: none
	Segments    int    // that left a host or a forger
	Connections int    // talks that were begun
	Octets      int    // delivered to applications
	Simulated   time.Duration
	Trace       [sha256.Size]byte // of every event
}

// Run plays a plan to its end or to the first violation. rec, if not nil, is
// told all that happens.
func Run(p *Plan, rec *Recorder) Result {
	w := newWorld(p, rec)
	w.safely(w.play)
	r := Result{Seed: p.Seed, Violation: w.violation, Segments: w.segments, Connections: len(p.Talks), Simulated: w.now}
	for i := range w.ends {
		r.Octets += w.ends[i][0].read + w.ends[i][1].read
	}
	w.digest.flush()
	copy(r.Trace[:], w.digest.hash.Sum(nil))
	return r
}

// safely makes a panic of the engine a violation, so that it can be shrunk and
// replayed like any other.
func (w *world) safely(play func()) {
	defer func() {
		if r := recover(); r != nil {
			w.fail("panic: %v\n%s", r, debug.Stack())
		}
	}()
	play()
}

// A world is one run.
type world struct {
	plan      *Plan
	rec       *Recorder
	now       time.Duration // true time
	agenda    agenda
	hosts     [2]*host
	roads     [2]road
	boxes     []box // of the faults, by index
	ends      [][2]end
	dirty     []*end
	segments  int
	limit     int // of segments: more is a livelock
	healed    bool
	violation string
	digest    digest

	out     segment.Segment
	back    segment.Segment
	free    [][]byte // packets to use again
	scratch [8192]byte
	forged  bool // the packet under way comes from a forger
	mute    bool // nothing may be said in answer to the packet under way
	noReset bool // no RST may be
}

func newWorld(p *Plan, rec *Recorder) *world {
	w := &world{plan: p, rec: rec, ends: make([][2]end, len(p.Talks)), boxes: make([]box, len(p.Faults))}
	w.digest.hash = sha256.New()
	for i := range w.hosts {
		h := &host{w: w, id: i, epoch: int64(time.Hour) * int64(i+1)}
		h.stack = engine.NewStack(engine.StackConfig{Secret: [32]byte{byte(p.Seed), byte(p.Seed >> 8), byte(i)}, Tracer: h})
		w.hosts[i] = h
		w.roads[i].Path = p.Path[i]
	}
	for i := range p.Faults {
		w.prepare(i)
	}
	w.limit = 20_000
	for i := range p.Talks {
		w.prepareTalk(i)
	}
	w.agenda.push(happening{at: p.Heal, kind: heals})
	return w
}

func (w *world) prepare(i int) {
	f := &w.plan.Faults[i]
	b := &w.boxes[i]
	b.Fault = f
	b.dice = rand.New(rand.NewPCG(f.ID, w.plan.Seed))
	switch f.Kind {
	case Drift:
		w.hosts[f.Dir].drift = int64(f.N)
	case Pause:
		w.agenda.push(happening{at: f.To, kind: resumes, who: f.Dir})
	case Forge:
		w.agenda.push(happening{at: f.From, kind: forges, who: i})
	}
}

func (w *world) prepareTalk(i int) {
	t := &w.plan.Talks[i]
	if t.Absent {
		return
	}
	for h := range w.ends[i] {
		w.ends[i][h] = end{w: w, host: h, talk: i, app: &t.Apps[h], peerApp: &t.Apps[1-h]}
		if h == t.Opener || t.Simultaneous {
			w.agenda.push(happening{at: t.Start + time.Duration(h)*time.Microsecond, kind: starts, who: h, talk: i})
			continue
		}
		cfg := engine.ListenConfig{Conn: t.Conf[h], Cookies: t.Cookies}
		if t.FastOpen {
			cfg.FastOpen = 100
		}
		l, err := w.hosts[h].stack.Listen(w.hosts[h].clock(0), w.address(i, h), func(netip.Addr) int { return mtu }, cfg)
		if err != nil {
			panic(err)
		}
		w.hosts[h].listens = append(w.hosts[h].listens, l)
	}
	w.limit += 400 + 8*t.octets() // one octet a segment, sent and acknowledged, several times
}

// fail notes the first violation.
func (w *world) fail(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, args...)
		w.log("VIOLATION: %s", w.violation)
	}
}

func (w *world) log(format string, args ...any) {
	if w.rec != nil {
		w.rec.note(w.now, fmt.Sprintf(format, args...))
	}
}

// bound is the latest true time at which all has to be over (L1, L4).
func (w *world) bound() time.Duration {
	d := w.plan.Heal + 20*time.Minute
	for i := range w.plan.Talks {
		t := &w.plan.Talks[i]
		rtt := w.plan.Path[0].Delay + w.plan.Path[1].Delay + time.Second
		for h := range t.Conf {
			least := min(64, t.Conf[h].SendBuffer, t.Conf[1-h].ReceiveBuffer)
			d += time.Duration(t.Apps[h].Send/least+1) * rtt
			a := &t.Apps[h]
			d += time.Duration(a.Send/a.Chunk+1)*a.Pause + time.Duration(t.Apps[1-h].Send/min(a.ReadChunk, 1000)+1)*a.ReadPause
		}
	}
	return d
}

func (w *world) play() {
	bound := w.bound()
	for w.violation == "" && w.step() {
		switch {
		case w.now > bound:
			w.fail("L1: not over at %v, healed at %v: %s", w.now, w.plan.Heal, w.state())
		case w.segments > w.limit:
			w.fail("L3: %d segments and no end: %s", w.segments, w.state())
		}
	}
	if w.violation == "" {
		w.judgeEnd()
	}
}

// step goes to the next thing that happens; false: nothing will.
func (w *world) step() bool {
	who := -1
	var next time.Duration
	if len(w.agenda.q) > 0 {
		who, next = 2, w.agenda.q[0].at
	}
	for i, h := range w.hosts {
		if at, ok := h.deadline(); ok && (who < 0 || at < next) {
			who, next = i, at
		}
	}
	if who < 0 {
		return false
	}
	w.now = max(w.now, next)
	if who == 2 {
		w.happen(w.agenda.pop())
	} else {
		h := w.hosts[who]
		h.stack.Advance(h.clock(w.now))
	}
	w.settle()
	return w.violation == ""
}

func (w *world) happen(x happening) {
	switch x.kind {
	case arrives:
		w.arrive(&x)
	case reports:
		w.report(&x)
	case flushes:
		w.boxes[x.who].release(w)
	case starts:
		w.start(x.who, x.talk)
	case works:
		w.ends[x.talk][x.who].touch()
	case resumes:
		w.resume(w.hosts[x.who])
	case forges:
		w.forge(x.who)
	case heals:
		w.healed = true
		w.log("the road heals")
	}
}

func (w *world) start(host, talk int) {
	h := w.hosts[host]
	if w.standsStill(host) { // the application does, too
		w.agenda.push(happening{at: w.now + time.Millisecond, kind: starts, who: host, talk: talk})
		return
	}
	c, err := h.stack.Dial(h.clock(w.now), w.address(talk, host), w.address(talk, 1-host), mtu, w.plan.Talks[talk].Conf[host])
	if err != nil {
		w.fail("dial: %v", err)
		return
	}
	e := &w.ends[talk][host]
	e.adopt(c)
	if w.plan.Talks[talk].FastOpen {
		e.work() // what it writes now can ride on the SYN
	}
}

// standsStill reports whether a host's process is paused now.
func (w *world) standsStill(host int) bool { return w.anyOn(Pause, host) }

func (w *world) anyOn(k FaultKind, dir int) bool {
	for i := range w.plan.Faults {
		if f := &w.plan.Faults[i]; f.Kind == k && f.on(dir, w.now) {
			return true
		}
	}
	return false
}

func (w *world) arrive(x *happening) {
	h := w.hosts[x.who]
	if w.standsStill(x.who) {
		h.paused = true
		if len(h.mailbox) < mailboxSize {
			h.mailbox = append(h.mailbox, *x)
		}
		return
	}
	w.deliver(h, x)
	w.free = append(w.free, x.packet)
}

// deliver hands a packet to a stack and holds what may not be answered (I18).
func (w *world) deliver(h *host, x *happening) {
	w.forged = x.forged
	err := w.back.Parse(x.packet)
	w.mute = err != nil || w.back.Checksum == segment.ChecksumBad
	w.noReset = w.mute || w.back.Flags.Has(segment.RST)
	h.stack.Deliver(h.clock(w.now), x.packet, 0)
	w.accept(h)
	w.flush(h)
	w.forged, w.mute, w.noReset = false, false, false
}

func (w *world) accept(h *host) {
	for _, l := range h.listens {
		for c := l.Accept(); c != nil; c = l.Accept() {
			if e := &w.ends[int(c.Local().Port())-1000][h.id]; e.c == nil {
				e.adopt(c)
			} else { // the ACK of a SYN cookie is good twice; no application waits for the second one
				c.Abort(h.clock(w.now))
			}
		}
	}
}

func (w *world) resume(h *host) {
	if w.standsStill(h.id) {
		return
	}
	h.paused = false
	for i := range h.mailbox {
		w.deliver(h, &h.mailbox[i])
		w.free = append(w.free, h.mailbox[i].packet)
	}
	h.mailbox = h.mailbox[:0]
}

// report hands over an ICMP message.
func (w *world) report(x *happening) {
	h := w.hosts[x.who]
	if w.standsStill(x.who) {
		return
	}
	m := engine.ICMP{From: hostAddrs[1-x.who][0], Type: 3, Code: 4, MTU: x.talk, Quoted: x.packet}
	if x.packet[0]>>4 == 6 {
		m.From, m.Type, m.Code = hostAddrs[1-x.who][1], 2, 0
	}
	h.stack.DeliverICMP(h.clock(w.now), m)
}

// settle lets applications act and stacks speak until all is quiet, and judges.
func (w *world) settle() {
	w.flush(w.hosts[0])
	w.flush(w.hosts[1])
	for len(w.dirty) > 0 && w.violation == "" {
		e := w.dirty[0]
		w.dirty = w.dirty[:copy(w.dirty, w.dirty[1:])]
		e.dirty = false
		if w.standsStill(e.host) {
			w.hosts[e.host].paused = true
			e.wake(w.now + time.Millisecond)
			continue
		}
		e.work()
		w.flush(w.hosts[e.host])
	}
	for _, h := range w.hosts {
		h.judge()
	}
}

// flush puts what a host has to say on the road.
func (w *world) flush(h *host) {
	for w.violation == "" && h.stack.Transmit(h.clock(w.now), &w.out) {
		w.segments++
		pkt, err := w.out.Append(w.buffer())
		if err != nil {
			w.fail("I16: host %d sends what cannot be built: %v", h.id, err)
			return
		}
		w.judgePacket(h, pkt)
		if w.rec != nil {
			w.rec.sent(w.now, h.id, pkt)
		}
		w.send(h.id, pkt, false)
		if w.segments > w.limit {
			return
		}
	}
}

func (w *world) buffer() []byte {
	if n := len(w.free); n > 0 {
		b := w.free[n-1]
		w.free = w.free[:n-1]
		return b[:0]
	}
	return make([]byte, 0, 2048)
}

// state tells where all ends are, for a failure.
func (w *world) state() string {
	s := ""
	for i := range w.ends {
		for h := range w.ends[i] {
			if e := &w.ends[i][h]; e.c != nil && !e.settled {
				in := e.c.Info(w.hosts[h].clock(w.now))
				s += fmt.Sprintf("\n  talk %d, host %d: %v, read %d of %d, wrote %d of %d, queued %d, flight %d, window %d, cwnd %d",
					i, h, in.State, e.read, e.peerApp.Send, e.sent, e.app.Send, in.SendQueue, in.Vars.Flight, in.Vars.SndWnd, in.Vars.Cwnd)
			}
		}
	}
	return s
}

// judgeEnd holds what must be true when nothing will happen any more (L1, L2, L4).
func (w *world) judgeEnd() {
	for _, h := range w.hosts {
		if n := h.stack.Conns(); n != 0 || h.stack.Deadline() != 0 {
			w.fail("L2: nothing will happen any more, and host %d has %d connections: %s", h.id, n, w.state())
		}
	}
	if w.plan.Doomed {
		return
	}
	for i := range w.ends {
		if t := &w.plan.Talks[i]; t.Absent || t.unruly() {
			continue
		}
		for h := range w.ends[i] {
			w.judgeTalk(&w.ends[i][h])
		}
	}
}

func (w *world) judgeTalk(e *end) {
	switch {
	case e.c == nil:
		w.fail("L1: talk %d never reached host %d", e.talk, e.host)
	case e.read != e.peerApp.Send || !e.eof:
		w.fail("L1: talk %d, host %d read %d of %d, end of data %t, %v", e.talk, e.host, e.read, e.peerApp.Send, e.eof, errors.Join(e.err, e.c.Err()))
	case e.c.Err() != nil:
		w.fail("I26: talk %d, host %d ended with %v after all was said", e.talk, e.host, e.c.Err())
	}
}

// digest is the trace's hash, fed in large pieces.
type digest struct {
	hash hash.Hash
	buf  []byte
}

func (d *digest) flush() {
	d.hash.Write(d.buf)
	d.buf = d.buf[:0]
}
