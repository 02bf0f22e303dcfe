package report

import (
	"cmp"
	"slices"

	"rawtcp/internal/trace"
)

// A conn is what is kept of one connection. "Local" is the side that tells: we
// ourselves, or, in a capture, the side that opened.
type conn struct {
	id            uint64
	full          bool // it is drawn
	local, remote string
	segments      []trace.SegmentLine
	states        []trace.StateLine
	timers        []trace.TimerLine
	icmps         []trace.ICMPLine
	findings      []trace.FindingLine
	problems      int // findings of that severity, kept or not
	warnings      int
	sum           *trace.Summary
	capture       *trace.ConnectionLine
	seen          uint64 // segments, kept or not
	cut           bool   // states, timers or ICMP errors were left out
	notes         []noteCount
}

// A noteCount is how often something remarkable was seen, and first when.
type noteCount struct {
	note  string
	count int
	first int64 // microseconds
}

// segment keeps a segment if there is room, and reports whether it did.
func (c *conn) segment(w words, l trace.SegmentLine, room bool) bool {
	c.seen++
	for _, s := range []*string{&l.Src, &l.Dst, &l.Flags, &l.Checksum, &l.Note, &l.Reason, &l.State, &l.PeerState, &l.Dir} {
		*s = w.keep(*s)
	}
	for i := range l.Notes {
		l.Notes[i] = w.keep(l.Notes[i])
	}
	l.Options.Raw = ""
	if c.local == "" && l.Src != "" {
		c.local, c.remote = l.Src, l.Dst
		if l.Dir == "in" {
			c.local, c.remote = l.Dst, l.Src
		}
	}
	c.count(&l)
	if !c.full || !room || len(c.segments) == maxSegments {
		return false
	}
	c.segments = append(c.segments, l)
	return true
}

func (c *conn) count(l *trace.SegmentLine) {
	for _, note := range notesOf(l) {
		i := slices.IndexFunc(c.notes, func(n noteCount) bool { return n.note == note })
		if i < 0 {
			const maxNotes = 100
			if len(c.notes) == maxNotes {
				return
			}
			c.notes = append(c.notes, noteCount{note: note, first: l.TimeUS})
			i = len(c.notes) - 1
		}
		c.notes[i].count++
	}
}

// notesOf is all that is remarkable of a segment.
func notesOf(l *trace.SegmentLine) []string {
	switch {
	case len(l.Notes) > 0:
		return l.Notes
	case l.Note != "":
		return []string{l.Note}
	}
	return nil
}

func (c *conn) state(w words, l trace.StateLine) {
	l.From, l.To, l.Cause, l.Side = w.keep(l.From), w.keep(l.To), w.keep(l.Cause), w.keep(l.Side)
	c.states = keepEvent(c, c.states, l)
}

func (c *conn) timer(w words, l trace.TimerLine) {
	l.Timer, l.What, l.Side = w.keep(l.Timer), w.keep(l.What), w.keep(l.Side)
	c.timers = keepEvent(c, c.timers, l)
}

func (c *conn) icmp(l trace.ICMPLine) {
	l.From, l.Text, l.Note = clean(l.From), clean(l.Text), clean(l.Note)
	c.icmps = keepEvent(c, c.icmps, l)
}

func keepEvent[T any](c *conn, list []T, event T) []T {
	if !c.full || len(list) == maxEvents {
		c.cut = true
		return list
	}
	return append(list, event)
}

// finding counts what was found, and keeps it if the connection is drawn.
func (c *conn) finding(l trace.FindingLine) {
	switch l.Severity {
	case "problem":
		c.problems++
	case "warning":
		c.warnings++
	}
	if c.full && len(c.findings) < maxFindings {
		c.findings = append(c.findings, l)
	}
}

func (c *conn) summary(l trace.Summary) {
	l.Local, l.Remote, l.Result = clean(l.Local), clean(l.Remote), clean(l.Result)
	l.Close.First, l.Close.How = clean(l.Close.First), clean(l.Close.How)
	for _, o := range []*trace.Origin{l.RST, l.ICMP} {
		if o != nil {
			o.From, o.Text = clean(o.From), clean(o.Text)
		}
	}
	for i := range l.States {
		l.States[i] = clean(l.States[i])
	}
	c.sum = &l
	if l.Local != "" {
		c.local, c.remote = l.Local, l.Remote
	}
}

