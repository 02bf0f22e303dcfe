package sim

import (
	"errors"
	"fmt"
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
	Segments    int    // that an engine sent, to be delivered or lost
	Connections int    // that were established
	Octets      int    // delivered to applications
	Simulated   time.Duration
	Done        time.Duration // when the last end had read all
}

// Run plays a plan to its end or to the first violation. rec, if not nil, is
// told all that happens.
func Run(p *Plan, rec *Recorder) Result {
	w := newWorld(p, rec)
	w.safely(w.play)
	r := Result{Seed: p.Seed, Violation: w.violation, Segments: w.segments, Connections: w.opened, Simulated: w.now, Done: w.done}
	for i := range w.ends {
		r.Octets += w.ends[i][0].read + w.ends[i][1].read
	}
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
	hosts     []*host // the clients, then the server
	stirred   []*host // may have something to say, or to be judged
	roads     [2]road
	boxes     []box // of the faults, by index
	ends      [][2]end
	talks     []int // by tuple: the talk begun last
	dirty     []*end
	segments  int // that engines sent
	supers    int // of them, those that were sent as super-segments, each counted once
	turns     int // of all loops below: a run that does nothing for ever is a livelock, too
	done      time.Duration
	opened    int // talks whose dialler was answered
	fates     *choices
	limit     int // of segments: more is a livelock
	healed    bool
	strangers map[netip.AddrPort]*stranger
	cuts      bool // some box forgets some connection
	tainted   bool // what arrives is not what was sent, and no checksum tells
	violation string

	out     segment.Segment
	back    segment.Segment
	free    [][]byte // packets to use again
	scratch [8192]byte
	forged  bool // the packet under way comes from a forger
	mute    bool // nothing may be said in answer to the packet under way
	noReset bool // no RST may be
}

func newWorld(p *Plan, rec *Recorder) *world {
	w := &world{plan: p, rec: rec, ends: make([][2]end, len(p.Talks)), boxes: make([]box, len(p.Faults)),
		talks: make([]int, len(p.Talks)), limit: 20_000}
	for range max(1, p.Clients) {
		w.hosts = append(w.hosts, newHost(w, len(w.hosts), clientSide))
	}
	w.hosts = append(w.hosts, newHost(w, len(w.hosts), serverSide))
	for i := range w.roads {
		w.roads[i].Path = p.Path[i]
	}
	if p.Fates != nil {
		w.fates = newChoices(p.Fates)
	}
	for i := range p.Faults {
		w.prepare(i)
	}
	w.tainted = p.has(Mangle)
	for i := range p.Talks {
		w.talks[i] = i
		w.prepareTalk(i)
		w.cuts = w.cuts || p.Talks[i].CutAt > 0
	}
	w.agenda.push(happening{at: p.Heal, kind: heals})
	return w
}

func (w *world) prepare(i int) {
	f := &w.plan.Faults[i]
	b := &w.boxes[i]
	b.Fault = f
	b.dice = rand.New(rand.NewPCG(f.ID, w.plan.Seed))
	if w.fates != nil {
		b.dice = rand.New(w.fates)
	}
	at := func(t time.Duration, k happeningKind) { w.agenda.push(happening{at: t, kind: k, who: i}) }
	switch f.Kind {
	case Drift:
		for _, h := range w.on(f.Dir) {
			h.drift = int64(f.N)
		}
	case Pause:
		at(f.To, resumes)
	case Forge, Flood:
		at(f.From, forges)
	case Leap, Crash, Quit:
		at(f.From, strikes)
	}
}

// on returns the hosts of a side.
func (w *world) on(side int) []*host {
	if server := len(w.hosts) - 1; side == clientSide {
		return w.hosts[:server]
	} else if side == serverSide {
		return w.hosts[server:]
	}
	return w.hosts
}

