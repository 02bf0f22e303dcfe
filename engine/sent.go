package engine

import (
	"slices"
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
	at         Time   // last transmission
	order      uint32 // and its place among all transmissions
	// The neighbours in the order of last transmission, by number; 0: none.
	// Only ranges in flight have some.
	before, after int32
	skip          int32         // of a sacked range: none from here to the range with this number waits for a report
	flags         segment.Flags // SYN or FIN if they are in the range
	sacked        bool          // the peer reported it
	lost          bool          // held for lost
	resent        bool          // a retransmission is under way
	everResent    bool          // no RTT sample comes from it (Karn)
}

func (r *sentRange) len() int { return r.end.Sub(r.start) }

// inFlight reports whether a transmission of r may still arrive.
func (r *sentRange) inFlight() bool { return !r.sacked && (!r.lost || r.resent) }

// waits reports whether r is to be sent again.
func (r *sentRange) waits() bool { return r.lost && !r.resent && !r.sacked }

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
//
// Whatever a peer reports, an ACK costs time in proportion to what it says that
// is new, or to the logarithm of the queue: reported runs are skipped in one
// step, what RACK has to look at comes first in the order of transmission, and
// what is to be sent again waits in a heap. Ranges are named by numbers, their
// places in q and one more, so that 0 is none.
type sentQueue struct {
	q    []sentRange
	head int

	oldest, newest int32  // in the order of transmission, 0: nothing is in flight
	overtaken      int32  // the last in that order known to have left before what RACK saw arrive, 0: none
	reports        int32  // ranges reported
	order          uint32 // of the latest transmission
	waiting        *intHeap

	pipe   int // sum of inPipe
	sacked int // octets reported
	lost   int // octets lost and not yet retransmitted
	steps  int // turns of the loops below: the work done so far, which tests hold to bounds
}

func (s *sentQueue) ranges() []sentRange { return s.q[s.head:] }
func (s *sentQueue) empty() bool         { return s.head == len(s.q) }

// first and last are the numbers at the ends of the queue.
func (s *sentQueue) first() int32 { return int32(s.head) + 1 }
func (s *sentQueue) last() int32  { return int32(len(s.q)) }

// numbered returns the range with a number.
func (s *sentQueue) numbered(n int32) *sentRange { return &s.q[n-1] }

// find returns the number of the first range that ends after seq; it may be
// one more than the last.
func (s *sentQueue) find(seq segment.Seq) int32 {
	q := s.ranges()
	return s.first() + int32(sort.Search(len(q), func(i int) bool {
		s.steps++
		return seq.Less(q[i].end)
	}))
}

// push records a first transmission at the end.
func (s *sentQueue) push(r sentRange) {
	if s.head > 0 && len(s.q) == cap(s.q) && s.head >= len(s.q)/2 {
		s.compact()
	}
	s.order++
	r.order = s.order
	s.q = append(s.q, r)
	s.count(&r, +1)
	s.link(s.last())
}

// compact moves the queue to the front of its memory, which gives every range
// another number.
func (s *sentQueue) compact() {
	by := int32(s.head)
	s.q, s.head = s.q[:copy(s.q, s.q[s.head:])], 0
	shift := func(n *int32) { *n = max(0, *n-by) }
	for i := range s.q {
		r := &s.q[i]
		shift(&r.before)
		shift(&r.after)
		shift(&r.skip)
	}
	shift(&s.oldest)
	shift(&s.newest)
	shift(&s.overtaken)
	if s.waiting != nil {
		for i := range *s.waiting {
			(*s.waiting)[i] -= by // what is gone already becomes less than 1, and stays first
		}
	}
}

// link puts a range into the order of transmission: at its end if it was just
// sent.
func (s *sentQueue) link(n int32) {
	r := s.numbered(n)
	before, after := s.newest, int32(0)
	for before != 0 && sentAfter(s.numbered(before).order, r.order) {
		s.steps++
		before, after = s.numbered(before).before, before
	}
	r.before, r.after = before, after
	s.join(before, n)
	s.join(n, after)
}

