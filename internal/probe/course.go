package probe

import (
	"time"

	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// A course is a transfer in round trips of our own making: whatever has come is
// acknowledged once in each, so that what comes in one is the host's window.
type course struct {
	t        *T
	p        *puppet.Puppet
	size     int // octets of a segment
	una, end segment.Seq
	next     time.Duration // when the round is over
}

const (
	courseRound = 400 * time.Millisecond
	courseACKs  = 3 // in a round: what a window grows by may be limited for each
)

// course opens a connection whose handshake takes a round, too, so that the host
// knows of no shorter one.
func (t *T) course(size, window int) *course {
	p := t.Puppet(puppet.Shape{MSS: size, Scale: -1, Window: uint16(window), NoTimestamps: true})
	if _, a := t.SYN(p); a == nil || puppet.RST(a) {
		t.Unknown("no handshake to begin with")
	}
	t.Wait(courseRound)
	p.Send(segment.ACK)
	p.OnCall(0) // its rounds are not to wait for what others send
	p.HoldAck()
	una := p.RcvNxt()
	return &course{t: t, p: p, size: size, una: una, end: una, next: t.Now() + courseRound}
}

// ask sends what the service answers; the rounds begin with it.
func (c *course) ask(request []byte) {
	if c.p.Deliver(request) != puppet.Alive {
		c.t.Unknown("the request was not acknowledged")
	}
	c.next = c.t.Now() + courseRound
}

// flight waits until the round is over and returns how many segments came in it.
// It ends the attempt if the path has lost one, or the host sent one again.
func (c *course) flight() int {
	first := c.end
	c.wait()
	for _, a := range c.p.Arrivals() {
		if puppet.Data(a) && a.At > c.next-courseRound && a.Seq.Less(first) {
			c.t.Unknown("the host sent a segment again in a course without losses")
		}
	}
	return (c.end.Sub(first) + c.size - 1) / c.size
}

// wait waits until the round is over.
func (c *course) wait() {
	c.t.Wait(c.next - c.t.Now())
	for _, a := range c.p.Arrivals() {
		c.end = segment.MaxSeq(c.end, a.Seq.Add(len(a.Payload)))
	}
	if c.p.RcvNxt().Less(c.end) {
		c.t.Unknown("the path lost a segment in a course of hundreds")
	}
}

// ack acknowledges all that has come and begins the next round.
func (c *course) ack() {
	c.p.Book(courseACKs)
	begin, all := c.t.Now(), c.end.Sub(c.una)
	for i := range courseACKs {
		c.p.Send(segment.ACK, puppet.AckAt(c.una.Add(all*(i+1)/courseACKs)))
	}
	c.una, c.next = c.end, begin+courseRound
}

// lose makes the first segment of this round seem lost: duplicate ACKs tell that
// the others have come. What follows in the round is the repair.
func (c *course) lose() {
	const reports = 4
	c.p.Book(reports)
	begin, all := c.t.Now(), c.end.Sub(c.una)/c.size
	for i := range reports {
		to := segment.MinSeq(c.una.Add(c.size*max(2+i, all*(i+1)/reports)), c.end)
		mods := []puppet.Mod{puppet.AckAt(c.una)}
		if c.p.Peer().SACK {
			mods = append(mods, puppet.SACK(segment.SACKBlock{Start: c.una.Add(c.size), End: to}))
		}
		c.p.Send(segment.ACK, mods...)
	}
	c.next = begin + courseRound
	c.wait()
}
