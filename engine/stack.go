package engine

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"rawtcp/segment"
)

// StackConfig are the settings of a Stack.
type StackConfig struct {
	Secret [32]byte   // keys initial sequence numbers, ports and timestamps; the same secret replays a run
	Tracer Tracer     // nil: none
	Conn   ConnConfig // defaults of connections
	Limits Limits     // of all connections together

	// SuperSegment is the size in octets, IP header included, of the largest
	// super-segment that Transmit may give, 0 for none: see SegmentingLink.
	SuperSegment int

	// ISN, if set, chooses initial sequence numbers instead of RFC 6528. A
	// ConnConfig's ISN comes before it.
	ISN func(now Time, local, remote netip.AddrPort) segment.Seq
}

// A Stack is all connections and listeners that share one link: it finds the
// owner of a segment, orders the timers, and collects what is to be sent. It is
// pure like Conn: the caller brings the time, the packets and the lock.
type Stack struct {
	cfg     StackConfig
	secrets *secrets
	conns   connTable
	rests   rests
	common  *commons      // with the other stacks of a host
	shared  []*ConnConfig // settings in use, the latest last: see settings
	latest  struct {      // what settings was asked for last, and what it returned
		asked    ConnConfig
		settings *ConnConfig
	}
	spares    spares
	memory    memory
	listeners map[netip.AddrPort]*Listener
	timers    timerQueue
	ready     []*Conn // connections that may have something to say, in order
	readyHead int
	replies   []segment.Segment // of no live connection
	synAcks   synList           // half-open connections that owe a SYN-ACK
	now       Time              // of the call under way, for events
	interest  Interest          // of the tracer
	tallies   tallyman
	resets    limiter
	counters  Counters

	event         Event   // that is being told
	tallied       Event   // that tells a tally, while event may wait to be told next
	held          []Event // events that wait for the segment that caused them
	holding       bool
	meta          packetMeta
	parsed        segment.Segment
	optionScratch [segment.MaxOptionsLen]byte
}

// Counters count what belongs to no connection.
type Counters struct {
	PacketsIn        uint64
	Malformed        uint64 // refused by segment.Parse
	BadChecksum      uint64
	NoConnection     uint64 // of no connection and no listener
	ResetsSent       uint64 // in answer to such segments
	ResetsLimited    uint64
	SYNDropped       uint64 // backlog or SYN cache full, or ConnsRefused
	CookiesSent      uint64 // SYN-ACKs with a SYN cookie
	CookiesTaken     uint64 // ACKs that brought a valid one back
	CookiesRefused   uint64 // ACKs that did not, at a time when cookies were out
	FastOpens        uint64 // connections that data on a SYN has opened (RFC 7413)
	FastOpensRefused uint64 // SYNs with a Fast Open cookie that is not ours
	OrphansReset     uint64 // closed connections beyond Limits.Orphans, or that timed out under pressure
	MemoryPressures  uint64 // times that Limits.Memory came near
	MemoryShed       uint64 // octets of buffers freed then by dropping what was out of order
	MemoryRefused    uint64 // segments with text that was not taken then
	TimeWaitsCut     uint64 // connections beyond Limits.TimeWaits
	ConnsRefused     uint64 // opens, SYNs and ACKs that would have made one beyond Limits.Conns
	ICMPIgnored      uint64 // about nothing that is in flight (RFC 5927)
	ICMPTaken        uint64
}

// maxReplies bounds the segments that wait to be sent for no connection.
const maxReplies = 256

// NewStack returns an empty stack.
func NewStack(cfg StackConfig) *Stack { return newStack(cfg, newCommons(1)) }

// newStack returns one of the stacks that share common. What no connection of
// another stack can use is divided among them.
func newStack(cfg StackConfig, common *commons) *Stack {
	cfg.Limits.defaults()
	s := &Stack{
		cfg: cfg, common: common, secrets: newSecrets(cfg.Secret), memory: newMemory(cfg.Limits.Memory, common.stacks),
		conns: newConnTable(), listeners: make(map[netip.AddrPort]*Listener),
		resets: limiter{perSecond: 1000 / common.stacks},
	}
	s.rests.init(s)
	s.setTracer(cfg.Tracer)
	return s
}

// Counters returns what was counted so far.
func (s *Stack) Counters() Counters { return s.counters }

// Conns returns how many connections are on the stack, TIME-WAIT included.
func (s *Stack) Conns() int { return s.conns.len() + s.rests.len() }

