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
	Cookies  CookieMode    // whether SYNs are answered without memory of them; default when HalfOpen is reached
	FastOpen int           // most connections that data on a SYN has opened and no ACK confirmed (RFC 7413); default 0, no Fast Open
	Mute     bool          // never answer a SYN
	SYNDelay time.Duration // wait so long before the SYN-ACK
}

// A Listener is a local address and port in LISTEN. A handshake under way is a
// small entry of its SYN cache, not a connection (RFC 4987 section 3.4), and
// when the cache is full not even that (section 3.6): a flood of SYNs cannot
// make it allocate more than the cache.
type Listener struct {
	// OnReady, if set, is called when a connection can be accepted. It must
	// only take note.
	OnReady func()

	stack    *Stack
	common   *listenerCommons
	local    netip.AddrPort
	cfg      ListenConfig
	conn     *ConnConfig // of the connections it accepts
	mtuFor   func(remote netip.Addr) int
	own      netip.Addr // of this host: the destination of the last SYN, if local is unspecified
	cache    synCache
	node     timerNode // of all the cache
	cookieAt Time      // when the last SYN cookie left; 0: none has
	queue    []*Conn   // established, not accepted
	resets   []Time    // until when connections count that data on a SYN has opened and that were reset: an attacker may have made their victims do it (RFC 7413 section 5.1)
	closed   bool
	scratch  Conn // shapes SYN-ACKs, so that both ways to open build them alike
}

// Listen puts a local address and port into LISTEN. An unspecified address
// takes every address of its family, [::] those of both. mtuFor names the
// largest datagram towards a peer, octets; 0 says that the address stands for
// many hosts, and its SYN is dropped.
func (s *Stack) Listen(_ Time, local netip.AddrPort, mtuFor func(netip.Addr) int, cfg ListenConfig) (*Listener, error) {
	return s.listenWith(new(listenerCommons), local, mtuFor, cfg)
}

// listenWith is Listen for one of several stacks.
func (s *Stack) listenWith(common *listenerCommons, local netip.AddrPort, mtuFor func(netip.Addr) int, cfg ListenConfig) (*Listener, error) {
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
	l := &Listener{stack: s, common: common, local: local, cfg: cfg, conn: shared, mtuFor: mtuFor, cache: newSYNCache(shared, cfg.SYNDelay)}
	l.node.owner = l
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
	l.common.waiting.Add(-1)
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
	for e := l.oldest(); e != nil; e = l.oldest() {
		l.say(e, segment.RST|segment.ACK, "the listener closed, RFC 9293 section 3.10.4")
		l.drop(e, "the listener closed")
	}
	for _, c := range l.queue {
		c.Abort(now)
	}
	l.common.waiting.Add(-int64(len(l.queue)))
	l.queue = nil
}

// receive is RFC 9293 section 3.10.7.2, and for a handshake under way section 3.10.7.4.
func (l *Listener) receive(now Time, s *segment.Segment) {
	if e := l.find(s.Dst, s.Src); e != nil {
		l.receiveHalfOpen(now, e, s)
		return
	}
	switch {
	case s.Flags.Has(segment.RST):
		l.stack.counters.NoConnection++
		l.stack.traceDrop(s, "a RST for no connection")
	case s.Flags.Has(segment.ACK):
		l.receiveStray(now, s)
	case s.Flags&(segment.SYN|segment.FIN) != segment.SYN:
		l.stack.traceDrop(s, "neither SYN nor ACK in LISTEN")
	case l.cfg.Mute:
		l.traceIn(0, s, Listen, NoteNone)
	case l.isFull():
		l.refuse(s)
	default:
		if mtu := l.pathTo(s); mtu > 0 {
			l.receiveSYN(now, s, mtu)
		}
	}
}

// receiveSYN begins a handshake in one of the ways there are.
func (l *Listener) receiveSYN(now Time, s *segment.Segment, mtu uint16) {
	switch {
	case l.opensFast(now, s):
		l.openFast(now, s, mtu)
	case l.wantsCookie():
		l.answerByCookie(now, s, mtu)
	case l.cache.len() == 0 && l.cacheIsFull():
		l.stack.counters.SYNDropped++
		l.stack.traceDrop(s, "too many handshakes are under way")
	default:
		l.open(now, s, mtu)
	}
}

// pathTo returns the largest datagram towards the sender of s, octets. If one of
// its addresses is the broadcast address of a network, which nobody but the link
// knows, s is dropped and counted, and it is 0 (RFC 9293 section 3.9.2.3, MUST-57
// and MUST-63).
func (l *Listener) pathTo(s *segment.Segment) uint16 {
	if l.local.Addr().IsUnspecified() && s.Dst.Addr() != l.own {
		if l.mtuFor(s.Dst.Addr()) <= 0 {
			l.stack.counters.Malformed++
			l.stack.traceDrop(s, "multicast or broadcast destination")
			return 0
		}
		l.own = s.Dst.Addr()
	}
	mtu := l.mtuFor(s.Src.Addr())
	if mtu <= 0 {
		l.stack.counters.Malformed++
		l.stack.traceDrop(s, "impossible source address")
		return 0
	}
	return uint16(min(mtu, 0xffff))
}

