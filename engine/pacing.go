package engine

import (
	"fmt"
	"time"
)

// A pacer spreads over time what the windows allow: data leaves in bursts, each
// as much as the rate has for a millisecond, so that nobody is woken for each
// segment, and the next burst waits until the rate has paid for the one before.
//
//	|||||||      |||||||      |||||||
//	-------+-----+------------+------------> time
//	       begun free, the next burst
//
// It holds back data and what is lost of it, and nothing that is small, rare or
// urgent: pure ACKs, a FIN alone, the first retransmission of a recovery, probes
// of any kind. What of these is data counts all the same, and the next burst
// waits the longer. RFC 9293 leaves all this to the sender, RFC 7661 section
// 4.4.2 recommends it after a pause; the numbers are those of Linux.
type pacer struct {
	due   Time          // its timer, TimerPace; zero: not armed
	now   Time          // when the rate was last looked at
	begun Time          // when the burst under way began, or should have
	late  time.Duration // how late the timer came that ended the last wait
	sent  int64         // octets that have left since then
	burst int64         // octets that may leave together
	rate  int64         // octets a second, the highest since the burst began
}

// maxPacingRate is a rate that holds nothing back, octets a second.
const maxPacingRate = 1 << 40

// A burst is what leaves in burstsPerSecond⁻¹, so much that a late wake-up costs
// little and so little that a queue on the path hardly notices it; and at least
// leastBurst segments, for a peer acknowledges every second one.
const (
	burstsPerSecond = 1000
	leastBurst      = 2
)

// mostLate is how much of a late timer is made up for: on a machine that is busy with
// something else one in a hundred comes later than that.
const mostLate = 16 * time.Millisecond

func (c *ConnConfig) paces() bool { return c.Pacing == On || c.PacingRate > 0 }

func (c *ConnConfig) checkPacing() error {
	if c.PacingRate < -1 || c.PacingRate > maxPacingRate {
		return fmt.Errorf("%w: PacingRate %d is not between -1 and %d", ErrBadConfig, c.PacingRate, int64(maxPacingRate))
	}
	return nil
}

// SetPacing changes how data is spread over time, as ConnConfig.Pacing and
// PacingRate say: auto over the round trip, and at most so many octets of payload
// a second, 1 to 2^40; 0 and -1 are no limit.
func (c *Conn) SetPacing(auto bool, most int64) error {
	err := c.change(func(cfg *ConnConfig) {
		cfg.Pacing, cfg.PacingRate = Off, most
		if auto {
			cfg.Pacing = On
		}
	})
	if err == nil {
		c.stopPace()
		c.stack.wake(c)
	}
	return err
}

// free returns when the next burst may begin: when the rate has paid for this one.
func (p *pacer) free() Time {
	if p.sent == 0 || p.rate == 0 {
		return p.begun
	}
	return p.begun.Add(time.Duration(p.sent * int64(time.Second) / p.rate))
}

// look takes the rate of now, and begins the next burst if it may. What a timer
// that came late has cost is made up for, since those of a runtime come some
// hundreds of microseconds late as a rule. Time in which nothing was to be sent is
// no credit.
func (p *pacer) look(now Time, rate, segment int64) (begins bool) {
	if free := p.free(); now >= free {
		switch {
		case p.now == now: // as late as the burst that left just before
			p.late = now.Sub(p.begun)
		case p.due != 0: // nobody has looked at the timer yet, or the rate has risen meanwhile
			p.late = max(0, now.Sub(p.due))
		}
		p.begun = max(free, now.Add(-min(p.late, mostLate)))
		p.late, p.sent, p.rate, begins = 0, 0, 0, true
	}
	p.now, p.rate, p.burst = now, max(p.rate, rate), max(rate/burstsPerSecond, leastBurst*segment)
	return begins
}