// Each calls f for every connection; f may end connections.
func (s *Stack) Each(f func(*Conn)) {
	for _, e := range s.rests.all() {
		s.revive(e)
	}
	for _, c := range s.conns.inOrder() {
		f(c)
	}
}

// Dial starts an active open from local to remote; the SYN comes out of
// Transmit. mtu is the largest datagram the route takes, in octets.
func (s *Stack) Dial(now Time, local, remote netip.AddrPort, mtu int, cfg ConnConfig) (*Conn, error) {
	s.now = now
	if err := checkRemote(local, remote); err != nil {
		return nil, err
	}
	if s.InUse(local, remote) {
		return nil, ErrInUse
	}
	if s.crowded() {
		s.counters.ConnsRefused++
		return nil, fmt.Errorf("%w: %d, Limits.Conns", ErrTooMany, s.cfg.Limits.Conns)
	}
	c, err := s.newConn(now, local, remote, mtu, cfg)
	if err != nil {
		return nil, err
	}
	s.add(c)
	c.open(now)
	return c, nil
}

// checkRemote refuses what cannot be a TCP peer (RFC 9293 section 3.9.1.1, MUST-46).
func checkRemote(local, remote netip.AddrPort) error {
	a := remote.Addr()
	if !remote.IsValid() || !local.IsValid() || a.IsMulticast() || a.IsUnspecified() ||
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || remote.Port() == 0 || local.Port() == 0 {
		return fmt.Errorf("%w: %s", ErrBadAddress, remote)
	}
	if a.Is4() != local.Addr().Is4() {
		return fmt.Errorf("%w: %s and %s are of different families", ErrBadAddress, local, remote)
	}
	return nil
}

// newConn makes a connection in CLOSED; it is not on the stack yet.
func (s *Stack) newConn(now Time, local, remote netip.AddrPort, mtu int, cfg ConnConfig) (*Conn, error) {
	shared, err := s.settings(cfg)
	if err != nil {
		return nil, err
	}
	c := s.spares.takeConn()
	c.stack, c.id, c.local, c.remote, c.cfg = s, s.common.nextID(), local, remote, shared
	c.mtu, c.link, c.created, c.lastRecv = mtu, int32(mtu), now, now
	c.node.owner = c
	c.peer.WindowScale = -1
	c.startAt(s.isn(now, local, remote, shared))
	c.account(now)
	c.rcv.buf.limit = c.cfg.ReceiveBuffer
	c.snd.buf.limit = c.cfg.SendBuffer
	c.ts.offset = s.secrets.tsOffset(local, remote)
	c.rtt.init(c.cfg.InitialRTO, c.cfg.MinRTO, c.cfg.MaxRTO)
	c.setMSS()
	return c, nil
}

// isn chooses the initial sequence number of a connection.
func (s *Stack) isn(now Time, local, remote netip.AddrPort, cfg *ConnConfig) segment.Seq {
	switch {
	case cfg.ISN != nil:
		return *cfg.ISN
	case s.cfg.ISN != nil:
		return s.cfg.ISN(now, local, remote)
	}
	return s.secrets.isn(now, local, remote)
}

func (c *Conn) startAt(iss segment.Seq) {
	c.snd.iss, c.snd.una, c.snd.nxt = iss, iss, iss
	c.snd.buf.start, c.snd.roundEnd = iss.Add(1), iss.Add(1)
}

func (s *Stack) add(c *Conn) {
	s.conns.add(c)
	s.common.census.conns.Add(1)
}

func (s *Stack) remove(c *Conn) {
	if s.conns.remove(c) {
		s.common.census.conns.Add(-1)
	}
	s.timers.set(&c.node, 0)
}

// EphemeralPort returns the port to try for a connection to remote: RFC 6056
// algorithm 3 over the range that RFC 6335 leaves to it. try counts from 0.
func (s *Stack) EphemeralPort(local netip.Addr, remote netip.AddrPort, try int) uint16 {
	const first, count = 49152, 16384
	return uint16(first + (uint64(s.secrets.portOffset(local, remote))+uint64(try))%count)
}

