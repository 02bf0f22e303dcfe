package flow

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"rawtcp/engine"
	"rawtcp/internal/capture"
	"rawtcp/segment"
)

// A Tracker follows the connections of a capture.
type Tracker struct {
	sink   Sink
	most   int
	conns  map[key]*Conn
	newest *Conn // in the order of use
	oldest *Conn
	free   *Conn
	ids    uint64
	event  Event
	judged judgement
	copies copies
}

// A Sink is told what a Tracker sees. What it is given is valid during the call.
type Sink interface {
	// Segment is called for each segment, when it has been followed.
	Segment(e *Event)
	// Gone is called once for each connection, when nothing more is followed of it.
	Gone(c *Conn)
}

// An Event is one segment and what it means.
type Event struct {
	Moment
	Conn    *Conn
	From    Side
	Segment *segment.Segment
	Detail  capture.Detail
	Notes   Notes
	Changes []Change
	Timer   engine.TimerKind // fired on the side of From before it sent this; valid if Fired
	Fired   bool
	Ignored bool // it is damaged, so that its receiver did not get it
}

// defaultMost is how many connections are followed at once.
const defaultMost = 1 << 15

// idle is how long, in ns, a connection that is over is remembered.
const idle = 120e9

// New returns a tracker that follows at most most connections at once, 32768 if
// most is 0.
func New(sink Sink, most int) *Tracker {
	if most <= 0 {
		most = defaultMost
	}
	return &Tracker{sink: sink, most: most, conns: map[key]*Conn{}}
}

// A key names the pair of ends, whichever of them sends.
type key [36]byte

func keyOf(s *segment.Segment) (k key) {
	a, b := s.Src.Addr().As16(), s.Dst.Addr().As16()
	order := bytes.Compare(a[:], b[:])
	src, dst := s.Src.Port(), s.Dst.Port()
	if order > 0 || order == 0 && src > dst {
		a, b, src, dst = b, a, dst, src
	}
	copy(k[:], a[:])
	copy(k[16:], b[:])
	binary.BigEndian.PutUint16(k[32:], src)
	binary.BigEndian.PutUint16(k[34:], dst)
	return k
}

// Add follows one segment; m is where it stands in the capture.
func (t *Tracker) Add(m Moment, s *segment.Segment, d capture.Detail) {
	k := keyOf(s)
	c := t.conns[k]
	rtt := int64(0)
	if c != nil {
		rtt = c.RTT()
	}
	copied := t.copies.seen(&k, s, &d, m.At, rtt)
	if c != nil && !copied && t.begins(c, s) {
		c = t.renew(c, s, m)
	}
	if c == nil {
		c = t.open(k, s, m)
	}
	t.use(c)
	c.Last = m
	t.expire(m.At)
	from := Local
	if s.Src != c.Ends[Local].Addr {
		from = Remote
	}
	t.event = Event{Moment: m, Conn: c, From: from, Segment: s, Detail: d, Changes: t.event.Changes[:0]}
	t.judge(m, copied)
	c.count(from, t.event.Notes, m)
	t.sink.Segment(&t.event)
	t.event.Segment, t.event.Conn = nil, nil
}

// judge fills the event. A copy of what was judged means nothing.
func (t *Tracker) judge(m Moment, copied bool) {
	e := &t.event
	c, s := e.Conn, e.Segment
	f, r := &c.Ends[e.From], &c.Ends[e.From.Other()]
	j := &t.judged
	*j = judgement{c: c, f: f, r: r, s: s, at: m.At, end: s.End(), text: len(s.Payload)}
	f.Segments++
	f.measure(j, e)
	c.Parts |= j.parts()
	if copied {
		e.Notes = Duplicate
		return
	}
	if e.Ignored = f.damaged(s, r); e.Ignored {
		return
	}
	if t.oldSYN(j, m) {
		e.Notes = OldSYN
		f.lastNotes = e.Notes
		return
	}
	e.Notes = j.notes()
	if c.Reused != 0 && m == c.First {
		e.Notes |= PortsReused
	}
	if e.Notes.Has(PAWS) {
		e.Ignored = true
		return
	}
	timed := f.inTimeout
	looks := j.look(m, e.From)
	j.follow(e.Notes)
	if s.Flags.Has(segment.SYN) {
		j.seeSYN(m, e.Detail.OptionsCut)
	}
	switch {
	case f.inTimeout && !timed:
		e.Timer, e.Fired = engine.TimerRTO, true
	case e.Notes.Has(WindowProbe):
		e.Timer, e.Fired = engine.TimerPersist, true
	case e.Notes.Has(KeepAlive):
		e.Timer, e.Fired = engine.TimerKeepAlive, true
	}
	if s.Flags.Has(segment.RST) {
		t.reset(j, looks)
	} else {
		t.states(j, m)
		t.lateFIN(j)
	}
	if c.Done() && !c.Over.Seen() {
		c.Over = m
	}
}