// unlink takes a range out of that order.
func (s *sentQueue) unlink(n int32) {
	r := s.numbered(n)
	if s.overtaken == n {
		s.overtaken = r.before
	}
	s.join(r.before, r.after)
	r.before, r.after = 0, 0
}

// join makes two ranges neighbours; 0 stands for the end of the order.
func (s *sentQueue) join(before, after int32) {
	if before != 0 {
		s.numbered(before).after = after
	} else {
		s.oldest = after
	}
	if after != 0 {
		s.numbered(after).before = before
	} else {
		s.newest = before
	}
}

// update changes the marks of a range and keeps sums and order.
func (s *sentQueue) update(n int32, change func(*sentRange)) {
	r := s.numbered(n)
	s.steps++
	if r.inFlight() {
		s.unlink(n)
	}
	s.count(r, -1)
	change(r)
	s.count(r, +1)
	if r.inFlight() {
		s.link(n)
	}
}

func (s *sentQueue) count(r *sentRange, sign int) {
	s.pipe += sign * r.inPipe()
	if r.sacked {
		s.sacked += sign * r.len()
		s.reports += int32(sign)
	} else if r.waits() {
		s.lost += sign * r.len()
	}
}

// ack drops all before seq and tells d of each range. It returns the octets
// acknowledged.
func (s *sentQueue) ack(seq segment.Seq, d *delivery) (octets int) {
	for !s.empty() {
		s.steps++
		r := &s.q[s.head]
		if !r.start.Less(seq) {
			break
		}
		if seq.Less(r.end) { // a part of it
			n := seq.Sub(r.start)
			octets += n
			d.part(r, n)
			s.count(r, -1)
			r.start = seq
			r.flags &^= segment.SYN
			s.count(r, +1)
			break
		}
		d.add(r)
		octets += r.len()
		if r.inFlight() {
			s.unlink(s.first())
		}
		s.count(r, -1)
		s.head++
	}
	if s.empty() {
		s.q, s.head, s.waiting = s.q[:0], 0, nil
	}
	return octets
}

// sack marks the ranges that [start, end) covers whole, and tells d of those
// that are reported for the first time. It returns how many octets they are.
func (s *sentQueue) sack(start, end segment.Seq, d *delivery) (octets int) {
	n := s.find(start)
	if n <= s.last() && s.numbered(n).start.Less(start) {
		n++
	}
	for n = s.unreported(n); n <= s.last() && s.numbered(n).end.LessEq(end); n = s.unreported(n + 1) {
		r := s.numbered(n)
		d.add(r)
		octets += r.len()
		s.update(n, func(r *sentRange) { r.sacked, r.lost, r.resent, r.skip = true, false, false, n+1 })
	}
	return octets
}

// unreported returns the first number from n on whose range is not sacked. A
// path that was walked once is shorter the next time, which is what keeps an ACK
// that repeats thousands of reports cheap (CVE-2019-11478).
func (s *sentQueue) unreported(n int32) int32 {
	for n <= s.last() && s.numbered(n).sacked {
		s.steps++
		r := s.numbered(n)
		if r.skip <= s.last() && s.numbered(r.skip).sacked {
			r.skip = s.numbered(r.skip).skip
		}
		n = r.skip
	}
	return n
}

// markFirstLost marks the oldest range lost, so that it is sent again.
func (s *sentQueue) markFirstLost() {
	if !s.empty() {
		s.lose(s.first())
	}
}

// lose marks a range as to be sent again.
func (s *sentQueue) lose(n int32) {
	s.update(n, func(r *sentRange) { r.lost, r.resent, r.sacked = true, false, false })
	s.wait(n)
}

// wait puts a range among those that are to be sent again.
func (s *sentQueue) wait(n int32) {
	if s.waiting == nil {
		s.waiting = new(intHeap)
	}
	s.waiting.push(n)
}

