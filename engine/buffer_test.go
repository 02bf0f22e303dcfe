package engine

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"rawtcp/segment"
)

// isns are starting points around every edge of sequence space.
var isns = []uint32{0, 1, 1<<31 - 5, 1 << 31, 1<<32 - 5, 1<<32 - 1}

func TestSendBufferKeepsOrderAcrossTheWrap(t *testing.T) {
	for _, isn := range isns {
		b := sendBuffer{start: segment.MakeSeq(isn), limit: 100}
		rng := rand.New(rand.NewPCG(1, uint64(isn)))
		var held []byte
		next := byte(0)
		for range 2000 {
			p := make([]byte, rng.IntN(40))
			for i := range p {
				p[i] = next + byte(i)
			}
			n := b.write(p)
			if n != min(len(p), 100-len(held)) {
				t.Fatalf("took %d", n)
			}
			next += byte(n)
			held = append(held, p[:n]...)
			if got := b.slice(b.start, b.len()); !bytes.Equal(got, held) {
				t.Fatalf("holds %v, want %v", got, held)
			}
			k := rng.IntN(len(held) + 1)
			b.ack(b.start.Add(k))
			held = held[k:]
			if cap(b.buf) > 1000 {
				t.Fatalf("grew to %d for a limit of 100", cap(b.buf))
			}
		}
	}
}

// The reassembly queue against a plain map of octets: first byte wins.
func TestReceiveBufferAgainstAModel(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 2))
		m := newOctetMap(t, isns[seed%uint64(len(isns))])
		for range 300 {
			p := make([]byte, rng.IntN(30))
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			m.insert(m.nxt-20+rng.IntN(octetWindow), p)
			m.take(rng.IntN(60))
		}
	}
}

// octetWindow is the receive window of an octetMap.
const octetWindow = 200

// An octetMap is a receive buffer, and beside it what it should hold: each octet
// that was not read yet, by its offset from the first, as it came first.
type octetMap struct {
	t         testing.TB
	b         receiveBuffer
	start     segment.Seq
	octets    map[int]byte
	nxt, read int // RCV.NXT and what the application has, by offset
}

func newOctetMap(t testing.TB, isn uint32) *octetMap {
	start := segment.MakeSeq(isn)
	return &octetMap{t: t, b: receiveBuffer{nxt: start, limit: octetWindow}, start: start, octets: map[int]byte{}}
}

// insert gives both the octets p that stand at from, cut to the window, and
// compares what they hold then.
func (m *octetMap) insert(from int, p []byte) {
	m.t.Helper()
	p = p[:max(0, min(len(p), m.nxt+octetWindow-from))]
	before, fresh := m.nxt, 0
	for i, c := range p {
		if _, ok := m.octets[from+i]; !ok && from+i >= m.nxt {
			m.octets[from+i] = c
			fresh++
		}
	}
	readable, stored := m.b.insert(m.start.Add(from), p)
	for _, ok := m.octets[m.nxt]; ok; _, ok = m.octets[m.nxt] {
		m.nxt++
	}
	if got := m.b.nxt.Sub(m.start); got != m.nxt || readable != m.nxt-before || stored != fresh {
		m.t.Fatalf("RCV.NXT %d, %d readable, %d stored, want %d, %d, %d", got, readable, stored, m.nxt, m.nxt-before, fresh)
	}
	checkSpans(m.t, &m.b, m.start, m.octets)
}

// take reads up to n octets and compares them.
func (m *octetMap) take(n int) {
	m.t.Helper()
	out := make([]byte, n)
	got := m.b.read(out)
	if want := min(n, m.nxt-m.read); got != want {
		m.t.Fatalf("%d octets to read, want %d", got, want)
	}
	for i, c := range out[:got] {
		if c != m.octets[m.read+i] {
			m.t.Fatalf("octet %d is %d, first received was %d", m.read+i, c, m.octets[m.read+i])
		}
		delete(m.octets, m.read+i)
	}
	m.read += got
}

// checkSpans is invariant I8: sorted, disjoint, merged, beyond RCV.NXT, and
// exactly what was received.
func checkSpans(t testing.TB, b *receiveBuffer, start segment.Seq, model map[int]byte) {
	t.Helper()
	last := b.nxt
	held := 0
	for _, s := range b.spans() {
		if !last.Less(s.start) || !s.start.Less(s.end) {
			t.Fatalf("spans %v after %v", b.spans(), b.nxt)
		}
		for q := s.start; q != s.end; q = q.Add(1) {
			if _, ok := model[q.Sub(start)]; !ok {
				t.Fatalf("octet %d was never received", q.Sub(start))
			}
			held++
		}
		last = s.end
	}
	beyond := 0
	for off := range model {
		if off >= b.nxt.Sub(start) {
			beyond++
		}
	}
	if held != beyond {
		t.Fatalf("%d octets in spans, want %d", held, beyond)
	}
	var blocks [4]segment.SACKBlock
	for _, k := range blocks[:b.blocks(blocks[:])] { // invariant I9
		if !k.Start.Less(k.End) || !b.nxt.Less(k.Start) {
			t.Fatalf("SACK block %v", k)
		}
	}
}

func TestOverlapWithOtherBytesIsCountedAndLoses(t *testing.T) {
	b := receiveBuffer{limit: 100}
	b.insert(segment.MakeSeq(10), []byte("evil"))
	b.insert(segment.MakeSeq(8), []byte("abgood"))
	b.insert(segment.MakeSeq(0), []byte("12345678"))
	p := make([]byte, 100)
	if got := string(p[:b.read(p)]); got != "12345678abevil" {
		t.Errorf("got %q", got)
	}
	if b.mismatch != 4 {
		t.Errorf("%d octets differ, want 4", b.mismatch)
	}
}