// mayLeave reports whether another segment of data may leave now. If not, the
// pacer's timer says when.
func (c *Conn) mayLeave(now Time) bool {
	if !c.cfg.paces() {
		return true
	}
	p, segment := &c.rare().pacer, int64(c.payloadRoom(0))
	if p.now != now || p.sent+segment > p.burst {
		if p.look(now, c.pacingRate(), segment) {
			c.stopPace()
		}
	}
	if p.sent+segment > p.burst {
		c.armPace(p.free())
		return false
	}
	return true
}

// charge counts n octets of data that leave.
func (c *Conn) charge(n int) {
	if c.cfg.paces() {
		c.rare().pacer.sent += int64(n)
	}
}

// pacingRate is how fast data may leave, octets a second. Before the first ACK of
// data it is not the round trip that limits it: "packet pacing will not be
// necessary" for an initial window, RFC 6928 section 4.
func (c *Conn) pacingRate() int64 {
	rate := int64(maxPacingRate)
	if c.cfg.PacingRate > 0 {
		rate = c.cfg.PacingRate
	}
	if c.cfg.Pacing == On && c.snd.round > 0 && c.rtt.srtt > 0 {
		rate = min(rate, c.windowRate())
	}
	return rate
}

// windowRate is a window for each round trip, and more than that: twice as much
// where slow start doubles the window meanwhile, and a fifth in congestion
// avoidance, so that it is the window that limits and not the estimate of the
// round trip.
func (c *Conn) windowRate() int64 {
	cwnd := min(c.cc.Window(), maxWindow)
	rate := int64(perSecond(max(cwnd, c.snd.nxt.Sub(c.snd.una)), c.rtt.srtt))
	if cwnd < c.cc.Ssthresh()/2 {
		return max(1, 2*rate)
	}
	return max(1, rate+rate/5)
}

// toldPacingRate is pacingRate for Info: 0 if it holds nothing back.
func (c *Conn) toldPacingRate() int64 {
	if rate := c.pacingRate(); c.cfg.paces() && rate < maxPacingRate {
		return rate
	}
	return 0
}

// delayRTO is called when the pacer holds the lost range n back. Nobody waits for
// the answer to what has not left: the timeout of the oldest range runs from its
// transmission (RFC 6298 section 5).
func (c *Conn) delayRTO(n int32) {
	due := c.paceDue()
	if rto := c.timers[TimerRTO]; n == c.snd.sent.first() && rto != 0 && rto <= due {
		c.setTimer(TimerRTO, due.Add(c.rtt.rto()))
	}
}

// paceDue returns when the pacer's timer is due, zero if it is not armed. It is
// not among the timers, so that connections that are not paced do not pay for it.
func (c *Conn) paceDue() Time {
	if c.cold == nil {
		return 0
	}
	return c.cold.pacer.due
}

func (c *Conn) armPace(due Time) {
	p := &c.rare().pacer
	if p.due == due {
		return
	}
	p.due = due
	c.stack.schedule(c)
	c.traceTimer(EventTimerArmed, TimerPace, due)
}

func (c *Conn) stopPace() {
	if c.paceDue() == 0 {
		return
	}
	c.cold.pacer.due = 0
	c.stack.schedule(c)
	c.traceTimer(EventTimerStopped, TimerPace, 0)
}

// firePace ends the wait, if it is over; Transmit does the rest.
func (c *Conn) firePace(now Time) {
	if due := c.paceDue(); due != 0 && due <= now {
		c.cold.pacer.due, c.cold.pacer.late = 0, now.Sub(due)
		c.traceTimer(EventTimerFired, TimerPace, 0)
	}
}

// auditPacer: it waits for what it is there for.
func (c *Conn) auditPacer() error {
	if c.cold == nil {
		return nil
	}
	p := &c.cold.pacer
	switch {
	case p.due != 0 && (c.state == Closed || !c.cfg.paces()):
		return fmt.Errorf("pacer: armed in %v, pacing %t", c.state, c.cfg.paces())
	case p.sent < 0 || p.late < 0 || p.begun > p.now:
		return fmt.Errorf("pacer: %d octets sent since %v, looked at %v, %v late", p.sent, p.begun, p.now, p.late)
	}
	return nil
}
