package engine

import "rawtcp/segment"

// A Tally is what the plain segments and the octets of a connection come to
// that no event has told of, since the last tally. See Selective.
type Tally struct {
	SegmentsIn, SegmentsOut int         // without SYN, FIN and RST
	Resent                  int         // of SegmentsOut, those whose Note says so
	Payload                 int         // octets in SegmentsOut, repeated ones included
	First                   segment.Seq // where the first of SegmentsOut begins
	Top                     segment.Seq // if Payload > 0, where the highest payload ends
	DataIn                  int         // octets that became readable in order
}

// A tallyman counts what is not told, for one connection at a time: as a rule
// many segments in a row are of the same one, and a hundred thousand idle ones
// need no memory for this.
type tallyman struct {
	conn  *Conn // nil: nothing is counted
	tally Tally
}

// countsPlain is the part of an Interest that says that plain segments are
// counted instead of told.
const countsPlain = PlainSegments | 1<<EventTally

// countsOnly reports whether a segment with these flags is counted instead of told.
func (s *Stack) countsOnly(f segment.Flags) bool {
	return s.interest&countsPlain == 1<<EventTally && isPlain(f)
}

// tallyOf returns where to count for c. What was counted for another connection
// is told first.
func (s *Stack) tallyOf(c *Conn) *Tally {
	if s.tallies.conn != c {
		s.tellTally()
		s.tallies.conn = c
	}
	return &s.tallies.tally
}

// tellTally tells what was counted, if anything was. It is called before any
// other event is told, so that a connection's end is never told before its
// segments, and when there is nothing more to send.
func (s *Stack) tellTally() {
	t := &s.tallies
	if t.conn == nil {
		return
	}
	s.tallied = Event{Kind: EventTally, At: s.now, Tally: &t.tally}
	t.conn.complete(&s.tallied)
	s.cfg.Tracer.Trace(&s.tallied)
	t.conn, t.tally = nil, Tally{}
}

func (c *Conn) tallyIn(s *segment.Segment) {
	if c.stack.countsOnly(s.Flags) {
		c.stack.tallyOf(c).SegmentsIn++
	}
}

func (c *Conn) tallyOut(s *segment.Segment, again bool) {
	t := c.stack.tallyOf(c)
	if t.SegmentsOut == 0 {
		t.First = s.Seq
	}
	t.SegmentsOut += s.Count()
	if again {
		t.Resent++
	}
	if n := len(s.Payload); n > 0 {
		end := s.Seq.Add(n)
		if t.Payload == 0 || t.Top.Less(end) {
			t.Top = end
		}
		t.Payload += n
	}
}
