package ping

import (
	"net/netip"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// Kind says how a probe fared. Its text is the JSON field "result".
type Kind string

// The kinds of event.
const (
	Reply       Kind = "reply"       // SYN-ACK: the port is open
	Refused     Kind = "refused"     // RST: the port is closed, and the host answers
	Unreachable Kind = "unreachable" // ICMP error about our SYN
	Lost        Kind = "lost"        // nothing came within the wait
	Late        Kind = "late"        // an answer to a probe that was lost or unreachable before
	Duplicate   Kind = "duplicate"   // one more answer to a probe that has one
	Failed      Kind = "failed"      // this host did not send the SYN
)

// An Event is what became of a probe. It and what it points to are valid only
// during the call that hands it over.
type Event struct {
	Kind          Kind
	At            engine.Time
	Target        int // index into the targets
	Seq           int // 1, 2, 3 … of the target's probes
	Local, Remote netip.AddrPort

	RTT    time.Duration // Reply, Refused, Unreachable, Late, Duplicate
	Kernel bool          // RTT is between two stamps of the kernel

	Segment *segment.Segment // the answer; nil for Unreachable, Lost, Failed
	ICMP    *engine.ICMP     // Unreachable
	Err     error            // Failed
}

// Stats are the sums of one target's probes. A probe is in one of the counts
// from Replies to Failed, or waits; Duplicates are no probes.
type Stats struct {
	Sent        int // SYNs, those that failed included
	Replies     int
	Refused     int
	Unreachable int
	Lost        int // never answered
	Late        int
	Failed      int
	Duplicates  int
	Times       Times // of Replies and Refused

	SegmentsSent, SegmentsReceived int // SYNs and RSTs; of a whole connection the SYN and all that came
}

// Total returns the sums of several targets.
func Total(all []Stats) *Stats {
	var total Stats
	for i := range all {
		s := &all[i]
		total.Sent += s.Sent
		for _, k := range []Kind{Reply, Refused, Unreachable, Lost, Late, Failed} {
			*total.of(k) += *s.of(k)
		}
		total.Duplicates += s.Duplicates
		total.SegmentsSent += s.SegmentsSent
		total.SegmentsReceived += s.SegmentsReceived
		total.Times.merge(&s.Times)
	}
	return &total
}

// Received returns how many probes were answered in time.
func (s *Stats) Received() int { return s.Replies + s.Refused }

// Waiting returns how many probes have still to be decided.
func (s *Stats) Waiting() int {
	return s.Sent - s.Replies - s.Refused - s.Unreachable - s.Lost - s.Late - s.Failed
}

// LossPercent returns the share of the decided probes that were never answered.
func (s *Stats) LossPercent() float64 {
	decided := s.Sent - s.Waiting()
	if decided == 0 {
		return 0
	}
	return 100 * float64(s.Lost) / float64(decided)
}

// count takes an event into the sums. before is what the probe was counted as.
func (s *Stats) count(e *Event, before Kind) {
	if e.Kind == Duplicate {
		s.Duplicates++
		return
	}
	if n := s.of(before); n != nil {
		*n--
	}
	*s.of(e.Kind)++
	if e.Kind == Reply || e.Kind == Refused {
		s.Times.Add(e.RTT)
	}
}

// of returns the count of a kind, nil for a probe that waits.
func (s *Stats) of(k Kind) *int {
	switch k {
	case Reply:
		return &s.Replies
	case Refused:
		return &s.Refused
	case Unreachable:
		return &s.Unreachable
	case Lost:
		return &s.Lost
	case Late:
		return &s.Late
	case Failed:
		return &s.Failed
	}
	return nil
}

// clone returns a copy that does not change any more.
func (s *Stats) clone() Stats {
	copied := *s
	copied.Times = s.Times.clone()
	return copied
}
