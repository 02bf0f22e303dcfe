package engine

import (
	"slices"
	"sort"

	"rawtcp/segment"
)

// maxSpans bounds the out-of-order ranges held, so that a peer that sends every
// second octet cannot make the bookkeeping larger than the data.
const maxSpans = 1024

// A span is a received range [start, end) that lies beyond a hole.
type span struct{ start, end segment.Seq }

// A receiveBuffer holds received octets: those in order, that the application
// has not read yet, and behind them, each at its place, those that arrived
// before their predecessors.
type receiveBuffer struct {
	buf      []byte      // buf[head:]
	head     int         // octets at the front of buf already read
	readable int         // buf[head:head+readable] is in order
	limit    int         // most octets held for the application
	holes    *holes      // nil while there are none
	nxt      segment.Seq // sequence number of buf[head+readable], RCV.NXT but for SYN and FIN
	mismatch uint32      // octets that arrived again with another value, and that nobody has counted yet
}

// holes are what a receiveBuffer knows of the octets beyond holes.
type holes struct {
	spans   []span // sorted, disjoint, not adjacent, all beyond nxt
	recent  [4]segment.Seq
	recents int // valid entries of recent, each in another range, that of the latest arrival first
	steps   int // turns of the loop over ranges: the work done so far

	owner      *Conn // whose they are, while they are in a holeList
	next, prev *holes
}

// spans returns the ranges held beyond holes.
func (b *receiveBuffer) spans() []span {
	if b.holes == nil {
		return nil
	}
	return b.holes.spans
}

// idle reports whether the buffer holds nothing at all.
func (b *receiveBuffer) idle() bool { return b.readable == 0 && len(b.spans()) == 0 }

// extent is how many octets the buffer spans: those that are readable, and what
// lies between them and the last one beyond a hole.
func (b *receiveBuffer) extent() int { return len(b.buf) - b.head }

// growth is by how much n octets at seq would make extent larger, if positive.
func (b *receiveBuffer) growth(seq segment.Seq, n int) int {
	return seq.Add(n).Sub(b.nxt) + b.readable - b.extent()
}

// insert takes the octets p that stand at seq. The caller has cut them to the
// window. It returns how many octets became readable and how many were stored.
// "First byte received wins": an octet once held never changes.
func (b *receiveBuffer) insert(seq segment.Seq, p []byte) (readable, stored int) {
	if skip := b.nxt.Sub(seq); skip > 0 {
		if skip >= len(p) {
			return 0, 0
		}
		seq, p = b.nxt, p[skip:]
	}
	if len(p) == 0 {
		return 0, 0
	}
	if seq == b.nxt && len(b.spans()) == 0 { // the common case: in order, no holes
		b.place(seq, p)
		b.advance(len(p))
		return len(p), len(p)
	}
	stored = b.merge(seq, p)
	return b.absorb(), stored
}

// holds reports whether the octet at seq was received beyond a hole.
func (b *receiveBuffer) holds(seq segment.Seq) bool {
	spans, i := b.spans(), b.find(seq.Add(1))
	return i < len(spans) && spans[i].start.LessEq(seq)
}

// merge stores those octets of p that are not held yet, and adds their range.
func (b *receiveBuffer) merge(seq segment.Seq, p []byte) (stored int) {
	if b.holes == nil {
		b.holes = new(holes)
	}
	h, end := b.holes, seq.Add(len(p))
	i := b.find(seq)
	j := i
	at := seq
	for ; j < len(h.spans) && h.spans[j].start.LessEq(end); j++ {
		s := h.spans[j]
		h.steps++
		if at.Less(s.start) {
			stored += b.place(at, p[at.Sub(seq):s.start.Sub(seq)])
		}
		b.compare(s, seq, p)
		at = segment.MaxSeq(at, segment.MinSeq(s.end, end))
	}
	if i == j && len(h.spans) >= maxSpans && seq != b.nxt { // what is in order makes no range, and nothing goes on without it
		return 0
	}
	if at.Less(end) {
		stored += b.place(at, p[at.Sub(seq):])
	}
	merged := span{seq, end}
	if i < j {
		merged.start = segment.MinSeq(seq, h.spans[i].start)
		merged.end = segment.MaxSeq(end, h.spans[j-1].end)
	}
	h.spans = slices.Replace(h.spans, i, j, merged)
	if merged.start != b.nxt { // or it waits no more
		h.noteRecent(merged)
	}
	return stored
}

