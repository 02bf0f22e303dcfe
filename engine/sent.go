package engine

import (
	"sort"

	"rawtcp/segment"
)

// dupThresh is how many segments must be reported beyond a hole before the hole
// counts as lost (RFC 5681 section 3.2, RFC 6675 section 2).
const dupThresh = 3

// A sentRange is one transmission that is not acknowledged yet: [start, end)
// counts SYN and FIN.
type sentRange struct {
	start, end segment.Seq
	at         Time          // last transmission
	first      Time          // first transmission
	flags      segment.Flags // SYN or FIN if they are in the range
	sacked     bool          // the peer reported it
	lost       bool          // held for lost
	resent     bool          // a retransmission is under way
	everResent bool          // no RTT sample comes from it (Karn)
}

func (r *sentRange) len() int { return r.end.Sub(r.start) }

// inPipe returns how many octets of r are thought to be in the network
// (RFC 6675 section 4, SetPipe).
func (r *sentRange) inPipe() int {
	n := 0
	if r.sacked {
		return 0
	}
	if !r.lost {
		n += r.len()
	}
	if r.resent {
		n += r.len()
	}
	return n
}

// A sentQueue is the scoreboard: every range between SND.UNA and SND.NXT, in
// order and without gaps. A SACK block marks only ranges it covers whole, so a
// peer cannot make the queue longer than what we sent.
type sentQueue struct {
	q       []sentRange
	head    int
	pipe    int         // sum of inPipe
	sacked  int         // octets reported
	reports int         // ranges reported
	lost    int         // octets lost and not yet retransmitted
	high    segment.Seq // end of the highest report, valid if sacked > 0
	hint    segment.Seq // no range before it waits to be sent again, valid if lost > 0
}

func (s *sentQueue) ranges() []sentRange { return s.q[s.head:] }
func (s *sentQueue) empty() bool         { return s.head == len(s.q) }

// push records a first transmission at the end.
func (s *sentQueue) push(r sentRange) {
	if s.head > 0 && len(s.q) == cap(s.q) && s.head >= len(s.q)/2 {
		s.q = s.q[:copy(s.q, s.q[s.head:])]
		s.head = 0
	}
	s.q = append(s.q, r)
	s.pipe += r.inPipe()
}

// update changes one range and keeps the sums.
func (s *sentQueue) update(r *sentRange, change func(*sentRange)) {
	s.count(r, -1)
	change(r)
	s.count(r, +1)
}

func (s *sentQueue) count(r *sentRange, sign int) {
	s.pipe += sign * r.inPipe()
	if r.sacked {
		s.sacked += sign * r.len()
		s.reports += sign
	} else if r.lost && !r.resent {
		s.lost += sign * r.len()
	}
}

// ack drops all before seq and tells d of each range. It returns the octets
// acknowledged.
func (s *sentQueue) ack(seq segment.Seq, d *delivery) (octets int) {
	for !s.empty() {
		r := &s.q[s.head]
		if !r.start.Less(seq) {
			break
		}
		if seq.Less(r.end) { // a part of it
			s.count(r, -1)
			octets += seq.Sub(r.start)
			r.start = seq
			r.flags &^= segment.SYN
			s.count(r, +1)
			break
		}
		d.add(r)
		octets += r.len()
		s.count(r, -1)
		s.head++
	}
	if s.empty() {
		s.q, s.head = s.q[:0], 0
	}
	return octets
}

// find returns the index in ranges of the first range that ends after seq.
func (s *sentQueue) find(seq segment.Seq) int {
	q := s.ranges()
	return sort.Search(len(q), func(i int) bool { return seq.Less(q[i].end) })
}

// sack marks the ranges that [start, end) covers whole, and tells d of those
// that are reported for the first time. It returns how many octets they are.
func (s *sentQueue) sack(start, end segment.Seq, d *delivery) (octets int) {
	q := s.ranges()
	for i := s.find(start); i < len(q) && q[i].end.LessEq(end); i++ {
		r := &q[i]
		if r.sacked || r.start.Less(start) {
			continue
		}
		if s.sacked == 0 || s.high.Less(r.end) {
			s.high = r.end
		}
		d.add(r)
		octets += r.len()
		s.update(r, func(r *sentRange) { r.sacked, r.lost, r.resent = true, false, false })
	}
	return octets
}

// markFirstLost marks the oldest range lost, so that it is sent again.
func (s *sentQueue) markFirstLost() {
	if s.empty() {
		return
	}
	s.lose(&s.q[s.head])
}

// lose marks r as to be sent again.
func (s *sentQueue) lose(r *sentRange) {
	if s.lost == 0 || r.start.Less(s.hint) {
		s.hint = r.start
	}
	s.update(r, func(r *sentRange) { r.lost, r.resent, r.sacked = true, false, false })
}

// markAllLost forgets all reports and marks everything lost, as a
// retransmission timeout does: the peer may have discarded what it reported
// (RFC 2018 section 8).
func (s *sentQueue) markAllLost() {
	for i := range s.ranges() {
		s.lose(&s.q[s.head+i])
	}
}

// nextLost returns the first range to send again, nil if there is none.
func (s *sentQueue) nextLost() *sentRange {
	if s.lost == 0 {
		return nil
	}
	q := s.ranges()
	for i := s.find(s.hint); i < len(q); i++ {
		if r := &q[i]; r.lost && !r.resent && !r.sacked {
			s.hint = r.start
			return r
		}
	}
	return nil
}

// split cuts r after n octets, so that a retransmission fits a smaller MSS.
// Pointers into the queue are invalid afterwards.
func (s *sentQueue) split(r *sentRange, n int) {
	i := s.find(r.start)
	tail := *r
	tail.start = r.start.Add(n)
	tail.flags &^= segment.SYN
	s.update(r, func(r *sentRange) { r.end, r.flags = tail.start, r.flags&^segment.FIN })
	s.q = append(s.q, sentRange{})
	q := s.ranges()
	copy(q[i+2:], q[i+1:])
	q[i+1] = tail
	s.count(&q[i+1], +1)
}
