package probe_test

import "rawtcp/segment"

var answersD = answers{
	"D1": {engine: "backoff", kernel: "backoff", service: "http", slow: true},
	"D2": {engine: "new", kernel: "new", service: "http"},
	"D3": {engine: "rack", kernel: "rack", service: "http"},
	"D4": {engine: "both", kernel: "both", service: "http"},
	"D5": {engine: "sack", kernel: "sack", service: "http"},
	// Without a delay on the path it is chance whether Linux takes the ACK for one
	// of the retransmission.
	"D6":  {engine: "f-rto", service: "http"},
	"D7":  {engine: "backoff", kernel: "backoff", service: "http", slow: true},
	"D8":  {engine: "recovers", kernel: "recovers", service: "http"},
	"D9":  {engine: "quiet", kernel: "probes", slow: true},
	"D10": {engine: "both", kernel: "both"},
	"D11": {engine: "alive", kernel: "alive", slow: true},
}

var breakagesD = []breakage{
	{
		name: "never sends data again",
		host: broken{toUs: func(b *broken, s *segment.Segment) *segment.Segment {
			end, known := b.odd[s.Dst]
			if s.Flags.Has(segment.SYN) || len(s.Payload) == 0 {
				return s
			}
			if known && s.Seq.Less(end) {
				return nil
			}
			b.odd[s.Dst] = s.Seq.Add(len(s.Payload))
			return s
		}},
		found: map[string]string{"D1": "never", "D2": "unknown: no retransmission", "D3": "timeout", "D5": "timeout", "D6": "unknown: no retransmission"},
		blurs: map[string]string{"E10": "silent"}, // it waits for a retransmission
	},
	{
		name: "ignores a window of zero",
		host: broken{toIt: func(_ *broken, s *segment.Segment) *segment.Segment {
			if s.Window == 0 && !s.Flags.Has(segment.RST) {
				s.Window = 100
			}
			return s
		}},
		found: map[string]string{"D7": "ignored", "D8": "unknown: the host sends data"},
	},
	{
		name: "does not probe a window of zero",
		host: broken{toUs: func(b *broken, s *segment.Segment) *segment.Segment {
			sent := b.sent[s.Dst]
			if len(s.Payload) == 0 && !s.Flags.Any(segment.SYN|segment.FIN|segment.RST) && s.Seq.Less(sent) {
				return nil
			}
			return s
		}},
		found: map[string]string{"D7": "never", "D8": "unknown: the host does not probe"},
	},
	{
		name: "does not answer keep-alives",
		host: broken{toIt: func(b *broken, s *segment.Segment) *segment.Segment {
			if next, known := b.next[s.Src]; known && s.Seq.Add(1) == next && !s.Flags.Any(segment.SYN|segment.FIN|segment.RST) && len(s.Payload) <= 1 {
				return nil
			}
			return s
		}},
		found: map[string]string{"D10": "none"},
		blurs: map[string]string{"F5": "silent"}, // it asks with a keep-alive
	},
}