func (c *conn) line(l trace.ConnectionLine) {
	l.Result, l.Opener = clean(l.Result), clean(l.Opener)
	l.Close.First, l.Close.How = clean(l.Close.First), clean(l.Close.How)
	for _, side := range []*trace.SideLine{&l.Local, &l.Remote} {
		side.Addr = clean(side.Addr)
		for i := range side.States {
			side.States[i] = clean(side.States[i])
		}
	}
	c.capture = &l
	if l.Local.Addr != "" {
		c.local, c.remote = l.Local.Addr, l.Remote.Addr
	}
}

// inOrder sorts what lines of a hand-made file may have out of order.
func (c *conn) inOrder() {
	slices.SortStableFunc(c.segments, func(a, b trace.SegmentLine) int { return cmp.Compare(a.TimeUS, b.TimeUS) })
	slices.SortStableFunc(c.states, func(a, b trace.StateLine) int { return cmp.Compare(a.TimeUS, b.TimeUS) })
	slices.SortStableFunc(c.timers, func(a, b trace.TimerLine) int { return cmp.Compare(a.TimeUS, b.TimeUS) })
	slices.SortStableFunc(c.icmps, func(a, b trace.ICMPLine) int { return cmp.Compare(a.TimeUS, b.TimeUS) })
}

// out reports whether the local side sent the segment.
func out(l *trace.SegmentLine) bool { return l.Dir != "in" }

// again reports whether a segment carries what was sent before.
func again(l *trace.SegmentLine) bool {
	for _, note := range notesOf(l) {
		switch note {
		case "retransmission", "fast_retransmission", "loss_probe", "spurious_retransmission", "timeout_retransmission":
			return true
		}
	}
	return false
}

// refused reports whether the receiver took nothing from a segment.
func refused(l *trace.SegmentLine) bool {
	switch l.Note {
	case "dropped", "unacceptable", "paws", "old_duplicate_syn":
		return true
	}
	return l.Checksum == "bad"
}

func has(flags string, letter byte) bool {
	for i := range len(flags) {
		if flags[i] == letter {
			return true
		}
	}
	return false
}

// length is the sequence space that a segment occupies: data, SYN and FIN
// (RFC 9293 section 3.4).
func length(l *trace.SegmentLine) int64 {
	n := int64(l.Len)
	if has(l.Flags, 'S') {
		n++
	}
	if has(l.Flags, 'F') {
		n++
	}
	return n
}

// halfTrip is half of the round trip that the handshake shows, in microseconds,
// or 0: a SYN and its answer from our side, or a SYN-ACK of ours and its ACK. A
// capture says nothing of it, for it may have been made anywhere on the way.
func (c *conn) halfTrip() int64 {
	if c.capture != nil {
		return 0
	}
	var asked int64 = -1
	for i := range c.segments {
		l := &c.segments[i]
		switch {
		case out(l) && has(l.Flags, 'S') && asked >= 0: // it was repeated: whose answer is it?
			return 0
		case out(l) && has(l.Flags, 'S'):
			asked = l.TimeUS
		case !out(l) && asked >= 0 && has(l.Flags, '.'):
			return max(l.TimeUS-asked, 0) / 2
		}
	}
	return 0
}

// roundTrip is about how long a question takes to be answered, in microseconds,
// or 0 if nothing was answered.
func (c *conn) roundTrip() int64 {
	if trip := 2 * c.halfTrip(); trip > 0 {
		return trip
	}
	var asked, least int64 = -1, 0
	for i := range c.segments {
		l := &c.segments[i]
		switch {
		case length(l) > 0 && asked < 0:
			asked = int64(i)
		case asked >= 0 && l.Dir != c.segments[asked].Dir && has(l.Flags, '.'):
			if d := l.TimeUS - c.segments[asked].TimeUS; least == 0 || d < least {
				least = max(d, 1)
			}
			asked = -1
		}
	}
	if c.capture != nil && c.capture.HandshakeUS != nil {
		return min(max(*c.capture.HandshakeUS, least), latest) // both halves of the way
	}
	return least
}
