package probe_test

import "rawtcp/segment"

var answersC = answers{
	"C1":  {engine: "dead", kernel: "dead"},
	"C2":  {engine: "challenge", kernel: "challenge"},
	"C3":  {engine: "silent", kernel: "silent"},
	"C4":  {engine: "dead", kernel: "dead"},
	"C5":  {engine: "challenge", kernel: "challenge"},
	"C6":  {engine: "challenge", kernel: "challenge"},
	"C7":  {engine: "refused", kernel: "refused"},
	"C8":  {engine: "refused", kernel: "refused"},
	"C9":  {engine: "silent", kernel: "silent"},
	"C10": {engine: "acked", kernel: "acked"},
	"C11": {engine: "exact", kernel: "exact"},
	"C13": {engine: "refused", kernel: "refused"},
	"C14": {engine: "queued", kernel: "queued"},
	"C15": {engine: "dead", kernel: "dead", service: "http"},
	"C17": {engine: "refused", kernel: "refused"},
	"C18": {engine: "dead", kernel: "dead"},
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
		found: map[string]string{"C1": "ignored", "C2": "ignored", "C4": "ignored", "A6": "ignored", "C15": "ignored", "C18": "ignored", "G3": "broken", "H4": "partly"},
	},
}
