package probe_test

import "rawtcp/segment"

var answersA = answers{
	"A1": {engine: "open", kernel: "open"},
	"A2": {engine: "backoff", kernel: "backoff", slow: true},
	"A3": {engine: "same", kernel: "same"},
	"A4": {engine: "ack", kernel: "ack"},
	"A5": {engine: "reset", kernel: "reset"},
	"A6": {engine: "listen", kernel: "listen"},
	"A7": {engine: "syn-only", kernel: "syn-only"},
	"A8": {engine: "exact", kernel: "exact"},
	"A9": {engine: "exact", kernel: "exact"},

	"A10": {engine: "off", kernel: "off"},
	"A11": {engine: "works", kernel: "works"},
	"A12": {engine: "backoff", kernel: "late-backoff", slow: true},
}

var breakagesA = []breakage{
	{
		name: "resets with a wrong sequence number",
		host: broken{toUs: func(_ *broken, s *segment.Segment) *segment.Segment {
			if s.Flags.Has(segment.RST) {
				s.Seq = s.Seq.Add(1)
			}
			return s
		}},
		found: map[string]string{"A5": "wrong-reset", "A8": "wrong-reset", "A9": "wrong"},
	},
	{
		name: "never sends a SYN-ACK again",
		host: broken{
			toIt: func(b *broken, s *segment.Segment) *segment.Segment {
				if s.Flags.Has(segment.SYN) {
					b.syns[s.Src]++
				}
				return s
			},
			toUs: func(b *broken, s *segment.Segment) *segment.Segment {
				if s.Flags.Has(segment.SYN | segment.ACK) {
					if b.syns[s.Dst]--; b.syns[s.Dst] < 0 {
						b.syns[s.Dst] = 0
						return nil
					}
				}
				return s
			},
		},
		found: map[string]string{"A2": "never"},
		blurs: map[string]string{"A10": "on", "H4": "partly"},
	},
}