// Deliver takes one whole IP packet from the link. stamp is when the kernel
// received it, nanoseconds since 1970, 0 if unknown. pkt is not kept.
func (s *Stack) Deliver(now Time, pkt []byte, stamp int64) {
	s.now = now
	s.counters.PacketsIn++
	s.holdPacket(pkt, stamp)
	defer s.holdPacket(nil, 0)
	seg := &s.parsed
	if err := seg.Parse(pkt); err != nil {
		s.counters.Malformed++
		s.traceDrop(nil, segment.Reason(err))
		return
	}
	if seg.Checksum == segment.ChecksumBad { // MUST-3; no reply, it may not be from whom it says
		s.counters.BadChecksum++
		s.traceDrop(seg, "bad checksum")
		return
	}
	if reason := martian(seg); reason != "" {
		s.counters.Malformed++
		s.traceDrop(seg, reason)
		return
	}
	s.Receive(now, seg)
}

// martian names what is wrong with addresses and ports that no peer can have
// (RFC 9293 section 3.9.2.3, MUST-57 and MUST-63; RFC 6335 section 6).
func martian(seg *segment.Segment) string {
	src, dst := seg.Src.Addr(), seg.Dst.Addr()
	switch {
	case src.IsMulticast(), src.IsUnspecified(), src == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "impossible source address"
	case dst.IsMulticast(), dst == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "multicast or broadcast destination"
	case seg.Src.Port() == 0 || seg.Dst.Port() == 0:
		return "port 0"
	case seg.Src == seg.Dst:
		return "source and destination are the same"
	}
	return ""
}

// Receive takes one parsed segment to its connection, its listener, or the
// rule for segments of no connection (RFC 9293 section 3.10.7.1).
func (s *Stack) Receive(now Time, seg *segment.Segment) {
	s.now = now
	if c := s.find(seg.Dst, seg.Src); c != nil {
		if l := s.reopens(c, seg); l != nil {
			if mtu := l.pathTo(seg); mtu > 0 {
				c.finish(nil, "a new SYN ends TIME-WAIT, RFC 6191 section 2")
				l.open(now, seg, mtu)
			}
			return
		}
		c.Receive(now, seg)
		return
	}
	if l := s.listener(seg.Dst); l != nil {
		l.receive(now, seg)
		return
	}
	// Not ours: this stack is one endpoint of the machine and not the machine,
	// so that it must not reset what may belong to another.
	s.counters.NoConnection++
	s.traceDrop(seg, "no such connection")
}

// reopens returns the listener for a SYN that may replace a connection in
// TIME-WAIT (RFC 9293 section 3.6.1, MAY-2; RFC 6191), nil if seg is none. One
// that would drop the SYN does not count: TIME-WAIT must not end for nothing. The
// SYN gets an entry of the SYN cache and no cookie, for an ISN of the clock is
// above the old one, and that of a cookie may not be.
func (s *Stack) reopens(c *Conn, seg *segment.Segment) *Listener {
	if c.state != TimeWait || seg.Flags&(segment.SYN|segment.ACK|segment.RST|segment.FIN) != segment.SYN {
		return nil
	}
	l := s.listener(seg.Dst)
	if l == nil || l.cfg.Mute || l.isFull() || !c.olderThan(seg, l.conn.Timestamps.or(true)) {
		return nil
	}
	return l
}

// olderThan is the list of RFC 6191 section 2: whether a SYN cannot be an old
// duplicate of this connection in TIME-WAIT. stamps says whether a new
// connection would use timestamps if the SYN has one.
func (c *Conn) olderThan(syn *segment.Segment, stamps bool) bool {
	// "greater than the last sequence number seen on the previous incarnation":
	// that of the peer's FIN
	higher := c.rcv.nxt.Add(-1).Less(syn.Seq)
	switch stamps = stamps && syn.Options.Has(segment.HasTimestamps); {
	case stamps && c.ts.on:
		age := int32(syn.Options.TSVal - c.ts.recent)
		return age > 0 || age == 0 && higher
	case stamps:
		return true
	}
	return higher
}

// listener finds who listens on an address and port: the exact address wins,
// then the unspecified one of its family, then [::], which takes both.
func (s *Stack) listener(local netip.AddrPort) *Listener {
	if l := s.listeners[local]; l != nil {
		return l
	}
	if local.Addr().Is4() {
		if l := s.listeners[netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())]; l != nil {
			return l
		}
	}
	return s.listeners[netip.AddrPortFrom(netip.IPv6Unspecified(), local.Port())]
}