func (w *world) prepareTalk(i int) {
	t := &w.plan.Talks[i]
	if t.Absent {
		return
	}
	for side := range w.ends[i] {
		h := w.hostOf(i, side)
		w.ends[i][side] = end{w: w, at: h, side: side, talk: i, app: &t.Apps[side], peerApp: &t.Apps[1-side]}
		if side == t.Opener || t.Simultaneous {
			w.agenda.push(happening{at: t.Start + time.Duration(side)*time.Microsecond, kind: starts, who: side, talk: i})
			continue
		}
		h.listen(w.address(i, side), t)
	}
	w.limit += 400 + 8*t.octets() // one octet a segment, sent and acknowledged, several times
}

// listen opens the door of a talk, unless another talk has.
func (h *host) listen(local netip.AddrPort, t *Talk) {
	for _, d := range h.doors {
		if d.Local() == local {
			return
		}
	}
	cfg := engine.ListenConfig{Conn: t.Conf[h.side], Backlog: t.Backlog, Cookies: t.Cookies,
		HalfOpen: t.HalfOpen, SYNDelay: t.SYNDelay}
	if t.FastOpen {
		cfg.FastOpen = 100
	}
	l, err := h.stack.Listen(h.clock(0), local, func(netip.Addr) int { return mtu }, cfg)
	if err != nil {
		panic(err)
	}
	h.doors = append(h.doors, door{l, t.AcceptFrom})
	if t.AcceptFrom > 0 {
		h.w.agenda.push(happening{at: t.AcceptFrom, kind: accepts, who: h.id})
	}
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
		if t.Tuple != i {
			d += 7 * time.Minute // until TIME-WAIT lets go of the addresses
		}
		rtt := w.plan.Path[0].Delay + w.plan.Path[1].Delay + time.Second
		for h := range t.Conf {
			step, least := rtt, min(64, t.Conf[h].SendBuffer, t.Conf[1-h].ReceiveBuffer)
			if w.plan.Limits[1-h].Memory > 0 { // nothing is taken out of order, and each segment may wait for a timeout
				step += maxRTO
			}
			if t.Apps[h].Turns { // a chunk each way in a round trip, however small
				least = min(least, t.Apps[h].Chunk)
			}
			d += time.Duration(t.Apps[h].Send/least+1) * step
			a := &t.Apps[h]
			d += time.Duration(a.Send/a.Chunk+1)*a.Pause + time.Duration(t.Apps[1-h].Send/min(a.ReadChunk, 1000)+1)*a.ReadPause
		}
	}
	return d
}

