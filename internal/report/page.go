package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"rawtcp/internal/trace"
)

//go:embed assets/page.tmpl
var pageText string

//go:embed assets/page.css
var pageStyle string

//go:embed assets/figure.css
var figureStyle string

//go:embed assets/page.js
var pageScript string

// pageOpener says before anything is laid out that scripts run: what the script
// draws anew need not be drawn before. When the script fails, or is none that
// this browser can read, the page is as it is without.
const pageOpener = `"use strict";
document.documentElement.classList.add("js");
addEventListener("error", e => { if (e.error) document.documentElement.classList.remove("js"); });`

var (
	wholeStyle = lightColours() + pageStyle + figureStyle
	pagePolicy = policy(wholeStyle, pageOpener, pageScript)
)

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// A page is what the template shows.
type page struct {
	Title, Lead string
	Policy      string
	Style       template.CSS
	Opener      template.JS // runs first
	Script      template.JS
	Version     string
	Sources     []sourceView
	Errors      []trace.ErrorLine
	Findings    []finding
	Index       []indexRow
	HasFindings bool // the index tells of them
	Remarks     []string
	Sections    []section
}

// A sourceView is what is said of a run or a capture.
type sourceView struct {
	Name      string // empty where there is only one
	Facts     []fact
	Command   string
	NoCommand string // why there is none
	Again     string // what it takes to run the command again; may be empty
}

// A fact is a name and a value, with a word on it where it needs one.
type fact struct{ Name, Value, Note string }

// A finding is one thing worth saying.
type finding struct{ Severity, Time, Side, Kind, Text, Frames string }

// An indexRow is a connection in the table of all.
type indexRow struct {
	Number                                          uint64
	Anchor                                          string // empty: it is not drawn
	Local, Remote, Result, Start, Handshake, Ended  string
	BytesOut, BytesIn, Segments, Retransmits, Found string
}

// A section is a connection drawn in full.
type section struct {
	Anchor     string
	Number     uint64
	Name       string
	Result     string
	Sentence   string
	Tiles      []fact
	Notes      []noteRow
	Findings   []finding
	Remarks    []string
	Scale      string // what the pictures are told of time
	Ladder     *picture
	Graphs     []*picture
	Lanes      *picture
	Timers     []timerRow
	TimersMore int
	Machines   []machineView
	Options    []optionRow
	LocalName  string
	RemoteName string
	Segments   []segmentRow
	HasFrames  bool
	Short      bool // few segments: their table is open
	Data       dataBlock
}

type noteRow struct {
	Note  string
	Count string
	First string
}

type timerRow struct{ Time, Timer, What, Due string }

type machineView struct {
	Picture *picture
	Steps   []step
	Note    string
}

type segmentRow struct {
	Number                                           int
	Time, Arrow, Class, Text, Options, Remark, State string
	Frame                                            uint64
}

