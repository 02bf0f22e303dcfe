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
	"C12": {engine: "limited", kernel: "limited"},
	"C13": {engine: "refused", kernel: "refused"},
	"C14": {engine: "queued", kernel: "queued"},
	"C15": {engine: "dead", kernel: "dead", service: "http"},
	"C16": {kernel: "survives", service: "http"}, // the simulated network has no ICMP
	"C17": {engine: "refused", kernel: "refused"},
	"C18": {engine: "dead", kernel: "dead"},
	"C19": {engine: "as-asked", kernel: "differs", service: "http", slow: true}, // in FIN-WAIT-2 and TIME-WAIT Linux keeps little
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
		found: map[string]string{"C2": "accepted", "C12": "unknown: no challenge"},
	},
	{
		name: "ignores every RST",
		host: broken{toIt: func(_ *broken, s *segment.Segment) *segment.Segment {
			if s.Flags.Has(segment.RST) {
				return nil
			}
			return s
		}},
		found: map[string]string{"C1": "ignored", "C2": "ignored", "C12": "unknown: no challenge", "C4": "ignored", "A6": "ignored", "C15": "ignored", "C18": "ignored", "H4": "partly"},
	},
	{
		name: "accepts whatever sequence number data has",
		host: broken{toIt: func(b *broken, s *segment.Segment) *segment.Segment {
			next, known := b.next[s.Src]
			if known && len(s.Payload) > 0 && !s.Flags.Any(segment.SYN|segment.RST) && s.Seq.Sub(next) > 66000 {
				s.Seq = next
			}
			return s
		}},
		found: map[string]string{"C10": "kept"},
	},
	{
		name: "accepts whatever ACK data has",
		host: broken{toIt: func(b *broken, s *segment.Segment) *segment.Segment {
			sent, known := b.sent[s.Src]
			if known && s.Flags.Has(segment.ACK) && !s.Flags.Any(segment.SYN|segment.RST) && (sent.Less(s.Ack) || sent.Sub(s.Ack) > 66000) && s.Len() > 0 {
				s.Ack = sent
			}
			return s
		}},
		found: map[string]string{"C7": "accepted", "C8": "accepted", "C13": "accepted"},
	},
	{
		name: "accepts data without ACK",
		host: broken{toIt: func(b *broken, s *segment.Segment) *segment.Segment {
			if sent, known := b.sent[s.Src]; known && len(s.Payload) > 0 && !s.Flags.Any(segment.ACK|segment.SYN|segment.RST) {
				s.Flags |= segment.ACK
				s.Ack = sent
			}
			return s
		}},
		found: map[string]string{"C9": "accepted"},
	},
	{
		name: "challenges with the sender's sequence number",
		host: broken{
			toIt: func(b *broken, s *segment.Segment) *segment.Segment {
				delete(b.odd, s.Src)
				if _, open := b.next[s.Src]; open && s.Flags.Any(segment.SYN|segment.RST) {
					b.odd[s.Src] = s.Seq
				}
				return s
			},
			toUs: func(b *broken, s *segment.Segment) *segment.Segment {
				if seq, odd := b.odd[s.Dst]; odd && s.Flags == segment.ACK && s.Len() == 0 {
					s.Seq = seq
				}
				return s
			},
		},
		found: map[string]string{"C11": "wrong"},
	},
	{
		name: "does not protect against wrapped sequence numbers",
		host: broken{
			toIt: func(b *broken, s *segment.Segment) *segment.Segment {
				if !s.Options.Has(segment.HasTimestamps) || s.Flags.Has(segment.SYN) {
					return s
				}
				if last, known := b.odd[s.Src]; known && int32(s.Options.TSVal-last.Uint32()) < 0 {
					s.Options.TSVal, s.Options.Raw = last.Uint32(), nil
				}
				b.odd[s.Src] = segment.MakeSeq(s.Options.TSVal)
				return s
			},
		},
		found: map[string]string{"C17": "accepted"},
	},
	{
		name: "drops a FIN that is early",
		host: broken{toIt: func(b *broken, s *segment.Segment) *segment.Segment {
			if next, known := b.next[s.Src]; known && s.Flags.Has(segment.FIN) && next.Less(s.Seq) {
				return nil
			}
			return s
		}},
		found: map[string]string{"C14": "lost"},
	},
	{
		name: "resets what a SYN arrives in",
		host: broken{toIt: func(b *broken, s *segment.Segment) *segment.Segment {
			if next, known := b.next[s.Src]; known && s.Flags&(segment.SYN|segment.ACK|segment.RST) == segment.SYN && s.Seq.InWindow(next, 1<<16) && next != s.Seq.Add(1) {
				s.Flags, s.Seq = segment.RST, next
				s.Options = segment.Options{}
			}
			return s
		}},
		found: map[string]string{"C5": "reset"},
	},
}
