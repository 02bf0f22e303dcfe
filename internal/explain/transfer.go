package explain

import (
	"fmt"
	"strings"

	"rawtcp/internal/flow"
	"rawtcp/segment"
)

// losses tells what was sent again, and what came in another order.
func (t *teller) losses() {
	for _, side := range sides {
		e := &t.c.Ends[side]
		if n := e.Count(flow.Resent); n > 0 {
			t.noted("retransmission", Warning, side.String(), side, flow.Resent, "%s sent %s again: %s", t.who(side), count(n, "segment", "segments"), kindsOf(e))
		}
		if n := e.Count(flow.SpuriousRetransmission); n > 0 {
			t.noted("spurious_retransmission", Note, side.String(), side, flow.SpuriousRetransmission,
				"%s of these needless, for the data had been acknowledged: the timer was too short, or the ACK was lost behind the capture", count(n, "retransmission", "retransmissions"))
		}
		if e.Needless > 0 {
			t.noted("duplicate_data", Note, side.Other().String(), side.Other(), flow.Resent, "%s reports %d octets that came twice (DSACK): these were sent again without need, or doubled by the network", t.who(side), e.Needless)
		}
		if n := e.Count(flow.DupAck); n > 0 {
			t.noted("dup_ack", Note, side.String(), side, flow.DupAck, "%s sent %s: something was missing or came in another order", t.who(side), count(n, "duplicate ACK", "duplicate ACKs"))
		}
		if n := e.Count(flow.OutOfOrder); n > 0 {
			t.noted("out_of_order", Note, "path", side, flow.OutOfOrder, "%s of %s came later than what was sent after it: the path, or the capture, changes the order", count(n, "segment", "segments"), t.who(side))
		}
	}
}

// kindsOf counts what was sent again by reason.
func kindsOf(e *flow.End) string {
	var words []string
	for _, k := range []struct {
		note flow.Notes
		text string
	}{
		{flow.FastRetransmission, "%d because of duplicate ACKs or SACK"},
		{flow.Retransmission, "%d after a timeout"},
		{flow.LossProbe, "%d as a loss probe"},
		{flow.SpuriousRetransmission, "%d though acknowledged"},
	} {
		if n := e.Count(k.note); n > 0 {
			words = append(words, fmt.Sprintf(k.text, n))
		}
	}
	return strings.Join(words, ", ")
}

// frames are the first ones of a side with a note.
func (t *teller) frames(side flow.Side, n flow.Notes) (frames []uint64) {
	for _, m := range t.c.Moments(side, n) {
		frames = append(frames, m.Frame)
	}
	return frames
}

// noted notes a finding about what a side's segments with a note show.
func (t *teller) noted(kind string, severity Severity, of string, side flow.Side, n flow.Notes, format string, args ...any) {
	moments := t.c.Moments(side, n)
	if len(moments) == 0 {
		moments = []flow.Moment{t.c.First}
	}
	t.add(kind, severity, of, moments[0], t.frames(side, n), format, args...)
}

// windows tells where a receiver was slower than its sender.
func (t *teller) windows() {
	for _, side := range sides {
		e := &t.c.Ends[side]
		if e.Closures > 0 {
			probes := ""
			if n := t.c.Ends[side.Other()].Count(flow.WindowProbe); n > 0 {
				probes = fmt.Sprintf("; %s probed %s", t.who(side.Other()), times(uint32(n)))
			}
			t.noted("zero_window", Warning, side.String(), side, flow.ZeroWindow, "%s closed its window %s, for %s in all: its application reads too slowly%s",
				t.who(side), times(e.Closures), took(e.ClosedFor), probes)
		}
		if n := e.Count(flow.WindowFull); n > 0 {
			t.noted("window_full", Note, side.String(), side, flow.WindowFull, "%s filled the other's window %s: the receiver sets the pace", t.who(side), times(uint32(n)))
		}
	}
}

// probes tells of what was sent to see whether the other is there.
func (t *teller) probes() {
	for _, side := range sides {
		e := &t.c.Ends[side]
		if n := e.Count(flow.KeepAlive); n > 0 {
			answers := t.c.Ends[side.Other()].Count(flow.KeepAliveAck)
			severity := Info
			if answers == 0 {
				severity = Warning
			}
			t.noted("keep_alive", severity, side.String(), side, flow.KeepAlive, "%s asked %s whether the other is still there; %s", t.who(side), times(uint32(n)), count(answers, "answer", "answers"))
		}
		if n := e.Count(flow.ChallengeAck); n > 0 {
			t.noted("challenge_ack", Note, side.String(), side, flow.ChallengeAck, "%s answered %s to a SYN or RST that it did not believe (RFC 5961)", t.who(side), count(n, "challenge ACK", "challenge ACKs"))
		}
	}
}

