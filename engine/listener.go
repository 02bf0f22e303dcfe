package engine

import (
	"net/netip"
	"time"

	"rawtcp/segment"
)

// ListenConfig are the settings of a Listener.
type ListenConfig struct {
	Conn     ConnConfig    // of the connections it accepts; SYNRetries default 3 here
	Backlog  int           // most connections that wait to be accepted; default 128
	HalfOpen int           // most handshakes under way; default 4096
	Mute     bool          // never answer a SYN
	SYNDelay time.Duration // wait so long before the SYN-ACK
}

// A Listener is a local address and port in LISTEN. A handshake under way is a
// small entry of its SYN cache, not a connection (RFC 4987 section 3.4): a
// flood of SYNs cannot make it allocate more than the cache.
type Listener struct {
	// OnReady, if set, is called when a connection can be accepted. It must
	// only take note.
	OnReady func()

	stack   *Stack
	local   netip.AddrPort
	cfg     ListenConfig
	conn    *ConnConfig // of the connections it accepts
	mtuFor  func(remote netip.Addr) int
	cache   map[fourTuple]*synEntry
	order   []*synEntry // by age, for eviction; removed entries stay until they reach the front
	queue   []*Conn     // established, not accepted
	closed  bool
	scratch Conn // shapes SYN-ACKs, so that both ways to open build them alike
}

// A synEntry is one connection in SYN-RECEIVED by a passive open.
type synEntry struct {
	node     timerNode
	listener *Listener
	tuple    fourTuple
	id       uint64
	iss, irs segment.Seq
	peer     PeerInfo
	tsVal    uint32
	tos      uint8
	retries  int // SYN-ACKs sent again
	sent     bool
	queued   bool // a SYN-ACK is due
	dead     bool
	at       Time // when the last SYN-ACK left
	ackAt    Time // when the last challenge ACK left
}

// Listen puts a local address and port into LISTEN. An unspecified address
// takes every address of its family, [::] those of both. mtuFor names the
// largest datagram towards a peer.
func (s *Stack) Listen(_ Time, local netip.AddrPort, mtuFor func(netip.Addr) int, cfg ListenConfig) (*Listener, error) {
	if s.listeners[local] != nil {
		return nil, ErrInUse
	}
	cfg.Conn = cfg.Conn.or(s.cfg.Conn)
	if cfg.Conn.SYNRetries == 0 {
		cfg.Conn.SYNRetries = 3 // a reflector must not amplify
	}
	shared, err := s.settings(cfg.Conn)
	if err != nil {
		return nil, err
	}
	setInt(&cfg.Backlog, 128)
	setInt(&cfg.HalfOpen, 4096)
	l := &Listener{stack: s, local: local, cfg: cfg, conn: shared, mtuFor: mtuFor, cache: make(map[fourTuple]*synEntry)}
	s.listeners[local] = l
	return l, nil
}

// Local returns the address and port listened on.
func (l *Listener) Local() netip.AddrPort { return l.local }

// Accept returns the connection that has waited longest, nil if none waits.
func (l *Listener) Accept() *Conn {
	if len(l.queue) == 0 {
		return nil
	}
	c := l.queue[0]
	l.queue = l.queue[:copy(l.queue, l.queue[1:])]
	c.listener = nil
	return c
}

// Close ends LISTEN. Handshakes under way and connections that nobody accepted
// are reset: their peers must not wait for an application that is gone.
func (l *Listener) Close(now Time) {
	l.stack.now = now
	if l.closed {
		return
	}
	l.closed = true
	delete(l.stack.listeners, l.local)
	for _, e := range l.order {
		if !e.dead {
			l.say(e, segment.RST|segment.ACK, "the listener closed, RFC 9293 section 3.10.4")
			l.drop(e, "the listener closed")
		}
	}
	for _, c := range l.queue {
		c.Abort(now)
	}
	l.queue = nil
}

