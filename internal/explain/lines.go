package explain

import (
	"io"
	"slices"

	"rawtcp/engine"
	"rawtcp/internal/flow"
	"rawtcp/internal/trace"
	"rawtcp/segment"
)

// Lines reads a capture and hands each line to yield, in the order of the
// capture: trace.TimerLine, trace.SegmentLine and trace.StateLine for each
// segment, trace.FindingLine and then trace.ConnectionLine for each connection
// when nothing more is to come of it, and last the findings about the capture
// and a trace.Summary of all. They are values and stay valid. "local" and "out"
// are the side that opened a connection. Times count from the capture's first
// TCP segment.
//
// An error of yield ends the reading and is returned. A file that is damaged in
// its midst is read so far, and a finding says so; the error is for a file of
// which nothing can be read.
func Lines(r io.Reader, o Options, yield func(line any) error) error {
	return run(r, o, &lines{yield: yield})
}

// lines is the view behind Lines.
type lines struct {
	yield func(any) error
	began int64
	event engine.Event
	total trace.Total
}

func (l *lines) begin(at int64) { l.began = at }

func (l *lines) us(at int64) int64 { return max((at-l.began)/1000, 0) }

func (l *lines) segment(e *flow.Event) error {
	c, at := e.Conn, l.us(e.At)
	if e.Fired {
		line := trace.TimerLine{Type: "timer", Conn: c.ID, TimeUS: at, Timer: e.Timer.String(), What: "fired", Side: e.From.String(), Frame: e.Frame}
		if err := l.yield(line); err != nil {
			return err
		}
	}
	if err := l.yield(segmentLine(&l.event, e, at)); err != nil {
		return err
	}
	for _, change := range e.Changes {
		line := trace.StateLine{
			Type: "state", Conn: c.ID, TimeUS: at, From: change.From.String(), To: change.To.String(), Cause: change.Cause,
			Side: change.Side.String(), Frame: e.Frame,
		}
		if err := l.yield(line); err != nil {
			return err
		}
	}
	return nil
}

// segmentLine is the line of a segment; v is scratch.
func segmentLine(v *engine.Event, e *flow.Event, at int64) trace.SegmentLine {
	asEvent(v, e)
	line := trace.NewSegmentLine(v)
	line.TimeUS, line.Frame = at, e.Frame
	line.PeerState = e.Conn.Ends[flow.Remote].State.String()
	if names := e.Notes.Names(); len(names) > 1 {
		line.Notes = names
	}
	if e.Segment.Checksum == segment.ChecksumUnknown {
		line.Checksum = "unknown"
	}
	return line
}

// asEvent tells a segment in the words of an engine that is the side that
// opened the connection.
func asEvent(v *engine.Event, e *flow.Event) {
	c := e.Conn
	local, remote := &c.Ends[flow.Local], &c.Ends[flow.Remote]
	*v = engine.Event{
		Kind: engine.EventSegmentOut, At: engine.Time(e.At), Conn: c.ID, Local: local.Addr, Remote: remote.Addr,
		State: local.State, Segment: e.Segment, Note: engine.Note(e.Notes.String()),
		Vars: engine.Vars{ISS: local.Base, IRS: remote.Base, SndScale: remote.Scale(), RcvScale: local.Scale()},
	}
	if e.From == flow.Remote {
		v.Kind = engine.EventSegmentIn
	}
}

func (l *lines) gone(c *flow.Conn, found []Finding) error {
	if err := l.findings(found); err != nil {
		return err
	}
	line := l.connection(c)
	line.Findings = len(found)
	l.total.Add(summaryOf(&line))
	return l.yield(line)
}

func (l *lines) findings(found []Finding) error {
	for _, f := range found {
		line := trace.FindingLine{
			Type: "finding", Conn: f.Conn, Kind: f.Kind, Severity: f.Severity.String(), Side: f.Side, Frames: f.Frames, Text: f.Text,
		}
		if f.At != 0 {
			line.TimeUS = l.us(f.At)
		}
		if line.Frames == nil {
			line.Frames = []uint64{}
		}
		if err := l.yield(line); err != nil {
			return err
		}
	}
	return nil
}

