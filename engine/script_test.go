package engine

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rawtcp/segment"
)

// A script is one conversation as docs/talks.md describes it, read from a file
// below testdata/talks.
type script struct {
	file     string
	line     int
	topic    string // the directory
	title    string
	clause   string // of which standard
	covers   []string
	only     string // IPv4 or IPv6; empty: both
	settings []setting
	given    given
	steps    []step
}

// A setting is one "set" line.
type setting struct {
	line        int
	name, value string
}

// A given says how the conversation begins.
type given struct {
	line    int
	state   State
	passive bool // opened by the peer
	closed  bool // by Close, not by CloseWrite
	options string
	window  int
	rtt     time.Duration // how long the handshake took
}

// A step is one line of the conversation proper.
type step struct {
	line     int
	text     string
	timed    bool // the line has a time of its own
	relative bool // to the line before
	at       time.Duration
	with     bool // no segment leaves between the line before and this one
	label    byte // whose conversation, 'a' unless the line says
	verb     string
	rest     string // of the line, behind the verb
}

// loadScripts reads every file below testdata/talks.
func loadScripts(t *testing.T) []*script {
	t.Helper()
	files, err := filepath.Glob("testdata/talks/*/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations below testdata/talks: %v", err)
	}
	var all []*script
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts, err := parseScripts(file, string(text))
		if err != nil {
			t.Error(err)
		}
		all = append(all, scripts...)
	}
	return all
}

