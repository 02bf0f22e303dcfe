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
	reduced segment.Seq // SND.NXT at the last reduction: no more than one per round trip
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
	if !c.ecn.on || !s.Flags.Has(segment.ECE) || c.loss.recovery || c.snd.una.Less(c.ecn.reduced) {
		return
	}
	c.ecn.reduced, c.ecn.cwr = c.snd.nxt, true
	c.cc.OnLoss(now, c.snd.nxt.Sub(c.snd.una))
}

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
