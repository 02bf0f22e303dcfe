package engine

import (
	"time"

	"rawtcp/segment"
)

// A tuning measures how many octets a connection moves in a round trip, for a
// buffer that grows with the path: twice that many let the sender of the next
// round trip send half as many again, and what is more only waits.
type tuning struct {
	since  Time  // when the round under way began, 0: none is
	octets int32 // since then
	last   int32 // in the round before
}

// add counts octets of the round under way.
func (t *tuning) add(n int) { t.octets += int32(min(n, maxBuffer-int(t.octets))) }

// next ends a round at now, in which so many octets count, and returns how large a
// buffer the next one wants. As long as rounds become larger, as in slow start, it
// has to be ahead of them.
func (t *tuning) next(now Time, octets int) (want int) {
	if want = 2 * octets; t.last > 0 {
		want += 2 * max(0, octets-int(t.last))
	}
	*t = tuning{since: now, last: int32(octets)}
	return want
}

// tuneReceive lets the receive buffer grow when text comes that may end a round
// trip. It goes by what the application has read, so that one that is slow draws
// no larger window (Linux: tcp_rcv_space_adjust), and of that by what it read in
// the time of the least round trip: where we are too slow ourselves, the window
// waits in our own queue, and a larger one would only make the round trip longer.
func (c *Conn) tuneReceive(now Time, s *segment.Segment) {
	t, most := &c.rcv.tuning, c.cfg.ReceiveBufferMax
	switch {
	case c.rcv.buf.limit >= most:
		return
	case t.since == 0:
		t.since = now
		return
	case !c.roundTripSince(now, s, t.since):
		return
	}
	took := now.Sub(t.since)
	c.rcv.least.add(now, took)
	// The clock of timestamps ends a round up to its unit too early.
	share := float64(c.rcv.least.value()+tsUnit) / float64(took+tsUnit)
	if want := t.next(now, int(float64(t.octets)*min(share, 1))); want > c.rcv.buf.limit && !c.stack.memory.pressed {
		c.rcv.buf.limit = min(want, most)
	}
}

// A leastRound is the least time that a round of the receive buffer took, in the
// last one to two windows of minWindow: a minFilter in half the octets, for every
// idle connection has one.
type leastRound struct {
	last, this micros // 0: none
	since      int32  // when the window of this began, in seconds
}

func (l *leastRound) add(now Time, took time.Duration) {
	if at := int32(now / Time(time.Second)); at-l.since >= int32(minWindow/time.Second) {
		l.last, l.this, l.since = l.this, 0, at
	}
	if m := microsOf(took); l.this == 0 || m < l.this {
		l.this = m
	}
}

func (l *leastRound) value() time.Duration {
	least := l.this
	if l.last != 0 && l.last < least {
		least = l.last
	}
	return time.Duration(least) * time.Microsecond
}

// roundTripSince reports whether s was sent after its sender saw an ACK of since or
// later. Without timestamps it is told by the clock.
func (c *Conn) roundTripSince(now Time, s *segment.Segment, since Time) bool {
	if c.ts.on {
		return int32(s.Options.TSEcr-timestampAt(since, c.ts.offset)) >= 0
	}
	return now.Sub(since) >= max(c.rtt.srtt, time.Millisecond)
}

// tuneSend lets the send buffer grow when a round trip ends in which octets were
// acknowledged at the last. The flight is no measure: on a path with a queue it is
// as large as the buffer lets it become. So it is what was delivered in the time
// of the least round trip.
func (c *Conn) tuneSend(now Time, ended bool, octets int) {
	t, most := &c.snd.tuning, c.cfg.SendBufferMax
	if c.snd.buf.limit >= most || c.snd.buf.len()+octets < c.snd.buf.limit/2 { // large enough, or never full
		return
	}
	t.add(octets)
	least := c.loss.rack.minRTT.value()
	if !ended || least == 0 {
		return
	}
	if t.since == 0 {
		t.since, t.octets = now, 0
		return
	}
	took := max(now.Sub(t.since), least)
	want := t.next(now, int(float64(t.octets)*float64(least)/float64(took)))
	if want > c.snd.buf.limit && !c.stack.memory.pressed {
		c.snd.buf.limit = min(want, most)
	}
}