func (w *world) play() {
	bound := w.bound()
	for w.violation == "" && w.turn() && w.step() {
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

// turn counts a turn of a loop and reports whether there may be another.
func (w *world) turn() bool {
	if w.turns++; w.turns > 2_000_000+4*w.limit {
		w.fail("L3: %d turns, %d segments and no end: %s", w.turns, w.segments, w.state())
	}
	return w.violation == ""
}

// step goes to the next thing that happens; false: nothing will.
func (w *world) step() bool {
	who := -1
	var next time.Duration
	if len(w.agenda.q) > 0 {
		who, next = len(w.hosts), w.agenda.q[0].at
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
	if who == len(w.hosts) {
		w.happen(w.agenda.pop())
	} else {
		h := w.hosts[who]
		h.stack.Advance(h.clock(w.now))
		h.stir()
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
		for _, h := range w.on(w.boxes[x.who].Dir) {
			w.resume(h)
		}
	case accepts:
		w.accept(w.hosts[x.who])
	case forges:
		w.attack(x.who)
	case strikes:
		w.strike(&w.boxes[x.who])
	case mourns:
		w.judgeMourning(x.who, x.talk)
	case heals:
		w.healed = true
		w.log("the road heals")
	}
}

// start dials, or waits until the application can: it stands still, or the same
// addresses are still taken by the talk before.
func (w *world) start(side, talk int) {
	e, t := &w.ends[talk][side], &w.plan.Talks[talk]
	h := e.at
	if h.dead || h.quit {
		return
	}
	later := func(d time.Duration) {
		w.agenda.push(happening{at: w.now + d, kind: starts, who: side, talk: talk})
	}
	if h.standsStill() {
		later(time.Millisecond)
		return
	}
	before := w.talks[t.Tuple]
	w.talks[t.Tuple] = talk
	c, err := h.stack.Dial(h.clock(w.now), w.address(talk, side), w.address(talk, 1-side), mtu, t.Conf[side])
	switch {
	case errors.Is(err, engine.ErrInUse):
		w.talks[t.Tuple] = before
		later(time.Second)
		return
	case errors.Is(err, engine.ErrTooMany) && w.plan.Limits[side].Conns > 0:
		w.talks[t.Tuple] = before
		return
	case err != nil:
		w.fail("dial: %v", err)
		return
	}
	h.stir()
	e.adopt(c)
	if w.plan.Talks[talk].FastOpen {
		e.work() // what it writes now can ride on the SYN
	}
}

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
	if h.dead {
		w.answerForDead(h, x.packet)
		return
	}
	if h.standsStill() {
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
	h.stir()
	h.stack.Deliver(h.clock(w.now), x.packet, 0)
	w.accept(h)
	w.flush(h)
	w.forged, w.mute, w.noReset = false, false, false
}

func (w *world) accept(h *host) {
	for _, d := range h.doors {
		if w.now < d.opens || h.standsStill() {
			continue
		}
		for c := d.Accept(); c != nil; c = d.Accept() {
			if x := h.watches[c.ID()]; x == nil {
				w.fail("I21: host %d accepted a stranger, %v", h.id, c.Remote())
			} else if x.end.c == nil {
				x.end.adopt(c)
			} else {
				w.acceptedTwice(x.end, c)
			}
		}
	}
}

// acceptedTwice ends a connection that a copy of a SYN or of a cookie's ACK made
// when the talk was over on this side. With an initial sequence number that is
// not always the same nobody can complete it, unless the peer still hopes for
// the first.
func (w *world) acceptedTwice(e *end, c *engine.Conn) {
	t := &w.plan.Talks[e.talk]
	if t.Conf[e.side].ISN == nil && !w.plan.excused(e.talk) && !t.bakes() {
		w.fail("L1: talk %d was accepted twice by host %d", e.talk, e.at.id)
	}
	c.Abort(e.at.clock(w.now))
}

func (w *world) resume(h *host) {
	if h.standsStill() {
		return
	}
	h.paused = false
	h.stir()
	for i := range h.mailbox {
		w.deliver(h, &h.mailbox[i])
		w.free = append(w.free, h.mailbox[i].packet)
	}
	h.mailbox = h.mailbox[:0]
	w.accept(h)
}

// report hands over an ICMP message: of the kind in talk if it is negative,
// else that the packet is too big for talk octets.
func (w *world) report(x *happening) {
	h := w.hosts[x.who]
	if h.standsStill() || h.dead {
		return
	}
	v6 := x.packet[0]>>4 == 6
	m := engine.ICMP{From: hostAddr(200, v6), Type: 3, Code: 4, MTU: x.talk, Quoted: x.packet}
	switch {
	case x.talk < 0 && v6:
		m.Type, m.Code, m.MTU = 1, uint8(-x.talk-1), 0
	case x.talk < 0:
		m.Code, m.MTU = uint8(-x.talk-1), 0
	case v6:
		m.Type, m.Code = 2, 0
	}
	w.forged = x.forged
	h.stack.DeliverICMP(h.clock(w.now), m)
	w.forged = false
	h.stir()
}

// settle lets applications act and stacks speak until all is quiet, and judges.
func (w *world) settle() {
	for i := 0; i < len(w.stirred); i++ {
		w.flush(w.stirred[i])
	}
	for len(w.dirty) > 0 && w.violation == "" && w.turn() {
		e := w.dirty[0]
		w.dirty = w.dirty[:copy(w.dirty, w.dirty[1:])]
		e.dirty = false
		if e.at.standsStill() {
			e.at.paused = true
			e.wake(w.now + time.Millisecond)
			continue
		}
		e.at.stir()
		e.work()
		w.flush(e.at)
	}
	for _, h := range w.stirred {
		h.stirs = false
		h.judge()
	}
	w.stirred = w.stirred[:0]
}

// flush puts what a host has to say on the road.
func (w *world) flush(h *host) {
	for w.violation == "" && !h.dead && h.stack.Transmit(h.clock(w.now), &w.out) {
		if w.out.SegmentSize > 0 {
			w.supers++
		}
		for i := range w.out.Count() {
			w.depart(h, pieceOf(&w.out, i))
		}
		if w.segments > w.limit {
			return
		}
	}
}

// pieceOf is segment i of a super-segment, or of another all of it, as the kernel
// and the network card cut: RFC 9293 knows nothing of it.
func pieceOf(s *segment.Segment, i int) segment.Segment {
	piece, size := *s, int(s.SegmentSize)
	if size == 0 {
		return piece
	}
	from, to := i*size, min((i+1)*size, len(s.Payload))
	piece.SegmentSize, piece.Seq, piece.Payload = 0, s.Seq.Add(from), s.Payload[from:to]
	if i > 0 {
		piece.Flags &^= segment.CWR
	}
	if to < len(s.Payload) {
		piece.Flags &^= segment.FIN | segment.PSH
	}
	return piece
}

// depart puts one segment on the road.
func (w *world) depart(h *host, s segment.Segment) {
	w.segments++
	pkt, err := s.Append(w.buffer())
	if err != nil {
		w.fail("I16: host %d sends what cannot be built: %v", h.id, err)
		return
	}
	w.judgePacket(h, pkt)
	if w.rec != nil {
		w.rec.sent(w.now, h.id, pkt)
	}
	if w.talkOf(s.Src, s.Dst) < 0 {
		w.judgeStranger(h, pkt)
		return
	}
	w.send(h.side, pkt, false)
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
				in := e.c.Info(e.at.clock(w.now))
				s += fmt.Sprintf("\n  talk %d, host %d: %v, read %d of %d, wrote %d of %d, queued %d, flight %d, window %d, cwnd %d",
					i, e.at.id, in.State, e.read, e.peerApp.Send, e.sent, e.app.Send, in.SendQueue, in.Vars.Flight, in.Vars.SndWnd, in.Vars.Cwnd)
			}
		}
	}
	return s
}

