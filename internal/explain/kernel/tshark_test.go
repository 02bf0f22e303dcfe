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

// read returns our line for each frame, the connections, and the kinds of
// findings about each.
func read(t *testing.T, file string) (segments map[uint64]trace.SegmentLine, conns []trace.ConnectionLine, found map[uint64]map[string]bool) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	segments, found = map[uint64]trace.SegmentLine{}, map[uint64]map[string]bool{}
	err = explain.Lines(f, explain.Options{}, func(line any) error {
		switch line := line.(type) {
		case trace.SegmentLine:
			segments[line.Frame] = line
		case trace.ConnectionLine:
			conns = append(conns, line)
		case trace.FindingLine:
			if found[line.Conn] == nil {
				found[line.Conn] = map[string]bool{}
			}
			found[line.Conn][line.Kind] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return segments, conns, found
}

// ourNotes are all of a line.
func ourNotes(line trace.SegmentLine) []string {
	if len(line.Notes) == 0 && line.Note != "" {
		return []string{line.Note}
	}
	return line.Notes
}

// notesOf are a line's notes in tshark's words, without those it has no word for.
func notesOf(line trace.SegmentLine) (theirs []string) {
	for _, n := range ourNotes(line) {
		word, other := names[n]
		switch {
		case !other:
			theirs = append(theirs, n)
		case word != "":
			theirs = append(theirs, word)
		}
	}
	return theirs
}

// damaged is what difference returns of a segment whose checksum is wrong.
const damaged = "(damaged)"

// difference returns what only we say with a plus and what only tshark says with
// a minus.
func difference(line trace.SegmentLine, o opinion) (words []string) {
	flags := maps.Clone(o.flags)
	if flags["fast_retransmission"] || flags["spurious_retransmission"] {
		delete(flags, "retransmission")
	}
	ours := notesOf(line)
	for _, n := range ours {
		if !flags[n] {
			words = append(words, "+"+n)
		}
		delete(flags, n)
	}
	if len(flags) > 0 && len(ours) == 0 && line.Checksum == "bad" {
		return []string{damaged}
	}
	for _, n := range slices.Sorted(maps.Keys(flags)) {
		words = append(words, "-"+n)
	}
	return words
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

// The differences, word by word: with a plus what only we say, with a minus what
// only tshark says. Each was looked at; none is listed because it is convenient.
var rulings = map[string]ruling{
	damaged: {
		"a damaged segment is thrown away by its receiver, and means nothing", func(d *dispute) bool { return d.line.Note == "" }},
	"+retransmission": {
		"its first octet was sent before", (*dispute).sentBefore},
	"+fast_retransmission": {
		"it was sent before, and duplicate ACKs or SACK have asked for it. tshark wants these within 20 ms, less than the round trip",
		func(d *dispute) bool { return d.sentBefore() && d.asked() }},
	"+spurious_retransmission": {
		"an ACK of it was seen before: that it is a FIN, which tshark does not look for, changes nothing", (*dispute).acked},
	"+out_of_order": {
		"it was not sent before: the path or the capture has changed the order", (*dispute).sentFirst},
	"-retransmission": {
		"the very same packet again (one IP ID), or not sent before, or we know why it was sent again; or both open at once: the SYN-ACK has to repeat the number of the SYN (RFC 9293 figure 8)",
		func(d *dispute) bool { return d.notResent() || d.resent() || d.crossing() }},
	"-fast_retransmission": {
		"the very same packet again, or not sent before, or it repairs what a timeout has found", func(d *dispute) bool { return d.notResent() || d.resent() }},
	"-spurious_retransmission": {
		"the very same packet again, or not sent before: the capture has it behind its ACK", func(d *dispute) bool { return d.notResent() || d.resent() }},
	"-out_of_order": {
		"its first octet was sent before: nothing was overtaken", func(d *dispute) bool { return d.copied() || d.resent() }},
	"-window_full": {
		"the very same packet again: it was said of the first", (*dispute).copied},
	"-zero_window": {
		"the very same packet again: it was said of the first", (*dispute).copied},
	"+duplicate_ack": {
		"RFC 6675 section 2: an ACK with a SACK block that tells something new is a duplicate ACK, whatever its window",
		func(d *dispute) bool { return len(d.line.Options.SACK) > 0 }},
	"-duplicate_ack": {
		"the very same packet again; or it answers a keep-alive or a probe",
		func(d *dispute) bool {
			return d.copied() || d.other().Note == "keep_alive" || d.other().Note == "zero_window_probe"
		}},
	"-window_update": {
		"a duplicate ACK by its SACK blocks, or the answer to a keep-alive: that its window has changed as well is no wonder",
		func(d *dispute) bool {
			return d.copied() || len(d.line.Options.SACK) > 0 || d.other().Note == "keep_alive"
		}},
	"+keep_alive_ack": {
		"it answers a keep-alive", func(d *dispute) bool { return d.other().Note == "keep_alive" }},
	"-keep_alive_ack": {
		"the very same packet again, or it answers a probe of the window", func(d *dispute) bool { return d.copied() || d.other().Note == "zero_window_probe" }},
	"+zero_window_probe": {
		"the other side's window is closed: RFC 9293 section 3.8.6.1. Linux probes with an octet that was acknowledged, so that it looks like a keep-alive",
		func(d *dispute) bool { return d.other().Win == 0 }},
	"-keep_alive": {
		"the very same packet again; or the other side's window is closed, so it is a probe of that; or the octet is outstanding, so it is a repair",
		func(d *dispute) bool { return d.copied() || d.other().Win == 0 || d.resent() }},
	"+zero_window_probe_ack": {
		"it answers the probe before it", func(d *dispute) bool { return d.other().Note == "zero_window_probe" }},
	"+lost_segment": {
		"a segment before it is damaged: its receiver has thrown it away, so it is missing; or frames were taken out of this capture",
		func(d *dispute) bool {
			return d.holed() || slices.ContainsFunc(d.before, func(l trace.SegmentLine) bool { return l.Checksum == "bad" })
		}},
	"-lost_segment": {
		"frames were taken out of this capture, and an ACK has told so already; or a late ACK of the connection before came in between: its numbers are others",
		func(d *dispute) bool { return d.holed() || d.reused() }},
	"-reused_ports": {
		"it was said of the SYN before it", (*dispute).reused},
	"+ack_lost_segment": {
		"frames were taken out of this capture: the ACK covers another hole in it", (*dispute).holed},
	"-ack_lost_segment": {
		"frames were taken out of this capture, and the hole was told already; or a late ACK of the connection before came in between",
		func(d *dispute) bool { return d.holed() || d.reused() }},
}

// resent reports whether we say that the segment was sent again, and it was.
func (d *dispute) resent() bool {
	switch d.line.Note {
	case "retransmission", "fast_retransmission", "spurious_retransmission", "loss_probe":
		return d.sentBefore()
	}
	return false
}

// notResent reports whether the segment is the same packet as one before, or the
// first with its octets.
func (d *dispute) notResent() bool {
	return d.copied() || d.line.Note == "out_of_order" && d.sentFirst()
}

// crossing reports whether the segment is the first SYN-ACK of a side that had
// sent a SYN.
func (d *dispute) crossing() bool {
	return d.line.Flags == "S." && strings.Contains(d.capture.name, "simultaneous open")
}

// acked reports whether the capture has an ACK of all of the segment before it.
func (d *dispute) acked() bool {
	return slices.ContainsFunc(d.before, func(l trace.SegmentLine) bool { return l.Dir != d.line.Dir && l.Ack >= d.line.Seq+uint32(d.line.Len) })
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

// asked reports whether the other side has said that something is missing.
func (d *dispute) asked() bool {
	for _, l := range slices.Backward(d.before) {
		if l.Dir != d.line.Dir && (len(l.Options.SACK) > 0 || l.Note == "dup_ack") {
			return true
		}
	}
	return false
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

// sameTalk finds the recording of a talk.
func sameTalk(talk string, among []recording) *recording {
	return &among[slices.IndexFunc(among, func(r recording) bool { return r.talk == talk })]
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
			file := filepath.Join(t.ArtifactDir(), "all.pcapng") // go test -artifacts keeps it
			starts := join(t, file, set.recordings)
			opinions := ask(t, file)
			segments, conns, found := read(t, file)
			compareConnections(t, segments, conns, opinions)
			compareFindings(t, segments, conns, found)
			history := map[uint64][]trace.SegmentLine{}
			for i, o := range opinions {
				line, ok := segments[uint64(i+1)]
				if !ok {
					t.Errorf("frame %d is no segment for us", i+1)
					continue
				}
				frames++
				words := difference(line, o)
				if len(words) == 0 {
					agreed++
				}
				for _, word := range words {
					seen[word]++
					which, found := slices.BinarySearch(starts, i)
					if !found {
						which--
					}
					x := &dispute{line: line, before: history[line.Conn], capture: &set.recordings[which], frame: i - starts[which]}
					x.sender = sameTalk(x.capture.talk, client)
					if line.Dir == "in" {
						x.sender = sameTalk(x.capture.talk, server)
					}
					if r, ruled := rulings[word]; !ruled || !r.holds(x) {
						t.Errorf("%s, frame %d (%d of the capture): of %q, %s is not ruled upon, or not so (ruled: %v; the very same packet: %v; among those sent with its first octet: %v; asked for: %v)\n%+v", x.capture.name, i+1, x.frame+1, words, word, ruled, x.copied(), x.turns(), x.asked(), line)
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

// Which notes on segments make which finding about their connection.
var madeOf = map[string][]string{
	"retransmission":          {"retransmission", "fast_retransmission", "loss_probe", "spurious_retransmission"},
	"spurious_retransmission": {"spurious_retransmission"},
	"dup_ack":                 {"dup_ack"},
	"out_of_order":            {"out_of_order"},
	"zero_window":             {"zero_window"},
	"window_full":             {"window_full"},
	"keep_alive":              {"keep_alive"},
	"not_captured":            {"ack_of_unseen"},
	"ports_reused":            {"ports_reused"},
}

// compareFindings holds the findings to the notes, and with these to tshark: a
// connection has one exactly if one of its segments has the note.
func compareFindings(t *testing.T, segments map[uint64]trace.SegmentLine, conns []trace.ConnectionLine, found map[uint64]map[string]bool) {
	t.Helper()
	noted := map[uint64]map[string]bool{}
	for _, line := range segments {
		if noted[line.Conn] == nil {
			noted[line.Conn] = map[string]bool{}
		}
		for _, n := range ourNotes(line) {
			noted[line.Conn][n] = true
		}
	}
	for _, c := range conns {
		for kind, notes := range madeOf {
			want := slices.ContainsFunc(notes, func(n string) bool { return noted[c.Conn][n] })
			if found[c.Conn][kind] != want {
				t.Errorf("connection %d (%s, %s): finding %s: %v, though its segments say %v", c.Conn, c.Local.Addr, c.Remote.Addr, kind, !want, want)
			}
		}
	}
}

// The page of explain lists the differences from tshark, and no others.
func TestDifferencesAreListed(t *testing.T) {
	page, err := os.ReadFile("../../../docs/explain.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 4 && strings.HasPrefix(cells[1], " `") {
			if word := strings.Trim(cells[1], " `"); strings.ContainsAny(word[:1], "+-(") {
				rows[word] = strings.TrimSpace(cells[2])
			}
		}
	}
	for word, r := range rulings {
		if rows[word] != r.why {
			t.Errorf("docs/explain.md wants the row\n| `%s` | %s |", word, r.why)
		}
		delete(rows, word)
	}
	for word := range rows {
		t.Errorf("docs/explain.md lists %s, and the test does not", word)
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
		if line.Conn != uint64(o.stream)+1 {
			t.Errorf("frame %d is of connection %d, and tcp.stream is %d", i+1, line.Conn, o.stream)
		}
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
