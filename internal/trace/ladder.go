package trace

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"rawtcp/engine"
	"rawtcp/segment"
)

// A Tag says what stands before the arrow to tell connections apart.
type Tag uint8

// The tags.
const (
	TagLocal Tag = iota // our port
	TagPeer             // the peer's address and port
)

// LadderConfig says how a ladder looks. The zero value, with Out and Now, is
// 80 columns of plain ASCII.
type LadderConfig struct {
	Out      io.Writer
	Now      func() time.Time // the wall clock, for the absolute time styles
	Width    int              // columns; 0: 80
	Unbroken bool             // one line for each segment, however long
	UTF8     bool             // arrows beyond ASCII
	Color    bool             // ANSI colours; they never carry meaning alone
	Verbose  int              // 1: reasons, payload, armed timers; 2: also the sequence variables
	Absolute bool             // sequence numbers as on the wire
	Time     TimeStyle
	Tag      Tag

	// Direct makes the caller's goroutine write each line: nothing is lost, and
	// a slow writer makes the caller wait. It is for captures, never for an engine.
	Direct     bool
	StateWidth int // columns for the state on the right; 0: 12
}

// A Ladder writes one line for each segment, timer, ICMP message and change of
// state, for a person to read.
type Ladder struct {
	cfg   LadderConfig
	queue recorder

	mu       sync.Mutex
	time     timeline
	last     engine.Time // of the line before
	tagWidth int
	conns    map[uint64]*ladderConn
	line     []byte // scratch
	text     []byte // scratch
}

// ladderConn is what the ladder remembers of one connection: which state the
// reader knows, and a change of state that waits for the segment that goes
// with it, so that both stand on one line.
type ladderConn struct {
	shown   engine.State
	pending bool
	at      engine.Time
	to      engine.State
	reason  string
	tag     string
}

const (
	defaultWidth = 80
	stateWidth   = 12 // SYN-RECEIVED
	leastBody    = 24
)

// NewLadder starts a ladder that writes to cfg.Out until Close.
func NewLadder(cfg LadderConfig) *Ladder {
	if cfg.Width <= 0 {
		cfg.Width = defaultWidth
	}
	if cfg.StateWidth <= 0 {
		cfg.StateWidth = stateWidth
	}
	l := &Ladder{cfg: cfg, time: timeline{now: cfg.Now}, conns: map[uint64]*ladderConn{}}
	if cfg.Direct {
		l.queue = newDirect(cfg.Out)
	} else {
		l.queue = newQueue(cfg.Out, queueLimit, chunkSize)
	}
	return l
}

// Trace implements engine.Tracer.
func (l *Ladder) Trace(e *engine.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.time.since(e.At)
	c := l.conn(e)
	switch e.Kind {
	case engine.EventSegmentIn, engine.EventSegmentOut:
		l.segment(e, c)
	case engine.EventState:
		l.state(e, c)
	case engine.EventTimerArmed, engine.EventTimerFired, engine.EventTimerStopped:
		l.timer(e, c)
	case engine.EventICMP:
		l.icmp(e, c)
	case engine.EventDrop:
		l.remark(e, c, markDrop, dropText(e), colorBad)
	case engine.EventLocal:
		l.remark(e, c, markLocal, "this host: "+e.Reason, colorBad)
	}
	if e.Kind == engine.EventState && gone(e.To) {
		delete(l.conns, e.Conn)
	}
}

// Print writes a line of the program's own between those of the ladder, in
// order. Its text must be safe to show.
func (l *Ladder) Print(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		l.flushState(c)
	}
	l.queue.put(append([]byte(line), '\n'))
}

// explain writes sentences below the lines of the last event.
func (l *Ladder) explain(text string) {
	if text == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	const margin = "    | "
	width := max(l.cfg.Width-len(margin), leastBody)
	for text != "" {
		cut := len(text)
		if cut > width {
			cut = max(strings.LastIndexByte(text[:width+1], ' '), 0)
			if cut == 0 {
				cut = width
			}
		}
		l.line = append(l.paint(l.line[:0], colorQuiet, margin), text[:cut]...)
		l.end()
		text = strings.TrimPrefix(text[cut:], " ")
	}
}

