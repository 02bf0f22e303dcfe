package report

import (
	"fmt"
	"strings"

	"rawtcp/internal/trace"
)

const maxTimerRows = 500

// section draws a connection.
func (c *conn) section() section {
	s := newTimescale(c.moments(), c.roundTrip())
	v := section{
		Anchor: fmt.Sprintf("c%d", c.id), Number: c.id, Name: c.name(), Result: c.result(), Sentence: c.sentence(),
		Tiles: c.tiles(s), Findings: findingRows(c.findings), Options: optionTable(c),
		LocalName: c.local, RemoteName: c.remote, Scale: timeText(c, s), Data: dataOf(c, s),
	}
	for _, n := range c.notes {
		v.Notes = append(v.Notes, noteRow{spoken(n.note), thousands(n.count), seconds(n.first)})
	}
	v.Ladder = ladder(c, s)
	for _, local := range c.directions() {
		v.Graphs = append(v.Graphs, graph(c, s, local))
	}
	v.Lanes = lanes(c, s)
	v.Timers, v.TimersMore = c.timerRows()
	for _, side := range []string{"local", "remote"} {
		if steps := c.steps(side); len(steps) > 0 {
			const most = 100
			v.Machines = append(v.Machines, machineView{machine(c, side), steps[:min(len(steps), most)], notInFigure(steps)})
		}
	}
	v.Segments, v.HasFrames = c.segmentRows()
	v.Short = len(v.Segments) <= 60
	v.Remarks = c.remarks()
	return v
}

// timeText says what the pictures do with time.
func timeText(c *conn, s *timescale) string {
	text := "Time is to scale"
	if n := len(s.folds); n > 0 {
		var folded int64
		for _, f := range s.folds {
			folded += f.length()
		}
		silences := "silences, together"
		if n == 1 {
			silences = "silence of"
		}
		text += fmt.Sprintf(" but for %d folded %s %s", n, silences, span(folded))
	}
	switch {
	case c.capture != nil:
		return text + ". All times are those of the place where the capture was made."
	case c.halfTrip() > 0:
		return text + ". Times are those of " + c.local + "; the other end is drawn half of the handshake's round trip away."
	}
	return text + ". Times are those of " + c.local + "; how far away the other end is, the handshake does not show."
}

func (c *conn) remarks() []string {
	var list []string
	if n := uint64(len(c.segments)); n < c.seen {
		list = append(list, fmt.Sprintf("The first %s of %s are drawn and listed; all are counted.", thousands(n), count(c.seen, "segment")))
	}
	if c.cut {
		list = append(list, fmt.Sprintf("Of states, timers and ICMP messages the first %s each are shown.", thousands(maxEvents)))
	}
	if c.capture != nil && c.capture.Evicted {
		list = append(list, "The connection was forgotten before the capture's end, for want of room.")
	}
	return list
}

func (c *conn) result() string {
	switch {
	case c.sum != nil:
		return c.sum.Result
	case c.capture != nil:
		return c.capture.Result
	}
	return "not ended"
}

func (c *conn) closed() trace.Close {
	switch {
	case c.sum != nil:
		return c.sum.Close
	case c.capture != nil:
		return c.capture.Close
	}
	return trace.Close{First: "none", How: "none"}
}

// sentence says how it ended.
func (c *conn) sentence() string {
	end := c.closed()
	who := map[string]string{"local": "This host", "peer": "The peer", "remote": "The peer"}[end.First]
	if c.capture != nil {
		who = map[string]string{"local": c.local, "peer": c.remote, "remote": c.remote}[end.First]
	}
	switch end.How {
	case "fin":
		return who + " closed first, with FIN."
	case "rst":
		if c.sum != nil && c.sum.RST != nil {
			return "A RST came from " + c.sum.RST.From + " after " + span(c.sum.RST.AfterUS) + "."
		}
		return strings.TrimSpace(who+" sent RST") + "."
	case "icmp":
		if c.sum != nil && c.sum.ICMP != nil {
			return "ICMP ended it: " + c.sum.ICMP.Text + ", from " + c.sum.ICMP.From + "."
		}
		return "ICMP ended it."
	case "timeout":
		return "There was no answer."
	}
	if c.sum != nil && c.sum.Result == "timeout" && c.sum.SegmentsReceived == 0 {
		return "There was no answer."
	}
	return "It was left open."
}

