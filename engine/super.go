package engine

import "rawtcp/segment"

// extend makes the segment s, whose first room octets from start on are decided,
// a super-segment: as many segments as would leave one after the other, each
// judged as if it went alone, in one packet that the link cuts (SegmentingLink).
// What arrives is the same to the octet. So the last may be a short one, and
// have the FIN; what only one of them may have ends it before it begins.
func (c *Conn) extend(now Time, s *segment.Segment, start segment.Seq, room int) {
	most := c.stack.cfg.SuperSegment - ipHeaderLen(c.local.Addr()) - segment.TCPHeaderLen - segment.MaxOptionsLen
	if most < 2*room || !c.mayExtend(s) {
		return
	}
	for c.snd.nxt.Sub(start)+room <= most {
		unsent := c.snd.buf.end().Sub(c.snd.nxt)
		if unsent <= 0 {
			break
		}
		if probe, wait := c.probeSize(now, unsent); probe > 0 || wait {
			break
		}
		n, ok := c.allowance(now, unsent, room, c.snd.fin == finQueued)
		if !ok {
			break
		}
		c.advance(now, n)
		s.SegmentSize = uint16(room)
		if n < room {
			break
		}
	}
}

// mayExtend reports whether the header of s may stand before several segments.
// Reports and a user timeout are said once; each segment names the distance to the
// end of urgent data for itself; and PSH would be on the last alone.
func (c *Conn) mayExtend(s *segment.Segment) bool {
	return c.state.Synchronized() && s.Options.Set&^segment.HasTimestamps == 0 && !c.snd.urgent &&
		c.cfg.Push != PushAlways && !c.loss.probe.due
}