// receiveStray takes an ACK of no connection and of no handshake in memory:
// "Any acknowledgment is bad if it arrives on a connection still in the LISTEN
// state", but one that brings a SYN cookie back is of a handshake.
func (l *Listener) receiveStray(now Time, s *segment.Segment) {
	if l.awaitsCookies(now) && !s.Flags.Has(segment.SYN) && l.receiveCookie(now, s) {
		return
	}
	l.stack.counters.NoConnection++
	l.traceIn(0, s, Listen, NoteUnacceptable)
	l.stack.reset(s, "LISTEN: an ACK for no connection, RFC 9293 section 3.10.7.2")
}

// isFull reports whether as many connections as may wait to be accepted, or are
// there at all. As on
// Linux, no SYN is answered then, and the ACK that completes a handshake counts
// as lost: the peer repeats it, or data with it, and we our SYN-ACK.
func (l *Listener) isFull() bool {
	return l.common.waiting.Load() >= int64(l.cfg.Backlog) || l.stack.crowded()
}

// refuse drops what would need room where there is none.
func (l *Listener) refuse(s *segment.Segment) {
	l.countFull()
	reason := ErrBacklog
	if l.stack.crowded() {
		reason = ErrTooMany
	}
	l.stack.traceDrop(s, reason.Error())
}

// countFull counts one that isFull has kept out.
func (l *Listener) countFull() {
	l.stack.counters.SYNDropped++
	if l.stack.crowded() {
		l.stack.counters.ConnsRefused++
	}
}

// open starts a handshake.
func (l *Listener) open(now Time, s *segment.Segment, mtu uint16) {
	l.makeRoom()
	e := &synEntry{listener: l, id: l.stack.common.nextID(), at: now, iss: l.stack.isn(now, s.Dst, s.Src, l.conn), tos: l.conn.TOS, mtu: mtu}
	e.set(s.Dst, s.Src, s.Seq, peerInfo(s), s.Options.TSVal)
	if l.cfg.FastOpen > 0 {
		_, e.grant = fastOpenOption(&s.Options)
	}
	e.key = l.stack.secrets.tableKey(s.Dst, s.Src)
	if old := l.cache.entries[e.key]; old != nil { // two pairs with one key: once in a lifetime
		l.drop(old, "its place in the SYN cache is taken")
	}
	l.cache.entries[e.key] = e
	l.counts(1)
	l.traceChange(e, s, Listen, SynReceived, NoteNone, "SYN received")
	if l.cfg.SYNDelay > 0 {
		l.cache.delayed.push(e)
		l.schedule()
		return
	}
	l.answer(e)
}

// counts counts handshakes under way.
func (l *Listener) counts(n int64) {
	l.common.halfOpen.Add(n)
	l.stack.common.census.halfOpen.Add(n)
}

// cacheIsFull reports whether as many handshakes are under way as may be, of
// this listener or of all.
func (l *Listener) cacheIsFull() bool {
	return l.common.halfOpen.Load() >= int64(l.cfg.HalfOpen) || l.stack.manyHalfOpen()
}

// makeRoom lets one more handshake into the cache: the oldest goes. Where all are
// of other listeners none goes: the new one takes the place of a connection in
// TIME-WAIT, which is larger.
func (l *Listener) makeRoom() {
	if !l.cacheIsFull() {
		return
	}
	if old := l.oldest(); old != nil {
		l.stack.counters.SYNDropped++
		l.drop(old, "the SYN cache is full")
	}
}

// oldest returns the entry to part with first, nil if there is none.
func (l *Listener) oldest() *synEntry {
	if e := l.cache.oldest(); e != nil {
		return e
	}
	for e := l.stack.synAcks.first; e != nil; e = e.next {
		if e.listener == l {
			return e
		}
	}
	return nil
}

func (l *Listener) find(local, remote netip.AddrPort) *synEntry {
	if l.cache.len() == 0 {
		return nil
	}
	return l.cache.find(l.stack.secrets.tableKey(local, remote), local, remote)
}

// answer has a SYN-ACK sent.
func (l *Listener) answer(e *synEntry) {
	if e.list != &l.stack.synAcks {
		l.stack.synAcks.push(e)
		l.schedule()
	}
}

// forget takes e out of the cache.
func (l *Listener) forget(e *synEntry) {
	delete(l.cache.entries, e.key)
	l.counts(-1)
	e.leave()
	l.schedule()
}

func (l *Listener) drop(e *synEntry, why string) {
	l.forget(e)
	l.traceState(e, SynReceived, Listen, why)
}

// schedule sets the timer to the entry that is due first.
func (l *Listener) schedule() {
	_, due := l.cache.next()
	l.stack.timers.set(&l.node, due)
}

// Advance is the timer of all SYN-ACKs: the delay of a first one, or the wait
// for an answer.
func (l *Listener) Advance(now Time) {
	for e, due := l.cache.next(); e != nil && due <= now; e, due = l.cache.next() {
		if e.answered() && int(e.retries) >= l.conn.SYNRetries {
			l.drop(e, "no answer to the SYN-ACK")
			continue
		}
		if e.answered() { // what a SYN draws that comes again is not counted: copies of it would use up our patience
			e.retries += uint8(min(1, 255-int(e.retries)))
		}
		l.answer(e)
	}
	l.schedule()
}

// push queues an established connection for Accept.
func (l *Listener) push(c *Conn) {
	if l.closed {
		c.Abort(l.stack.now)
		return
	}
	l.queue = append(l.queue, c)
	l.common.waiting.Add(1)
	if l.OnReady != nil {
		l.OnReady()
	}
}