// judgeEnd holds what must be true when nothing will happen any more (L1, L2, L4).
func (w *world) judgeEnd() {
	for _, h := range w.hosts {
		if h.dead {
			continue
		}
		if n := h.stack.Conns(); n != 0 || h.stack.Deadline() != 0 {
			w.fail("L2: nothing will happen any more, and host %d has %d connections: %s", h.id, n, w.state())
		}
	}
	for i := range w.ends {
		if t := &w.plan.Talks[i]; t.Absent || w.plan.excused(i) || w.forsaken(i) {
			continue
		}
		for h := range w.ends[i] {
			w.judgeTalk(&w.ends[i][h])
		}
	}
}

// forsaken reports whether one of a talk's hosts has reset connections that were
// closed and not done, for lack of memory.
func (w *world) forsaken(talk int) bool {
	for side := range w.ends[talk] {
		h := w.hostOf(talk, side)
		if w.plan.Limits[side].Memory > 0 && h.stack.Counters().OrphansReset > 0 {
			return true
		}
	}
	return false
}

func (w *world) judgeTalk(e *end) {
	switch {
	case e.c == nil:
		w.fail("L1: talk %d never reached host %d", e.talk, e.at.id)
	case e.read != e.peerApp.Send || !e.eof:
		w.fail("L1: talk %d, host %d read %d of %d, end of data %t, %v", e.talk, e.at.id, e.read, e.peerApp.Send, e.eof, errors.Join(e.err, e.c.Err()))
	case e.c.Err() != nil:
		w.fail("I26: talk %d, host %d ended with %v after all was said", e.talk, e.at.id, e.c.Err())
	}
}