// parts are what a segment adds to the life that was seen.
func (j *judgement) parts() (p Parts) {
	s := j.s
	switch s.Flags & (segment.SYN | segment.ACK) {
	case segment.SYN:
		p |= PartSYN
	case segment.SYN | segment.ACK:
		p |= PartSYNACK
	case segment.ACK:
		p |= PartACK
	}
	if j.text > 0 {
		p |= PartData
	}
	if s.Flags.Has(segment.FIN) {
		p |= PartFIN
	}
	if s.Flags.Has(segment.RST) {
		p |= PartRST
	}
	return p
}

// measure keeps what is the same for every segment, whatever it means.
func (e *End) measure(j *judgement, v *Event) {
	s := j.s
	if e.Segments == 1 {
		e.TTL = s.TTL
	}
	e.Checksums[s.Checksum&3]++
	switch {
	case s.Checksum == segment.ChecksumBad && !e.FirstBad.Seen():
		e.FirstBad = v.Moment
	case s.Checksum == segment.ChecksumPartial && !e.FirstPartial.Seen():
		e.FirstPartial = v.Moment
	}
	switch {
	case j.text > e.Largest:
		e.Largest, e.LargestAt, e.AtLargest = j.text, v.Moment, 1
	case j.text == e.Largest && j.text > 0:
		e.AtLargest++
	}
	if mss := int(j.r.SYN.MSS); mss > 0 && j.text > mss {
		e.Super++
	}
}

// damaged reports whether a checksum is wrong because the segment is. Where
// every segment of a side is wrong, or it is larger than any that can be sent,
// the checksum was left to the network card.
func (e *End) damaged(s *segment.Segment, other *End) bool {
	if s.Checksum != segment.ChecksumBad || e.Checksums[segment.ChecksumOK] == 0 {
		return false
	}
	return other.SYN.MSS == 0 || len(s.Payload) <= int(other.SYN.MSS)
}

// oldSYN reports whether a segment is a SYN that does not fit a connection which
// lives, and keeps it: the answer tells whether it begins another.
func (t *Tracker) oldSYN(j *judgement, m Moment) bool {
	if j.s.Flags&synFinRst != segment.SYN || j.s.Flags.Has(segment.ACK) || !j.f.sent || j.s.Seq == j.f.Base {
		return false
	}
	j.c.pending = pendingSYN{seq: j.s.Seq, at: m, from: t.event.From}
	return true
}

// begins reports whether a segment is the beginning of another connection
// between the same ports.
func (t *Tracker) begins(c *Conn, s *segment.Segment) bool {
	from := &c.Ends[Local]
	if s.Src != from.Addr {
		from = &c.Ends[Remote]
	}
	switch s.Flags & (synFinRst | segment.ACK) {
	case segment.SYN:
		if from.sent && s.Seq == from.Base && from.SYN.Seen {
			return false // sent again
		}
		// Over, or never answered: with another number it is another attempt.
		return c.Done() || from.SYN.Seen && from.State == engine.SynSent && from.sent
	case segment.SYN | segment.ACK:
		return c.pending.at.Seen() && s.Ack == c.pending.seq.Add(1) || c.Done() && from.sent && s.Seq != from.Base && c.Over.Seen()
	}
	return false
}

