package probe_test

import "rawtcp/segment"

var answersC = answers{
	"C1": {engine: "dead", kernel: "dead"},
	"C2": {engine: "challenge", kernel: "challenge"},
}

var breakagesC = []breakage{
	{
		name: "accepts blind RSTs",
		host: broken{toIt: func(b *broken, s *segment.Segment) *segment.Segment {
			if s.Flags.Has(segment.RST) && s.Seq.InWindow(b.next[s.Src], 1<<16) {
				s.Seq = b.next[s.Src]
			}
			return s
		}},
		found: map[string]string{"C2": "accepted"},
	},
	{
		name: "ignores every RST",
		host: broken{toIt: func(_ *broken, s *segment.Segment) *segment.Segment {
			if s.Flags.Has(segment.RST) {
				return nil
			}
			return s
		}},
		found: map[string]string{"C1": "ignored", "C2": "ignored"},
	},
}
