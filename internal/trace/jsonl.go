package trace

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"
	"unicode/utf16"

	"rawtcp/engine"
	"rawtcp/segment"
)

// Schema is the version of the JSON Lines. It changes when a key changes its
// meaning or goes away; new keys may come at any time.
const Schema = "rawtcp/1"

// A Start is the first line of a run.
type Start struct {
	Type    string `json:"type"` // "start"
	Schema  string `json:"schema"`
	Command string `json:"command"`
	Local   string `json:"local"`
	Remote  string `json:"remote,omitempty"`
	Iface   string `json:"iface"`
	MTU     int    `json:"mtu"` // octets
	Guard   string `json:"guard"`
	IO      string `json:"io"`
	Version string `json:"version"`

	// How to repeat the run: the words behind "rawtcp", and the variables
	// RAWTCP_... as NAME=VALUE.
	Args []string `json:"args,omitempty"`
	Env  []string `json:"env,omitempty"`
}

// A SegmentLine is one segment sent or received. Seq and Ack count from the
// ISNs, as tcpdump's do.
type SegmentLine struct {
	Type     string      `json:"type"` // "segment"
	Conn     uint64      `json:"conn"`
	TimeUS   int64       `json:"t_us"` // since the first event of the run
	Dir      string      `json:"dir"`  // "in" or "out"
	Src      string      `json:"src"`
	Dst      string      `json:"dst"`
	Flags    string      `json:"flags"` // tcpdump's letters
	Seq      uint32      `json:"seq"`
	Ack      uint32      `json:"ack"`
	SeqAbs   uint32      `json:"seq_abs"`
	AckAbs   uint32      `json:"ack_abs"`
	Win      uint16      `json:"win"`                // as on the wire
	WScale   uint8       `json:"wscale"`             // the shift that applies to win
	Len      int         `json:"len"`                // octets of payload
	Segments int         `json:"segments,omitempty"` // of a super-segment of ours: into how many the link cuts it
	TTL      uint8       `json:"ttl"`
	Options  OptionsLine `json:"options"`
	Checksum string      `json:"checksum"` // "ok", "partial" or "bad"
	Note     string      `json:"note,omitempty"`
	Reason   string      `json:"reason,omitempty"` // why we sent it, or why it was refused
	State    string      `json:"state,omitempty"`  // after the segment

	// Only of a segment in a capture.
	Frame     uint64   `json:"frame,omitempty"`      // its number in the file, from 1
	PeerState string   `json:"peer_state,omitempty"` // of the other side, after the segment
	Notes     []string `json:"notes,omitempty"`      // all that is remarkable, if it is more than Note
}

// An OptionsLine holds the options of a segment; what is absent was not there.
type OptionsLine struct {
	MSS           *uint16     `json:"mss,omitempty"`
	WScale        *uint8      `json:"wscale,omitempty"`
	SACKPermitted bool        `json:"sack_permitted,omitempty"`
	SACK          [][2]uint32 `json:"sack,omitempty"` // relative, as ack
	TSVal         *uint32     `json:"ts_val,omitempty"`
	TSEcr         *uint32     `json:"ts_ecr,omitempty"`
	FastOpen      *string     `json:"fast_open,omitempty"` // cookie in hexadecimal
	UserTimeout   *int        `json:"user_timeout_s,omitempty"`
	Raw           string      `json:"raw,omitempty"` // the option area in hexadecimal
}

// A StateLine is a change of state.
type StateLine struct {
	Type   string `json:"type"` // "state"
	Conn   uint64 `json:"conn"`
	TimeUS int64  `json:"t_us"`
	From   string `json:"from"`
	To     string `json:"to"`
	Cause  string `json:"cause"`

	// Only in a capture.
	Side  string `json:"side,omitempty"`  // whose state: "local" or "remote"
	Frame uint64 `json:"frame,omitempty"` // what shows it
}

// A TimerLine is a timer armed, fired or stopped.
type TimerLine struct {
	Type   string `json:"type"` // "timer"
	Conn   uint64 `json:"conn"`
	TimeUS int64  `json:"t_us"`
	Timer  string `json:"timer"`
	What   string `json:"what"`
	DueUS  *int64 `json:"due_us"` // when it is due, on the scale of t_us; null unless armed

	// Only in a capture, where a timer is inferred from what was sent.
	Side  string `json:"side,omitempty"`  // whose timer: "local" or "remote"
	Frame uint64 `json:"frame,omitempty"` // what shows it
}

// A DataLine is data handed to or by the application.
type DataLine struct {
	Type   string `json:"type"` // "data"
	Conn   uint64 `json:"conn"`
	TimeUS int64  `json:"t_us"`
	Dir    string `json:"dir"`
	Len    int    `json:"len"` // octets
}

