package probe_test

import (
	"net/netip"

	"rawtcp/segment"
)

// moreBreakages concern several groups.
var moreBreakages = []breakage{
	predictable("begins each connection 64000 further", 64000),
	predictable("begins each connection with the same number", 0),
}

// predictable is a host whose initial sequence numbers are a step apart.
func predictable(name string, step int) breakage {
	delta, next := map[netip.AddrPort]int{}, segment.MakeSeq(1000)
	real := map[netip.AddrPort]segment.Seq{}
	key := "predictable"
	if step == 0 {
		key = "constant"
	}
	return breakage{
		name: name,
		host: broken{
			toUs: func(_ *broken, s *segment.Segment) *segment.Segment {
				if s.Flags.Has(segment.SYN) && real[s.Dst] != s.Seq {
					real[s.Dst] = s.Seq
					next = next.Add(step)
					delta[s.Dst] = next.Sub(s.Seq)
				}
				if !s.Flags.Has(segment.RST) || real[s.Dst].Less(s.Seq) && s.Seq.Sub(real[s.Dst]) < 1<<24 {
					s.Seq = s.Seq.Add(delta[s.Dst])
				}
				return s
			},
			toIt: func(_ *broken, s *segment.Segment) *segment.Segment {
				if s.Checksum == segment.ChecksumBad {
					return s // to change it would mend it
				}
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
