package engine

import (
	"fmt"
	"testing"

	"rawtcp/segment"
)

// longQueue is a scoreboard of n ranges of one octet, of which every second was
// reported and the holes between them are not held for lost yet.
func longQueue(n int) (s *sentQueue, k *rack, start segment.Seq) {
	s, k, start = &sentQueue{}, &rack{}, segment.MakeSeq(1<<32-1000)
	for i := range n {
		s.push(sentRange{start: start.Add(i), end: start.Add(i + 1), at: Time(1 + i)})
	}
	for i := 1; i < n; i += 2 {
		s.sack(start.Add(i), start.Add(i+1), &delivery{now: Time(n + 1), rack: k})
	}
	return s, k, start
}

// TestWorstSegmentsCostLittleMore counts the turns of every loop that a segment
// causes on the scoreboard (I24, CVE-2018-5390, CVE-2019-11478): with a hundred
// thousand ranges outstanding and fifty thousand holes, the dearest segment that a
// peer can send over and over costs at most three times what an ordinary ACK does,
// but for the logarithm in the search for the place.
func TestWorstSegmentsCostLittleMore(t *testing.T) {
	const n, again = 100_000, 1000
	search := 0
	for m := 1; m < n; m *= 2 {
		search++
	}
	cost := func(s *sentQueue, do func(i int)) float64 {
		before := s.steps
		for i := range again {
			do(i)
		}
		return float64(s.steps-before) / again
	}
	var plain sentQueue
	var pk rack
	begin := segment.MakeSeq(7)
	for i := range n {
		plain.push(sentRange{start: begin.Add(i), end: begin.Add(i + 1), at: Time(1 + i)})
	}
	ordinary := cost(&plain, func(i int) {
		plain.ack(begin.Add(2*i+2), &delivery{now: n, rack: &pk})
		plain.markOverdue(n, &pk, 0)
		plain.nextLost()
	})
	for name, attack := range map[string]func(s *sentQueue, k *rack, start segment.Seq) float64{
		"one block over everything, again and again": func(s *sentQueue, k *rack, start segment.Seq) float64 {
			report := func(int) { s.sack(start.Add(1), start.Add(n), &delivery{now: n, rack: k}) }
			for range 20 { // the first is news of fifty thousand ranges, the next ones make its path short
				report(0)
			}
			return cost(s, report)
		},
		"four blocks on old reports": func(s *sentQueue, k *rack, start segment.Seq) float64 {
			return cost(s, func(i int) {
				for j := range 4 {
					at := (7919*i + 25_000*j) % (n / 2) * 2
					s.sack(start.Add(at+1), start.Add(at+2), &delivery{now: n, rack: k})
				}
			}) / 4
		},
		"nothing new, while RACK waits": func(s *sentQueue, k *rack, _ segment.Seq) float64 {
			look := func(int) { s.markOverdue(n, k, 1<<40) }
			look(0) // the first finds fifty thousand overtaken
			return cost(s, look)
		},
		"holes that are sent again one by one": func(s *sentQueue, k *rack, _ segment.Seq) float64 {
			s.markOverdue(1<<40, k, 0) // fifty thousand at once, once
			return cost(s, func(i int) { s.resend(s.nextLost(), Time(1<<40+i)) })
		},
		"an ACK of one octet": func(s *sentQueue, k *rack, start segment.Seq) float64 {
			return cost(s, func(i int) { s.ack(start.Add(i+1), &delivery{now: n, rack: k}) })
		},
	} {
		got := attack(longQueue(n))
		t.Logf("%-45s %.1f turns, an ordinary ACK %.1f", name, got, ordinary)
		if got > 3*ordinary+float64(search) {
			t.Errorf("%s: %.1f turns for each segment, an ordinary ACK takes %.1f", name, got, ordinary)
		}
	}
}

// An openWindow lets everything go.
type openWindow struct{}

func (openWindow) OnAck(Ack)            {}
func (openWindow) OnLoss(Time, int)     {}
func (openWindow) OnECN(Time, int)      {}
func (openWindow) OnRTO(Time, int)      {}
func (openWindow) OnSpurious(Time, int) {}
func (openWindow) OnRestart(Time)       {}
func (openWindow) Window() int          { return maxWindow }
func (openWindow) Ssthresh() int        { return maxWindow }

// BenchmarkWorstSegments compares in time what TestWorstSegmentsCostLittleMore
// counts, through a whole connection; what a segment draws is not counted.
func BenchmarkWorstSegments(b *testing.B) {
	const n = 20_000
	flight := func(b *testing.B, blocks func(i int) []segment.SACKBlock) {
		iss := segment.MakeSeq(5_000_000)
		stack := NewStack(StackConfig{Secret: [32]byte{1}})
		c, err := stack.Dial(1, us, peer, 1500, ConnConfig{Timestamps: Off, ISN: &iss, SendBuffer: n,
			Controller: func(int, int) Controller { return openWindow{} }, NoDelay: true, LossProbe: Off})
		if err != nil {
			b.Fatal(err)
		}
		var out segment.Segment
		for stack.Transmit(1, &out) {
		}
		s := segment.Segment{Src: peer, Dst: us, Flags: segment.SYN | segment.ACK, Ack: iss.Add(1), Window: 65535,
			Options: segment.Options{Set: segment.HasMSS | segment.HasSACKPermitted, MSS: 1000}}
		stack.Receive(2, &s)
		for i := range n {
			c.Write(Time(3+i), []byte{1})
			for stack.Transmit(Time(3+i), &out) {
			}
		}
		s = segment.Segment{Src: peer, Dst: us, Flags: segment.ACK, Seq: s.Seq.Add(1), Ack: iss.Add(1), Window: 65535}
		now := Time(3 + n)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.Options = segment.Options{}
			if list := blocks(i); len(list) == 0 {
				s.Ack = iss.Add(1 + min(i, n))
			} else {
				s.Options.Set, s.Options.SACKCount = segment.HasSACK, uint8(copy(s.Options.SACK[:], list))
				for j := range list {
					s.Options.SACK[j].Start = iss.Add(1 + int(list[j].Start.Uint32()))
					s.Options.SACK[j].End = iss.Add(1 + int(list[j].End.Uint32()))
				}
			}
			stack.Receive(now, &s)
			now++
		}
	}
	block := func(from, to int) segment.SACKBlock {
		return segment.SACKBlock{Start: segment.MakeSeq(uint32(from)), End: segment.MakeSeq(uint32(to))}
	}
	b.Run("ordinary", func(b *testing.B) { flight(b, func(int) []segment.SACKBlock { return nil }) })
	b.Run("holes", func(b *testing.B) {
		flight(b, func(i int) []segment.SACKBlock {
			at := i * 7919 % 9000 * 2
			return []segment.SACKBlock{block(at+1, at+2), block(at/2*2+101, at/2*2+102), block(1, 2), block(19_001, 19_002)}
		})
	})
	b.Run("everything", func(b *testing.B) {
		flight(b, func(int) []segment.SACKBlock { return []segment.SACKBlock{block(1, 20_000)} })
	})
	b.Run("out-of-order octets", func(b *testing.B) {
		for _, order := range []int{1, 7919} {
			b.Run(fmt.Sprint(order), func(b *testing.B) {
				buf := receiveBuffer{limit: 1 << 20, holes: new(holes)}
				for i := 0; b.Loop(); i++ {
					buf.insert(segment.MakeSeq(uint32(2*(i*order%400_000)+1)), []byte{1})
				}
			})
		}
	})
}
