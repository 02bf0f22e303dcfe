package engine

import (
	"testing"

	"rawtcp/segment"
)

// FuzzScoreboard drives a scoreboard with ACKs, reports, losses, retransmissions
// and cuts, and holds it against one mark for each octet. Each step is two octets:
// what happens, and where.
func FuzzScoreboard(f *testing.F) {
	f.Add(uint32(1<<32-100), []byte{0, 50, 0, 50, 0, 20, 2, 70, 3, 0, 4, 0, 1, 30})
	f.Add(uint32(0), []byte{0, 9, 0, 9, 0, 9, 2, 3, 2, 9, 5, 0, 4, 0, 4, 0, 2, 9, 6, 3, 1, 200})
	f.Fuzz(func(t *testing.T, isn uint32, steps []byte) {
		start := segment.MakeSeq(isn)
		var s sentQueue
		var k rack
		var reported []bool // by offset from start, of all that was ever sent
		var edges []int     // where ranges end, for a report marks whole ranges alone
		una := 0
		for now := Time(1); len(steps) >= 2 && now < 2000; now++ {
			at := int(steps[1])
			switch nxt := len(reported); steps[0] % 7 {
			case 0:
				n := 1 + at
				s.push(sentRange{start: start.Add(nxt), end: start.Add(nxt + n), at: now})
				reported = append(reported, make([]bool, n)...)
				edges = append(edges, nxt+n)
			case 1:
				una = min(una+at, nxt)
				s.ack(start.Add(una), &delivery{now: now, rack: &k})
			case 2:
				from := min(una+at, nxt)
				to := min(from+4*at+1, nxt)
				s.sack(start.Add(from), start.Add(to), &delivery{now: now, rack: &k})
				begin := una
				for _, end := range edges {
					if end <= una {
						continue
					}
					for i := begin; begin >= from && end <= to && i < end; i++ {
						reported[i] = true
					}
					begin = end
				}
			case 3:
				s.markOverdue(now, &k, 0)
			case 4:
				if n := s.nextLost(); n != 0 {
					s.resend(n, now)
				}
			case 5:
				s.markAllLost()
				clear(reported)
			case 6:
				s.cut(1+at, start.Add(nxt))
				edges = edges[:0]
				for _, r := range s.ranges() {
					edges = append(edges, r.end.Sub(start))
				}
			}
			steps = steps[2:]
			checkSums(t, &s, start.Add(una), start.Add(len(reported)))
			for _, r := range s.ranges() {
				for i := r.start.Sub(start); i < r.end.Sub(start); i++ {
					if reported[i] != r.sacked {
						t.Fatalf("octet %d: reported %v, the scoreboard has %v", i, reported[i], r.sacked)
					}
				}
			}
		}
	})
}