// open begins to follow a connection with its first segment.
func (t *Tracker) open(k key, s *segment.Segment, m Moment) *Conn {
	c := t.take(k)
	c.First = m
	local, remote := &c.Ends[Local], &c.Ends[Remote]
	local.Addr, remote.Addr = s.Src, s.Dst
	switch s.Flags & (segment.SYN | segment.ACK) {
	case segment.SYN:
		c.Opening = Active
		remote.State = engine.Listen
	case segment.SYN | segment.ACK:
		c.Opening = Active
		local.Addr, remote.Addr = s.Dst, s.Src
		local.State, remote.State = engine.SynSent, engine.Listen
	default:
		return c
	}
	local.pass(local.State)
	remote.pass(remote.State)
	return c
}

// renew ends a connection whose ports begin another with the segment s. If that
// is the answer to a SYN that was seen, the SYN is its beginning.
func (t *Tracker) renew(c *Conn, s *segment.Segment, m Moment) *Conn {
	k, before, pending := c.key, c.ID, c.pending
	t.retire(c)
	n := t.open(k, s, m)
	n.Reused = before
	if s.Flags.Has(segment.ACK) && pending.at.Seen() {
		n.SYN = pending.at
		e := &n.Ends[Local]
		e.sent, e.nxt, e.nxtAt, e.Base = true, pending.seq.Add(1), pending.at.At, pending.seq
	}
	return n
}

// take makes a connection, if need be in the place of the one that was silent
// longest.
func (t *Tracker) take(k key) *Conn {
	for t.oldest != nil && len(t.conns) >= t.most {
		t.oldest.Evicted = !t.oldest.Done()
		t.retire(t.oldest)
	}
	c := t.free
	if c == nil {
		c = new(Conn)
	} else {
		t.free = c.older
		c.reset()
	}
	t.ids++
	c.ID, c.key = t.ids, k
	t.conns[k] = c
	t.link(c)
	return c
}

// reset makes a connection new, with the memory it has.
func (c *Conn) reset() {
	old := *c
	*c = Conn{Resets: old.Resets[:0], samples: old.samples[:0]}
	for side := range c.Ends {
		c.Ends[side].Passed, c.Ends[side].holes = old.Ends[side].Passed[:0], old.Ends[side].holes[:0]
	}
}

// retire ends the following of a connection.
func (t *Tracker) retire(c *Conn) {
	for side := range c.Ends {
		if e := &c.Ends[side]; e.closedAt != 0 {
			e.ClosedFor += c.Last.At - e.closedAt
		}
	}
	t.sink.Gone(c)
	delete(t.conns, c.key)
	t.unlink(c)
	c.older, t.free = t.free, c
}

// use makes a connection the last one used.
func (t *Tracker) use(c *Conn) {
	if t.newest == c {
		return
	}
	t.unlink(c)
	t.link(c)
}

// expire forgets connections that were over long before a moment, so that their
// room is free for others.
func (t *Tracker) expire(at int64) {
	for t.oldest != nil && t.oldest.Done() && at-t.oldest.Last.At > idle {
		t.retire(t.oldest)
	}
}

func (t *Tracker) link(c *Conn) {
	c.older, c.newer = t.newest, nil
	if t.newest != nil {
		t.newest.newer = c
	}
	t.newest = c
	if t.oldest == nil {
		t.oldest = c
	}
}

func (t *Tracker) unlink(c *Conn) {
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		t.newest = c.older
	}
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		t.oldest = c.newer
	}
}

// Close ends the following of every connection, in the order of their numbers.
func (t *Tracker) Close() {
	left := make([]*Conn, 0, len(t.conns))
	for c := t.oldest; c != nil; c = c.newer {
		left = append(left, c)
	}
	slices.SortFunc(left, func(a, b *Conn) int { return cmp.Compare(a.ID, b.ID) })
	for _, c := range left {
		t.retire(c)
	}
}

// Live returns how many connections are followed.
func (t *Tracker) Live() int { return len(t.conns) }