// Lost returns how many lines a slow reader has cost.
func (l *Ladder) Lost() uint64 { return l.queue.lost() }

// Failed is closed when a line could not be written.
func (l *Ladder) Failed() <-chan struct{} { return l.queue.failing() }

// Err returns the first failed write, or nil.
func (l *Ladder) Err() error { return l.queue.failure() }

// Close writes out what is left, for at most d, and returns the first write
// error of the ladder's life.
func (l *Ladder) Close(d time.Duration) error { return l.queue.close(d) }

func (l *Ladder) conn(e *engine.Event) *ladderConn {
	c := l.conns[e.Conn]
	if c == nil {
		c = &ladderConn{tag: l.tag(e)}
		l.tagWidth = max(l.tagWidth, len(c.tag))
		switch {
		case e.Kind == engine.EventState:
			c.shown = e.From
		case gone(e.State):
			c.shown = e.State
		}
		// What comes after the end, such as the timers that are stopped, is
		// not worth remembering a connection for.
		if e.Conn != 0 && (e.Kind == engine.EventState || !gone(e.State)) {
			l.conns[e.Conn] = c
		}
	}
	return c
}

func (l *Ladder) tag(e *engine.Event) string {
	switch {
	case l.cfg.Tag == TagPeer && e.Remote.IsValid():
		return e.Remote.String()
	case l.cfg.Tag == TagLocal && e.Local.IsValid():
		return ":" + strconv.Itoa(int(e.Local.Port()))
	}
	return "-"
}

// segment writes the line of one segment; a change of state that came with it
// stands on its right.
func (l *Ladder) segment(e *engine.Event, c *ladderConn) {
	if c.pending && c.to != e.State {
		l.flushState(c)
	}
	state := ""
	if e.State != c.shown && e.Conn != 0 {
		state = e.State.String()
		c.shown = e.State
	}
	why := e.Reason
	if why == "" && c.pending {
		why = c.reason
	}
	c.pending = false
	mark, color := segmentMark(e, noteOf(e))
	l.begin(e.At, c.tag, mark, color)
	l.body(e, state)
	l.end()
	l.details(e, why)
}

// segmentMark returns the arrow of a segment and its colour.
func segmentMark(e *engine.Event, note engine.Note) (mark, color) {
	out := e.Kind == engine.EventSegmentOut
	switch {
	case e.Segment.Flags.Has(segment.RST) && out:
		return markOut, colorBad
	case e.Segment.Flags.Has(segment.RST):
		return markIn, colorBad
	case out && e.Note.Resent():
		return markAgain, colorWarn
	case note != engine.NoteNone && out:
		return markOut, colorWarn
	case note != engine.NoteNone:
		return markIn, colorWarn
	case out:
		return markOut, colorOut
	}
	return markIn, colorIn
}

// body writes flags, numbers, note and options, and the state on the right.
// What does not fit goes to a second line: first the options are shortened,
// then they are moved.
func (l *Ladder) body(e *engine.Event, state string) {
	l.text = e.Segment.AppendText(l.text[:0], l.bases(e))
	head, options := cutOptions(l.text)
	rest := notes(e)
	l.line = append(l.line, head...)
	room := l.room() - l.reserved(state)
	if rest != "" && (len(rest)+1 <= room || l.cfg.Unbroken) {
		l.line = append(append(l.line, ' '), rest...)
		room -= len(rest) + 1
		rest = ""
	}
	if !e.Segment.Flags.Has(segment.SYN) && l.cfg.Verbose == 0 && len(options)+1 > room && !l.cfg.Unbroken {
		options = shortOptions(options)
	}
	if rest == "" && options != "" && (len(options)+1 <= room || l.cfg.Unbroken) {
		l.line = append(append(l.line, ' '), options...)
		options = ""
	}
	l.right(state)
	if rest = strings.TrimSpace(rest + " " + options); rest != "" {
		l.continued(rest)
	}
}

