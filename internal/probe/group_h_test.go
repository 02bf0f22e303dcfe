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
