package probe_test

import (
	"net/netip"
	"testing"

	"rawtcp/segment"
)

// A broken host is our engine behind a road that changes segments so that the
// engine does what it should not. The road knows what the host expects next.
type broken struct {
	next map[netip.AddrPort]segment.Seq // RCV.NXT of the host, by our address
	toIt func(b *broken, s *segment.Segment) *segment.Segment
	toUs func(b *broken, s *segment.Segment) *segment.Segment
}

// subject puts the breakage between us and a good host.
func (b *broken) subject() subject {
	b.next = map[netip.AddrPort]segment.Seq{}
	return subject{toHost: b.change(&b.toIt, false), toUs: b.change(&b.toUs, true)}
}

func (b *broken) change(rule *func(*broken, *segment.Segment) *segment.Segment, fromHost bool) func([]byte) []byte {
	return func(packet []byte) []byte {
		var s segment.Segment
		if s.Parse(packet) != nil {
			return packet
		}
		if fromHost && s.Flags.Has(segment.ACK) && !s.Flags.Has(segment.RST) {
			b.next[s.Dst] = s.Ack
		}
		if *rule == nil {
			return packet
		}
		changed := (*rule)(b, &s)
		if changed == nil {
			return nil
		}
		out, err := changed.Append(nil)
		if err != nil {
			panic(err)
		}
		return out
	}
}

// breakages are deliberately broken hosts, and the rows that must find each: no
// other row may change.
var breakages = []struct {
	name  string
	host  broken
	found map[string]string
}{
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

// TestBrokenHosts: each breakage is found by its rows and by no other.
func TestBrokenHosts(t *testing.T) {
	for i := range breakages {
		tt := &breakages[i]
		t.Run(tt.name, func(t *testing.T) {
			expected := map[string]string{}
			for id, key := range engineAnswers {
				expected[id] = key
			}
			for id, key := range tt.found {
				expected[id] = key
			}
			want(t, tt.host.subject().probe(t, keys(expected)...), expected)
		})
	}
}
