package engine

import "rawtcp/segment"

// packetMeta is what only the packet under way knows.
type packetMeta struct {
	packet []byte
	stamp  int64
}

func (s *Stack) holdPacket(pkt []byte, stamp int64) { s.meta = packetMeta{pkt, stamp} }

// trace hands an event over, or keeps it while the segment that caused it has
// not been told yet: people read the cause first.
func (s *Stack) trace(e *Event) {
	if !s.wants(e.Kind) {
		return
	}
	if e.At == 0 {
		e.At = s.now
	}
	if !s.holding {
		s.event = *e // e itself can stay on the caller's stack
		s.hand(&s.event)
		return
	}
	if e.Segment != nil { // it will be reused before this is told
		seg := *e.Segment
		e.Segment = &seg
	}
	s.held = append(s.held, *e)
}

// eventSlot returns an empty event at the place that tell tells it from. It must
// not point to a segment while events are held.
func (s *Stack) eventSlot() *Event {
	if !s.holding {
		s.event = Event{}
		return &s.event
	}
	s.held = append(s.held, Event{})
	return &s.held[len(s.held)-1]
}

// tell hands over an event of eventSlot, unless it has to wait.
func (s *Stack) tell(e *Event) {
	if !s.holding {
		s.hand(e)
	}
}

// hand is the one place where the tracer is called, but for tallies.
func (s *Stack) hand(e *Event) {
	s.tellTally()
	s.cfg.Tracer.Trace(e)
}

// holdTrace has events wait until releaseTrace tells of seg, if that is wanted.
func (s *Stack) holdTrace(seg *segment.Segment) {
	s.holding = s.wantsSegment(EventSegmentIn, seg.Flags)
}

// releaseTrace tells that seg came in, then what followed from it.
func (s *Stack) releaseTrace(c *Conn, seg *segment.Segment, note Note) {
	if s.holding {
		s.holding = false
		e := s.segmentIn(seg, note)
		e.Follows = s.held
		c.trace(&e)
		s.releaseHeld()
	}
}

func (s *Stack) releaseHeld() {
	s.holding = false
	for i := range s.held {
		s.hand(&s.held[i])
		s.held[i] = Event{}
	}
	s.held = s.held[:0]
}

func (s *Stack) segmentIn(seg *segment.Segment, note Note) Event {
	return Event{Kind: EventSegmentIn, Segment: seg, Note: note, Packet: s.meta.packet, Stamp: s.meta.stamp,
		Local: seg.Dst, Remote: seg.Src}
}

func (s *Stack) traceDrop(seg *segment.Segment, reason string) {
	if !s.wants(EventDrop) {
		return
	}
	e := &Event{Kind: EventDrop, Segment: seg, Packet: s.meta.packet, Stamp: s.meta.stamp,
		Size: len(s.meta.packet), Reason: reason}
	if seg != nil {
		e.Local, e.Remote = seg.Dst, seg.Src
	}
	s.trace(e)
}
