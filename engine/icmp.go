package engine

import (
	"fmt"
	"net/netip"

	"rawtcp/segment"
)

// ICMP destination-unreachable types and the codes that matter (RFC 792,
// RFC 4443, RFC 9293 section 3.9.2.2).
const (
	icmp4Unreachable  = 3
	icmp4SourceQuench = 4
	icmp6Unreachable  = 1
	icmp6TooBig       = 2
)

// receiveICMP acts on a message that was found to be about this connection: it
// quotes the octet at seq, which is in flight.
func (c *Conn) receiveICMP(now Time, seq segment.Seq, m ICMP) {
	v4 := c.remote.Addr().Is4()
	if tooBig(v4, m) {
		mtu := max(quotedMTU(m), c.leastMTU())
		verdict := c.judgeTooBig(seq, mtu, m.Own)
		c.trace(&Event{Kind: EventICMP, ICMP: &m, Reason: verdict})
		c.packetTooBig(now, seq, mtu, verdict)
		return
	}
	c.trace(&Event{Kind: EventICMP, ICMP: &m, Reason: "about a segment in flight"})
	if v4 && m.Type == icmp4SourceQuench { // "MUST silently discard" MUST-55
		return
	}
	soft := &c.rare().softErr
	*soft = fmt.Errorf("%w: ICMP type %d code %d from %s", ErrUnreachable, m.Type, m.Code, m.From)
	if !hardError(v4, m) || c.state != SynSent {
		// On a synchronized connection a hard error is treated as soft too, or
		// anyone who guesses a sequence number could end it (RFC 5927 section 5.2).
		return
	}
	c.failedFastOpen(c.stack.now)
	if refusal(v4, m) {
		*soft = fmt.Errorf("%w: ICMP port unreachable from %s", ErrRefused, m.From)
	}
	c.finish(*soft, "a hard ICMP error answers our SYN, RFC 9293 section 3.9.2.2")
}

// halfOpenICMP takes a message about the SYN-ACK of a handshake that a peer
// began, and reports whether there is one that it is about: the number quoted has
// to be that of the SYN-ACK (RFC 5927 section 4.1). A hard error ends it; there is
// nobody yet to tell of a soft one.
func (s *Stack) halfOpenICMP(local, remote netip.AddrPort, seq segment.Seq, m ICMP) bool {
	l := s.listener(local)
	if l == nil {
		return false
	}
	e := l.find(local, remote)
	if e == nil || !e.answered() || seq != e.iss {
		return false
	}
	s.counters.ICMPTaken++
	if s.cfg.Tracer != nil {
		s.trace(&Event{Kind: EventICMP, ICMP: &m, Conn: e.id, Local: local, Remote: remote, State: SynReceived, Vars: e.vars(),
			Reason: "about our SYN-ACK"})
	}
	if hardError(remote.Addr().Is4(), m) {
		l.drop(e, "a hard ICMP error answers our SYN-ACK, RFC 9293 section 3.9.2.2")
	}
	return true
}

// hardError is SHLD-26: protocol unreachable, port unreachable, fragmentation
// needed (handled before), and their ICMPv6 kin.
func hardError(v4 bool, m ICMP) bool {
	if v4 {
		return m.Type == icmp4Unreachable && (m.Code == 2 || m.Code == 3)
	}
	return m.Type == icmp6Unreachable && (m.Code == 1 || m.Code == 4)
}

// tooBig reports whether m says that a datagram needs a smaller MTU.
func tooBig(v4 bool, m ICMP) bool {
	return v4 && m.Type == icmp4Unreachable && m.Code == 4 || !v4 && m.Type == icmp6TooBig
}

func refusal(v4 bool, m ICMP) bool { return v4 && m.Code == 3 || !v4 && m.Code == 4 }