// parseScripts reads the conversations of one file.
func parseScripts(file, text string) ([]*script, error) {
	p := scriptParser{file: file}
	for i, line := range strings.Split(text, "\n") {
		if line = stripComment(line); line == "" {
			continue
		}
		if err := p.read(i+1, line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
	}
	return p.scripts, p.complete()
}

// stripComment drops "# …", which stands at the beginning or behind a blank.
func stripComment(line string) string {
	if i := strings.Index(" "+line, " #"); i >= 0 {
		line = line[:i]
	}
	return strings.TrimSpace(line)
}

type scriptParser struct {
	file    string
	scripts []*script
	now     *script
}

// complete says what the script under way lacks.
func (p *scriptParser) complete() error {
	s := p.now
	if s == nil {
		return nil
	}
	lack := ""
	switch {
	case s.title == "":
		lack = "a title"
	case s.clause == "":
		lack = "a clause line"
	case s.given.line == 0:
		lack = "a given line"
	case len(s.steps) == 0:
		lack = "anything said or done"
	}
	if lack != "" {
		return fmt.Errorf("%s:%d: the talk %q lacks %s", p.file, s.line, s.title, lack)
	}
	return nil
}

func (p *scriptParser) read(n int, line string) error {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	if word == "talk" {
		if err := p.complete(); err != nil {
			return err
		}
		p.now = &script{file: p.file, line: n, topic: filepath.Base(filepath.Dir(p.file)), title: rest}
		p.scripts = append(p.scripts, p.now)
		return nil
	}
	s := p.now
	if s == nil {
		return fmt.Errorf("%q stands before the first talk", word)
	}
	if s.given.line != 0 {
		return s.readStep(n, line)
	}
	var err error
	switch word {
	case "clause":
		s.clause = rest
	case "covers":
		s.covers = append(s.covers, strings.Fields(rest)...)
	case "only":
		if s.only = rest; rest != "IPv4" && rest != "IPv6" {
			err = fmt.Errorf("only IPv4 or IPv6, not %q", rest)
		}
	case "set":
		name, value, _ := strings.Cut(rest, " ")
		s.settings = append(s.settings, setting{n, name, strings.TrimSpace(value)})
	case "given":
		s.given, err = readGiven(n, rest)
	default:
		err = fmt.Errorf("unknown word %q before the given line", word)
	}
	return err
}

// readGiven reads "ESTABLISHED passive closed <mss 1000> win 500 rtt 0.1".
func readGiven(n int, rest string) (given, error) {
	g := given{line: n, options: "mss 1000,sackOK", window: 65535}
	if before, after, ok := strings.Cut(rest, "<"); ok {
		options, behind, ok := strings.Cut(after, ">")
		if !ok {
			return g, fmt.Errorf("want %q behind the options", ">")
		}
		g.options, rest = options, before+behind
	}
	words := strings.Fields(rest)
	if len(words) == 0 {
		return g, fmt.Errorf("given what state?")
	}
	at := slices.Index(stateNames[:], words[0])
	if at < 0 {
		return g, fmt.Errorf("unknown state %q", words[0])
	}
	g.state = State(at)
	for words = words[1:]; len(words) > 0; words = words[1:] {
		var err error
		switch word := words[0]; {
		case word == "passive":
			g.passive = true
		case word == "closed":
			g.closed = true
		case word == "win" && len(words) > 1:
			g.window, err = strconv.Atoi(words[1])
			words = words[1:]
		case word == "rtt" && len(words) > 1:
			g.rtt, err = readSeconds(words[1])
			words = words[1:]
		default:
			err = fmt.Errorf("unknown word %q", word)
		}
		if err != nil {
			return g, err
		}
	}
	return g, nil
}

var timeText = regexp.MustCompile(`^\+?\d+(\.\d+)?$`)

func readSeconds(s string) (time.Duration, error) {
	if !timeText.MatchString(s) {
		return 0, fmt.Errorf("%q is not a time in seconds", s)
	}
	return time.ParseDuration(strings.TrimPrefix(s, "+") + "s")
}

// readStep reads "+0.5 b: verb rest", in which time and label may be absent, or
// "& verb rest".
func (s *script) readStep(n int, line string) error {
	st := step{line: n, text: line, label: 'a'}
	word, rest, _ := strings.Cut(line, " ")
	if timeText.MatchString(word) {
		at, err := readSeconds(word)
		if err != nil {
			return err
		}
		st.timed, st.relative, st.at = true, word[0] == '+', at
		word, rest, _ = strings.Cut(strings.TrimSpace(rest), " ")
	} else if word == "&" {
		st.with = true
		word, rest, _ = strings.Cut(strings.TrimSpace(rest), " ")
	}
	if len(word) == 2 && word[1] == ':' && word[0] >= 'a' && word[0] <= 'z' {
		st.label = word[0]
		word, rest, _ = strings.Cut(strings.TrimSpace(rest), " ")
	}
	st.verb, st.rest = word, strings.TrimSpace(rest)
	if verbs[st.verb].run == nil {
		return fmt.Errorf("unknown word %q", st.verb)
	}
	if st.with && (!verbs[st.verb].stimulus || len(s.steps) == 0 || !verbs[s.steps[len(s.steps)-1].verb].stimulus) {
		return fmt.Errorf("& joins two things done to the engine, and nothing else")
	}
	s.steps = append(s.steps, st)
	return nil
}

// A header is what a line says of the IP header, in brackets before the
// segment, and of what is wrong with the packet.
type header struct {
	tos, ttl    uint8
	badChecksum bool
	partial     bool           // the checksum is unfinished: the pseudo-header's sum
	other       bool           // octets that differ from those of the stream
	offset      int            // data offset as on the wire, in words; 0: the right one
	cut         int            // octets missing from the end
	from, to    netip.AddrPort // instead of the peer and us; zero: those
}

var codepoints = map[string]uint8{"ect1": 1, "ect0": 2, "ce": 3}

// readSegment reads "[ce, ttl 3] P. 1:11(10) ack 1" with the conventions of
// docs/talks.md: a window that is not given is 65535, in a RST 0, and numbers
// may be negative.
func readSegment(text string) (s segment.Segment, h header, err error) {
	h.ttl = 64
	if strings.HasPrefix(text, "[") {
		inside, rest, ok := strings.Cut(text[1:], "] ") // an IPv6 address has brackets of its own
		if !ok {
			return s, h, fmt.Errorf("want %q behind the IP header", "]")
		}
		text = rest
		for _, item := range strings.Split(inside, ",") {
			if err := h.read(strings.TrimSpace(item)); err != nil {
				return s, h, err
			}
		}
	}
	text = negative.ReplaceAllStringFunc(text, func(m string) string {
		n, _ := strconv.ParseUint(m[2:], 10, 32)
		return m[:1] + strconv.FormatUint(1<<32-n, 10)
	})
	if s, _, err = segment.ParseText(text); err != nil {
		return s, h, err
	}
	if !strings.Contains(text, " win ") && !s.Flags.Has(segment.RST) {
		s.Window = 65535
	}
	return s, h, nil
}

var negative = regexp.MustCompile(`[ :]-\d+`)

func (h *header) read(item string) (err error) {
	word, value, _ := strings.Cut(item, " ")
	var n uint64
	if codepoint, ok := codepoints[word]; ok {
		h.tos |= codepoint
		return nil
	}
	switch {
	case item == "bad checksum":
		h.badChecksum = true
		return nil
	case item == "partial checksum":
		h.partial = true
		return nil
	case word == "from":
		h.from, err = netip.ParseAddrPort(value)
		return err
	case word == "to":
		h.to, err = netip.ParseAddrPort(value)
		return err
	case item == "other":
		h.other = true
		return nil
	}
	if n, err = strconv.ParseUint(value, 10, 8); err != nil {
		return fmt.Errorf("unknown word %q in the IP header", item)
	}
	switch word {
	case "tos":
		h.tos |= uint8(n)
	case "ttl":
		h.ttl = uint8(n)
	case "offset":
		h.offset = int(n)
	case "cut":
		h.cut = int(n)
	default:
		return fmt.Errorf("unknown word %q in the IP header", item)
	}
	return nil
}

func TestScriptsWithFaultsAreRefused(t *testing.T) {
	const good = "talk one\nclause RFC 9293\ngiven ESTABLISHED\nwrite 1\n> P. 1:2(1) ack 1\n"
	if _, err := parseScripts("topic/x.txt", good); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{"talk one", "talk"}, {"clause RFC 9293", ""}, {"given ESTABLISHED", ""}, {"clause", "cluse"},
		{"write", "wrote"}, {"ESTABLISHED", "ESTABLISHD"}, {"ESTABLISHED", "ESTABLISHED <mss 1"},
		{"given", "only IPv5\ngiven"}, {"ESTABLISHED", "ESTABLISHED pasive"}, {"> P.", "& > P."},
		{"talk one", "write 1\ntalk one"}, {"write 1\n> P. 1:2(1) ack 1\n", ""}, {"ESTABLISHED", "ESTABLISHED rtt x"},
	} {
		if _, err := parseScripts("topic/x.txt", strings.Replace(good, change[0], change[1], 1)); err == nil {
			t.Errorf("%q instead of %q is not refused", change[1], change[0])
		}
	}
}
