package puppet

import (
	"bytes"
	"net/netip"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// A Puppet is our end of one connection. It knows the numbers of an obedient
// peer and sends what it is told.
type Puppet struct {
	stage         *Stage
	board         *Board
	local, remote netip.AddrPort
	mtu           int
	shape         Shape
	news          chan struct{}
	provoked      time.Duration // when the last provocation left
	booked        *booking      // packets that may leave without waiting; nil: none
	prompt        bool          // what it books goes first
	kept          int           // places of the pace that it has kept for answers
	left          bool
	rtt           time.Duration // of the handshake; 0: unknown
	lag           time.Duration // from the peer's SYN-ACK to our ACK

	// The Board's lock guards what follows.
	conn   uint64
	state  engine.State
	iss    segment.Seq
	sndNxt segment.Seq
	sndUna segment.Seq // the highest acknowledgement that arrived
	spoke  bool        // something of ours left that may have opened a connection
	reset  bool        // the connection was reset, by either side
	fin    bool        // our FIN left in its place
	window uint16      // what our segments advertise

	answered bool // the peer's SYN is in
	irs      segment.Seq
	rcvNxt   segment.Seq
	told     segment.Seq  // the last ACK that we sent
	held     *segment.Seq // what our ACKs say instead of rcvNxt
	peer     Peer
	peerWnd  int // octets
	peerFIN  bool
	tsBase   uint32
	recent   uint32 // the peer's timestamp that we echo
	stream   []byte // received in order
	early    []piece

	inbox  []*Arrival
	cursor int
	icmp   []*Arrival
	sentAt int64 // when the last segment was sent, in nanoseconds since 1970
}

// A piece is data that arrived before what stands in front of it.
type piece struct {
	seq  segment.Seq
	data []byte
	fin  bool
}

// A Peer is what the SYN or SYN-ACK of the peer has told.
type Peer struct {
	MSS        int // octets; 0: no option
	Scale      int // -1: no option
	SACK       bool
	Timestamps bool
	ECN        bool // ECE without CWR in answer to our offer
	Window     uint16
	TTL        uint8
}

// An Arrival is a segment that was received, or an ICMP error about one of ours.
type Arrival struct {
	segment.Segment
	Bytes  []byte        // the whole packet
	At     time.Duration // since the Board began; the kernel's receive time if it is known
	Number int           // in the evidence
	ICMP   *engine.ICMP  // not nil: an ICMP error, and no segment

	stamp int64 // the kernel's, in nanoseconds since 1970, or 0
}

// Reserved returns the three reserved bits of the TCP header.
func (a *Arrival) Reserved() uint8 {
	at := segment.IPv6HeaderLen // extension headers do not come this far
	if a.Bytes[0]>>4 == 4 {
		at = int(a.Bytes[0]&15) * 4
	}
	return a.Bytes[at+12] >> 1 & 7
}

// Sent says what became of a segment of ours.
type Sent struct {
	segment.Segment               // as it left
	Bytes           []byte        // the whole packet
	At              time.Duration // taken before the call to the link
	Number          int           // in the evidence; 0: it did not leave
}

// begin gives a puppet the numbers of a new connection. Called with the lock held.
func (p *Puppet) begin() {
	b := p.board
	b.conns++
	p.conn, p.state = b.conns, engine.Closed
	p.iss = segment.MakeSeq(uint32(b.cfg.Random()))
	p.tsBase = uint32(b.cfg.Random())
	p.sndNxt, p.sndUna = p.iss, p.iss
	p.window = p.shape.Window
	p.spoke, p.reset, p.fin, p.answered, p.peerFIN, p.held = false, false, false, false, false, nil
	p.peer, p.peerWnd, p.recent, p.irs, p.rcvNxt = Peer{Scale: -1}, 0, 0, segment.Seq{}, segment.Seq{}
	p.stream, p.early, p.inbox, p.icmp, p.cursor, p.provoked, p.sentAt = nil, nil, nil, nil, 0, 0, 0
}

// Local returns our address and port.
func (p *Puppet) Local() netip.AddrPort { return p.local }

// Remote returns the peer's address and port.
func (p *Puppet) Remote() netip.AddrPort { return p.remote }

// RTT returns the round trip of Open's handshake, 0 if its SYN was sent twice.
func (p *Puppet) RTT() time.Duration { return p.rtt }

// Lag returns how long Open's ACK took after the SYN-ACK had come: as much longer
// does the peer take the round trip to be.
func (p *Puppet) Lag() time.Duration { return p.lag }

// Conn returns the number of the connection in the evidence.
func (p *Puppet) Conn() uint64 { return locked(p, func() uint64 { return p.conn }) }

// Shape returns what the puppet offers, with the defaults filled in.
func (p *Puppet) Shape() Shape { return p.shape }

// locked reads a variable that the Board's reader writes.
func locked[V any](p *Puppet, read func() V) V {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	return read()
}

// ISS returns our initial sequence number.
func (p *Puppet) ISS() segment.Seq { return locked(p, func() segment.Seq { return p.iss }) }

// IRS returns the peer's initial sequence number.
func (p *Puppet) IRS() segment.Seq { return locked(p, func() segment.Seq { return p.irs }) }

// SndNxt returns the sequence number of the next new octet of ours.
func (p *Puppet) SndNxt() segment.Seq { return locked(p, func() segment.Seq { return p.sndNxt }) }

// SndUna returns the highest acknowledgement that the peer has sent.
func (p *Puppet) SndUna() segment.Seq { return locked(p, func() segment.Seq { return p.sndUna }) }

// RcvNxt returns what an obedient peer would acknowledge.
func (p *Puppet) RcvNxt() segment.Seq { return locked(p, func() segment.Seq { return p.rcvNxt }) }

// Peer returns what the peer's SYN told.
func (p *Puppet) Peer() Peer { return locked(p, func() Peer { return p.peer }) }

// PeerWindow returns the peer's window, in octets, beyond its last ACK.
func (p *Puppet) PeerWindow() int { return locked(p, func() int { return p.peerWnd }) }

// Received returns what has arrived in order. It is the caller's.
func (p *Puppet) Received() []byte {
	return locked(p, func() []byte { return bytes.Clone(p.stream) })
}

// PeerClosed reports whether all up to the peer's FIN has arrived.
func (p *Puppet) PeerClosed() bool { return locked(p, func() bool { return p.peerFIN }) }

// Reset reports whether the connection was reset, by either side.
func (p *Puppet) Reset() bool { return locked(p, func() bool { return p.reset }) }

// Established reports whether our SYN was acknowledged and the connection lives.
func (p *Puppet) Established() bool {
	return locked(p, func() bool { return p.answered && !p.reset && p.iss.Less(p.sndUna) })
}

// Window makes our segments advertise a window, as on the wire, from now on.
func (p *Puppet) Window(n uint16) {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	p.window = n
}

// HoldAck makes our segments acknowledge no more than now, whatever arrives.
func (p *Puppet) HoldAck() { p.holdAt(0) }

// HoldAckAt makes our segments acknowledge n octets of the stream, whatever arrives.
func (p *Puppet) HoldAckAt(n int) { p.holdAt(n) }

func (p *Puppet) holdAt(n int) {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	at := p.rcvNxt
	if n > 0 {
		at = p.irs.Add(1 + n)
	}
	p.held = &at
}

// ReleaseAck ends HoldAck.
func (p *Puppet) ReleaseAck() {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	p.held = nil
}

// Segment returns what an obedient peer would send with these flags: the first
// sequence number and the offered options with SYN, SND.NXT otherwise; RCV.NXT
// with ACK; timestamps where both sides have offered them, but not with RST.
func (p *Puppet) Segment(flags segment.Flags, mods ...Mod) Shot {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	return p.shot(flags, mods)
}

func (p *Puppet) shot(flags segment.Flags, mods []Mod) Shot {
	s := Shot{Segment: segment.Segment{
		Src: p.local, Dst: p.remote, Seq: p.sndNxt, Flags: flags, Window: p.window, TTL: p.shape.TTL, TOS: p.shape.TOS,
	}}
	if flags.Has(segment.ACK) {
		s.Ack = p.rcvNxt
		if p.held != nil {
			s.Ack = *p.held
		}
	}
	switch {
	case flags.Has(segment.SYN):
		s.Seq, s.Options = p.iss, p.shape.options(p.clock(), p.recent)
		if p.shape.ECN && !flags.Has(segment.ACK) {
			s.Flags |= segment.ECE | segment.CWR
		}
	case p.stamps() && !flags.Has(segment.RST):
		s.Options = segment.Options{Set: segment.HasTimestamps, TSVal: p.clock(), TSEcr: p.recent}
	case flags.Has(segment.RST):
		s.Window = 0
	}
	for _, m := range mods {
		m(&s)
	}
	return s
}

// stamps reports whether both sides have offered timestamps.
func (p *Puppet) stamps() bool { return p.answered && p.peer.Timestamps && !p.shape.NoTimestamps }

// clock is our timestamp clock: one tick for each millisecond.
func (p *Puppet) clock() uint32 { return p.tsBase + uint32(p.board.Now().Milliseconds()) }

// Send sends a segment. New data and a FIN in their place move SND.NXT. What
// arrives from now on is what the next Await looks at.
func (p *Puppet) Send(flags segment.Flags, mods ...Mod) Sent {
	return p.fire([]func() Shot{func() Shot { return p.shot(flags, mods) }}, ordinary)[0]
}

// Reply is Send for an answer that the peer waits for. It leaves before all that
// only waits for the pace, and what has arrived before it left is still there for
// the next Await.
func (p *Puppet) Reply(flags segment.Flags, mods ...Mod) Sent {
	return p.fire([]func() Shot{func() Shot { return p.shot(flags, mods) }}, owed)[0]
}

// OnCall keeps n places of every second for what the puppet replies, until it is
// closed: so many answers need not wait at all. It waits until they are free. What the
// puppet books from now on goes before what others wait to send, too, for which n may
// be 0. All that are on call have a quarter of the places at most, and packets that
// leave together and are more than the rest may take those as well.
func (p *Puppet) OnCall(n int) {
	pace := p.board.pace
	n = min(n, pace.rate/4)
	if pace.take(n, inTurn, p.stage.pause) {
		p.prompt = true
		p.kept += pace.keep(n)
	}
}

// Provoke is Send for what no obedient peer would say: it leaves SND.NXT as it
// is, and waits until the last provocation of this connection is long enough ago.
func (p *Puppet) Provoke(flags segment.Flags, mods ...Mod) Sent {
	p.rest()
	sent := p.fire([]func() Shot{func() Shot { return p.shot(flags, mods) }}, provoking)[0]
	p.provoked = sent.At
	return sent
}

// rest waits until another provocation is decent.
func (p *Puppet) rest() {
	if p.provoked == 0 {
		return
	}
	if wait := p.provoked + p.board.cfg.Spacing - p.board.Now(); wait > 0 {
		p.stage.Wait(wait)
	}
}

// Book waits until n packets may leave at once, and lets the next n of this
// puppet leave without waiting if they do within a second: for a handshake or an
// exchange whose time the peer measures. n is cut to what a second holds. It ends
// a booking made before. A puppet on call goes before those that are not.
func (p *Puppet) Book(n int) {
	pace := p.board.pace
	pace.giveBack(p.booked)
	p.booked = nil
	n = min(n, pace.rate)
	rank := inTurn
	if p.prompt {
		rank = owing
	}
	if pace.take(n, rank, p.stage.pause) {
		p.booked = pace.book(n)
	}
}

// dismiss gives up what the pace holds for the puppet.
func (p *Puppet) dismiss() {
	p.board.pace.giveBack(p.booked)
	p.board.pace.release(p.kept)
	p.booked, p.prompt, p.kept = nil, false, 0
}

// reserve waits until n packets may leave, and reports whether they may. The
// caller tells the pace when they have.
func (p *Puppet) reserve(n int, how manner) bool {
	pace, rank := p.board.pace, inTurn
	switch {
	case how == owed && p.kept > 0:
		rank = onCall
	case how == owed:
		rank = owing
	}
	return pace.draw(p.booked, n) || pace.take(n, rank, p.stage.pause)
}

// Volley sends segments made by Segment together, as one provocation: SND.NXT
// stays as it is. No more than the Board's rate fit in one.
func (p *Puppet) Volley(shots ...Shot) []Sent {
	p.rest()
	makers := make([]func() Shot, len(shots))
	for i := range shots {
		makers[i] = func() Shot { return shots[i] }
	}
	sent := p.fire(makers, provoking)
	p.provoked = sent[len(sent)-1].At
	return sent
}

// A manner is how a segment leaves.
type manner int

const (
	ordinary  manner = iota // what an obedient peer says
	owed                    // the same, as an answer to what has arrived
	provoking               // what no obedient peer would say
)

// fire sends segments together when the pace allows it.
func (p *Puppet) fire(makers []func() Shot, how manner) []Sent {
	sent := make([]Sent, len(makers))
	b := p.board
	if !p.stage.ok() {
		return sent
	}
	room := b.pace.rate
	for from := 0; from < len(makers); from += room {
		to := min(from+room, len(makers))
		if !p.reserve(to-from, how) {
			return sent
		}
		err := p.launch(makers[from:to], sent[from:to], how)
		b.pace.gone(to - from)
		if err != nil {
			p.stage.fail(err)
			return sent
		}
	}
	return sent
}

// launch builds and sends segments now.
func (p *Puppet) launch(makers []func() Shot, sent []Sent, how manner) error {
	b := p.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if how != owed {
		p.cursor, p.sentAt = len(p.inbox), time.Now().UnixNano()
	}
	at := b.Now()
	packets := make([][]byte, len(makers))
	for i, makeShot := range makers {
		s := makeShot()
		pkt, err := s.append()
		if err != nil {
			return err
		}
		packets[i] = pkt
		if how != provoking {
			p.advance(&s.Segment)
		}
		if s.Flags.Has(segment.ACK) {
			p.told = s.Ack
		}
		p.spoke = p.spoke || s.Flags.Has(segment.SYN)
		p.reset = p.reset || how != provoking && s.Flags.Has(segment.RST)
		sent[i] = Sent{Segment: s.Segment, Bytes: pkt, At: at, Number: p.record(engine.EventSegmentOut, &s.Segment, pkt, at, 0)}
	}
	return b.write(packets)
}

// advance moves SND.NXT by a segment that stands in its place, and the state.
func (p *Puppet) advance(s *segment.Segment) {
	if s.Seq == p.sndNxt && s.Len() > 0 && !s.Flags.Has(segment.RST) {
		p.sndNxt = s.End()
		p.fin = p.fin || s.Flags.Has(segment.FIN)
	}
	switch {
	case s.Flags.Has(segment.RST):
		p.state = engine.Closed
	case s.Flags.Has(segment.SYN):
		p.state = engine.SynSent
	case s.Flags.Has(segment.ACK) && p.state == engine.SynSent && p.answered:
		p.state = engine.Established
	}
}

// record makes a segment part of the evidence. packet is the caller's to keep.
func (p *Puppet) record(kind engine.EventKind, s *segment.Segment, packet []byte, at time.Duration, stamp int64) int {
	whole := new(segment.Segment)
	if whole.Parse(packet) != nil { // one of ours that is meant to be wrong
		whole = s
	}
	return p.board.trace(p.stage, &engine.Event{
		Kind: kind, At: engine.Time(at + 1), Stamp: stamp, Conn: p.conn, Local: p.local, Remote: p.remote, State: p.state,
		Segment: whole, Packet: packet, Reason: p.stage.cfg.Label,
		Vars: engine.Vars{
			ISS: p.iss, IRS: p.irs, SndUna: p.sndUna, SndNxt: p.sndNxt, SndWnd: p.peerWnd, RcvNxt: p.rcvNxt,
			SndScale: uint8(max(p.peer.Scale, 0)), RcvScale: uint8(max(p.shape.Scale, 0)),
		},
	})
}
