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
	Only uint64 // the one connection to show, as the page numbers them; 0: all

	sources  []*source // in order; the last one is being added
	untold   int       // sources that have no place
	base     uint64    // what is added to the numbers of its connections
	highest  uint64    // number of a connection so far
	conns    []*conn   // in the order of their first line
	byID     map[uint64]*conn
	more     int                 // connections that have no row
	strays   int                 // segments of no connection
	findings []trace.FindingLine // about the capture
	errors   []trace.ErrorLine
	kept     int // segments kept for drawing
	words    words
}

// A source is one run, or one capture, among those that a report shows.
type source struct {
	start   *trace.Start
	capture *trace.CaptureStart
	total   *trace.Summary
	cut     int // the line in the middle of which it ends; 0: none
}

// maxSources is how many runs and captures are told of.
const maxSources = 20

// NewRun returns a run without lines.
func NewRun() *Run { return &Run{byID: map[uint64]*conn{}, words: words{}, sources: []*source{{}}} }

// Next says that the lines from now on are of another run or capture: the
// numbers of their connections begin anew, and are counted on in the report. A
// second line of type start says the same.
func (r *Run) Next() {
	if s := r.source(); s.start == nil && s.capture == nil && r.highest == r.base {
		return // nothing yet to be told apart from
	}
	r.base = r.highest
	r.byID = map[uint64]*conn{}
	if len(r.sources) < maxSources {
		r.sources = append(r.sources, &source{})
		return
	}
	r.untold++
	*r.source() = source{}
}

func (r *Run) source() *source { return r.sources[len(r.sources)-1] }

// another begins a source if the last one has begun already.
func (r *Run) another() *source {
	if s := r.source(); s.start != nil || s.capture != nil {
		r.Next()
	}
	return r.source()
}

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
	r.another().start = &l
}

func (r *Run) beginCapture(l trace.CaptureStart) {
	l.Command, l.File, l.Version = clean(l.Command), clean(l.File), clean(l.Version)
	r.another().capture = &l
}

// conn is the connection of a number, or nil if it is none or not wanted.
func (r *Run) conn(id uint64) *conn {
	number := r.base + id
	if id == 0 || number < id { // no program counts so far
		return nil
	}
	r.highest = max(r.highest, number)
	if r.Only != 0 && number != r.Only {
		return nil
	}
	if c := r.byID[id]; c != nil {
		return c
	}
	if len(r.conns) == maxRows {
		r.more++ // an upper bound would need memory for each of them
		return nil
	}
	c := &conn{id: number, full: len(r.conns) < maxFull}
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
	if c := r.conn(l.Conn); c != nil {
		c.finding(l)
	}
}

func (r *Run) summary(l trace.Summary) {
	if l.Conn == "all" {
		r.source().total = &l
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
	}
	if s := r.source().start; s != nil && (s.Command == "ping" || s.Command == "doctor") {
		return fmt.Errorf("these are the lines of rawtcp %s; a report shows connections", s.Command)
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
