package probe_test

import (
	"net/netip"
	"time"

	"rawtcp/segment"
)

// moreBreakages concern several groups.
var moreBreakages = []breakage{
	predictable("begins each connection 64000 further", "predictable", func(last segment.Seq) segment.Seq { return last.Add(64000) }),
	predictable("begins each connection with the same number", "constant", func(last segment.Seq) segment.Seq { return last }),
	predictable("takes its initial sequence numbers from one clock", "predictable", func(segment.Seq) segment.Seq {
		return segment.MakeSeq(uint32(time.Now().UnixMicro() / 4)) // RFC 793 section 3.3
	}),
}

// predictable is a host whose initial sequence numbers can be told from the last.
func predictable(name, key string, follows func(last segment.Seq) segment.Seq) breakage {
	delta, next := map[netip.AddrPort]int{}, segment.MakeSeq(1000)
	real := map[netip.AddrPort]segment.Seq{}
	return breakage{
		name: name,
		host: broken{
			toUs: func(_ *broken, s *segment.Segment) *segment.Segment {
				if s.Flags.Has(segment.SYN) && real[s.Dst] != s.Seq {
					real[s.Dst] = s.Seq
					next = follows(next)
					delta[s.Dst] = next.Sub(s.Seq)
				}
				if !s.Flags.Has(segment.RST) || real[s.Dst].Less(s.Seq) && s.Seq.Sub(real[s.Dst]) < 1<<24 {
					s.Seq = s.Seq.Add(delta[s.Dst])
				}
				return s
			},
			toIt: func(_ *broken, s *segment.Segment) *segment.Segment {
				back := -delta[s.Src]
				if s.Flags.Has(segment.ACK) {
					s.Ack = s.Ack.Add(back)
				}
				for i := range s.Options.Blocks() {
					b := &s.Options.SACK[i]
					b.Start, b.End = b.Start.Add(back), b.End.Add(back)
					s.Options.Raw = nil
				}
				return s
			},
		},
		found: map[string]string{"H1": key},
	}
}
