package probe_test

import "rawtcp/segment"

var answersF = answers{
	"F1":  {engine: "fin", kernel: "fin", service: "http"},
	"F2":  {engine: "data", kernel: "data"},
	"F3":  {engine: "reset", kernel: "reset", service: "http"},
	"F4":  {engine: "reset", kernel: "reset", service: "http"},
	"F5":  {engine: "ends", kernel: "ends", service: "http", slow: true},
	"F6":  {engine: "shorter", kernel: "shorter", service: "http", slow: true},
	"F7":  {engine: "newer", kernel: "newer", service: "http"},
	"F8":  {engine: "protected", kernel: "assassinated", service: "http"},
	"F9":  {engine: "backoff", kernel: "backoff", slow: true},
	"F10": {engine: "time-wait", kernel: "time-wait", service: "http"},
}

var breakagesF = []breakage{
	{
		name: "sends no RST",
		host: broken{toUs: func(_ *broken, s *segment.Segment) *segment.Segment {
			if s.Flags.Has(segment.RST) {
				return nil
			}
			return s
		}},
		found: map[string]string{
			"A5": "silent", "A6": "silent", "A8": "quiet", "A9": "silent",
			"C1": "unknown: the connection fell silent", "C4": "unknown: the connection fell silent",
			"C15": "unknown: the connection fell silent", "C18": "unknown: the connection fell silent",
			"F3": "open", "F4": "silent", "F5": "silent", "F6": "silent", "H4": "partly",
		},
	},
	{
		name: "never sends a FIN again",
		host: broken{toUs: func(b *broken, s *segment.Segment) *segment.Segment {
			if s.Flags.Has(segment.FIN) {
				if _, known := b.odd[s.Dst]; known {
					return nil
				}
				b.odd[s.Dst] = s.Seq
			}
			return s
		}},
		found: map[string]string{"F9": "never"},
	},
	{
		name: "takes any SYN in TIME-WAIT",
		host: broken{
			toIt: func(b *broken, s *segment.Segment) *segment.Segment {
				if next := b.next[s.Src]; b.syns[s.Src] > 0 && s.Flags == segment.SYN && s.Seq.Less(next) && next.Sub(s.Seq) > 1 {
					s.Seq = next.Add(1 << 20)
				}
				return s
			},
			toUs: func(b *broken, s *segment.Segment) *segment.Segment {
				if s.Flags.Has(segment.FIN) {
					b.syns[s.Dst]++
				}
				return s
			},
		},
		found: map[string]string{"F7": "any"},
	},
}
