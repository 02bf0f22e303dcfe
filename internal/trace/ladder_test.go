package trace

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"rawtcp/engine"
)

// ladderOf returns what a ladder prints of the events that play makes.
func ladderOf(t *testing.T, cfg LadderConfig, play func(engine.Tracer)) string {
	t.Helper()
	var out bytes.Buffer
	cfg.Out, cfg.Now = &out, wallClock
	l := NewLadder(cfg)
	play(l)
	if err := l.Close(time.Minute); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func exchange(tr engine.Tracer) { newScript(tr).exchange() }

func TestLadder(t *testing.T) {
	six := func(tr engine.Tracer) {
		s := newScript(tr)
		s.local, s.remote = local6, remote6
		s.exchange()
	}
	two := func(tr engine.Tracer) {
		a, b := newScript(tr), newScript(tr)
		b.conn, b.remote = 2, netip.MustParseAddrPort("198.18.0.200:40000")
		for _, s := range []*script{a, b} {
			s.state = engine.Listen
			s.become(engine.SynReceived, "SYN")
			s.in("S 0:0(0) win 64240 <mss 1460>", "", "")
		}
		a.after(30).out("S. 0:0(0) ack 1 win 65535 <mss 1460>", "", "", "answer")
		b.after(40).out("S. 0:0(0) ack 1 win 65535 <mss 1460>", "", "", "answer")
		b.after(50).state = engine.Listen
		b.in("R 1:1(0) win 0", "", "")
		b.send(engine.Event{Kind: engine.EventState, From: engine.SynReceived, To: engine.Listen, Reason: "RST received"})
		b.send(engine.Event{Kind: engine.EventTimerStopped, Timer: engine.TimerRTO})
	}
	tests := []struct {
		name string
		cfg  LadderConfig
		play func(engine.Tracer)
	}{
		{"plain", LadderConfig{}, exchange},
		{"wide", LadderConfig{Width: 132, UTF8: true}, exchange},
		{"narrow", LadderConfig{Width: 40}, exchange},
		{"unbroken", LadderConfig{Unbroken: true}, exchange},
		{"verbose", LadderConfig{Verbose: 1, UTF8: true}, exchange},
		{"veryverbose", LadderConfig{Verbose: 2}, exchange},
		{"color", LadderConfig{Color: true, UTF8: true}, exchange},
		{"absolute", LadderConfig{Absolute: true}, exchange},
		{"delta", LadderConfig{Time: TimeDelta}, exchange},
		{"abs", LadderConfig{Time: TimeAbsolute}, exchange},
		{"epoch", LadderConfig{Time: TimeEpoch}, exchange},
		{"peer6", LadderConfig{Tag: TagPeer}, six},
		{"two", LadderConfig{Tag: TagPeer}, two},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			golden(t, "ladder-"+tt.name+".golden", ladderOf(t, tt.cfg, tt.play))
		})
	}
}

func TestLadderFitsEightyColumns(t *testing.T) {
	for _, verbose := range []int{0, 1, 2} {
		text := ladderOf(t, LadderConfig{UTF8: true, Verbose: verbose}, exchange)
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("-v %d: %d columns: %s", verbose, n, line)
			}
		}
	}
}

// Colour must not carry meaning alone: without it, the same words are there.
func TestColorAddsNoWords(t *testing.T) {
	plain := ladderOf(t, LadderConfig{UTF8: true}, exchange)
	colored := ladderOf(t, LadderConfig{UTF8: true, Color: true}, exchange)
	if colored == plain {
		t.Error("no colour at all")
	}
	if got := stripColor(colored); got != plain {
		t.Errorf("colour changes the text:\n%s\nwant\n%s", got, plain)
	}
}

func stripColor(s string) string {
	for {
		i := strings.IndexByte(s, '\x1b')
		if i < 0 {
			return s
		}
		s = s[:i] + s[i+strings.IndexByte(s[i:], 'm')+1:]
	}
}

func TestLadderIsASCIIWithoutUTF8(t *testing.T) {
	text := ladderOf(t, LadderConfig{Verbose: 2}, exchange)
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			t.Fatalf("byte %#x at %d in %q", text[i], i, text[max(0, i-40):i+1])
		}
	}
}

// The engine may tell of a state before or after the segment that brings it:
// both give one line.
func TestStateStandsOnItsSegment(t *testing.T) {
	before := ladderOf(t, LadderConfig{}, func(tr engine.Tracer) {
		s := newScript(tr)
		s.become(engine.SynSent, "OPEN")
		s.out("S 0:0(0) win 64240", "", "", "")
	})
	after := ladderOf(t, LadderConfig{}, func(tr engine.Tracer) {
		s := newScript(tr)
		s.send(engine.Event{Kind: engine.EventDataOut})
		s.state = engine.SynSent
		s.out("S 0:0(0) win 64240", "", "", "")
		s.send(engine.Event{Kind: engine.EventState, From: engine.Closed, To: engine.SynSent})
	})
	if before != after || strings.Count(before, "\n") != 1 || !strings.Contains(before, "SYN-SENT") {
		t.Errorf("state before its segment:\n%safter:\n%s", before, after)
	}
}

func TestPrintKeepsOrder(t *testing.T) {
	text := ladderOf(t, LadderConfig{}, func(tr engine.Tracer) {
		l := tr.(*Ladder)
		l.Print("first")
		s := newScript(tr)
		s.become(engine.SynSent, "OPEN")
		l.Print("last")
	})
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 3 || lines[0] != "first" || lines[2] != "last" || !strings.Contains(lines[1], "SYN-SENT") {
		t.Errorf("got %q", lines)
	}
}

func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"plain", "\x1b[2J\x07", "a\u202eb\u2066", "\x80\x9b31m", "\xff\xfe", "\"\\", "\U000e0001", "\x7f"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, b := range AppendEscaped(nil, text) {
			if b < ' ' || b > '~' {
				t.Fatalf("%q lets %#x through", text, b)
			}
		}
	})
}

// A payload goes through the whole ladder without a byte that a terminal acts on.
func FuzzLadderPayload(f *testing.F) {
	f.Add([]byte("HTTP/1.0 200 OK\r\n"), 80)
	f.Add([]byte("\x1b]52;c;aGk=\x07"), 30)
	f.Add(bytes.Repeat([]byte{0xe2}, 300), 0)
	f.Fuzz(func(t *testing.T, payload []byte, width int) {
		if len(payload) > 60000 {
			payload = payload[:60000]
		}
		text := ladderOf(t, LadderConfig{Verbose: 2, Width: width % 300}, func(tr engine.Tracer) {
			s := newScript(tr)
			s.in("P. 1:1(0) ack 1 win 1", "", string(payload))
		})
		for _, b := range []byte(text) {
			if b != '\n' && (b < ' ' || b > '~') {
				t.Fatalf("%q lets %#x through", payload, b)
			}
		}
	})
}
