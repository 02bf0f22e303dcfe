package trace

import (
	"bytes"
	"encoding/json"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// plants are what a hostile peer would like a terminal to obey.
var plants = []string{
	"\x1b]0;owned\x07", "\x1b[2J\x1b[H", "\x1bP+q544e\x1b\\", "\u009b31m", "\x9b31m", "\u202egnp.exe", "\u2066\u2069", "\u200b\ufeff",
	"\r\nforged line", "\x00\x7f\b\b\b", "\xff\xfe\xc0\xaf", "\u2028\u2029", strings.Repeat("A", 70000), strings.Repeat("\x1b", 3000), "\"\\\"},{\"type\":\"summary\"",
}

// hostile plays a connection whose every octet that could be the peer's is
// text: payload, options, whole packets, and the words about them.
func hostile(tr engine.Tracer, text string) {
	s := newScript(tr)
	s.become(engine.SynSent, text)
	seg := s.parse("< P. 1:1(0) ack 1 win 7")
	seg.Payload = []byte(text)
	options := []byte(text)[:min(len(text), segment.MaxOptionsLen)]
	seg.Options.Raw = options
	packet := append([]byte{0x45}, text...)
	change := engine.Event{Kind: engine.EventState, At: s.now, Conn: 1, From: engine.SynSent, To: engine.Established, State: engine.Established, Reason: text}
	s.send(engine.Event{Kind: engine.EventSegmentIn, Segment: seg, Packet: packet, Follows: []engine.Event{change}})
	s.tracer.Trace(&change)
	out := s.parse("> P. 1:1(0) ack 1 win 7")
	out.Payload = []byte(text)[:min(len(text), 1400)]
	s.send(engine.Event{Kind: engine.EventSegmentOut, Segment: out, Reason: text})
	s.send(engine.Event{Kind: engine.EventDrop, Reason: text, Packet: packet, Size: len(packet)})
	s.send(engine.Event{Kind: engine.EventDrop, Reason: text, Packet: packet, Segment: seg})
	s.send(engine.Event{Kind: engine.EventLocal, Reason: text})
	s.send(engine.Event{Kind: engine.EventICMP, ICMP: &engine.ICMP{From: netip.IPv6Unspecified(), Quoted: packet}, Reason: text})
	s.send(engine.Event{Kind: engine.EventState, From: engine.Established, To: engine.Closed, Reason: text})
}

// FuzzHostile: whatever a stranger plants reaches every output as text only.
func FuzzHostile(f *testing.F) {
	for _, p := range plants {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, utf8Marks := range []bool{false, true} {
			cfg := LadderConfig{Verbose: 2, UTF8: utf8Marks}
			checkText(t, ladderOf(t, cfg, func(tr engine.Tracer) { hostile(tr, text) }), 80)
			checkText(t, ladderOf(t, cfg, func(tr engine.Tracer) { hostile(NewExplain(tr.(*Ladder)), text) }), 80)
		}
		lines := jsonOf(t, func(j *JSONLines) {
			hostile(j, text)
			j.Error(ErrorLine{Message: text, Hint: text})
			j.Start(Start{Command: text, Iface: text})
		})
		checkText(t, lines, 1<<30)
		for line := range strings.Lines(lines) {
			if !json.Valid([]byte(line)) {
				t.Fatalf("not JSON: %q", line)
			}
		}
		for _, p := range readPcap(t, pcapOf(t, func(tr engine.Tracer) { hostile(tr, text) })) {
			for _, c := range p.comments {
				checkText(t, c, 1<<30)
				if strings.Contains(c, "\n") {
					t.Fatalf("a comment of two lines: %q", c)
				}
			}
		}
	})
}

// checkText wants printable ASCII and the ladder's own marks, in so many columns.
func checkText(t *testing.T, text string, columns int) {
	t.Helper()
	for line := range strings.Lines(text) {
		n := 0
		for _, r := range strings.TrimSuffix(line, "\n") {
			n++
			if (r < ' ' || r > '~') && !strings.ContainsRune("─→←·═", r) {
				t.Fatalf("%q gets through: %.200q", r, line)
			}
		}
		if n > columns {
			t.Fatalf("%d columns: %.200q", n, line)
		}
	}
}

// A comment that is too long for its record costs no packet.
func TestLongReasonsCostNoPacket(t *testing.T) {
	packets := readPcap(t, pcapOf(t, func(tr engine.Tracer) { hostile(tr, strings.Repeat("A", 70000)) }))
	if want := 4; len(packets) != want {
		t.Errorf("%d packets, want %d", len(packets), want)
	}
	var out bytes.Buffer
	l := NewLadder(LadderConfig{Out: &out, Now: wallClock})
	hostile(l, strings.Repeat("A", 70000))
	if err := l.Close(time.Minute); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, &out)
}