// receive is RFC 9293 section 3.10.7.2, and for a handshake under way section 3.10.7.4.
func (l *Listener) receive(now Time, s *segment.Segment) {
	if e := l.cache[fourTuple{s.Dst, s.Src}]; e != nil {
		l.receiveHalfOpen(now, e, s)
		return
	}
	switch {
	case s.Flags.Has(segment.RST):
		l.stack.counters.NoConnection++
		l.stack.traceDrop(s, "a RST for no connection")
	case s.Flags.Has(segment.ACK):
		l.stack.counters.NoConnection++
		l.traceIn(0, s, Listen, NoteUnacceptable)
		l.stack.reset(s, "LISTEN: an ACK for no connection, RFC 9293 section 3.10.7.2")
	case s.Flags&(segment.SYN|segment.FIN) != segment.SYN:
		l.stack.traceDrop(s, "neither SYN nor ACK in LISTEN")
	case l.cfg.Mute:
		l.traceIn(0, s, Listen, NoteNone)
	case len(l.queue) >= l.cfg.Backlog:
		l.stack.counters.SYNDropped++
		l.stack.traceDrop(s, ErrBacklog.Error())
	default:
		l.open(now, s)
	}
}

// open starts a handshake.
func (l *Listener) open(now Time, s *segment.Segment) {
	l.evict()
	l.stack.lastID++
	e := &synEntry{
		listener: l, tuple: fourTuple{s.Dst, s.Src}, id: l.stack.lastID,
		iss: l.stack.isn(now, s.Dst, s.Src, l.conn), irs: s.Seq,
		peer: peerInfo(s), tsVal: s.Options.TSVal, tos: l.conn.TOS,
	}
	e.node.owner = e
	l.cache[e.tuple] = e
	l.order = append(l.order, e)
	l.traceChange(e, s, Listen, SynReceived, NoteNone, "SYN received")
	if l.cfg.SYNDelay > 0 {
		l.stack.timers.set(&e.node, now.Add(l.cfg.SYNDelay))
		return
	}
	l.answer(e)
}

// evict makes room for one more handshake: the oldest goes.
func (l *Listener) evict() {
	for len(l.order) > 0 && (l.order[0].dead || len(l.cache) >= l.cfg.HalfOpen) {
		e := l.order[0]
		l.order[0] = nil
		l.order = l.order[1:]
		if !e.dead {
			l.stack.counters.SYNDropped++
			l.drop(e, "the SYN cache is full")
		}
	}
}

func (l *Listener) answer(e *synEntry) {
	if !e.queued {
		e.queued = true
		l.stack.synAcks = append(l.stack.synAcks, e)
	}
}

// forget takes e out of the cache.
func (l *Listener) forget(e *synEntry) {
	e.dead = true
	delete(l.cache, e.tuple)
	l.stack.timers.set(&e.node, 0)
	l.stack.unqueue(e)
}

func (l *Listener) drop(e *synEntry, why string) {
	l.forget(e)
	l.traceState(e, SynReceived, Listen, why)
}

// receiveHalfOpen is SYN-RECEIVED of a passive open, in the order of RFC 9293
// section 3.10.7.4. Only a segment that completes the handshake makes a connection.
func (l *Listener) receiveHalfOpen(now Time, e *synEntry, s *segment.Segment) {
	c := &l.scratch
	l.restore(c, e)
	if s.Flags.Has(segment.RST) {
		l.receiveRST(now, e, s)
		return
	}
	if s.Flags.Has(segment.SYN) && s.Seq == e.irs && !s.Flags.Has(segment.ACK) {
		l.traceIn(e.id, s, SynReceived, NoteDuplicate)
		if e.sent {
			l.answer(e)
		}
		return
	}
	if c.ts.on && !l.checkTimestamp(now, e, s) {
		l.traceIn(e.id, s, SynReceived, NotePAWS)
		return
	}
	switch {
	case !c.acceptable(s), s.Flags.Has(segment.SYN) && s.Seq == e.irs:
		l.traceIn(e.id, s, SynReceived, NoteUnacceptable)
		l.challenge(now, e, "SYN-RECEIVED: the segment is outside the window, RFC 9293 section 3.10.7.4")
	case s.Flags.Has(segment.SYN): // "return this connection to the LISTEN state"
		l.traceChange(e, s, SynReceived, Listen, NoteUnacceptable, "a SYN inside the window")
		l.forget(e)
	case !s.Flags.Has(segment.ACK):
		l.traceIn(e.id, s, SynReceived, NoteUnacceptable)
	case s.Ack != e.iss.Add(1):
		l.traceIn(e.id, s, SynReceived, NoteUnacceptable)
		l.stack.reset(s, "SYN-RECEIVED: it acknowledges what was not sent, RFC 9293 section 3.10.7.4")
	case len(l.queue) >= l.cfg.Backlog: // the peer will repeat it, or data, and we our SYN-ACK
		l.stack.counters.SYNDropped++
		l.traceIn(e.id, s, SynReceived, NoteUnacceptable)
	default:
		l.promote(now, e, s)
	}
}