// notes are what is remarkable about a segment, in brackets.
func notes(e *engine.Event) string {
	var words []string
	if note := noteOf(e); note != engine.NoteNone {
		words = append(words, "["+spaced(string(note))+"]")
	}
	switch e.Segment.Checksum { // what an engine sends has none yet
	case segment.ChecksumBad:
		words = append(words, "[bad checksum]")
	case segment.ChecksumPartial: // it has never left this machine (offload)
		words = append(words, "[checksum unfinished]")
	}
	return strings.Join(words, " ")
}

// noteOf is the engine's note on a segment, or what the segment itself shows.
func noteOf(e *engine.Event) engine.Note {
	s := e.Segment
	if e.Note == engine.NoteNone && s.Window == 0 && s.Flags&(segment.ACK|segment.SYN|segment.RST) == segment.ACK {
		return engine.NoteZeroWindow
	}
	return e.Note
}

// spaced writes a name of JSON's as words.
func spaced(name string) string { return strings.ReplaceAll(name, "_", " ") }

// bases are the numbers that relative sequence numbers count from.
func (l *Ladder) bases(e *engine.Event) segment.Relative {
	if l.cfg.Absolute {
		return segment.Relative{}
	}
	if e.Kind == engine.EventSegmentOut {
		return segment.Relative{Seq: e.Vars.ISS, Ack: e.Vars.IRS}
	}
	return segment.Relative{Seq: e.Vars.IRS, Ack: e.Vars.ISS}
}

// cutOptions parts "S 0:0(0) win 9 <mss 1460>" before the options.
func cutOptions(text []byte) (head []byte, options string) {
	i := bytes.IndexByte(text, '<')
	if i < 0 {
		return text, ""
	}
	options = string(text[i:])
	return bytes.TrimRight(text[:i], " "), options
}

// shortOptions leaves out padding and the numbers of the timestamps.
func shortOptions(options string) string {
	var kept []string
	for word := range strings.SplitSeq(strings.Trim(options, "<>"), ",") {
		switch {
		case word == "nop" || word == "eol":
		case strings.HasPrefix(word, "TS "):
			kept = append(kept, "TS")
		default:
			kept = append(kept, word)
		}
	}
	if len(kept) == 0 {
		return ""
	}
	return "<" + strings.Join(kept, ",") + ">"
}

// details writes the lines that -v and -vv add below a segment.
func (l *Ladder) details(e *engine.Event, why string) {
	if l.cfg.Verbose < 1 {
		return
	}
	if why != "" && e.Kind == engine.EventSegmentOut {
		l.continued("because: " + safe(why))
	}
	if len(e.Segment.Payload) > 0 {
		l.beginContinued()
		l.line = appendSnippet(l.line, e.Segment.Payload, l.room())
		l.end()
	}
	if l.cfg.Verbose >= 2 && e.Conn != 0 {
		l.continued(varsText(e, l.cfg.Absolute))
	}
}

// varsText writes the sequence variables after the event.
func varsText(e *engine.Event, absolute bool) string {
	v := &e.Vars
	snd, rcv := v.ISS, v.IRS
	if absolute {
		snd, rcv = segment.Seq{}, segment.Seq{}
	}
	number := func(s, base segment.Seq) string { return strconv.FormatUint(uint64(s.Uint32()-base.Uint32()), 10) }
	text := "snd.una " + number(v.SndUna, snd) + " snd.nxt " + number(v.SndNxt, snd) +
		" snd.wnd " + strconv.Itoa(v.SndWnd) +
		" rcv.nxt " + number(v.RcvNxt, rcv) + " rcv.wnd " + strconv.Itoa(v.RcvWnd) +
		" cwnd " + strconv.Itoa(v.Cwnd) + " flight " + strconv.Itoa(v.Flight)
	if v.SRTT > 0 {
		text += " srtt " + v.SRTT.String()
	}
	if v.RTO > 0 {
		text += " rto " + v.RTO.String()
	}
	return text
}

