package probe_test

import "rawtcp/segment"

var answersG = answers{
	"G1": {engine: "declined", kernel: "agreed"},
	"G2": {engine: "no-ecn", kernel: "echoed"},
	"G3": {engine: "works", kernel: "works"},
	"G4": {engine: "direct", kernel: "direct"},
	"G5": {engine: "no-ecn", kernel: "classic"},
	"G6": {engine: "none", kernel: "none"},
	"G7": {engine: "not-offered", kernel: "not-offered"},
	"G8": {engine: "plain", kernel: "plain"},
	"G9": {engine: "exact", kernel: "exact"},
}

var breakagesG = []breakage{
	{
		name: "reflects flags and options that it does not know",
		host: broken{toUs: func(_ *broken, s *segment.Segment) *segment.Segment {
			if s.Flags.Has(segment.SYN | segment.ACK) {
				s.Flags |= segment.ECE | segment.CWR
			}
			return s
		}},
		found: map[string]string{"G1": "reflected", "G5": "mangled"},
	},
	{
		name: "offers what the SYN did not",
		host: broken{toUs: func(_ *broken, s *segment.Segment) *segment.Segment {
			if s.Flags.Has(segment.SYN|segment.ACK) && !s.Options.Has(segment.HasSACKPermitted) {
				s.Options.Set |= segment.HasSACKPermitted
				s.Options.Raw = nil
			}
			return s
		}},
		found: map[string]string{"G9": "unasked"},
	},
}
