package probe_test

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"rawtcp/internal/probe"
	"rawtcp/segment"
)

// A broken host is our engine behind a road that changes segments so that the
// engine does what it should not. The road knows what the host expects next.
type broken struct {
	next map[netip.AddrPort]segment.Seq // RCV.NXT of the host, by our address
	sent map[netip.AddrPort]segment.Seq // its SND.NXT
	syns map[netip.AddrPort]int         // SYNs of ours less SYN-ACKs of its
	odd  map[netip.AddrPort]segment.Seq // SEQ of the last RST or SYN that it got in a connection
	sums bool                           // it does not look at checksums: what is changed gets a right one
	toIt func(b *broken, s *segment.Segment) *segment.Segment
	toUs func(b *broken, s *segment.Segment) *segment.Segment
}

// subject puts the breakage between us and a good host.
func (b *broken) subject() subject {
	b.next, b.sent = map[netip.AddrPort]segment.Seq{}, map[netip.AddrPort]segment.Seq{}
	b.syns, b.odd = map[netip.AddrPort]int{}, map[netip.AddrPort]segment.Seq{}
	return subject{toHost: b.change(&b.toIt, false), toUs: b.change(&b.toUs, true)}
}

func (b *broken) change(rule *func(*broken, *segment.Segment) *segment.Segment, fromHost bool) func([]byte) []byte {
	return func(packet []byte) []byte {
		var s segment.Segment
		if s.Parse(packet) != nil {
			return packet
		}
		if fromHost {
			b.hear(&s)
		}
		if *rule == nil || s.Checksum == segment.ChecksumBad && !b.sums {
			return packet
		}
		was := mustAppend(&s)
		changed := (*rule)(b, &s)
		if changed == nil {
			return nil
		}
		if now := mustAppend(changed); !bytes.Equal(now, was) {
			return now
		}
		return packet // as it is, with all that Append does not write
	}
}

// hear keeps the numbers of a host.
func (b *broken) hear(s *segment.Segment) {
	if s.Flags.Has(segment.ACK) && !s.Flags.Has(segment.RST) {
		b.next[s.Dst] = s.Ack
		if s.Flags.Has(segment.SYN) || b.sent[s.Dst].Less(s.End()) {
			b.sent[s.Dst] = s.End()
		}
	}
}

func mustAppend(s *segment.Segment) []byte {
	packet, err := s.Append(nil)
	if err != nil {
		panic(err)
	}
	return packet
}

// A breakage is a deliberately broken host, and the rows that must find it: no
// other row may change. Each group has a list of its own.
type breakage struct {
	name  string
	host  broken
	found map[string]string

	// blurs are rows that measure something else by means of what is broken, and
	// have nothing bad to say of it.
	blurs map[string]string
}

func allBreakages() []breakage {
	return slices.Concat(breakagesA, breakagesB, breakagesC, breakagesD, breakagesE, breakagesF, breakagesG, breakagesH, breakagesP, moreBreakages)
}

// concerns reports whether a row is of a group that has to find the breakage.
func (b breakage) concerns(id string) bool {
	for found := range b.found {
		if found[0] == id[0] {
			return true
		}
	}
	return false
}

// TestBrokenHosts: each breakage is found by its rows and by no other.
func TestBrokenHosts(t *testing.T) {
	for _, tt := range allBreakages() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table := allAnswers()
			changed := maps.Clone(tt.found)
			maps.Copy(changed, tt.blurs)
			for id, key := range changed {
				a, known := table[id]
				if !known {
					t.Fatalf("no row %s", id)
				}
				a.engine = key
				table[id] = a
			}
			for id, key := range tt.blurs {
				if o := probe.Find(id).Outcome(key); o == nil || o.Verdict.Bad() {
					t.Errorf("%s accuses the host of what another row finds", id)
				}
			}
			for _, service := range services {
				s := tt.host.subject()
				s.service = service
				expected := table.of(service, byEngine)
				// How a host calls us back depends on what its last call met, and C19 has a
				// cell for what any other row asks.
				maps.DeleteFunc(expected, func(id, _ string) bool { return probe.Find(id).Risk&probe.Passive != 0 || id == "C19" })
				if !*everyRow {
					maps.DeleteFunc(expected, func(id, _ string) bool { return !tt.concerns(id) })
				}
				if len(expected) > 0 {
					want(t, s.probe(t, keys(expected)...), expected)
				}
			}
		})
	}
}
