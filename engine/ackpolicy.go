package engine

import (
	"fmt"
	"time"
)

// An AckPolicy says when data that arrives in order is acknowledged. Data beyond
// a hole, data that fills one, data that was here already and a FIN are
// acknowledged at once under each of them (RFC 5681 sections 3.2 and 4.2), and an
// ACK always rides on a segment that leaves anyway. Zero means AckClassic, or
// AckEvery where DelayedAck is negative.
type AckPolicy uint8

// The policies.
const (
	// AckClassic: at once with every second full-sized segment, else after
	// DelayedAck (RFC 9293 section 3.8.6.3, SHLD-18 and SHLD-19; RFC 5681 section
	// 4.2; RFC 1122 section 4.2.3.2).
	AckClassic AckPolicy = 1 + iota
	// AckQuick: at once for the first 16 segments of a connection, and for 16 more
	// when data comes after a silence of more than one RTO, so that the peer's slow
	// start is clocked by every segment; else as AckClassic. The RFCs leave room
	// for it ("SHOULD" delay); the numbers are those of Linux's quickack mode.
	AckQuick
	// AckEvery: at once for every segment, against SHLD-18.
	AckEvery
)

// quickSegments is how many segments AckQuick acknowledges at once before it
// turns classic (Linux: TCP_MAX_QUICKACKS).
const quickSegments = 16

// quickAcks is the state of AckQuick.
type quickAcks struct {
	left  int  // segments still to be acknowledged at once
	heard Time // when data last came in order, 0: never
}

// ackPolicyDefaults settles the policy; it wants DelayedAck with its default.
func (c *ConnConfig) ackPolicyDefaults() {
	if c.AckPolicy == 0 {
		c.AckPolicy = AckClassic
		if c.DelayedAck < 0 {
			c.AckPolicy = AckEvery
		}
	}
}

// checkAckPolicy refuses what is no policy, and a wait without a length.
func (c *ConnConfig) checkAckPolicy() error {
	switch {
	case c.AckPolicy < AckClassic || c.AckPolicy > AckEvery:
		return fmt.Errorf("%w: AckPolicy %d is none of AckClassic, AckQuick and AckEvery", ErrBadConfig, c.AckPolicy)
	case c.AckPolicy != AckEvery && c.DelayedAck < 0:
		return fmt.Errorf("%w: AckPolicy delays ACKs and DelayedAck %v does not: set a time above 0, or AckEvery", ErrBadConfig, c.DelayedAck)
	}
	return nil
}

// ackAtOnce reports whether the policy wants no delay for a segment that came in
// order, and why. c.rcv.unacked counts its octets already.
func (c *Conn) ackAtOnce(now Time) (why string, ok bool) {
	quick := c.cfg.AckPolicy == AckQuick && c.ackQuickly(now)
	switch {
	case c.rcv.unacked >= 2*c.fullSegment():
		return "every second full-sized segment, RFC 9293 section 3.8.6.3", true
	case quick:
		return "the start of data after silence, acknowledged without delay", true
	case c.cfg.AckPolicy == AckEvery:
		return "ACKs are not delayed here", true
	}
	return "", false
}

// ackQuickly counts a segment that came in order, for AckQuick.
func (c *Conn) ackQuickly(now Time) bool {
	q := &c.rare().quick
	if q.heard == 0 || now.Sub(q.heard) > c.rtt.rto() {
		q.left = quickSegments
	}
	q.heard = now
	if q.left == 0 {
		return false
	}
	q.left--
	return true
}

// ackDelay is the longest wait of an ACK, 0 where there is none.
func (c *Conn) ackDelay() time.Duration {
	if c.cfg.AckPolicy == AckEvery {
		return 0
	}
	return c.cfg.DelayedAck
}
