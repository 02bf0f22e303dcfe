package engine

import "rawtcp/segment"

// The ECN field of the IP header (RFC 3168 section 5).
const (
	ecnMask = 3
	ecnECT0 = 2
	ecnCE   = 3
)

// ecnState is a connection's part in RFC 3168.
type ecnState struct {
	on      bool
	echo    bool        // a CE mark arrived and the peer has not said CWR
	cwr     bool        // we reduced the window and have to say so
	held    bool        // no new data leaves until the hold is over
	lowered bool        // the window was lowered in the round trip that ends at reduced
	reduced segment.Seq // SND.NXT at the last reduction, significant if lowered
}

// receiveECN notes a mark that a router made and the peer's answer to our echo
// (RFC 3168 section 6.1.3).
func (c *Conn) receiveECN(s *segment.Segment) {
	if !c.ecn.on {
		return
	}
	if s.Flags.Has(segment.CWR) {
		c.ecn.echo = false
	}
	if s.TOS&ecnMask == ecnCE && len(s.Payload) > 0 {
		c.ecn.echo = true
		c.ackDue("tells the peer of a congestion mark, RFC 3168 section 6.1.3")
	}
}

// ackECN halves the window once per round trip of echoed marks (RFC 3168 section 6.1.2).
func (c *Conn) ackECN(now Time, s *segment.Segment) {
	if c.ecn.lowered && c.ecn.reduced.Less(c.snd.una) {
		c.ecn.lowered = false
	}
	if c.echoes(s) && c.cc.Window() <= c.snd.mss {
		c.holdBack(now)
	}
	if !c.echoes(s) || c.loss.recovery || c.ecn.lowered {
		return
	}
	c.disarmUndo()
	c.noteReduction()
	c.cc.OnECN(now, c.snd.nxt.Sub(c.snd.una))
}

// holdBack is what remains where the window cannot be lowered any more: "the
// sending TCP MUST reset the retransmit timer on receiving the ECN-Echo packet
// when the congestion window is one. The sending TCP will then be able to send
// a new packet only when the retransmit timer expires." RFC 3168 section 6.1.2.
// A timer of its own says when, for nothing may be outstanding.
func (c *Conn) holdBack(now Time) {
	c.ecn.held = true
	c.setTimer(TimerHold, max(c.timers[TimerHold], now.Add(c.rtt.rto())))
}

// noteReduction is called whenever the congestion window was lowered, "for any
// reason (because of a retransmit timeout, a Fast Retransmit, or in response to
// an ECN Notification)": the next new data says CWR, and echoes of marks from
// the same round trip lower nothing (RFC 3168 section 6.1.2).
func (c *Conn) noteReduction() {
	if c.ecn.on {
		c.ecn.lowered, c.ecn.reduced, c.ecn.cwr = true, c.snd.nxt, true
	}
}

// echoes reports whether s tells of a congestion mark.
func (c *Conn) echoes(s *segment.Segment) bool { return c.ecn.on && s.Flags.Has(segment.ECE) }

// markECN sets the flags and the codepoint of an outgoing segment. Only new
// data is marked ECN-capable (RFC 3168 sections 6.1.4 and 6.1.5).
func (c *Conn) markECN(s *segment.Segment, newData bool) {
	if !c.ecn.on {
		return
	}
	if c.ecn.echo {
		s.Flags |= segment.ECE
	}
	if newData {
		s.TOS = s.TOS&^ecnMask | ecnECT0
		if c.ecn.cwr {
			s.Flags |= segment.CWR
			c.ecn.cwr = false
		}
	}
}
