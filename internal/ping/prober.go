package ping

import (
	"errors"
	"net/netip"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// A Target is one peer's port, and what our SYNs to it look like.
type Target struct {
	Local  netip.Addr
	Remote netip.AddrPort
	SYN    segment.Segment // its ports, addresses and Seq are the Prober's to set; TSVal is where the clock starts
}

// Config says what a Prober sends and when.
type Config struct {
	Targets  []Target      // all different
	Count    int           // probes of each target; 0: until Stop
	Interval time.Duration // between two probes of a target
	Stagger  time.Duration // between the first probes of two targets
	Wait     time.Duration // for the answer to a probe; above 0

	// Flood, if above 0, sends as fast as answers come, with so many probes of each
	// target under way, at most 16384; Interval and Stagger do not count then. It is
	// for measurements of this program: against a host that is not one's own it is
	// an attack.
	Flood int

	Port   uint16                     // source port of every probe; 0: ports from the dynamic range
	ISN    *segment.Seq               // of every probe; nil: from Random
	Random func() uint32              // source of sequence numbers and of the first port
	Claim  func(netip.AddrPort) error // keeps the kernel silent on a port
	Emit   func(*Event)               // may be nil

	// OnPanic, if set, is called when a goroutine of a Pinger or Full panics; see
	// engine.HostConfig.
	OnPanic func(cause any)
}

// A Prober decides what is sent and what an answer means. It opens no socket and
// reads no clock. One goroutine at a time may use it.
type Prober struct {
	cfg     Config
	targets []*target
	byPeer  map[peer]*target
	latest  *target        // that find has found
	waiting queue[attempt] // in the order of their deadlines; decided ones are left out lazily
	resets  queue[reset]
	event   Event // that is being told
	stopped bool
	cut     engine.Time // after Stop: when the last answers are no longer waited for
}

// An attempt is a use of a probe, whose memory is used again.
type attempt struct {
	*probe
	number int // probe.seq then
}

// undecided reports whether the attempt waits for its answer.
func (a attempt) undecided() bool { return a.probe.seq == a.number && a.kind == "" }

// A target is a Target under way.
type target struct {
	Target
	index    int
	peer     peer
	ports    ports
	probes   probeTable // the latest of each source port
	underway int        // probes that wait for an answer
	nextAt   engine.Time
	stats    Stats
}

// A probeTable finds the probe of a source port: in pages of 256 ports, of which
// there are those that are needed.
type probeTable [256]*[256]*probe

func (t *probeTable) at(port uint16) *probe {
	if page := t[port>>8]; page != nil {
		return page[port&0xff]
	}
	return nil
}

func (t *probeTable) add(port uint16) *probe {
	page := t[port>>8]
	if page == nil {
		page = new([256]*probe)
		t[port>>8] = page
	}
	page[port&0xff] = new(probe)
	return page[port&0xff]
}

// A peer is what the segments of one target have in common.
type peer struct {
	local  netip.Addr
	remote netip.AddrPort
}

// A probe is one SYN.
type probe struct {
	target *target
	seq    int
	local  netip.AddrPort
	isn    segment.Seq
	sent   engine.Time
	stamp  int64                   // the kernel's transmit time, 0 while unknown
	passed struct{ out, in int64 } // when the SYN and its first answer passed a Tap
	due    engine.Time
	kind   Kind // "" while it waits
}

// NewProber returns a Prober whose first probe is due at now.
func NewProber(now engine.Time, cfg Config) *Prober {
	p := &Prober{cfg: cfg, byPeer: make(map[peer]*target)}
	for i, t := range cfg.Targets {
		made := &target{
			Target: t, index: i, peer: peer{t.Local.WithZone(""), bare(t.Remote)},
			nextAt: now.Add(time.Duration(i) * cfg.Stagger),
			ports: ports{
				local: t.Local, claim: cfg.Claim, limit: max(maxPorts, cfg.Flood),
				next: int(cfg.Random() % numPorts),
			},
		}
		if cfg.Port != 0 {
			made.ports.next, made.ports.limit = int(cfg.Port), 1
		}
		p.targets = append(p.targets, made)
		p.byPeer[made.peer] = made
	}
	return p
}

// bare is an address without its zone, as packets show it.
func bare(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}

// wants reports whether the target has probes to send.
func (p *Prober) wants(t *target) bool {
	return !p.stopped && (p.cfg.Count == 0 || t.stats.Sent < p.cfg.Count) && (p.cfg.Flood == 0 || t.underway < p.cfg.Flood)
}

// Deadline returns when Advance or Transmit has something to do next, zero for
// never.
func (p *Prober) Deadline() engine.Time {
	var next engine.Time
	sooner := func(t engine.Time) {
		if next.IsZero() || t < next {
			next = t
		}
	}
	for _, t := range p.targets {
		if p.wants(t) {
			sooner(t.nextAt)
		}
	}
	if due := p.due(); !due.IsZero() {
		sooner(due)
	}
	return next
}

// due is when waiting ends for the oldest probe, or for all; zero if none waits.
func (p *Prober) due() engine.Time {
	first, ok := p.oldest()
	switch {
	case !ok:
		return 0
	case p.stopped:
		return min(first.due, p.cut)
	}
	return first.due
}

// oldest returns the probe whose wait is over first.
func (p *Prober) oldest() (attempt, bool) {
	for p.waiting.len() > 0 {
		if first := *p.waiting.first(); first.undecided() {
			return first, true
		}
		p.waiting.pop()
	}
	return attempt{}, false
}

// Done reports whether there is nothing left to send or to wait for.
func (p *Prober) Done() bool {
	for _, t := range p.targets {
		if p.wants(t) {
			return false
		}
	}
	_, waits := p.oldest()
	return !waits && p.resets.len() == 0
}

// Stop ends the sending of probes. Answers to those under way are waited for
// until grace is over, and then not counted as lost.
func (p *Prober) Stop(now engine.Time, grace time.Duration) {
	if cut := now.Add(grace); !p.stopped || cut < p.cut {
		p.stopped, p.cut = true, cut
	}
}

// Advance decides the probes whose wait is over.
func (p *Prober) Advance(now engine.Time) {
	for first, ok := p.oldest(); ok && first.due <= now; first, ok = p.oldest() {
		p.lose(now, first.probe)
	}
	if p.stopped && p.cut <= now {
		for left, ok := p.oldest(); ok; left, ok = p.oldest() {
			p.reset(left.target, left.local, left.isn.Add(1))
			p.waiting.pop()
		}
	}
}

// lose decides that a probe is lost. The SYN-ACK alone may have been: the peer
// must not keep the connection.
func (p *Prober) lose(now engine.Time, w *probe) {
	p.reset(w.target, w.local, w.isn.Add(1))
	p.event = Event{Kind: Lost, At: now}
	p.decide(w, &p.event)
}

// Transmit fills s with the next segment to send and reports whether there is
// one. The error is about a source port that cannot be had; nothing can be sent
// to that target then.
func (p *Prober) Transmit(now engine.Time, s *segment.Segment) (bool, error) {
	if p.resets.len() > 0 {
		p.resets.first().fill(s)
		p.resets.pop()
		return true, nil
	}
	for _, t := range p.targets {
		if !p.wants(t) || t.nextAt > now {
			continue
		}
		port, err := t.ports.take(now)
		if errors.Is(err, errNoPort) {
			t.nextAt = p.firstDue(t, now)
			continue
		}
		if err != nil {
			return false, err
		}
		p.syn(now, t, port, s)
		return true, nil
	}
	return false, nil
}

// firstDue is when the oldest probe of a target gives its port back.
func (p *Prober) firstDue(t *target, now engine.Time) engine.Time {
	for i := range p.waiting.len() {
		if w := p.waiting.at(i); w.target == t && w.undecided() {
			return w.due
		}
	}
	return now.Add(p.cfg.Wait)
}

// syn makes the next probe of a target and fills s with it.
func (p *Prober) syn(now engine.Time, t *target, port uint16, s *segment.Segment) {
	t.stats.Sent++
	t.stats.SegmentsSent++
	t.underway++
	if p.cfg.Flood > 0 {
		t.nextAt = now
	} else if t.nextAt = t.nextAt.Add(p.cfg.Interval); t.nextAt <= now {
		t.nextAt = now.Add(p.cfg.Interval) // what was missed is not made up for in a burst
	}
	made := t.probes.at(port)
	if made == nil {
		made = t.probes.add(port)
	}
	*made = probe{
		target: t, seq: t.stats.Sent, local: netip.AddrPortFrom(t.peer.local, port),
		isn: p.isn(), sent: now, due: now.Add(p.cfg.Wait),
	}
	p.waiting.push(attempt{made, made.seq})
	*s = t.SYN
	s.Flags |= segment.SYN
	s.Src, s.Dst, s.Seq = made.local, t.peer.remote, made.isn
	if s.Options.Has(segment.HasTimestamps) {
		s.Options.TSVal += uint32(time.Duration(now) / time.Millisecond) // RFC 7323 section 5.4
	}
}

func (p *Prober) isn() segment.Seq {
	if p.cfg.ISN != nil {
		return *p.cfg.ISN
	}
	return segment.MakeSeq(p.cfg.Random())
}

// A reset is a RST that waits to be sent. A peer in SYN-RECEIVED accepts it: its
// sequence number is the next one the peer expects (RFC 9293 section 3.10.7.4, RFC 5961 section 3.2).
type reset struct {
	target *target
	local  netip.AddrPort
	seq    segment.Seq
}

// fill makes s the RST, which is about to be sent.
func (r *reset) fill(s *segment.Segment) {
	t := r.target
	t.stats.SegmentsSent++
	*s = segment.Segment{Src: r.local, Dst: t.peer.remote, Seq: r.seq, Flags: segment.RST, TTL: t.SYN.TTL, TOS: t.SYN.TOS}
}

func (p *Prober) reset(t *target, local netip.AddrPort, seq segment.Seq) {
	p.resets.push(reset{t, local, seq})
}

// decide settles a probe, or adds to what is known of a settled one.
func (p *Prober) decide(w *probe, e *Event) {
	t := w.target
	e.Target, e.Seq, e.Local, e.Remote = t.index, w.seq, w.local, t.Remote
	if e.Kind == Reply || e.Kind == Refused {
		switch w.kind {
		case "":
		case Lost, Unreachable, Failed:
			e.Kind = Late
		case Reply:
			if e.Kind == Refused { // the end of a whole connection, and no answer to its SYN
				return
			}
			e.Kind = Duplicate
		default:
			e.Kind = Duplicate
		}
	}
	t.stats.count(e, w.kind)
	if w.kind == "" {
		t.underway--
		t.ports.rest(w.local.Port(), e.At, e.Kind == Lost)
	}
	if e.Kind != Duplicate {
		w.kind = e.Kind
	}
	if p.cfg.Emit != nil {
		p.cfg.Emit(e)
	}
}

// Stamped takes the kernel's transmit time, in nanoseconds since 1970, of the
// segment from local to remote with the sequence number seq.
func (p *Prober) Stamped(local, remote netip.AddrPort, seq uint32, stamp int64) {
	if w := p.find(local, remote); w != nil && w.isn.Uint32() == seq {
		w.stamp = stamp
	}
}

// Passed takes a segment that a Tap saw, and when: out is what we sent.
func (p *Prober) Passed(s *segment.Segment, stamp int64, out bool) {
	if out {
		if w := p.find(s.Src, s.Dst); w != nil && w.isn == s.Seq && w.passed.out == 0 {
			w.passed.out = stamp
		}
		return
	}
	w := p.find(s.Dst, s.Src)
	if w != nil && w.passed.in == 0 && s.Flags.Has(segment.ACK) && s.Ack == w.isn.Add(1) {
		w.passed.in = stamp
	}
}

func (p *Prober) find(local, remote netip.AddrPort) *probe {
	t := p.targetOf(local.Addr(), remote)
	if t == nil {
		return nil
	}
	return t.probes.at(local.Port())
}

// targetOf returns the target with these addresses, nil if there is none. As a rule
// it is the one that was asked for last.
func (p *Prober) targetOf(local netip.Addr, remote netip.AddrPort) *target {
	key := peer{local, remote}
	if t := p.latest; t != nil && t.peer == key {
		return t
	}
	t := p.byPeer[key]
	if t != nil {
		p.latest = t
	}
	return t
}

// SendFailed takes the news that a segment from Transmit did not get out.
func (p *Prober) SendFailed(now engine.Time, s *segment.Segment, err error) {
	if w := p.find(s.Src, s.Dst); w != nil && w.isn == s.Seq && w.kind == "" && s.Flags.Has(segment.SYN) {
		p.event = Event{Kind: Failed, At: now, Err: err}
		p.decide(w, &p.event)
	}
}

// Overhear is Deliver for a segment that somebody else answers.
func (p *Prober) Overhear(now engine.Time, s *segment.Segment, stamp int64) {
	before := p.resets.len()
	p.Deliver(now, s, stamp)
	p.resets.cut(before)
}

// Deliver takes a segment that came; stamp is when the kernel received it, in
// nanoseconds since 1970, or 0. It reports whether the segment is from a target.
func (p *Prober) Deliver(now engine.Time, s *segment.Segment, stamp int64) bool {
	w := p.find(s.Dst, s.Src)
	if w == nil || s.Checksum == segment.ChecksumBad {
		return false
	}
	w.target.stats.SegmentsReceived++
	ours := s.Flags.Has(segment.ACK) && s.Ack == w.isn.Add(1)
	switch {
	case s.Flags.Has(segment.RST):
		if ours { // otherwise it could be anyone's (RFC 9293 section 3.10.7.3)
			p.answer(now, w, Refused, s, stamp)
		}
	case ours && s.Flags.Has(segment.SYN):
		p.reset(w.target, w.local, s.Ack)
		p.answer(now, w, Reply, s, stamp)
	case s.Flags.Has(segment.ACK):
		// It belongs to a connection that we have long given up.
		p.reset(w.target, w.local, s.Ack)
	}
	return true
}

func (p *Prober) answer(now engine.Time, w *probe, kind Kind, s *segment.Segment, stamp int64) {
	rtt, kernel := w.roundTrip(now, stamp)
	if w.kind == "" && rtt > p.cfg.Wait { // Advance is behind
		p.lose(now, w)
	}
	p.event = Event{Kind: kind, At: now, Segment: s, RTT: rtt, Kernel: kernel}
	p.decide(w, &p.event)
}

// roundTrip is the time between two stamps of the kernel: those of a Tap, if it
// saw both segments, else those of the link. Our own clock, read
// before the one and after the other, must have seen at least as much pass; if
// not, the system's clock was set meanwhile.
func (w *probe) roundTrip(now engine.Time, stamp int64) (rtt time.Duration, kernel bool) {
	seen := now.Sub(w.sent)
	sane := func(from, to int64) bool {
		return from != 0 && to != 0 && from <= to && time.Duration(to-from) <= seen
	}
	first := w.kind != Reply && w.kind != Refused && w.kind != Late
	// A tap opened a moment ago may get packets without a stamp, which the kernel
	// then makes up when they are read. What leaves passes the tap before the link
	// stamps it, and what comes too.
	ordered := (w.stamp == 0 || w.passed.out <= w.stamp) && (stamp == 0 || w.passed.in <= stamp)
	switch {
	case first && ordered && sane(w.passed.out, w.passed.in):
		return time.Duration(w.passed.in - w.passed.out), true
	case sane(w.stamp, stamp):
		return time.Duration(stamp - w.stamp), true
	}
	return seen, false
}

// DeliverICMP takes an ICMP error. It reports whether it is about a probe.
func (p *Prober) DeliverICMP(now engine.Time, m *engine.ICMP) bool {
	src, dst, seq, err := segment.ParseQuoted(m.Quoted)
	if err != nil {
		return false
	}
	w := p.find(src, dst)
	if w == nil || w.isn != seq {
		return false
	}
	if w.kind == "" || w.kind == Lost { // a router gives up later than an impatient wait
		p.event = Event{Kind: Unreachable, At: now, RTT: now.Sub(w.sent), ICMP: m}
		p.decide(w, &p.event)
	}
	return true
}

// Stats returns the sums of a target so far.
func (p *Prober) Stats(target int) Stats { return p.targets[target].stats.clone() }
