package engine

import (
	"time"

	"rawtcp/segment"
)

// A phase is what a connection's sending waits for.
type phase uint8

const (
	phaseIdle   phase = iota // nothing is to be sent or acknowledged
	phaseBusy                // the network: the congestion window, or ACKs
	phaseWindow              // the peer's window
	phaseBuffer              // the application, which cannot write more: the send buffer is full
	numPhases
)

// A meter keeps the accounts that ConnConfig.Accounts asks for: where the time
// of a connection goes, and what it achieves. Without it there is none.
type meter struct {
	phase phase
	since Time // when it began
	spent [numPhases]time.Duration

	rate      int  // octets a second that were delivered in the last round trip
	from      Time // when the round trip under way began
	delivered int  // octets since then

	acked       uint64 // octets of payload
	in, out     uint64 // segments with payload
	largest     int    // payload of the largest segment that came
	lastIn      Time   // when payload last came
	lastOut     Time   // when payload last left
	resentBytes uint64
}

// account begins the accounts if the settings ask for them.
func (c *Conn) account(now Time) {
	if c.cfg.Accounts == On {
		c.rare().meter = &meter{since: now}
	}
}

// meter returns the accounts, nil if none are kept.
func (c *Conn) meter() *meter {
	if c.cold == nil {
		return nil
	}
	return c.cold.meter
}

// noteBusy is called when a connection has nothing more to say.
func (c *Conn) noteBusy(now Time) {
	m := c.meter()
	if m == nil {
		return
	}
	next := c.phaseNow()
	if next == m.phase {
		return
	}
	if m.phase == phaseIdle {
		m.from, m.delivered = now, 0
	}
	m.spent[m.phase] += now.Sub(m.since)
	m.phase, m.since = next, now
}

func (c *Conn) phaseNow() phase {
	unsent := c.snd.buf.end().Sub(c.snd.nxt)
	switch {
	case c.snd.sent.empty() && c.snd.buf.len() == 0:
		return phaseIdle
	case unsent > 0 && c.snd.una.Add(c.snd.wnd).Sub(c.snd.nxt) < min(unsent, c.snd.mss):
		return phaseWindow
	case unsent <= 0 && c.snd.buf.room() == 0:
		return phaseBuffer
	}
	return phaseBusy
}

// time returns the time spent in a phase, with the one under way.
func (m *meter) time(now Time, p phase) time.Duration {
	if p == m.phase {
		return m.spent[p] + now.Sub(m.since)
	}
	return m.spent[p]
}

// noteOut counts payload that leaves.
func (c *Conn) noteOut(now Time, s *segment.Segment, again bool) {
	m := c.meter()
	if m == nil || len(s.Payload) == 0 {
		return
	}
	m.out += uint64(s.Count())
	m.lastOut = now
	if again {
		m.resentBytes += uint64(len(s.Payload))
	}
}

// noteIn counts payload that comes.
func (c *Conn) noteIn(now Time, n int) {
	if m := c.meter(); m != nil && n > 0 {
		m.in++
		m.lastIn, m.largest = now, max(m.largest, min(n, c.fullSegment()))
	}
}

// noteDelivered counts what an ACK has delivered, and of it the payload that is
// acknowledged for good.
func (c *Conn) noteDelivered(now Time, octets, acked int) {
	m := c.meter()
	if m == nil {
		return
	}
	m.acked += uint64(acked)
	m.delivered += octets
	if d := now.Sub(m.from); d >= max(c.rtt.srtt, time.Millisecond) {
		m.rate = perSecond(m.delivered, d)
		m.from, m.delivered = now, 0
	}
}

// perSecond returns octets per second, to the microsecond, without overflow.
func perSecond(octets int, d time.Duration) int {
	return octets * int(time.Second/time.Microsecond) / max(1, int(d/time.Microsecond))
}

// told returns the accounts for Info.
func (m *meter) told(now Time) *Accounts {
	since := func(t Time) time.Duration {
		if t == 0 {
			return -1
		}
		return now.Sub(t)
	}
	a := &Accounts{
		LastDataOut: since(m.lastOut), LastDataIn: since(m.lastIn),
		WindowLimit: m.time(now, phaseWindow), BufferLimit: m.time(now, phaseBuffer),
		DeliveryRate: m.rate, BytesAcked: m.acked, BytesResent: m.resentBytes, DataIn: m.in, DataOut: m.out, ReceiveMSS: m.largest,
	}
	a.Busy = m.time(now, phaseBusy) + a.WindowLimit + a.BufferLimit
	return a
}
