package report

import (
	"fmt"
	"math"
	"slices"

	"rawtcp/internal/trace"
)

// The measures of a time-sequence graph.
const (
	graphWidth  = 1000.0
	graphHeight = 320.0
	graphLeft   = 92.0
	graphRight  = 14.0
	graphTop    = 12.0
	graphBottom = 28.0
	plotWidth   = graphWidth - graphLeft - graphRight
	plotHeight  = graphHeight - graphTop - graphBottom
	foldWidth   = 26.0
)

// A sequence is one direction of a connection over time: what its sender sent,
// and what the receiver said of it.
type sequence struct {
	bars  []seqBar
	sacks []seqBar
	acks  []seqPoint
	edges []seqPoint // acknowledgment and window: what the sender may send
	shut  []seqShut  // while the window was zero
	top   int64      // highest octet sent or acknowledged
	edge  int64      // highest edge
}

type seqBar struct {
	us, from, to int64
	again        bool
}

type seqPoint struct{ us, seq int64 }

// A seqShut is a time in which the sender was told to send nothing.
type seqShut struct{ from, to, seq int64 }

// An unwrapper makes a number of 32 bits one of 64 near the last one.
type unwrapper struct{ last int64 }

func (u *unwrapper) at(n uint32) int64 {
	v := u.last + int64(int32(n-uint32(u.last)))
	if v > u.last {
		u.last = v
	}
	return v
}

// sequenceOf gathers one direction: that of the local side's segments, or the other.
func sequenceOf(c *conn, local bool) *sequence {
	q := new(sequence)
	var u unwrapper
	for i := range c.segments {
		l := &c.segments[i]
		switch {
		case refused(l): // its numbers need not mean anything
		case out(l) == local && length(l) > 0:
			from := u.at(l.Seq)
			to := from + length(l)
			u.at(l.Seq + uint32(length(l)))
			q.bars = append(q.bars, seqBar{l.TimeUS, from, to, again(l)})
			q.top = max(q.top, to)
		case out(l) == local || !has(l.Flags, '.') || has(l.Flags, 'R'):
		default:
			ack := u.at(l.Ack)
			q.acks = append(q.acks, seqPoint{l.TimeUS, ack})
			q.edges = append(q.edges, seqPoint{l.TimeUS, ack + window(l)})
			q.top, q.edge = max(q.top, ack), max(q.edge, ack+window(l))
			q.window(l.TimeUS, ack, window(l))
			for _, b := range l.Options.SACK {
				q.sacks = append(q.sacks, seqBar{us: l.TimeUS, from: u.at(b[0]), to: u.at(b[1])})
			}
		}
	}
	if n := len(q.shut); n > 0 && q.shut[n-1].to < 0 {
		q.shut[n-1].to = latest // to the end
	}
	return q
}

// window notes when the window is shut and opened. A shut window stays so for
// those that repeat it.
func (q *sequence) window(us, ack, size int64) {
	last := len(q.shut) - 1
	open := last < 0 || q.shut[last].to >= 0
	switch {
	case open && size == 0:
		q.shut = append(q.shut, seqShut{us, -1, ack})
	case !open && size > 0:
		q.shut[last].to = us
	}
}

// directions are those that have a graph: local or not. Without data there is
// one, for SYN and FIN.
func (c *conn) directions() []bool {
	var list []bool
	for _, local := range []bool{true, false} {
		carries := func(l trace.SegmentLine) bool { return l.Len > 0 && out(&l) == local && !refused(&l) }
		if slices.ContainsFunc(c.segments, carries) {
			list = append(list, local)
		}
	}
	if list == nil && len(c.segments) > 0 {
		list = []bool{len(sequenceOf(c, true).bars) > 0}
	}
	return list
}

// height is the sequence number at the top of the graph: above the data, and
// above the window where that does not dwarf the data.
func (q *sequence) height() float64 {
	top := max(q.top, 1)
	if q.edge > top && q.edge <= 3*top {
		top = q.edge
	}
	return float64(top + top/20)
}

// graph draws one direction.
func graph(c *conn, s *timescale, local bool) *picture {
	q := sequenceOf(c, local)
	s.fit(plotWidth-12, foldWidth)
	from, to := c.local, c.remote
	if !local {
		from, to = to, from
	}
	p := &picture{
		Name: "graph", W: graphWidth, H: graphHeight,
		Title: fmt.Sprintf("Sequence numbers from %s to %s over time", from, to),
		Desc: fmt.Sprintf("%s with data, SYN or FIN, %s of them sent again; %s; %s. The table of segments has the same in words.",
			count(len(q.bars), "segment"), thousands(countAgain(q.bars)), count(len(q.acks), "acknowledgment"), count(len(q.sacks), "SACK block")),
	}
	high := q.height()
	y := func(seq int64) float64 { return plotHeight - float64(seq)/high*(plotHeight-8) - 4 }
	plot := graphPlot(q, s, y)
	if !local {
		plot.Class = "plot peer" // colours say who spoke
	}
	plot.Shapes = slices.DeleteFunc(plot.Shapes, func(s shape) bool { return s.Class == "edge" && q.farEdge(high) })
	p.Layers = []layer{graphScale(high, y), graphTimes(s), plot}
	p.Keys = graphKeys(plot, from, to)
	if float64(q.edge) > high {
		p.Note = fmt.Sprintf("The window, up to %s, ends far above the data and outside of the picture.", count(q.edge-q.top, "octet"))
	}
	return p
}