func (l *lines) end(_ *Total, found []Finding) error {
	if err := l.findings(found); err != nil {
		return err
	}
	sum := l.total.Summary()
	sum.Type = "summary"
	return l.yield(sum)
}

// connection is the line of a connection.
func (l *lines) connection(c *flow.Conn) trace.ConnectionLine {
	line := trace.ConnectionLine{
		Type: "connection", Conn: c.ID, TimeUS: l.us(c.First.At), EndUS: l.us(c.Last.At),
		FirstFrame: c.First.Frame, LastFrame: c.Last.Frame, Parts: uint8(c.Parts), Opener: openers[c.Opening], Result: result(c),
		HandshakeUS: span(c.SYN, c.Established), Close: closeOf(c), Evicted: c.Evicted,
		Local: sideLine(&c.Ends[flow.Local]), Remote: sideLine(&c.Ends[flow.Remote]),
	}
	line.Segments = line.Local.Segments + line.Remote.Segments
	if c.Ends[flow.Local].SYN.Count == 1 && c.Ends[flow.Remote].SYN.Count == 1 {
		line.SYNRTTUS = span(c.SYN, c.SYNACK)
	}
	line.TeardownUS = span(c.Closing, c.Over)
	return line
}

var openers = [...]string{flow.MidStream: "unknown", flow.Active: "local", flow.Simultaneous: "both"}

// span is the time between two moments in µs, nil if one was not seen.
func span(from, to flow.Moment) *int64 {
	if !from.Seen() || !to.Seen() {
		return nil
	}
	us := max((to.At-from.At)/1000, 0)
	return &us
}

func sideLine(e *flow.End) trace.SideLine {
	line := trace.SideLine{
		Addr: e.Addr.String(), Segments: e.Segments, Bytes: e.Bytes, Retransmits: e.Count(flow.Resent), DupAcks: e.Count(flow.DupAck),
		OutOfOrder: e.Count(flow.OutOfOrder), ZeroWindows: uint64(e.Closures), Largest: e.Largest, TTL: e.TTL,
		SACKPermitted: e.SYN.SACKPermitted, Timestamps: e.SYN.Timestamps, States: []string{},
	}
	if e.SYN.MSS != 0 {
		mss := e.SYN.MSS
		line.MSS = &mss
	}
	if e.SYN.HasScale {
		scale := e.SYN.Scale
		line.WScale = &scale
	}
	for _, s := range e.Passed {
		line.States = append(line.States, s.String())
	}
	return line
}

func closeOf(c *flow.Conn) trace.Close {
	switch {
	case !c.Closing.Seen() && result(c) == trace.ResultTimeout:
		return trace.Close{First: "none", How: "timeout"}
	case !c.Closing.Seen():
		return trace.Close{First: "none", How: "none"}
	}
	first, how := "local", "fin"
	if c.ClosedBy == flow.Remote {
		first = "peer"
	}
	if c.ByReset {
		how = "rst"
	}
	return trace.Close{First: first, How: how}
}

// ResultOpen is a connection that lives when the capture ends.
const ResultOpen = "open"

// result tells how a connection ended, in the words of a summary.
func result(c *flow.Conn) string {
	local, remote := &c.Ends[flow.Local], &c.Ends[flow.Remote]
	established := slices.Contains(local.Passed, engine.Established)
	killed := slices.ContainsFunc(c.Resets, func(r flow.Reset) bool { return r.Accepted })
	switch {
	case killed && !established:
		return trace.ResultRefused
	case local.FIN.Seen() && remote.FIN.Seen() && c.Done():
		return trace.ResultClosed
	case killed && c.Done():
		return trace.ResultReset
	case !established && c.Opening == flow.Active:
		return trace.ResultTimeout
	}
	return ResultOpen
}

// summaryOf is what the sum of all wants to know of a connection.
func summaryOf(line *trace.ConnectionLine) trace.Summary {
	return trace.Summary{
		Result: line.Result, SYNRTTUS: line.SYNRTTUS, BytesSent: line.Local.Bytes, BytesReceived: line.Remote.Bytes,
		SegmentsSent: line.Local.Segments, SegmentsReceived: line.Remote.Segments,
		Retransmits: line.Local.Retransmits + line.Remote.Retransmits,
	}
}