// receiveRST: exactly at RCV.NXT it returns the connection to LISTEN, and the
// peer's old duplicate SYN is done with (RFC 9293 section 3.5, figure 8);
// elsewhere in the window it is challenged (RFC 5961 section 3.2).
func (l *Listener) receiveRST(now Time, e *synEntry, s *segment.Segment) {
	exact, inWindow := l.scratch.resetAt(s.Seq)
	if exact {
		l.traceChange(e, s, SynReceived, Listen, NoteNone, "RST received")
		l.forget(e)
		return
	}
	l.traceIn(e.id, s, SynReceived, NoteUnacceptable)
	if inWindow {
		l.challenge(now, e, "a RST inside the window but not at RCV.NXT, RFC 5961 section 3.2")
	}
}

// checkTimestamp is Conn.checkTimestamp for a handshake under way: a segment
// without a timestamp is dropped, one with an old timestamp is answered.
func (l *Listener) checkTimestamp(now Time, e *synEntry, s *segment.Segment) bool {
	if !s.Options.Has(segment.HasTimestamps) {
		return false
	}
	if int32(s.Options.TSVal-e.tsVal) < 0 {
		l.challenge(now, e, "PAWS: an old timestamp, RFC 7323 section 5.3")
		return false
	}
	return true
}

// challenge answers for a handshake under way, limited like Conn.challengeACK.
func (l *Listener) challenge(now Time, e *synEntry, why string) {
	if e.ackAt != 0 && now.Sub(e.ackAt) < l.conn.ChallengeACK {
		return
	}
	e.ackAt = now
	l.say(e, segment.ACK, why)
}

func (l *Listener) say(e *synEntry, flags segment.Flags, why string) {
	ev := Event{Conn: e.id, State: SynReceived, Vars: e.vars(), Reason: why}
	seg := segment.Segment{Src: e.tuple.local, Dst: e.tuple.remote, Seq: e.iss.Add(1), Ack: e.irs.Add(1),
		Flags: flags, TTL: l.conn.TTL, TOS: e.tos}
	c := &l.scratch
	l.restore(c, e)
	if !flags.Has(segment.RST) {
		seg.Window = c.advertise()
	}
	if c.ts.on {
		seg.Options.Set |= segment.HasTimestamps
		seg.Options.TSVal, seg.Options.TSEcr = c.tsNow(l.stack.now), e.tsVal
	}
	l.stack.say(ev, seg)
}

// restore makes c the connection that e stands for.
func (l *Listener) restore(c *Conn, e *synEntry) {
	*c = Conn{stack: l.stack, id: e.id, local: e.tuple.local, remote: e.tuple.remote, cfg: l.conn,
		state: SynReceived, passive: true, mtu: l.mtuFor(e.tuple.remote.Addr())}
	c.link = int32(c.mtu)
	c.ts.offset = l.stack.secrets.tsOffset(c.local, c.remote)
	c.startAt(e.iss)
	c.rcv.buf.limit = c.cfg.ReceiveBuffer
	c.snd.buf.limit = c.cfg.SendBuffer
	c.rtt.init(c.cfg.InitialRTO, c.cfg.MinRTO, c.cfg.MaxRTO)
	c.learn(l.stack.now, e.irs, e.peer, e.tsVal)
	c.ecn.on = c.cfg.ECN == On && e.peer.ECN
}

