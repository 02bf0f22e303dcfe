package probe_test

import (
	"net/netip"
	"slices"
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

// A breakage is a deliberately broken host, and the rows that must find it: no
// other row may change. Each group has a list of its own.
type breakage struct {
	name    string
	host    broken
	service string // default "echo"
	found   map[string]string
}

func allBreakages() []breakage {
	return slices.Concat(breakagesA, breakagesB, breakagesC, breakagesD, breakagesE, breakagesF, breakagesG, breakagesH, breakagesP)
}

// TestBrokenHosts: each breakage is found by its rows and by no other.
func TestBrokenHosts(t *testing.T) {
	for _, tt := range allBreakages() {
		t.Run(tt.name, func(t *testing.T) {
			if tt.service == "" {
				tt.service = "echo"
			}
			expected := allAnswers().of(tt.service, byEngine)
			for id, key := range tt.found {
				expected[id] = key
			}
			s := tt.host.subject()
			s.service = tt.service
			want(t, s.probe(t, keys(expected)...), expected)
		})
	}
}
