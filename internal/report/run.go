package report

import (
	"fmt"

	"rawtcp/internal/trace"
)

// How much of a run is kept. What is beyond is counted, and the page says so.
const (
	maxFull     = 20    // connections drawn
	maxRows     = 1000  // connections in the index
	maxSegments = 20000 // drawn of one connection
	maxAll      = 60000 // segments drawn in one report
	maxEvents   = 20000 // states, timers or ICMP errors of one connection, each
	maxFindings = 500   // of one connection
	maxErrors   = 20
)

// A Run is what a report shows. Lines are added in the order in which they
// were written. It must not be used by several goroutines at once.
type Run struct {
	Only uint64 // the one connection to show; 0: all

	start    *trace.Start
	capture  *trace.CaptureStart
	conns    []*conn // in the order of their first line
	byID     map[uint64]*conn
	more     int // connections that have no row
	strays   int // segments of no connection
	total    *trace.Summary
	findings []trace.FindingLine // about the capture
	errors   []trace.ErrorLine
	kept     int // segments kept for drawing
	words    words
}

// NewRun returns a run without lines.
func NewRun() *Run { return &Run{byID: map[uint64]*conn{}, words: words{}} }

// Add adds one line: a value of one of the line types of package trace, which
// the run keeps. Any other value is ignored, as new types of line may come.
func (r *Run) Add(line any) {
	switch l := line.(type) {
	case trace.Start:
		r.begin(l)
	case trace.CaptureStart:
		r.beginCapture(l)
	case trace.SegmentLine:
		r.segment(l)
	case trace.StateLine:
		if c := r.conn(l.Conn); c != nil {
			c.state(r.words, l)
		}
	case trace.TimerLine:
		if c := r.conn(l.Conn); c != nil {
			c.timer(r.words, l)
		}
	case trace.ICMPLine:
		if c := r.conn(l.Conn); c != nil {
			c.icmp(l)
		}
	case trace.ConnectionLine:
		if c := r.conn(l.Conn); c != nil {
			c.line(l)
		}
	case trace.FindingLine:
		r.finding(l)
	case trace.Summary:
		r.summary(l)
	case trace.ErrorLine:
		if len(r.errors) < maxErrors {
			l.Message, l.Hint = clean(l.Message), clean(l.Hint)
			r.errors = append(r.errors, l)
		}
	}
}

func (r *Run) begin(l trace.Start) {
	for _, s := range []*string{&l.Command, &l.Local, &l.Remote, &l.Iface, &l.Guard, &l.IO, &l.Version} {
		*s = clean(*s)
	}
	r.start = &l
}

func (r *Run) beginCapture(l trace.CaptureStart) {
	l.Command, l.File, l.Version = clean(l.Command), clean(l.File), clean(l.Version)
	r.capture = &l
}

// conn is the connection of a number, or nil if it is none or not wanted.
func (r *Run) conn(id uint64) *conn {
	if id == 0 || r.Only != 0 && id != r.Only {
		return nil
	}
	if c := r.byID[id]; c != nil {
		return c
	}
	if len(r.conns) == maxRows {
		r.more++ // an upper bound would need memory for each of them
		return nil
	}
	c := &conn{id: id, full: len(r.conns) < maxFull}
	r.conns = append(r.conns, c)
	r.byID[id] = c
	return c
}

func (r *Run) segment(l trace.SegmentLine) {
	if l.Conn == 0 {
		r.strays++
		return
	}
	c := r.conn(l.Conn)
	if c == nil {
		return
	}
	if r.kept >= maxAll && len(c.segments) == 0 {
		c.full = false
	}
	if c.segment(r.words, l, r.kept < maxAll) {
		r.kept++
	}
}

func (r *Run) finding(l trace.FindingLine) {
	l.Kind, l.Severity, l.Side, l.Text = clean(l.Kind), clean(l.Severity), clean(l.Side), clean(l.Text)
	if l.Conn == 0 {
		if len(r.findings) < maxFindings {
			r.findings = append(r.findings, l)
		}
		return
	}
	if c := r.conn(l.Conn); c != nil && len(c.findings) < maxFindings {
		c.findings = append(c.findings, l)
	}
}

func (r *Run) summary(l trace.Summary) {
	if l.Conn == "all" {
		r.total = &l
		return
	}
	if c := r.conn(connNumber(l.Conn)); c != nil {
		c.summary(l)
	}
}

// connNumber is the number of a summary's connection, or 0. It is a uint64
// where the program made it and a float64 where JSON did.
func connNumber(v any) uint64 {
	switch n := v.(type) {
	case uint64:
		return n
	case float64:
		if n >= 1 && n < 1<<53 {
			return uint64(n)
		}
	}
	return 0
}

// Check returns an error if there is nothing to report on.
func (r *Run) Check() error {
	switch {
	case len(r.conns) > 0 || len(r.errors) > 0:
		return nil
	case r.Only != 0:
		return fmt.Errorf("there is no connection %d", r.Only)
	case r.start != nil && (r.start.Command == "ping" || r.start.Command == "doctor"):
		return fmt.Errorf("these are the lines of rawtcp %s; a report shows connections", r.start.Command)
	}
	return fmt.Errorf("there is no connection to report on")
}

// words keeps one copy of each text that lines repeat.
type words map[string]string

const maxWords = 10000

// keep returns text as it may be shown, and the same memory for the same text.
func (w words) keep(text string) string {
	if kept, ok := w[text]; ok {
		return kept
	}
	kept := clean(text)
	if len(w) < maxWords {
		w[kept] = kept
	}
	return kept
}