// transmit fills s with the SYN-ACK of e.
func (l *Listener) transmit(now Time, e *synEntry, s *segment.Segment) {
	c := &l.scratch
	l.restore(c, e)
	*s = segment.Segment{Src: c.local, Dst: c.remote, Seq: e.iss, Ack: c.rcv.nxt,
		Flags: segment.SYN | segment.ACK, TTL: c.cfg.TTL, TOS: c.cfg.TOS, Window: uint16(min(c.windowWanted(), 0xffff))}
	c.synOptions(now, &s.Options, true)
	if c.ecn.on {
		s.Flags |= segment.ECE
	}
	ev := Event{Kind: EventSegmentOut, Conn: e.id, Local: s.Src, Remote: s.Dst, State: SynReceived,
		Vars: e.vars(), Segment: s, Reason: "answers the SYN, RFC 9293 section 3.5"}
	if e.sent {
		ev.Note, ev.Reason = NoteRetransmission, "no answer to the SYN-ACK, RFC 6298 section 5"
		e.retries++
	}
	e.sent, e.at = true, now
	l.stack.timers.set(&e.node, now.Add(min(c.cfg.InitialRTO<<min(e.retries, 16), c.cfg.MaxRTO)))
	if l.stack.cfg.Tracer != nil {
		l.stack.trace(&ev)
	}
}

// Advance is the SYN-ACK's timer: the delay of the first, or the wait for an answer.
func (e *synEntry) Advance(Time) {
	l := e.listener
	if e.sent && e.retries >= l.conn.SYNRetries {
		l.drop(e, "no answer to the SYN-ACK")
		return
	}
	l.answer(e)
}

// promote makes the connection that e stands for, and gives it the segment
// that completes the handshake.
func (l *Listener) promote(now Time, e *synEntry, s *segment.Segment) {
	l.forget(e)
	c := new(Conn)
	l.restore(c, e)
	c.node.owner = c
	c.listener = l
	c.account(now)
	c.created, c.lastRecv = e.at, now
	c.retries = e.retries
	c.snd.nxt = e.iss.Add(1)
	c.track(sentRange{start: e.iss, end: c.snd.nxt, at: e.at, first: e.at,
		flags: segment.SYN, everResent: e.retries > 0})
	l.stack.add(c)
	c.Receive(now, s)
}

// push queues an established connection for Accept.
func (l *Listener) push(c *Conn) {
	if l.closed {
		c.Abort(l.stack.now)
		return
	}
	l.queue = append(l.queue, c)
	if l.OnReady != nil {
		l.OnReady()
	}
}

func (e *synEntry) vars() Vars {
	return Vars{ISS: e.iss, IRS: e.irs, SndUna: e.iss, SndNxt: e.iss.Add(1), RcvNxt: e.irs.Add(1)}
}

func (l *Listener) traceState(e *synEntry, from, to State, why string) {
	if l.stack.cfg.Tracer != nil {
		ev := e.change(from, to, why)
		l.stack.trace(&ev)
	}
}

// traceChange tells of a segment and of the change of state that it causes.
func (l *Listener) traceChange(e *synEntry, s *segment.Segment, from, to State, note Note, why string) {
	if l.stack.cfg.Tracer == nil {
		return
	}
	change := e.change(from, to, why)
	change.At = l.stack.now
	l.traceIn(e.id, s, to, note, change)
	l.stack.trace(&change)
}

func (e *synEntry) change(from, to State, why string) Event {
	return Event{Kind: EventState, Conn: e.id, Local: e.tuple.local, Remote: e.tuple.remote,
		State: to, From: from, To: to, Reason: why, Vars: e.vars()}
}

func (l *Listener) traceIn(id uint64, s *segment.Segment, state State, note Note, follows ...Event) {
	if l.stack.cfg.Tracer == nil {
		return
	}
	ev := l.stack.segmentIn(s, note)
	ev.Conn, ev.State, ev.Follows = id, state, follows
	if e := l.cache[fourTuple{s.Dst, s.Src}]; e != nil {
		ev.Vars = e.vars()
	}
	l.stack.trace(&ev)
}