// checksums tells damage from what the capture saw before the network card had
// finished it.
func (t *teller) checksums() {
	for _, side := range sides {
		e := &t.c.Ends[side]
		bad, partial, ok := e.Checksums[segment.ChecksumBad], e.Checksums[segment.ChecksumPartial], e.Checksums[segment.ChecksumOK]
		if partial > 0 {
			t.add("checksum_offload", Info, side.String(), e.FirstPartial, nil, "%s from %s with an unfinished checksum: captured on the sending host, before the network card completed it. That is no damage",
				count(uint64(partial), "segment", "segments"), t.who(side))
		}
		switch {
		case bad == 0:
		case ok == 0 && bad > 1 && t.c.Ends[side.Other()].Segments == 0:
			t.add("checksum_offload", Note, side.String(), e.FirstBad, nil, "no checksum of %s is right, and nothing of the other side was seen: the network card was to write them, or all are damaged", t.who(side))
		case ok == 0 && (bad > 1 || t.c.Established.Seen()):
			t.add("checksum_offload", Info, side.String(), e.FirstBad, nil, "no checksum of %s is right, and the other side takes its segments all the same: the capture was made before the network card wrote them. That is no damage", t.who(side))
		default:
			t.add("checksum_bad", Problem, side.String(), e.FirstBad, nil, "%s from %s with a wrong checksum: damaged on the way, and thrown away by the receiver", count(uint64(bad), "segment", "segments"), t.who(side))
		}
		if e.Super > 0 {
			t.add("super_segments", Info, side.String(), e.LargestAt, nil, "%s from %s of more than the MSS allows, up to %d octets: the network card cuts or joins them, and the capture saw them whole", count(uint64(e.Super), "segment", "segments"), t.who(side), e.Largest)
		}
	}
}

// capture tells what the capture itself has done to the connection.
func (t *teller) capture() {
	for _, side := range sides {
		e, other := &t.c.Ends[side], &t.c.Ends[side.Other()]
		if n := e.Count(flow.Duplicate); n > 0 {
			t.noted("duplicate", Note, "path", side, flow.Duplicate, "%s from %s came twice, as the very same packet: the network doubled it, or the capture saw it at two places", count(n, "segment", "segments"), t.who(side))
		}
		if gaps, acks := e.Count(flow.Gap), other.Count(flow.AckOfUnseen); acks > 0 {
			t.noted("not_captured", Note, "capture", side.Other(), flow.AckOfUnseen, "segments of %s are missing in the capture, but were acknowledged: the capture has holes (%d gaps, %d such ACKs)", t.who(side), gaps, acks)
		}
	}
}

// clamping compares what a side was told it may send with what it does send.
func (t *teller) clamping() {
	local, remote := t.ends()
	a, b := local.SYN.MSS, remote.SYN.MSS
	if a == 0 || b == 0 {
		return
	}
	if usual(a) && !usual(b) && b < a || usual(b) && !usual(a) && a < b {
		lower, by := b, flow.Remote
		if a < b {
			lower, by = a, flow.Local
		}
		t.add("mss_lowered", Note, "path", local.SYN.First, []uint64{local.SYN.First.Frame, remote.SYN.First.Frame}, "MSS %d of %s is not that of an Ethernet, and the other side's %d is: its link is narrower, or a box in between lowers the MSS (clamping)",
			lower, t.who(by), max(a, b))
	}
	if local.SYN.Cut || remote.SYN.Cut {
		return // whether timestamps take room from the data is not known
	}
	for _, side := range sides {
		e, other := &t.c.Ends[side], &t.c.Ends[side.Other()]
		full := int(other.SYN.MSS)
		if t.c.Ends[flow.Local].SYN.Timestamps && t.c.Ends[flow.Remote].SYN.Timestamps {
			full -= 12
		}
		const several = 3
		if e.AtLargest >= several && e.Largest < full && e.Super == 0 && int(e.SYN.MSS) >= full && e.Largest >= 500 {
			t.add("mss_clamped", Note, "path", e.LargestAt, nil, "%s never sends more than %d octets at once, %s of that size, though %d are allowed by the SYN seen here: on the way to it the MSS was lowered (clamping), or it found a narrower path",
				t.who(side), e.Largest, count(uint64(e.AtLargest), "segment", "segments"), full)
		}
	}
}

// usual reports whether an MSS is that of an Ethernet of 1500 octets, or of a
// loopback or jumbo interface.
func usual(mss uint16) bool {
	switch mss {
	case 1460, 1440, 8960, 8940, 65495, 65475, 65476, 65496:
		return true
	}
	return false
}