// farEdge reports whether the window never ends within the graph.
func (q *sequence) farEdge(high float64) bool {
	return !slices.ContainsFunc(q.edges, func(p seqPoint) bool { return float64(p.seq) <= high })
}

// graphKeys explains the colours that are there.
func graphKeys(plot layer, from, to string) []key {
	var list []key
	for _, k := range []key{
		{"data", "data of " + from}, {"resent", "sent again"}, {"ack", "acknowledged by " + to},
		{"sack", "SACK block"}, {"shut", "window of " + to + " is zero"}, {"edge", "edge of the window of " + to},
	} {
		if slices.ContainsFunc(plot.Shapes, func(s shape) bool { return s.Class == k.Class }) {
			list = append(list, key{"key " + plot.Class + " " + k.Class, k.Text})
		}
	}
	return list
}

func countAgain(bars []seqBar) int {
	n := 0
	for _, b := range bars {
		if b.again {
			n++
		}
	}
	return n
}

// graphScale is the scale of sequence numbers on the left.
func graphScale(high float64, y func(int64) float64) layer {
	const apart = 44
	l := layer{Class: "scale"}
	var grid path
	step := niceStep(high / (plotHeight / apart))
	for n, seq := 0, int64(0); float64(seq) <= high && n < 20; n, seq = n+1, seq+step {
		at := graphTop + y(seq)
		grid.move(graphLeft, at)
		grid.across(graphWidth - graphRight)
		l.Texts = append(l.Texts, label{graphLeft - 8, num(at + 4), "end", thousands(seq)})
	}
	l.Shapes = shapes(shape{"rule", grid})
	return l
}

// graphTimes is the scale of time below; the script draws it anew when it zooms.
func graphTimes(s *timescale) layer {
	l := layer{Class: "times"}
	var marks path
	ticks, step := s.ticks(86)
	for _, t := range ticks {
		x := graphLeft + 6 + t.Place
		marks.move(x, graphTop)
		marks.down(graphTop + plotHeight + 4)
		l.Texts = append(l.Texts, label{num(x), graphHeight - 8, "mid", tickText(t.US, step)})
	}
	l.Shapes = shapes(shape{"rule", marks})
	return l
}

// graphPlot is what the script stretches.
func graphPlot(q *sequence, s *timescale, y func(int64) float64) layer {
	at := func(us int64) float64 { return 6 + s.at(us) }
	l := layer{Class: "plot", Frame: &frame{graphLeft, graphTop, plotWidth, plotHeight}}
	var data, resent, sacks, shut path
	for _, b := range q.bars {
		p := &data
		if b.again {
			p = &resent
		}
		bar(p, at(b.us), y(b.from), y(b.to))
	}
	for _, b := range q.sacks {
		bar(&sacks, at(b.us), y(b.from), y(b.to))
	}
	for _, b := range q.shut {
		shut.move(at(b.from), y(b.seq))
		shut.across(max(at(b.to), at(b.from)+1))
	}
	l.Shapes = shapes(
		shape{"fold", foldMarks(s, at, plotHeight)},
		shape{"edge", steps(q.edges, at, y, s.last)}, shape{"ack", steps(q.acks, at, y, s.last)},
		shape{"shut", shut}, shape{"sack", sacks}, shape{"data", data}, shape{"resent", resent})
	return l
}

// bar is a range of sequence numbers at a moment, at least two units high.
func bar(p *path, x, from, to float64) {
	if from-to < 2 {
		from, to = from+1, to-1
	}
	p.move(x, from)
	p.down(to)
}

// steps is a line that stays until the next point.
func steps(points []seqPoint, x func(int64) float64, y func(int64) float64, end int64) path {
	var p path
	lastY := math.NaN()
	for i, point := range points {
		at := y(point.seq)
		switch {
		case i == 0:
			p.move(x(point.us), at)
		case at != lastY:
			p.across(x(point.us))
			p.down(at)
		}
		lastY = at
	}
	if len(points) > 0 {
		p.across(x(end))
	}
	return p
}

// foldMarks are two lines where a silence is folded.
func foldMarks(s *timescale, at func(int64) float64, height float64) path {
	var p path
	for _, f := range s.folds {
		x0, x1 := at(f.from), at(f.to)
		for _, part := range []float64{0.4, 0.6} {
			x := x0 + (x1-x0)*part
			p.move(x, 0)
			p.down(height)
		}
	}
	return p
}
