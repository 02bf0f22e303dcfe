package probe_test

import "rawtcp/segment"

var answersB = answers{
	"B1":  {engine: "ignored", kernel: "ignored"},
	"B2":  {engine: "ignored", kernel: "ignored"},
	"B3":  {engine: "default", kernel: "default", service: "http"},
	"B4":  {engine: "minimum", kernel: "honoured", service: "http"},
	"B5":  {engine: "direct", kernel: "direct"},
	"B6":  {engine: "ignored", kernel: "ignored", service: "http"},
	"B7":  {engine: "taken", kernel: "taken"},
	"B8":  {engine: "honest", kernel: "honest", service: "http"},
	"B9":  {engine: "dropped", kernel: "accepted"},
	"B10": {engine: "right", kernel: "right"},
	"B11": {engine: "ignored", kernel: "ignored"},
	"B12": {engine: "dropped", kernel: "dropped"},
	"B13": {engine: "acked", kernel: "acked"},
	"B14": {engine: "ignored", kernel: "md5-dropped"},
	"B15": {engine: "works", kernel: "works"},
	"B16": {engine: "all", kernel: "all"},
}

var breakagesB = []breakage{
	{
		name: "assumes an MSS of 1460",
		host: broken{toIt: func(_ *broken, s *segment.Segment) *segment.Segment {
			if s.Flags.Has(segment.SYN) && !s.Options.Has(segment.HasMSS) {
				s.Options.Set |= segment.HasMSS
				s.Options.MSS, s.Options.Raw = 1460, nil
			}
			return s
		}},
		found: map[string]string{"B3": "larger"},
	},
	{
		name: "ignores the MSS",
		host: broken{toIt: func(_ *broken, s *segment.Segment) *segment.Segment {
			if s.Flags.Has(segment.SYN) && s.Options.Has(segment.HasMSS) {
				s.Options.MSS, s.Options.Raw = 1460, nil
			}
			return s
		}},
		found: map[string]string{"B4": "exceeded", "E2": "unknown: the window did not grow"},
		blurs: map[string]string{"D3": "timeout", "D5": "tahoe", "D6": "go-back-n", "E1": "more", "E3": "quiet"}, // they count small segments
	},
	{
		name: "drops what has an option that it does not know",
		host: broken{toIt: func(_ *broken, s *segment.Segment) *segment.Segment {
			if _, odd := s.Options.Find(158); odd {
				return nil
			}
			return s
		}},
		found: map[string]string{"B1": "no-handshake"},
	},
	{
		name: "drops data with an option that it does not know",
		host: broken{toIt: func(_ *broken, s *segment.Segment) *segment.Segment {
			if _, odd := s.Options.Find(158); odd && !s.Flags.Has(segment.SYN) {
				return nil
			}
			return s
		}},
		found: map[string]string{"B1": "data-lost"},
	},
	{
		name: "does not look at checksums",
		host: broken{sums: true, toIt: func(_ *broken, s *segment.Segment) *segment.Segment {
			if s.Checksum == segment.ChecksumBad {
				s.TTL-- // any change has the checksum written anew
			}
			return s
		}},
		found: map[string]string{"B12": "accepted"},
	},
	{
		name: "drops urgent data",
		host: broken{toIt: func(_ *broken, s *segment.Segment) *segment.Segment {
			if s.Flags.Has(segment.URG) {
				return nil
			}
			return s
		}},
		found: map[string]string{"B13": "dropped"},
	},
	{
		name: "echoes the timestamp of what arrived last",
		host: broken{
			toIt: func(b *broken, s *segment.Segment) *segment.Segment {
				b.odd[s.Src] = segment.MakeSeq(s.Options.TSVal)
				return s
			},
			toUs: func(b *broken, s *segment.Segment) *segment.Segment {
				if s.Options.Has(segment.HasTimestamps) && !s.Flags.Any(segment.SYN|segment.RST) {
					s.Options.TSEcr, s.Options.Raw = b.odd[s.Dst].Uint32(), nil
				}
				return s
			},
		},
		found: map[string]string{"B10": "early"},
	},
}