// Write writes the report as one HTML file. r must not get lines meanwhile.
func (r *Run) Write(w io.Writer) error {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, r.page()); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// policy lets nothing in but what the file itself holds.
func policy(style, opener, script string) string {
	return fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s' '%s'; img-src data:; base-uri 'none'; form-action 'none'", digest(style), digest(opener), digest(script))
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (r *Run) page() *page {
	p := &page{
		Policy: pagePolicy, Style: template.CSS(wholeStyle), Opener: pageOpener, Script: template.JS(pageScript),
		Errors: r.errors, Findings: findingRows(r.findings),
	}
	p.Title, p.Lead = r.title()
	for i, s := range r.sources {
		view := s.view()
		if len(r.sources) > 1 {
			view.Name = fmt.Sprintf("%d of %d", i+1, len(r.sources))
		}
		p.Sources = append(p.Sources, view)
		p.Version = s.version()
	}
	for _, c := range r.conns {
		c.inOrder()
		row := c.row()
		if c.full && len(c.segments)+len(c.states) > 0 {
			s := c.section()
			row.Anchor = s.Anchor
			p.Sections = append(p.Sections, s)
		}
		p.Index = append(p.Index, row)
		p.HasFindings = p.HasFindings || c.capture != nil
	}
	p.Remarks = r.remarks(len(p.Sections))
	if len(p.Index) == 1 && len(p.Sections) == 1 {
		p.Index = nil
	}
	return p
}

// title names the run for people.
func (r *Run) title() (title, lead string) {
	switch {
	case len(r.conns) == 1:
		c := r.conns[0]
		return c.name(), fmt.Sprintf("One connection, %s.", count(c.seen, "segment"))
	case len(r.conns) > 1:
		return count(len(r.conns), "connection"), fmt.Sprintf("From %s on.", r.conns[0].name())
	}
	return "No connection", "The run ended before there was one."
}

func (c *conn) name() string {
	arrow := " → "
	if len(c.states) > 0 && c.capture == nil && (c.states[0].From == "LISTEN" || c.states[0].To == "LISTEN") {
		arrow = " ← "
	}
	return c.local + arrow + c.remote
}

func (s *source) view() sourceView {
	v := sourceView{Facts: s.facts()}
	v.Command, v.NoCommand = s.repeat()
	if s.start != nil && wroteFiles(s.start.Env, s.start.Args) {
		v.Again = "This run has written files, and the command does not overwrite what is there: name other files, or add --force."
	}
	return v
}

// version is that of the program that wrote the source's lines.
func (s *source) version() string {
	switch {
	case s.capture != nil:
		return s.capture.Version
	case s.start != nil:
		return s.start.Version
	}
	return ""
}

// facts are what the start line says.
func (s *source) facts() []fact {
	var list []fact
	add := func(name, value string) {
		if value != "" {
			list = append(list, fact{Name: name, Value: value})
		}
	}
	if s := s.start; s != nil {
		if len(s.Args) == 0 {
			add("Command", "rawtcp "+s.Command)
		}
		add("Local", s.Local)
		add("Remote", s.Remote)
		add("Interface", s.Iface)
		if s.MTU > 0 {
			add("MTU", thousands(s.MTU)+" octets")
		}
		add("Kernel kept silent by", s.Guard)
		add("Packets through", s.IO)
	}
	if s := s.capture; s != nil {
		add("Capture", s.File)
	}
	return list
}

// repeat is the command line of the run, or why it is not known.
func (s *source) repeat() (command, why string) {
	switch {
	case s.start != nil && len(s.start.Args) > 0:
		return commandLine(s.start.Env, s.start.Args), ""
	case s.capture != nil:
		return "rawtcp explain " + quote(s.capture.File), ""
	}
	return "", "The lines of this run do not say how it was called."
}

// wroteFiles reports whether a command names files to write, and not --force.
func wroteFiles(env, args []string) (wrote bool) {
	for i, a := range append(slices.Clone(env), args...) {
		if i < len(env) { // RAWTCP_REPORT=FILE is --report=FILE
			name, value, _ := strings.Cut(strings.TrimPrefix(a, "RAWTCP_"), "=")
			a = "--" + strings.ToLower(name) + "=" + value
		}
		name, value, whole := strings.Cut(a, "=")
		if next := i + 1 - len(env); !whole && next > 0 && next < len(args) {
			value = args[next]
		}
		switch name {
		case "--force":
			return false
		case "--report", "--pcap", "--out":
			wrote = wrote || value != "-"
		}
	}
	return wrote
}

func commandLine(env, args []string) string {
	parts := make([]string, 0, len(env)+len(args)+1)
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") != "" {
			parts = append(parts, quote(e)) // a shell takes it for a command: it is no variable of ours
			continue
		}
		parts = append(parts, name+"="+quote(value))
	}
	parts = append(parts, "rawtcp")
	for _, a := range args {
		parts = append(parts, quote(a))
	}
	return strings.Join(parts, " ")
}

// quote writes a word so that a shell reads it as it is. What is not printable
// ASCII is written as bash's $'...' has it.
func quote(word string) string {
	plain, printable := word != "", true
	for i := range len(word) {
		b := word[i]
		letter := b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || strings.IndexByte("-_./:=@%+,[]", b) >= 0
		plain = plain && letter
		printable = printable && b >= ' ' && b <= '~'
	}
	switch {
	case plain && !strings.ContainsAny(word, "[]"):
		return word
	case printable:
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := range len(word) {
		switch c := word[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c <= '~':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String() + "'"
}

func (r *Run) remarks(drawn int) []string {
	var list []string
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if drawn < len(r.conns) && drawn > 0 {
		add("The first %s are drawn, the others are in the table only. rawtcp report --conn N draws any one of them.", count(drawn, "connection"))
	}
	if r.more > 0 {
		add("The table ends at %s; %s of later connections are not in this report.", count(maxRows, "connection"), count(r.more, "line"))
	}
	if r.strays > 0 {
		add("%s of no connection: a host that nobody listens on answers such with RST.", count(r.strays, "segment"))
	}
	if r.untold > 0 {
		add("%s are not told of above; their connections are in the table.", count(r.untold, "more run"))
	}
	for _, s := range r.sources {
		if s.cut > 0 {
			add("The input ends in the middle of line %s: its program was stopped. What came before is shown.", thousands(s.cut))
		}
		if s.total != nil && s.total.LinesLost > 0 {
			add("%s were lost because their reader was slow: the pictures have gaps.", count(s.total.LinesLost, "line"))
		}
		if s.total != nil && s.total.LocalDrops > 0 {
			add("%s were lost in this host's own receive queue, not on the network.", count(s.total.LocalDrops, "packet"))
		}
	}
	return list
}

func findingRows(list []trace.FindingLine) []finding {
	var rows []finding
	for _, l := range list {
		var frames []string
		for i, f := range l.Frames {
			const most = 8
			if i == most {
				frames = append(frames, "…")
				break
			}
			frames = append(frames, fmt.Sprint(f))
		}
		rows = append(rows, finding{
			Severity: l.Severity, Time: seconds(min(max(l.TimeUS, 0), latest)), Side: l.Side,
			Kind: spoken(l.Kind), Text: l.Text, Frames: strings.Join(frames, ", "),
		})
	}
	return rows
}
