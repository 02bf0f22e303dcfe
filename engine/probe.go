package engine

import (
	"time"

	"rawtcp/segment"
)

// lossProbe is the state of TLP, RFC 8985 section 7: a probe at the tail of a
// flight draws the ACK that the loss of that tail would have swallowed.
type lossProbe struct {
	due     bool // a probe is to be sent
	out     bool // one is under way, up to end
	resent  bool // it repeated old data
	end     segment.Seq
	sampled bool // the round trip was measured since the last probe
}

// maxAckDelay is how long a peer may wait with the ACK of a single segment.
const maxAckDelay = 200 * time.Millisecond

// armProbe is TLP_calc_PTO: two round trips, but not after the RTO. The probe
// is for flights that nothing else watches over.
func (c *Conn) armProbe(now Time) {
	rto := c.timers[TimerRTO]
	if !c.sack || !c.cfg.LossProbe.or(true) || rto == 0 || c.loss.recovery || c.loss.timeout ||
		c.snd.sent.sacked > 0 || c.snd.sent.empty() || !c.state.Synchronized() {
		c.stopTimer(TimerProbe)
		return
	}
	wait := time.Second
	if c.rtt.srtt > 0 {
		wait = 2 * c.rtt.srtt
		if len(c.snd.sent.ranges()) == 1 {
			wait += maxAckDelay
		}
	}
	c.setTimer(TimerProbe, min(now.Add(wait), rto))
}

// probeTimeout decides about a probe (RFC 8985 section 7.3); whether or not it
// is sent, the RTO starts anew.
func (c *Conn) probeTimeout(now Time) {
	if c.snd.sent.empty() {
		return
	}
	if p := &c.loss.probe; !p.out && p.sampled {
		*p = lossProbe{due: true}
	}
	c.setTimer(TimerRTO, now.Add(c.rtt.rto()))
}

// transmitLossProbe sends new data beyond the congestion window if there is
// any that the peer allows, or else the last range again.
func (c *Conn) transmitLossProbe(now Time, s *segment.Segment) bool {
	p := &c.loss.probe
	if !p.due {
		return false
	}
	if q := c.snd.sent.ranges(); len(q) == 0 || c.loss.recovery || c.loss.timeout {
		p.due = false
		return false
	}
	p.resent = !c.transmitNew(now, s) // due lets it pass the congestion window
	if p.resent {
		c.resend(now, s, c.snd.sent.last(), NoteLossProbe, "no ACK before a probe was due, RFC 8985 section 7.3")
	}
	p.due, p.out, p.end = false, true, c.snd.nxt
	c.incidents().LossProbes++
	c.stopTimer(TimerProbe)
	c.setTimer(TimerRTO, now.Add(c.rtt.rto()))
	return true
}

// probeAcknowledged is TLP_process_ack: a probe that repaired a loss hid it, so
// the congestion controller is told.
func (c *Conn) probeAcknowledged(now Time, s *segment.Segment, duplicate, plainDup bool) {
	p := &c.loss.probe
	if !p.out || s.Ack.Less(p.end) {
		return
	}
	switch {
	case !p.resent, duplicate, plainDup:
	case p.end.Less(s.Ack):
		c.disarmUndo()
		c.noteReduction()
		c.cc.OnLoss(now, c.snd.nxt.Sub(c.snd.una))
	default:
		return // the ACK of the original, or of the probe: the next one tells
	}
	p.out = false
}
