package kernel

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rawtcp/internal/explain"
	"rawtcp/internal/trace"
)

// Our names of what tshark calls otherwise; "" is for what it has no name for.
var names = map[string]string{
	"loss_probe": "retransmission", "dup_ack": "duplicate_ack", "gap": "lost_segment", "ack_of_unseen": "ack_lost_segment", "ports_reused": "reused_ports",
	"duplicate": "", "old_duplicate_syn": "", "challenge_ack": "", "fast_open": "",
}

// read returns our line for each frame, and the connections.
func read(t *testing.T, file string) (segments map[uint64]trace.SegmentLine, conns []trace.ConnectionLine) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	segments = map[uint64]trace.SegmentLine{}
	err = explain.Lines(f, explain.Options{}, func(line any) error {
		switch line := line.(type) {
		case trace.SegmentLine:
			segments[line.Frame] = line
		case trace.ConnectionLine:
			conns = append(conns, line)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return segments, conns
}

// notesOf are a line's notes in tshark's words, and those it has no word for.
func notesOf(line trace.SegmentLine) (theirs, own []string) {
	all := line.Notes
	if len(all) == 0 && line.Note != "" {
		all = []string{line.Note}
	}
	for _, n := range all {
		word, other := names[n]
		switch {
		case !other:
			theirs = append(theirs, n)
		case word != "":
			theirs = append(theirs, word)
		default:
			own = append(own, n)
		}
	}
	return theirs, own
}

// damaged is what difference returns of a segment whose checksum is wrong.
const damaged = "(damaged)"

// difference writes what only we say with a plus and what only tshark says with
// a minus; what it has no word for stands in brackets if there is a difference.
func difference(line trace.SegmentLine, o opinion) string {
	flags := maps.Clone(o.flags)
	if flags["fast_retransmission"] || flags["spurious_retransmission"] {
		delete(flags, "retransmission")
	}
	ours, own := notesOf(line)
	var words []string
	for _, n := range ours {
		if !flags[n] {
			words = append(words, "+"+n)
		}
		delete(flags, n)
	}
	for _, n := range slices.Sorted(maps.Keys(flags)) {
		words = append(words, "-"+n)
	}
	if len(words) > 0 && len(ours) == 0 && line.Checksum == "bad" {
		return damaged
	}
	if len(words) > 0 && len(own) > 0 {
		words = append(words, "("+strings.Join(own, ", ")+")")
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// A dispute is a segment on which we and tshark differ, with all that may decide.
type dispute struct {
	line    trace.SegmentLine
	before  []trace.SegmentLine // of the same connection, the latest last
	capture *recording          // that it is in
	frame   int                 // in that
	sender  *recording          // the same talk, captured where it was sent
}

// A ruling is why we are right where tshark says something else, and how that
// is to be seen in each single case.
type ruling struct {
	why   string
	holds func(d *dispute) bool
}

// The differences: with a plus what only we say, with a minus what only tshark
// says. Each was looked at; none is listed because it is convenient.
var rulings = map[string]ruling{
	damaged: {
		"a damaged segment is thrown away by its receiver, and means nothing", func(d *dispute) bool { return d.line.Note == "" }},
	"(duplicate) -duplicate_ack": {
		"an ACK that is there twice with one IP ID is one ACK: nothing was missing", (*dispute).copied},
	"(duplicate) -retransmission": {
		"the same IP ID: its sender sent it once, and the network or the capture made two of it", (*dispute).copied},
	"(duplicate) -spurious_retransmission": {
		"the same IP ID: its sender sent it once, and the network or the capture made two of it", (*dispute).copied},
	"(duplicate) -retransmission -window_full": {
		"the same IP ID: its sender sent it once; that it fills the window was said of the first", (*dispute).copied},
	"(duplicate) -spurious_retransmission -window_full": {
		"the same IP ID: its sender sent it once; that it fills the window was said of the first", (*dispute).copied},
	"(duplicate) -keep_alive": {
		"the same IP ID: one question, seen twice", (*dispute).copied},
	"(duplicate) -keep_alive_ack": {
		"the same IP ID: one answer, seen twice", (*dispute).copied},
	"+duplicate_ack -window_update": {
		"RFC 6675 section 2: an ACK with a SACK block that tells something new is a duplicate ACK, whatever its window",
		func(d *dispute) bool { return len(d.line.Options.SACK) > 0 }},
	"+fast_retransmission -out_of_order": {
		"it was sent before, and duplicate ACKs or SACK had asked for it: nothing was overtaken", (*dispute).sentBefore},
	"+fast_retransmission -retransmission": {
		"SACK has just reported what is behind it: the loss was found without a timeout, as far as this capture knows. tshark wants the ACK within 20 ms, less than the round trip",
		func(d *dispute) bool { return d.sentBefore() && d.asked() }},
	"+retransmission -out_of_order": {
		"it was sent before", (*dispute).sentBefore},
	"+retransmission -fast_retransmission": {
		"it repairs what a timeout has found: what the ACKs say came after that", (*dispute).sentBefore},
	"+out_of_order -fast_retransmission": {
		"it was not sent before: the path has changed the order", (*dispute).sentFirst},
	"+out_of_order -retransmission": {
		"it was not sent before: the path or the capture has changed the order", (*dispute).sentFirst},
	"+out_of_order -spurious_retransmission": {
		"it was not sent before: the capture has it behind its ACK", (*dispute).sentFirst},
	"+out_of_order": {
		"it was not sent before, and came behind what was sent after it", (*dispute).sentFirst},
	"+spurious_retransmission -retransmission": {
		"an ACK of it was seen before: that it is a FIN, which tshark does not look for, changes nothing",
		func(d *dispute) bool {
			return slices.ContainsFunc(d.before, func(l trace.SegmentLine) bool { return l.Dir != d.line.Dir && l.Ack >= d.line.Seq+uint32(d.line.Len) })
		}},
	"+keep_alive_ack -window_update": {
		"it answers a keep-alive; that its window has changed as well is no wonder",
		func(d *dispute) bool { return d.other().Note == "keep_alive" }},
	"+keep_alive_ack -duplicate_ack": {
		"it answers a keep-alive", func(d *dispute) bool { return d.other().Note == "keep_alive" }},
	"+zero_window_probe -keep_alive": {
		"the other side's window is closed: RFC 9293 section 3.8.6.1. Linux probes with an octet that was acknowledged, so that it looks like a keep-alive",
		func(d *dispute) bool { return d.other().Win == 0 }},
	"+zero_window_probe_ack": {
		"it answers the probe before it", func(d *dispute) bool { return d.other().Note == "zero_window_probe" }},
	"+zero_window_probe_ack -keep_alive_ack": {
		"it answers the probe before it", func(d *dispute) bool { return d.other().Note == "zero_window_probe" }},
	"-retransmission": {
		"both open at once: the SYN-ACK has to repeat the number of the SYN (RFC 9293 figure 8), and nothing was lost",
		func(d *dispute) bool {
			return d.line.Flags == "S." && strings.Contains(d.capture.name, "simultaneous open")
		}},
	"+retransmission -keep_alive": {
		"the octet is still outstanding: to send it again is no question but a repair", (*dispute).sentBefore},
	"+fast_retransmission -keep_alive": {
		"the octet is still outstanding: to send it again is no question but a repair", (*dispute).sentBefore},
	"+lost_segment": {
		"a segment before it is damaged: its receiver has thrown it away, so it is missing",
		func(d *dispute) bool {
			return slices.ContainsFunc(d.before, func(l trace.SegmentLine) bool { return l.Checksum == "bad" })
		}},
	"+ack_lost_segment": {
		"frames were taken out of this capture: the ACK covers another hole in it", (*dispute).holed},
	"-ack_lost_segment": {
		"frames were taken out of this capture, and the hole was told already; or a late ACK of the connection before came in between, and its numbers are others",
		func(d *dispute) bool { return d.holed() || d.reused() }},
	"-lost_segment": {
		"a late ACK of the connection before came in between: its numbers are others, and nothing is missing",
		func(d *dispute) bool { return d.reused() && d.line.Flags == "S." }},
}

// other is the last segment of the other side before the dispute.
func (d *dispute) other() trace.SegmentLine {
	for _, l := range slices.Backward(d.before) {
		if l.Dir != d.line.Dir {
			return l
		}
	}
	return trace.SegmentLine{}
}

// asked reports whether the other side has just said that something is missing.
func (d *dispute) asked() bool {
	o := d.other()
	return len(o.Options.SACK) > 0 || o.Note == "dup_ack"
}

// copied reports whether the capture has the very same IP packet shortly before.
func (d *dispute) copied() bool {
	const near = 40
	packet := d.capture.frames[d.frame].data
	for i := max(d.frame-near, 0); i < d.frame; i++ {
		if bytes.Equal(packet, d.capture.frames[i].data) {
			return true
		}
	}
	return false
}

func (d *dispute) holed() bool { return strings.Contains(d.capture.name, "without its third") }

// reused reports whether the talk has several connections between the same ports.
func (d *dispute) reused() bool { return strings.Contains(d.capture.name, " reused, ") }

// turns are the places of the segment among all that were sent with its first
// octet, from 0, by what was captured where it was sent: more than one if two of
// these are the same in every field.
func (d *dispute) turns() (turns []int) {
	n := 0
	port := netip.MustParseAddrPort(d.line.Src).Port()
	for _, f := range d.sender.frames {
		tcp, payload := tcpOf(f.data[14:])
		if tcp == nil || payload == 0 && tcp[13]&fin == 0 || binary.BigEndian.Uint16(tcp) != port {
			continue
		}
		seq := binary.BigEndian.Uint32(tcp[4:])
		if d.line.SeqAbs-seq >= uint32(max(payload, 1)) {
			continue
		}
		if seq == d.line.SeqAbs && binary.BigEndian.Uint32(tcp[8:]) == d.line.AckAbs && hex.EncodeToString(tcp[20:int(tcp[12]>>4)*4]) == d.line.Options.Raw {
			turns = append(turns, n)
		}
		n++
	}
	return turns
}

// sentBefore reports whether the segment repeats another.
func (d *dispute) sentBefore() bool {
	turns := d.turns()
	return len(turns) > 0 && turns[len(turns)-1] > 0
}

// sentFirst reports whether the segment is the first with its octets.
func (d *dispute) sentFirst() bool {
	turns := d.turns()
	return len(turns) > 0 && turns[0] == 0
}

// base finds what a recording is of: its talk's name is the first part.
func base(name string, among []recording) *recording {
	for i := range among {
		talk, _, _ := strings.Cut(among[i].name, ", client's side")
		talk, _, _ = strings.Cut(talk, ", server's side")
		if name == talk || strings.HasPrefix(name, talk+", ") {
			return &among[i]
		}
	}
	return nil
}

// Our notes on every segment of the corpus are tshark's, but for the differences
// that are ruled upon, and each of these is as the ruling says.
func TestNotesAgainstTshark(t *testing.T) {
	client, server, converted := recordings(t)
	if n := len(client) + len(server) + len(converted); n < 40 {
		t.Errorf("%d captures, want 40 at least", n)
	}
	seen := map[string]int{}
	frames, agreed := 0, 0
	for _, set := range []struct {
		name       string
		recordings []recording
	}{{"client", client}, {"server", server}, {"converted", converted}} {
		t.Run(set.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "all.pcapng")
			starts := join(t, file, set.recordings)
			opinions := ask(t, file)
			segments, conns := read(t, file)
			compareConnections(t, segments, conns, opinions)
			history := map[uint64][]trace.SegmentLine{}
			for i, o := range opinions {
				line, ok := segments[uint64(i+1)]
				if !ok {
					t.Errorf("frame %d is no segment for us", i+1)
					continue
				}
				frames++
				d := difference(line, o)
				if d == "" {
					agreed++
				} else {
					seen[d]++
					which, found := slices.BinarySearch(starts, i)
					if !found {
						which--
					}
					x := &dispute{line: line, before: history[line.Conn], capture: &set.recordings[which], frame: i - starts[which]}
					x.sender = base(x.capture.name, client)
					if line.Dir == "in" {
						x.sender = base(x.capture.name, server)
					}
					if r, ruled := rulings[d]; !ruled || !r.holds(x) {
						t.Errorf("%s, frame %d (%d of the capture): %q is not ruled upon, or not so (ruled: %v)\n%+v", x.capture.name, i+1, x.frame+1, d, ruled, line)
					}
				}
				history[line.Conn] = append(history[line.Conn], line)
			}
		})
	}
	t.Logf("%d captures, %d segments, %d judged as tshark does", len(client)+len(server)+len(converted), frames, agreed)
	for _, d := range slices.Sorted(maps.Keys(seen)) {
		t.Logf("%4d %s: %s", seen[d], d, rulings[d].why)
	}
}

// compareConnections holds the borders between connections, and what was seen of
// each one's life, to tshark's streams and their completeness.
func compareConnections(t *testing.T, segments map[uint64]trace.SegmentLine, conns []trace.ConnectionLine, opinions []opinion) {
	t.Helper()
	streams, complete := map[uint64]int{}, map[int]int{}
	for i, o := range opinions {
		line := segments[uint64(i+1)]
		if stream, known := streams[line.Conn]; known && stream != o.stream {
			t.Errorf("frame %d is of connection %d, and of stream %d, not %d", i+1, line.Conn, o.stream, stream)
		}
		streams[line.Conn] = o.stream
		complete[o.stream] = o.completeness
	}
	if len(streams) != len(complete) || len(conns) != len(streams) {
		t.Errorf("%d connections in segments, %d lines of them, %d streams", len(streams), len(conns), len(complete))
	}
	for _, c := range conns {
		theirs := complete[streams[c.Conn]]
		const synAck = 2
		if c.Parts&3 == synAck { // tshark passes over a SYN-ACK whose SYN it has not seen
			theirs |= synAck
		}
		if int(c.Parts) != theirs {
			t.Errorf("connection %d (%s, %s): parts %06b, tshark %06b", c.Conn, c.Local.Addr, c.Remote.Addr, c.Parts, theirs)
		}
	}
}
