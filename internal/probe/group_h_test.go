package probe_test

import (
	"net/netip"
	"time"

	"rawtcp/segment"
)

var answersH = answers{
	"H1": {engine: "random", kernel: "random"},
	"H2": {engine: "private", kernel: "private"},
	"H3": {engine: "zero", kernel: "zero"},
	"H4": {engine: "printed", kernel: "printed"},
	"H5": {engine: "alike", kernel: "alike"},
}

var breakagesH = []breakage{
	{
		name: "takes its initial sequence numbers from one clock",
		host: broken{
			toUs: func(b *broken, s *segment.Segment) *segment.Segment {
				if s.Flags.Has(segment.SYN) && b.syns[s.Dst] != int(s.Seq.Uint32()) {
					b.syns[s.Dst] = int(s.Seq.Uint32())
					b.odd[s.Dst] = s.Seq.Add(-int(uint32(time.Now().UnixMicro() / 4)))
				}
				s.Seq = s.Seq.Add(-int(b.odd[s.Dst].Uint32()))
				return s
			},
			toIt: func(b *broken, s *segment.Segment) *segment.Segment {
				if s.Flags.Has(segment.ACK) {
					s.Ack = s.Ack.Add(int(b.odd[s.Src].Uint32()))
				}
				return s
			},
		},
		found: map[string]string{"H1": "predictable"},
	},
	{
		name: "stamps with one clock for all",
		host: broken{toUs: func(_ *broken, s *segment.Segment) *segment.Segment {
			if s.Options.Has(segment.HasTimestamps) {
				s.Options.TSVal, s.Options.Raw = uint32(time.Now().UnixMilli()), nil
			}
			return s
		}},
		found: map[string]string{"H2": "shared"},
	},
	{
		name: "counts its packets in the IP header",
		host: broken{toUs: func(b *broken, s *segment.Segment) *segment.Segment {
			b.odd[netip.AddrPort{}] = b.odd[netip.AddrPort{}].Add(1)
			s.IPID = uint16(b.odd[netip.AddrPort{}].Uint32())
			return s
		}},
		found: map[string]string{"H3": "counter"},
	},
	{
		name: "is several hosts with different options",
		host: broken{toUs: func(_ *broken, s *segment.Segment) *segment.Segment {
			if s.Flags.Has(segment.SYN) && s.Dst.Port()%3 == 0 {
				s.Window = 1000
			}
			return s
		}},
		found: map[string]string{"H5": "several"},
	},
}