// markAllLost forgets all reports and marks everything lost, as a
// retransmission timeout does: the peer may have discarded what it reported
// (RFC 2018 section 8).
func (s *sentQueue) markAllLost() {
	s.waiting = nil
	for n := s.first(); n <= s.last(); n++ {
		s.lose(n)
	}
}

// unmarkLost takes back that anything not sent again yet is lost: it is in
// flight as it was before a timeout that proved spurious.
func (s *sentQueue) unmarkLost() {
	var back []int32
	for n := s.first(); n <= s.last(); n++ {
		if s.numbered(n).waits() {
			back = append(back, n)
		}
	}
	slices.SortFunc(back, func(a, b int32) int {
		return int(int32(s.numbered(a).order - s.numbered(b).order))
	})
	for _, n := range back {
		s.update(n, func(r *sentRange) { r.lost = false })
	}
	s.waiting = nil
}

// nextLost returns the number of the first range to send again, 0 if there is
// none (RFC 6675 section 4, NextSeg rule 1).
func (s *sentQueue) nextLost() int32 {
	if s.lost == 0 {
		s.waiting.clear()
		return 0
	}
	for {
		n := (*s.waiting)[0]
		if n >= s.first() && s.numbered(n).waits() {
			return n
		}
		s.steps++
		s.waiting.pop() // reported or acknowledged since
	}
}

// resend notes that a range was transmitted again.
func (s *sentQueue) resend(n int32, now Time) {
	s.order++
	s.update(n, func(r *sentRange) { r.at, r.order, r.resent, r.everResent = now, s.order, true, true })
}

// cut divides every range that is not reported and has more than room octets of
// data, where data ends at end; the pieces are held for lost, for what they were
// sent in did not fit the path.
func (s *sentQueue) cut(room int, end segment.Seq) {
	old := *s
	*s = sentQueue{order: old.order, steps: old.steps}
	moved := make([]int32, len(old.q)) // the numbers of the ranges that stay whole
	for i := old.head; i < len(old.q); i++ {
		r := old.q[i]
		for !r.sacked && r.flags&segment.SYN == 0 && r.start.Add(room).Less(segment.MinSeq(r.end, end)) {
			piece := r
			piece.end = r.start.Add(room)
			piece.flags &^= segment.FIN
			s.hold(piece)
			r.start = piece.end
		}
		if r.start != old.q[i].start || r.waits() {
			s.hold(r)
			continue
		}
		r.before, r.after, r.skip = 0, 0, s.last()+2
		s.q = append(s.q, r)
		s.count(&r, +1)
		moved[i] = s.last()
	}
	for n := old.oldest; n != 0; n = old.numbered(n).after {
		if m := moved[n-1]; m != 0 {
			s.link(m)
		}
	}
}

// hold appends a range that waits to be sent again.
func (s *sentQueue) hold(r sentRange) {
	r.lost, r.resent, r.before, r.after = true, false, 0, 0
	s.q = append(s.q, r)
	s.count(&r, +1)
	s.wait(s.last())
}

// An intHeap gives the least of its numbers first.
type intHeap []int32

func (h *intHeap) clear() {
	if h != nil {
		*h = (*h)[:0]
	}
}

func (h *intHeap) push(n int32) {
	q := append(*h, n)
	for i := len(q) - 1; i > 0 && q[i] < q[(i-1)/2]; i = (i - 1) / 2 {
		q[i], q[(i-1)/2] = q[(i-1)/2], q[i]
	}
	*h = q
}

func (h *intHeap) pop() {
	q := *h
	last := len(q) - 1
	q[0] = q[last]
	q = q[:last]
	for i := 0; ; {
		least := i
		for k := 2*i + 1; k <= 2*i+2 && k < last; k++ {
			if q[k] < q[least] {
				least = k
			}
		}
		if least == i {
			break
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
	*h = q
}