// find returns the index of the first span that ends at seq or after it.
func (b *receiveBuffer) find(seq segment.Seq) int {
	spans := b.spans()
	return sort.Search(len(spans), func(i int) bool { return seq.LessEq(spans[i].end) })
}

// compare counts the octets of p, standing at seq, that differ from those held in s.
func (b *receiveBuffer) compare(s span, seq segment.Seq, p []byte) {
	from := segment.MaxSeq(s.start, seq)
	to := segment.MinSeq(s.end, seq.Add(len(p)))
	if !from.Less(to) {
		return
	}
	held := b.buf[b.offset(from):b.offset(to)]
	for i, c := range p[from.Sub(seq):to.Sub(seq)] {
		if c != held[i] {
			b.mismatch++
		}
	}
}

// forget drops what lies beyond a hole that will not be filled.
func (b *receiveBuffer) forget() {
	b.buf = b.buf[:b.head+b.readable]
	if b.holes != nil {
		b.holes.spans = b.holes.spans[:0]
	}
}

func (b *receiveBuffer) offset(seq segment.Seq) int { return b.head + b.readable + seq.Sub(b.nxt) }

// place copies p to where seq belongs, growing the buffer as needed.
func (b *receiveBuffer) place(seq segment.Seq, p []byte) int {
	off := b.offset(seq)
	if off+len(p) > cap(b.buf) && b.head > 0 && b.head >= len(b.buf)-b.head {
		held := copy(b.buf, b.buf[b.head:])
		b.buf, b.head = b.buf[:held], 0
		off = b.offset(seq)
	}
	if n := off + len(p) - len(b.buf); n > 0 {
		b.buf = slices.Grow(b.buf, n)[:off+len(p)]
	}
	return copy(b.buf[off:], p)
}

func (b *receiveBuffer) advance(n int) {
	b.readable += n
	b.nxt = b.nxt.Add(n)
}

// absorb makes the first span readable if the hole before it is filled.
func (b *receiveBuffer) absorb() int {
	spans := b.spans()
	if len(spans) == 0 || b.nxt.Less(spans[0].start) {
		return 0
	}
	n := spans[0].end.Sub(b.nxt)
	b.holes.spans = slices.Delete(spans, 0, 1)
	b.advance(n)
	return n
}

// noteRecent makes a range the latest. It takes one place, however many arrivals
// made it, so that the others are those of other ranges.
func (h *holes) noteRecent(s span) {
	recent, n := [len(h.recent)]segment.Seq{s.start}, 1
	for _, seq := range h.recent[:h.recents] {
		if n < len(recent) && !seq.InWindow(s.start, s.end.Sub(s.start)) {
			recent[n] = seq
			n++
		}
	}
	h.recent, h.recents = recent, n
}

// blocks fills dst with SACK blocks: the one of the latest arrival first, then
// those of the arrivals before it (RFC 2018 section 4). It returns how many.
func (b *receiveBuffer) blocks(dst []segment.SACKBlock) int {
	h, n := b.holes, 0
	if h == nil {
		return 0
	}
	add := func(s span) {
		k := segment.SACKBlock{Start: s.start, End: s.end}
		if n < len(dst) && !slices.Contains(dst[:n], k) {
			dst[n] = k
			n++
		}
	}
	for _, seq := range h.recent[:h.recents] {
		i := b.find(seq)
		if i < len(h.spans) && h.spans[i].end == seq {
			i++ // seq starts the range after this one
		}
		if i < len(h.spans) && h.spans[i].start.LessEq(seq) {
			add(h.spans[i])
		}
	}
	for i := 0; i < len(h.spans) && n < len(dst); i++ {
		add(h.spans[i])
	}
	return n
}

// skip throws away what is readable.
func (b *receiveBuffer) skip() {
	b.head += b.readable
	b.readable = 0
	if b.head == len(b.buf) {
		b.buf, b.head = b.buf[:0], 0
	}
}

// read moves readable octets into p.
func (b *receiveBuffer) read(p []byte) int {
	n := copy(p, b.buf[b.head:b.head+b.readable])
	b.head += n
	b.readable -= n
	if b.head == len(b.buf) {
		b.buf, b.head = b.buf[:0], 0
	}
	return n
}