// state remembers a change of state until its segment comes. The end of a
// connection has no segment to wait for.
func (l *Ladder) state(e *engine.Event, c *ladderConn) {
	if e.To == c.shown {
		c.pending = false
		return
	}
	if c.pending && c.at != e.At {
		l.flushState(c)
	}
	c.pending, c.at, c.to, c.reason = true, e.At, e.To, e.Reason
	if gone(e.To) {
		l.flushState(c)
	}
}

// gone reports whether a state has nothing after it: the end of a connection,
// or of a handshake that a listener gave up.
func gone(s engine.State) bool { return s == engine.Closed || s == engine.Listen }

// flushState writes a change of state that no segment has taken along.
func (l *Ladder) flushState(c *ladderConn) {
	if !c.pending {
		return
	}
	c.pending, c.shown = false, c.to
	l.begin(c.at, c.tag, markState, colorQuiet)
	reason := safe(c.reason)
	if len(reason) <= l.room()-l.reserved(c.to.String()) {
		l.line = append(l.line, reason...)
		reason = ""
	}
	l.right(c.to.String())
	if reason != "" {
		l.continued(reason)
	}
	l.end()
}

func (l *Ladder) timer(e *engine.Event, c *ladderConn) {
	text := "timer " + spaced(e.Timer.String())
	switch e.Kind {
	case engine.EventTimerFired:
		text += " fired"
	case engine.EventTimerStopped:
		text += " stopped"
	default:
		text += " armed, due in " + e.Due.Sub(e.At).Round(time.Microsecond).String()
	}
	if (e.Kind != engine.EventTimerFired || e.Timer == engine.TimerPace) && l.cfg.Verbose < 1 {
		return // the pacer's fires a thousand times a second
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	l.remark(e, c, markTimer, text, colorQuiet)
}

func (l *Ladder) icmp(e *engine.Event, c *ladderConn) {
	text := fmt.Sprintf("ICMP %s from %s", ICMPText(e.ICMP), e.ICMP.From)
	if e.Note != engine.NoteNone {
		text += " [" + spaced(string(e.Note)) + "]"
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	l.remark(e, c, markICMP, text, colorBad)
}

// dropText says why a packet was refused, and what it was if that can be read;
// its numbers are those of the wire.
func dropText(e *engine.Event) string {
	text := "dropped: " + e.Reason
	if e.Segment != nil {
		head, _ := cutOptions(e.Segment.AppendText(nil, segment.Relative{}))
		return text + ": " + string(head)
	}
	if e.Size > 0 {
		text += " (" + strconv.Itoa(e.Size) + " octets)"
	}
	return text
}

// remark writes a line that is not a segment's.
func (l *Ladder) remark(e *engine.Event, c *ladderConn, m mark, text string, col color) {
	l.begin(e.At, c.tag, m, col)
	l.words(safe(text))
	l.end()
}

// begin starts a line with time, tag and mark.
func (l *Ladder) begin(at engine.Time, tag string, m mark, col color) {
	l.line = l.appendTime(l.line[:0], at)
	l.line = append(append(l.line, ' '), tag...)
	for range l.tagWidth - len(tag) {
		l.line = append(l.line, ' ')
	}
	l.line = append(l.line, ' ')
	l.line = l.paint(l.line, col, m.text(l.cfg.UTF8))
	l.line = append(l.line, ' ')
}

func (l *Ladder) appendTime(dst []byte, at engine.Time) []byte {
	before := l.last
	l.last = at
	switch l.cfg.Time {
	case TimeDelta:
		if before.IsZero() {
			before = at
		}
		return appendSeconds(dst, at.Sub(before), relativeWidth)
	case TimeAbsolute:
		return l.time.wallTime(at).AppendFormat(dst, "15:04:05.000000")
	case TimeEpoch:
		wall := l.time.wallTime(at)
		return fmt.Appendf(dst, "%d.%06d", wall.Unix(), wall.Nanosecond()/1000)
	}
	return appendSeconds(dst, l.time.since(at), relativeWidth)
}

// relativeWidth is the width of "999.123456".
const relativeWidth = 10

// indent is the column that the text of a line starts at.
func (l *Ladder) indent() int {
	timeWidth := relativeWidth
	switch l.cfg.Time {
	case TimeAbsolute:
		timeWidth = len("15:04:05.000000")
	case TimeEpoch:
		timeWidth = len("1700000000.000000")
	}
	return timeWidth + 1 + l.tagWidth + 1 + markWidth + 1
}

// room is how many columns are left on the line.
func (l *Ladder) room() int {
	return max(l.cfg.Width-columns(l.line), 0)
}

// columns counts what a line takes on the screen: colours take nothing, each
// other character one column.
func columns(line []byte) int {
	n := 0
	for len(line) > 0 {
		if line[0] == '\x1b' {
			line = line[bytes.IndexByte(line, 'm')+1:]
			continue
		}
		_, size := utf8.DecodeRune(line)
		line = line[size:]
		n++
	}
	return n
}

func (l *Ladder) reserved(state string) int {
	if state == "" {
		return 0
	}
	return l.cfg.StateWidth + 1
}

// right writes a state at the right edge.
func (l *Ladder) right(state string) {
	if state == "" {
		return
	}
	if l.room() <= len(state) && !l.cfg.Unbroken {
		l.end()
		l.beginContinued()
	}
	least := 1
	if l.cfg.Unbroken {
		least = 2
	}
	for range max(l.room()-l.cfg.StateWidth, least) {
		l.line = append(l.line, ' ')
	}
	l.line = l.paint(l.line, colorState, state)
}

// continued writes text on lines of its own under the body.
func (l *Ladder) continued(text string) {
	l.end()
	l.beginContinued()
	l.words(text)
	l.end()
}

// end hands the line over to the queue; without a line it does nothing.
func (l *Ladder) end() {
	if len(l.line) == 0 {
		return
	}
	l.queue.put(append(l.line, '\n'))
	l.line = l.line[:0]
}

func (l *Ladder) beginContinued() {
	l.line = l.line[:0]
	for range l.indent() {
		l.line = append(l.line, ' ')
	}
}

// words writes text, going on under the body where the line is full. It breaks
// at blanks and after commas, among options after commas only.
func (l *Ladder) words(text string) {
	start, inOptions := len(l.line), false
	for text != "" {
		breaks := " ,"
		if text[0] == '<' || inOptions { // an option stays in one piece
			breaks, inOptions = ",", true
		}
		ahead := text
		if !l.cfg.Unbroken { // a longer word is cut in any case
			ahead = text[:min(len(text), 2*l.cfg.Width)]
		}
		i := strings.IndexAny(ahead, breaks) + 1
		if i == 0 {
			i = len(ahead)
		}
		word := text[:i]
		if !l.cfg.Unbroken && columns(l.line)+len(strings.TrimRight(word, " ")) > l.cfg.Width && len(l.line) > start {
			l.line = bytes.TrimRight(l.line, " ")
			l.end()
			l.beginContinued()
			start = len(l.line)
		}
		switch room := l.room(); {
		case l.cfg.Unbroken:
		case len(strings.TrimRight(word, " ")) > max(room, 1): // a word that no line can hold
			if i = strings.LastIndexByte(text[:max(room, 1)], ' ') + 1; i == 0 {
				i = max(room, 1)
			}
			word = text[:i]
		case len(word) > room: // the blank behind it needs no room
			word = strings.TrimRight(word, " ")
		}
		l.line = append(l.line, word...)
		text = text[i:]
	}
}

func (l *Ladder) paint(dst []byte, c color, text string) []byte {
	if !l.cfg.Color || c == colorNone {
		return append(dst, text...)
	}
	dst = append(append(dst, c...), text...)
	return append(dst, colorReset...)
}

// safe escapes all but printable ASCII.
func safe(text string) string {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return string(AppendEscaped(nil, []byte(text)))
		}
	}
	return text
}