func TestEverySecondOctetIsBounded(t *testing.T) { // CVE-2018-5390
	b := receiveBuffer{limit: 1 << 20}
	for i := range 100_000 {
		b.insert(segment.MakeSeq(uint32(2*i+1)), []byte{1})
	}
	if len(b.spans()) > maxSpans {
		t.Errorf("%d spans", len(b.spans()))
	}
}

// With all ranges in use, what is in order is still taken: a sender that has to
// send the first hole in pieces would never come through it.
func TestOrderGoesOnWithAllRangesInUse(t *testing.T) {
	const hole = 100
	b := receiveBuffer{limit: 1 << 20}
	for i := range maxSpans + 10 {
		b.insert(segment.MakeSeq(uint32(hole+2*i)), []byte{1})
	}
	for at := 0; at < hole; at += 50 {
		readable, stored := b.insert(segment.MakeSeq(uint32(at)), make([]byte, 50))
		if want := 50 + at/50; readable != want || stored != 50 { // the second reaches the first range
			t.Errorf("%d octets at %d: %d stored, %d readable, want %d", 50, at, stored, readable, want)
		}
	}
	if len(b.spans()) != maxSpans-1 || b.nxt != segment.MakeSeq(hole+1) {
		t.Errorf("%d ranges beyond %v", len(b.spans()), b.nxt)
	}
}

func TestWhatIsHeldBeyondHoles(t *testing.T) {
	b := receiveBuffer{limit: 100}
	b.insert(segment.MakeSeq(10), make([]byte, 5))
	b.insert(segment.MakeSeq(20), make([]byte, 1))
	for seq, want := range map[uint32]bool{9: false, 10: true, 14: true, 15: false, 19: false, 20: true, 21: false} {
		if got := b.holds(segment.MakeSeq(seq)); got != want {
			t.Errorf("octet %d: %t", seq, got)
		}
	}
}

// The scoreboard's sums against a recount (invariant I10), under random ACKs,
// SACKs, losses, retransmissions and splits.
func TestSentQueueSums(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 3))
		start := segment.MakeSeq(isns[seed%uint64(len(isns))])
		una, nxt := start, start
		var s sentQueue
		var k rack
		for i := range 500 {
			now := Time(1 + i/3)
			switch rng.IntN(8) {
			case 0, 1:
				n := 1 + rng.IntN(100)
				s.push(sentRange{start: nxt, end: nxt.Add(n), at: now})
				nxt = nxt.Add(n)
			case 2:
				una = una.Add(rng.IntN(nxt.Sub(una) + 1))
				s.ack(una, &delivery{rack: &k})
			case 3:
				from := una.Add(rng.IntN(nxt.Sub(una) + 1))
				s.sack(from, from.Add(rng.IntN(nxt.Sub(from)+1)), &delivery{now: now, rack: &k})
				s.markOverdue(now, &k, time.Duration(rng.IntN(3)))
			case 4:
				s.markFirstLost()
			case 5:
				if s.nextLost() != 0 {
					if rng.IntN(3) == 0 {
						s.cut(5, nxt)
					}
					s.resend(s.nextLost(), now)
				}
			case 6:
				if rng.IntN(10) == 0 {
					s.markAllLost()
				}
			case 7:
				if rng.IntN(10) == 0 {
					s.unmarkLost()
				}
			}
			checkSums(t, &s, una, nxt)
		}
	}
}

func checkSums(t *testing.T, s *sentQueue, una, nxt segment.Seq) {
	t.Helper()
	pipe, sacked, lost := 0, 0, 0
	at := una
	first := int32(0)
	for i, r := range s.ranges() {
		if r.start != at || !r.start.Less(r.end) {
			t.Fatalf("a gap or an empty range at %v: %v", at, s.ranges())
		}
		at = r.end
		pipe += r.inPipe()
		if r.sacked {
			sacked += r.len()
		} else if r.lost && !r.resent {
			lost += r.len()
			if first == 0 {
				first = s.first() + int32(i)
			}
		}
	}
	if at != nxt || pipe != s.pipe || sacked != s.sacked || lost != s.lost {
		t.Fatalf("sums %d %d %d to %v, recount %d %d %d to %v", s.pipe, s.sacked, s.lost, nxt, pipe, sacked, lost, at)
	}
	if got := s.nextLost(); got != first {
		t.Fatalf("nextLost %d, want %d", got, first)
	}
	checkOrder(t, s)
}

// checkOrder: all that is in flight, and nothing else, in the order of
// transmission.
func checkOrder(t *testing.T, s *sentQueue) {
	t.Helper()
	flying, linked, before := 0, 0, int32(0)
	for i := range s.ranges() {
		if s.ranges()[i].inFlight() {
			flying++
		}
	}
	for n := s.oldest; n != 0; n = s.numbered(n).after {
		r := s.numbered(n)
		if r.before != before || !r.inFlight() || linked > flying {
			t.Fatalf("range %d in the order: %+v behind %d", n, r, before)
		}
		if b := before; b != 0 && sentAfter(s.numbered(b).order, r.order) {
			t.Fatalf("range %d was sent before %d", n, b)
		}
		linked, before = linked+1, n
	}
	if linked != flying || before != s.newest {
		t.Fatalf("%d of %d ranges in flight are in the order, the last is %d and not %d", linked, flying, before, s.newest)
	}
}
