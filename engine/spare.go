package engine

import "rawtcp/segment"

// spares are the buffers that connections gave back when they had nothing left
// in them. An idle connection holds none, and one that talks now and then takes
// and gives the same ones without an allocation. The latest given is the first
// taken, since its memory is warm.
type spares struct {
	octets [][]byte
	held   int // sum of the capacities of octets
	ranges [][]sentRange
	holes  []*holes

	conns       []*Conn // see Recycle
	controllers []Controller
}

// The most that waits for use; what is more goes to the garbage collector.
const (
	maxSpareOctets = 8 << 20
	maxSpareRanges = 256
	maxSpareHoles  = 64
)

// takeOctets gives an empty buffer a spare array if there is one.
func (s *spares) takeOctets(b *[]byte) {
	last := len(s.octets) - 1
	if *b != nil || last < 0 {
		return
	}
	*b, s.octets[last] = s.octets[last], nil
	s.octets = s.octets[:last]
	s.held -= cap(*b)
}

// giveOctets takes back the array of a buffer that is empty.
func (s *spares) giveOctets(b *[]byte) {
	if n := cap(*b); n > 0 && s.held+n <= maxSpareOctets {
		s.octets = append(s.octets, (*b)[:0])
		s.held += n
	}
	*b = nil
}

// takeRanges is takeOctets for a scoreboard.
func (s *spares) takeRanges(q *[]sentRange) {
	last := len(s.ranges) - 1
	if *q != nil || last < 0 {
		return
	}
	*q, s.ranges[last] = s.ranges[last], nil
	s.ranges = s.ranges[:last]
}

// takeHoles is takeOctets for what stands beyond holes.
func (s *spares) takeHoles(h **holes) {
	last := len(s.holes) - 1
	if *h != nil || last < 0 {
		return
	}
	*h, s.holes[last] = s.holes[last], nil
	s.holes = s.holes[:last]
}

// giveHoles is giveOctets for what stood beyond holes.
func (s *spares) giveHoles(h **holes) {
	if *h != nil && len(s.holes) < maxSpareHoles {
		**h = holes{spans: (*h).spans[:0]}
		s.holes = append(s.holes, *h)
	}
	*h = nil
}

// giveRanges is giveOctets for a scoreboard.
func (s *spares) giveRanges(q *[]sentRange) {
	if cap(*q) > 0 && len(s.ranges) < maxSpareRanges {
		s.ranges = append(s.ranges, (*q)[:0])
	}
	*q = nil
}

// track puts a transmission on the scoreboard.
func (c *Conn) track(r sentRange) {
	c.stack.spares.takeRanges(&c.snd.sent.q)
	c.snd.sent.push(r)
}

// settle takes what seq acknowledges off the scoreboard and returns how many
// octets that is.
func (c *Conn) settle(seq segment.Seq, d *delivery) int {
	octets := c.snd.sent.ack(seq, d)
	if c.snd.sent.empty() {
		c.stack.spares.giveRanges(&c.snd.sent.q)
	}
	held := c.snd.buf.len()
	c.snd.buf.ack(seq)
	c.stack.hold(c.snd.buf.len() - held)
	if c.snd.buf.len() == 0 {
		c.stack.spares.giveOctets(&c.snd.buf.buf)
	}
	return octets
}

// store puts received text that stands at seq into the receive buffer.
func (c *Conn) store(seq segment.Seq, p []byte) (readable, stored int) {
	b, s := &c.rcv.buf, &c.stack.spares
	s.takeOctets(&b.buf)
	if seq != b.nxt {
		s.takeHoles(&b.holes)
	}
	held := b.extent()
	readable, stored = b.insert(seq, p)
	c.stack.hold(b.extent() - held)
	if b.mismatch > 0 {
		c.incidents().OverlapMismatch += uint64(b.mismatch)
		b.mismatch = 0
	}
	if b.holes != nil {
		c.stack.memory.holes.push(b.holes, c)
	}
	c.tidy()
	return readable, stored
}

// tidy gives back what the receive buffer does not use.
func (c *Conn) tidy() {
	b, s := &c.rcv.buf, &c.stack.spares
	if b.idle() {
		s.giveOctets(&b.buf)
		b.head = 0
	}
	if b.holes != nil && len(b.holes.spans) == 0 {
		c.stack.memory.holes.remove(b.holes)
		s.giveHoles(&b.holes)
	}
}

// discard throws away what is readable.
func (c *Conn) discard() {
	c.stack.hold(-c.rcv.buf.readable)
	c.rcv.buf.skip()
	c.tidy()
}

// forgetHoles drops what was received beyond holes, and returns how many octets
// of the buffer that frees. Its sender keeps it until it is acknowledged, though
// it was reported: "The data receiver is permitted to discard data in its queue
// that has not been acknowledged to the data sender" RFC 2018 section 8.
func (c *Conn) forgetHoles() int {
	b := &c.rcv.buf
	held := b.extent()
	b.forget()
	freed := held - b.extent()
	c.stack.hold(-freed)
	c.tidy()
	return freed
}

// dropReceived is forgetHoles for a connection that is CLOSED now. What is in
// order stays for the application after an orderly end, and counts no more.
func (c *Conn) dropReceived(err error) {
	c.forgetHoles()
	c.stack.hold(-c.rcv.buf.readable)
	if err != nil {
		c.rcv.buf = receiveBuffer{}
	}
}

// dropSend forgets all that was to be sent and acknowledged.
func (c *Conn) dropSend() {
	c.stack.hold(-c.snd.buf.len())
	c.stack.spares.giveOctets(&c.snd.buf.buf)
	c.stack.spares.giveRanges(&c.snd.sent.q)
	c.snd.buf, c.snd.sent = sendBuffer{start: c.snd.buf.start}, sentQueue{}
}
