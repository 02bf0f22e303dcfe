package engine

import (
	"time"

	"rawtcp/segment"
)

// rack is the state of RFC 8985 section 5.2: what was sent before the latest
// delivered transmission, and has not arrived a reordering window later, is lost.
// It needs SACK; without it duplicate ACKs are counted.
type rack struct {
	rtt        time.Duration
	minRTT     minFilter
	order      uint32      // of the most recently sent range that was delivered
	fack       segment.Seq // highest octet delivered
	round      segment.Seq
	mult       int32 // the reordering window in quarters of minRTT, less one
	persist    int32 // recoveries that still use the grown window
	delivered  bool  // order and fack are valid
	reordering bool  // an original transmission was overtaken
	inRound    bool  // a DSACK was counted in the round trip that ends at round
}

// A minFilter is the least of the samples of the last one to two windows, so
// that a path that became longer is believed after a while.
type minFilter struct {
	last, this time.Duration // zero: no sample
	since      Time
}

const minWindow = 150 * time.Second

func (f *minFilter) add(now Time, d time.Duration) {
	if d <= 0 {
		return
	}
	if now.Sub(f.since) >= minWindow {
		f.last, f.this, f.since = f.this, 0, now
	}
	if f.this == 0 || d < f.this {
		f.this = d
	}
}

func (f *minFilter) value() time.Duration {
	if f.last == 0 || f.this != 0 && f.this < f.last {
		return f.this
	}
	return f.last
}

// A delivery collects what one ACK says about the ranges it covers for the
// first time, cumulatively or selectively.
type delivery struct {
	now     Time
	rack    *rack
	before  bool        // something was delivered before this ACK,
	fack    segment.Seq // and up to here
	stamped bool        // the ACK echoes a timestamp
	echoed  uint32      // TSecr
	offset  uint32      // of our timestamp clock
	sent    Time        // the earliest that was sent once and not reported before; zero: none
	resent  Time        // the last retransmission among them; zero: all were sent once
	octets  int         // how many octets arrived, by what the ACK says and no earlier one did
	largest int         // of them, those of the largest range
}

// echo reports whether the echoed timestamp is not older than a transmission;
// true if there is none.
func (d *delivery) echo(sent Time) bool {
	return !d.stamped || int32(d.echoed-timestampAt(sent, d.offset)) >= 0
}

// add takes one range that has arrived.
func (d *delivery) add(r *sentRange) {
	if r.sacked {
		return
	}
	d.octets += r.len()
	d.largest = max(d.largest, r.len())
	if r.everResent {
		d.resent = max(d.resent, r.at)
	} else if d.sent == 0 {
		d.sent = r.at
	}
	d.rack.update(d, r)
}

// part takes the first n octets of a range.
func (d *delivery) part(r *sentRange, n int) {
	if !r.sacked {
		d.octets += n
	}
}

// sentAfter is RACK_sent_after. RFC 8985 section 6.2 compares times, and sequence
// numbers where they are the same: it would take what limited transmit sent just
// before a retransmission for having been sent after it. We count transmissions.
func sentAfter(order1, order2 uint32) bool { return int32(order1-order2) > 0 }

// update is RACK_update and RACK_detect_reordering (RFC 8985 section 6.2, steps 2 and 3).
func (k *rack) update(d *delivery, r *sentRange) {
	// Overtaken is what lies below the deliveries of earlier ACKs: the blocks of
	// one ACK come in no order of arrival.
	if d.before && r.end.Less(d.fack) && !r.everResent {
		k.reordering = true
	}
	if !k.delivered || k.fack.Less(r.end) {
		k.fack = r.end
	}
	rtt := d.now.Sub(r.at)
	if r.everResent && (!d.echo(r.at) || rtt < k.minRTT.value()) {
		return // it may be the original that arrived
	}
	k.rtt = rtt
	if !k.delivered || sentAfter(r.order, k.order) {
		k.order = r.order
	}
	k.delivered = true
}

// duplicateReported grows the reordering window once per round trip in which
// the peer tells of a needless retransmission (RFC 8985 section 6.2, step 4).
func (k *rack) duplicateReported(una, nxt segment.Seq) {
	if k.inRound && !una.Less(k.round) {
		k.inRound = false
	}
	if !k.inRound {
		k.inRound, k.round = true, nxt
		k.mult = min(k.mult+1, 1000)
		k.persist = 16
	}
}

// recovered counts a recovery that ended.
func (k *rack) recovered() {
	if k.persist--; k.persist <= 0 {
		k.mult = 0
	}
}

// window is RACK_update_reo_wnd.
func (k *rack) window(recovering bool, sacked int, srtt time.Duration) time.Duration {
	if !k.reordering && (recovering || sacked >= dupThresh) {
		return 0
	}
	if srtt == 0 { // nothing was measured yet
		return maxAckDelay
	}
	return min(time.Duration(k.mult+1)*k.minRTT.value()/4, srtt)
}

// detectByTime is RACK_detect_loss_and_arm_timer (RFC 8985 section 6.2, step 5).
func (c *Conn) detectByTime(now Time) {
	k, sent := &c.loss.rack, &c.snd.sent
	wait := time.Duration(0)
	if k.delivered && !sent.empty() {
		var again bool
		wait, again = sent.markOverdue(now, k, k.window(c.loss.recovery || c.loss.timeout, int(sent.reports), c.rtt.srtt))
		if again {
			c.reduceAgain(now)
		}
	}
	if wait > 0 {
		c.setTimer(TimerReorder, now.Add(wait))
	} else {
		c.stopTimer(TimerReorder)
	}
}

// reduceAgain answers the loss of a retransmission: it is a second indication
// of congestion, so that the window "MUST be lowered twice" (RFC 5681 section
// 4.3, RFC 8985 section 9.3), but once per round trip however many were lost.
func (c *Conn) reduceAgain(now Time) {
	if now.Sub(c.loss.reduced) < c.rtt.srtt {
		return
	}
	c.loss.reduced = now
	c.disarmUndo()
	c.noteReduction()
	c.cc.OnLoss(now, min(c.snd.nxt.Sub(c.snd.una), c.cc.Window()))
}

// markOverdue marks what RACK holds for lost, and returns how long the rest of
// what was overtaken may still take; zero: nothing was overtaken. again says
// that a retransmission was lost. What was sent earliest is overdue first, so
// that it need not look at all that is in flight.
func (s *sentQueue) markOverdue(now Time, k *rack, window time.Duration) (wait time.Duration, again bool) {
	left := func(r *sentRange) time.Duration { return r.at.Add(k.rtt + window).Sub(now) }
	for n := s.oldest; n != 0; n = s.oldest {
		r := s.numbered(n)
		if !sentAfter(k.order, r.order) || left(r) > 0 {
			break
		}
		again = again || r.lost
		s.lose(n)
	}
	for next := s.follows(s.overtaken); next != 0; next = s.follows(s.overtaken) {
		r := s.numbered(next)
		if s.steps++; !sentAfter(k.order, r.order) {
			break
		}
		s.overtaken = next
	}
	if s.overtaken != 0 {
		wait = left(s.numbered(s.overtaken))
	}
	return wait, again
}

// follows returns what was transmitted next after a range, and for 0 what was
// transmitted first.
func (s *sentQueue) follows(n int32) int32 {
	if n == 0 {
		return s.oldest
	}
	return s.numbered(n).after
}

// reorderTimeout judges again what was given time to arrive.
func (c *Conn) reorderTimeout(now Time) {
	c.detectByTime(now)
	c.enterRecovery(now, 0)
}