// tiles are the numbers that people look for first.
func (c *conn) tiles(s *timescale) []fact {
	list := []fact{{"Result", c.result(), ""}}
	add := func(name, value, note string) { list = append(list, fact{name, value, note}) }
	local, remote := "sent", "received"
	if c.capture != nil {
		local, remote = "→", "←"
	}
	switch {
	case c.sum != nil:
		m := c.sum
		add("SYN round trip", maybeSpan(m.SYNRTTUS), "")
		add("Handshake", maybeSpan(m.HandshakeUS), "")
		add("Teardown", maybeSpan(m.TeardownUS), "")
		add("Octets", thousands(m.BytesSent)+" / "+thousands(m.BytesReceived), local+" / "+remote)
		add("Segments", thousands(m.SegmentsSent)+" / "+thousands(m.SegmentsReceived), local+" / "+remote)
		add("Retransmitted", thousands(m.Retransmits), share(m.Retransmits, m.SegmentsSent))
	case c.capture != nil:
		m := c.capture
		add("SYN round trip", maybeSpan(m.SYNRTTUS), "")
		add("Handshake", maybeSpan(m.HandshakeUS), "")
		add("Teardown", maybeSpan(m.TeardownUS), "")
		add("Octets", thousands(m.Local.Bytes)+" / "+thousands(m.Remote.Bytes), local+" / "+remote)
		add("Segments", thousands(m.Local.Segments)+" / "+thousands(m.Remote.Segments), local+" / "+remote)
		add("Retransmitted", thousands(m.Local.Retransmits)+" / "+thousands(m.Remote.Retransmits), local+" / "+remote)
	default:
		add("Segments", thousands(c.seen), "")
	}
	add("Lasted", span(s.last-s.first), "")
	return list
}

func share(part, whole uint64) string {
	if part == 0 || whole == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %% of those sent", float64(part)/float64(whole)*100)
}

// row is the connection in the index.
func (c *conn) row() indexRow {
	row := indexRow{Number: c.id, Local: c.local, Remote: c.remote, Result: c.result(), Ended: c.sentence(), Segments: thousands(c.seen)}
	row.Handshake = absent
	row.Found = c.found()
	switch {
	case c.sum != nil:
		row.Handshake = maybeSpan(c.sum.HandshakeUS)
		row.BytesOut, row.BytesIn = thousands(c.sum.BytesSent), thousands(c.sum.BytesReceived)
		row.Retransmits = thousands(c.sum.Retransmits)
	case c.capture != nil:
		row.Handshake = maybeSpan(c.capture.HandshakeUS)
		row.BytesOut, row.BytesIn = thousands(c.capture.Local.Bytes), thousands(c.capture.Remote.Bytes)
		row.Retransmits = thousands(c.capture.Local.Retransmits + c.capture.Remote.Retransmits)
	}
	return row
}

// found is how much was found that somebody should look at.
func (c *conn) found() string {
	var parts []string
	if c.problems > 0 {
		parts = append(parts, count(c.problems, "problem"))
	}
	if c.warnings > 0 {
		parts = append(parts, count(c.warnings, "warning"))
	}
	return strings.Join(parts, ", ")
}

func (c *conn) timerRows() (rows []timerRow, more int) {
	for i := range c.timers {
		if i == maxTimerRows {
			return rows, len(c.timers) - i
		}
		l := &c.timers[i]
		row := timerRow{Time: seconds(l.TimeUS), Timer: laneName(l), What: l.What}
		if l.DueUS != nil {
			row.Due = seconds(*l.DueUS)
		}
		rows = append(rows, row)
	}
	return rows, 0
}

func (c *conn) segmentRows() (rows []segmentRow, frames bool) {
	for i := range c.segments {
		l := &c.segments[i]
		row := segmentRow{
			Number: i + 1, Time: seconds(l.TimeUS), Arrow: "→", Class: arrowClass(c, i), Text: notation(l),
			Options: optionsText(&l.Options), Remark: notesText(l), State: l.State, Frame: l.Frame,
		}
		if !out(l) {
			row.Arrow = "←"
		}
		frames = frames || l.Frame > 0
		rows = append(rows, row)
	}
	return rows, frames
}