// reset answers a segment that acknowledges what was not sent with a RST that
// its sender will believe, at the number it acknowledges (RFC 9293 section
// 3.5.2): one for one, and no more than a fixed rate.
func (s *Stack) reset(seg *segment.Segment, why string) {
	if seg.Flags.Has(segment.RST) {
		return
	}
	if !s.resets.allow(s.now) {
		s.counters.ResetsLimited++
		return
	}
	s.counters.ResetsSent++
	r := segment.Segment{Src: seg.Dst, Dst: seg.Src, Seq: seg.Ack, Flags: segment.RST, TTL: 64}
	if seg.Options.Has(segment.HasTimestamps) { // "SEG.TSecr SHOULD be set to SEG.TSval" RFC 7323 section 5.2
		r.Options = segment.Options{Set: segment.HasTimestamps, TSEcr: seg.Options.TSVal}
	}
	e := Event{Reason: why}
	if c := s.conns.find(seg.Dst, seg.Src); c != nil {
		e.Conn, e.State, e.Vars = c.id, c.state, c.vars()
	}
	s.say(e, r)
}

// say queues a segment that no connection will send.
func (s *Stack) say(e Event, seg segment.Segment) {
	if len(s.replies) >= maxReplies {
		return
	}
	s.replies = append(s.replies, seg)
	if s.cfg.Tracer != nil {
		e.Kind, e.Local, e.Remote, e.Segment = EventSegmentOut, seg.Src, seg.Dst, &seg
		s.trace(&e)
	}
}

// wake puts c on the list of connections that Transmit asks.
func (s *Stack) wake(c *Conn) {
	if !c.queued && c.state != Closed {
		c.queued = true
		s.ready = append(s.ready, c)
	}
}

// schedule tells the timer queue about a connection's next deadline.
func (s *Stack) schedule(c *Conn) {
	if c.state != Closed {
		s.timers.set(&c.node, c.Deadline())
	}
}

// Deadline returns when Advance has something to do; zero: nothing waits.
func (s *Stack) Deadline() Time { return s.timers.due() }

// Advance fires every timer that is due.
func (s *Stack) Advance(now Time) {
	s.now = now
	s.timers.fire(now)
}

// Transmit fills seg with the next segment that any connection has to send. Its
// payload and options alias the stack until the next call into it.
func (s *Stack) Transmit(now Time, seg *segment.Segment) bool {
	s.now = now
	if s.memory.relieved {
		s.relieve(now)
	}
	if len(s.replies) > 0 {
		*seg = s.replies[0]
		s.replies = s.replies[:copy(s.replies, s.replies[1:])]
		return true
	}
	if e := s.synAcks.first; e != nil {
		e.listener.transmit(now, e, seg)
		return true
	}
	for s.readyHead < len(s.ready) {
		c := s.ready[s.readyHead]
		if c.Transmit(now, seg) {
			return true
		}
		c.queued = false
		s.ready[s.readyHead] = nil
		s.readyHead++
	}
	s.ready, s.readyHead = s.ready[:0], 0
	s.tellTally()
	return false
}

// DeliverICMP takes an ICMP error message. It is believed only about an octet
// that is in flight: "SND.UNA =< SEG.SEQ < SND.NXT" RFC 5927 section 4.1.
func (s *Stack) DeliverICMP(now Time, m ICMP) {
	s.now = now
	src, dst, seq, err := segment.ParseQuoted(m.Quoted)
	var c *Conn
	if err == nil {
		c = s.find(src, dst)
	}
	if c == nil && err == nil && s.halfOpenICMP(src, dst, seq, m) {
		return
	}
	if c == nil || seq.Less(c.snd.una) || !seq.Less(c.snd.nxt) {
		s.counters.ICMPIgnored++
		if c != nil {
			c.trace(&Event{Kind: EventICMP, ICMP: &m, Reason: "ignored: about nothing in flight, RFC 5927 section 4.1"})
		}
		return
	}
	s.counters.ICMPTaken++
	c.receiveICMP(now, seq, m)
}

// A limiter allows so many events in each second that begins with its first.
type limiter struct {
	perSecond, used int
	since           Time
}

func (l *limiter) allow(now Time) bool {
	if now.Sub(l.since) >= 1e9 {
		l.since, l.used = now, 0
	}
	l.used++
	return l.used <= l.perSecond
}

// quotedMTU guards against a message that names no next-hop MTU (RFC 1191
// section 5): the largest plateau below the size of the quoted datagram.
func quotedMTU(m ICMP) int {
	if m.MTU > 0 {
		return m.MTU
	}
	if len(m.Quoted) < 4 {
		return 0
	}
	size := int(binary.BigEndian.Uint16(m.Quoted[2:]))
	for _, plateau := range [...]int{32000, 17914, 8166, 4352, 2002, 1492, 1006, 552} {
		if plateau < size {
			return plateau
		}
	}
	return 0
}
