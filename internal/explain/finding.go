package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rawtcp/internal/flow"
)

// A Finding is something worth saying of a connection, or of the capture.
type Finding struct {
	Conn     uint64 // 0: of the capture
	At       int64  // ns since 1970, 0 if it has no moment
	Kind     string // snake_case
	Severity Severity
	Side     string   // "local", "remote", "both", "path" or "capture"
	Frames   []uint64 // the first of those that show it
	Text     string   // one or two sentences, safe to show
}

// A Severity says how much a finding matters.
type Severity uint8

// The severities.
const (
	Info    Severity = iota // how it went
	Note                    // unusual, and maybe meant so
	Warning                 // costs time
	Problem                 // breaks something
)

// String returns the word of the JSON field "severity".
func (s Severity) String() string {
	return [...]string{"info", "note", "warning", "problem"}[s]
}

// A teller collects the findings of one connection.
type teller struct {
	c     *flow.Conn
	found []Finding
}

// findings tells what stands out in a connection, in the order of its life.
func findings(c *flow.Conn) []Finding {
	t := &teller{c: c}
	t.beginning()
	t.options()
	t.clamping()
	t.losses()
	t.windows()
	t.probes()
	t.checksums()
	t.capture()
	t.ending()
	t.resets()
	return t.found
}

// add notes a finding about a side.
func (t *teller) add(kind string, severity Severity, side string, at flow.Moment, frames []uint64, format string, args ...any) {
	const most = 8
	if frames == nil && at.Seen() {
		frames = []uint64{at.Frame}
	}
	slices.Sort(frames)
	frames = slices.Compact(frames)
	t.found = append(t.found, Finding{
		Conn: t.c.ID, At: at.At, Kind: kind, Severity: severity, Side: side, Frames: frames[:min(len(frames), most)],
		Text: sentence(fmt.Sprintf(format, args...)),
	})
}

// sentence begins with a capital letter and ends with a full stop.
func sentence(text string) string {
	if text[0] >= 'a' && text[0] <= 'z' {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	return strings.TrimSuffix(text, ".") + "."
}

// who names a side in a sentence: by its part in the connection if that is
// known, else by its address.
func (t *teller) who(side flow.Side) string {
	switch {
	case t.c.Opening == flow.MidStream:
		return t.c.Ends[side].Addr.String()
	case side == flow.Local:
		return "the client"
	}
	return "the server"
}

func (t *teller) ends() (local, remote *flow.End) {
	return &t.c.Ends[flow.Local], &t.c.Ends[flow.Remote]
}

var sides = [...]flow.Side{flow.Local, flow.Remote}

// took writes a time for people: three digits that count.
func took(ns int64) string {
	d := time.Duration(ns)
	switch {
	case d < 0:
		return "-" + took(-ns)
	case d < time.Millisecond:
		return fmt.Sprintf("%d us", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	case d < time.Minute:
		return fmt.Sprintf("%.3g s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// count writes a number and its thing.
func count(n uint64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// in names frames.
func in(frames ...uint64) string {
	if len(frames) == 1 {
		return fmt.Sprintf("frame %d", frames[0])
	}
	words := make([]string, len(frames))
	for i, f := range frames {
		words[i] = fmt.Sprint(f)
	}
	return "frames " + strings.Join(words, ", ")
}

// at names the frame of a moment and its time since the connection's first.
func (t *teller) at(m flow.Moment) string {
	return fmt.Sprintf("frame %d, at %s", m.Frame, took(m.At-t.c.First.At))
}