// An ICMPLine is an error message about a packet of ours.
type ICMPLine struct {
	Type   string `json:"type"` // "icmp"
	Conn   uint64 `json:"conn"`
	TimeUS int64  `json:"t_us"`
	From   string `json:"from"`
	Kind   uint8  `json:"icmp_type"`
	Code   uint8  `json:"code"`
	MTU    int    `json:"mtu,omitempty"` // octets
	Text   string `json:"text"`
	Note   string `json:"note,omitempty"`
}

// An ErrorLine is a failure of the run.
type ErrorLine struct {
	Type    string `json:"type"` // "error"
	Code    int    `json:"code"` // the exit code
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// JSONLines writes one JSON object a line for each event.
type JSONLines struct {
	queue *queue

	mu      sync.Mutex
	time    timeline
	line    writer
	encoder *json.Encoder
}

// Lines hands the lines of a run to a function as values, each one for good,
// instead of writing them.
type Lines struct {
	mu    sync.Mutex
	time  timeline
	yield func(line any)
}

// NewLines returns a sink that calls yield, with a lock of its own held, for
// each line in turn.
func NewLines(yield func(line any)) *Lines { return &Lines{time: lineTime(), yield: yield} }

// Trace implements engine.Tracer.
func (l *Lines) Trace(e *engine.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line := l.time.line(e); line != nil {
		l.yield(line)
	}
}

// Add hands over a line that is no event: a Start, a Summary or an ErrorLine.
func (l *Lines) Add(line any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.yield(line)
}

// writer is a buffer that a json.Encoder fills.
type writer []byte

func (w *writer) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// NewJSONLines starts a sink that writes to out until Close.
func NewJSONLines(out io.Writer) *JSONLines {
	j := &JSONLines{queue: newQueue(out, queueLimit, chunkSize), time: lineTime()}
	j.encoder = json.NewEncoder(&j.line)
	j.encoder.SetEscapeHTML(false)
	return j
}

// Trace implements engine.Tracer.
func (j *JSONLines) Trace(e *engine.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if line := j.time.line(e); line != nil {
		j.write(line)
	}
}

// lineTime counts from the first event: the wall clock does not matter.
func lineTime() timeline { return timeline{now: func() time.Time { return time.Time{} }} }

// line is an event as the value that becomes its line, or nil if it has none.
func (tl *timeline) line(e *engine.Event) any {
	at := microseconds(tl.since(e.At))
	switch e.Kind {
	case engine.EventSegmentIn, engine.EventSegmentOut:
		return segmentLine(e, e.Segment, at)
	case engine.EventState:
		return StateLine{Type: "state", Conn: e.Conn, TimeUS: at, From: e.From.String(), To: e.To.String(), Cause: e.Reason}
	case engine.EventTimerArmed:
		due := microseconds(tl.since(e.Due))
		return timerLine(e, at, "armed", &due)
	case engine.EventTimerFired:
		return timerLine(e, at, "fired", nil)
	case engine.EventTimerStopped:
		return timerLine(e, at, "stopped", nil)
	case engine.EventDataIn:
		return DataLine{"data", e.Conn, at, "in", e.Size}
	case engine.EventDataOut:
		return DataLine{"data", e.Conn, at, "out", e.Size}
	case engine.EventICMP:
		m := e.ICMP
		return ICMPLine{"icmp", e.Conn, at, m.From.String(), m.Type, m.Code, m.MTU, ICMPText(m), string(e.Note)}
	case engine.EventDrop:
		return dropLine(e, at)
	}
	return nil
}

// dropLine is a refused packet as a segment with the note "dropped", or nil if
// it cannot be read at all.
func dropLine(e *engine.Event, at int64) any {
	s := e.Segment
	if s == nil {
		s = new(segment.Segment)
		if s.Parse(e.Packet) != nil {
			return nil
		}
	}
	line := segmentLine(e, s, at)
	line.Note = "dropped"
	return line
}

func timerLine(e *engine.Event, at int64, what string, due *int64) TimerLine {
	return TimerLine{Type: "timer", Conn: e.Conn, TimeUS: at, Timer: e.Timer.String(), What: what, DueUS: due}
}

// Start writes the first line. Type and Schema are filled in.
func (j *JSONLines) Start(s Start) {
	s.Type, s.Schema = "start", Schema
	j.locked(s)
}

// Summary writes the summary of one connection, or of all. Type is filled in.
func (j *JSONLines) Summary(s Summary) {
	s.Type = "summary"
	j.locked(s)
}

// Error writes an error. Type is filled in.
func (j *JSONLines) Error(e ErrorLine) {
	e.Type = "error"
	j.locked(e)
}

// Lost returns how many lines a slow reader has cost.
func (j *JSONLines) Lost() uint64 { return j.queue.lost() }

// Failed is closed when a line could not be written.
func (j *JSONLines) Failed() <-chan struct{} { return j.queue.failed }

// Err returns the first failed write, or nil.
func (j *JSONLines) Err() error { return j.queue.failure() }

// Close writes out what is left, for at most d, and returns the first write
// error of the sink's life.
func (j *JSONLines) Close(d time.Duration) error { return j.queue.close(d) }

func (j *JSONLines) locked(v any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.write(v)
}

func (j *JSONLines) write(v any) {
	j.line = j.line[:0]
	if err := j.encoder.Encode(v); err != nil {
		// Only a value that JSON cannot hold gets here, and no line has one.
		panic("trace: " + err.Error())
	}
	j.queue.put(asciiOnly(j.line))
}

// asciiOnly escapes what JSON allows in a string and a terminal must not see:
// DEL, and all beyond ASCII, such as controls of the second set and changes of
// direction.
func asciiOnly(line []byte) []byte {
	if !slices.ContainsFunc(line, func(b byte) bool { return b >= 0x7f }) {
		return line
	}
	var out []byte
	for _, r := range string(line) {
		switch {
		case r < 0x7f:
			out = append(out, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = appendHex(append(appendHex(append(out, `\u`...), high, 4), `\u`...), low, 4)
		default:
			out = appendHex(append(out, `\u`...), r, 4)
		}
	}
	return out
}

// NewSegmentLine is the line of one segment event, at time 0.
func NewSegmentLine(e *engine.Event) SegmentLine { return segmentLine(e, e.Segment, 0) }

func segmentLine(e *engine.Event, s *segment.Segment, at int64) SegmentLine {
	dir, seqBase, ackBase, scale := "in", e.Vars.IRS, e.Vars.ISS, e.Vars.SndScale
	if e.Kind == engine.EventSegmentOut {
		dir, seqBase, ackBase, scale = "out", e.Vars.ISS, e.Vars.IRS, e.Vars.RcvScale
	}
	line := SegmentLine{
		Type: "segment", Conn: e.Conn, TimeUS: at, Dir: dir,
		Src: addrText(s.Src), Dst: addrText(s.Dst),
		Flags: s.Flags.String(),
		Seq:   distance(s.Seq, seqBase), SeqAbs: s.Seq.Uint32(),
		Win: s.Window, WScale: scale, Len: len(s.Payload), TTL: s.TTL,
		Options:  optionsLine(&s.Options, ackBase),
		Checksum: checksumWord(s.Checksum),
		Note:     string(noteOf(e)), Reason: e.Reason,
	}
	if s.Flags.Has(segment.ACK) {
		line.Ack, line.AckAbs = distance(s.Ack, ackBase), s.Ack.Uint32()
	}
	if s.Flags.Has(segment.SYN) {
		line.WScale = 0 // "The window field in a segment where the SYN bit is set ... MUST NOT be scaled." RFC 7323 section 2.2
	}
	if e.Conn != 0 {
		line.State = e.State.String()
	}
	if s.SegmentSize > 0 {
		line.Segments, line.Checksum = s.Count(), checksumWord(segment.ChecksumPartial)
	}
	return line
}

// addrText keeps an address that a test or a broken packet left out readable.
func addrText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func distance(s, base segment.Seq) uint32 { return s.Uint32() - base.Uint32() }

func optionsLine(o *segment.Options, ackBase segment.Seq) OptionsLine {
	line := OptionsLine{SACKPermitted: o.Has(segment.HasSACKPermitted), Raw: hex.EncodeToString(o.Raw)}
	if o.Has(segment.HasMSS) {
		mss := o.MSS
		line.MSS = &mss
	}
	if o.Has(segment.HasWindowScale) {
		scale := o.WindowScale
		line.WScale = &scale
	}
	if o.Has(segment.HasTimestamps) {
		val, ecr := o.TSVal, o.TSEcr
		line.TSVal, line.TSEcr = &val, &ecr
	}
	if o.Has(segment.HasSACK) {
		for _, b := range o.Blocks() {
			line.SACK = append(line.SACK, [2]uint32{distance(b.Start, ackBase), distance(b.End, ackBase)})
		}
	}
	if o.Has(segment.HasFastOpen) {
		cookie := hex.EncodeToString(o.FastOpen)
		line.FastOpen = &cookie
	}
	if seconds, ok := o.UserTimeout(); ok {
		line.UserTimeout = &seconds
	}
	return line
}

// checksumWord is the verdict as JSON says it. What we send has none, and is
// right.
func checksumWord(v segment.Verdict) string {
	switch v {
	case segment.ChecksumPartial:
		return "partial"
	case segment.ChecksumBad:
		return "bad"
	}
	return "ok"
}
