package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"rawtcp/internal/trace"
)

// The measures of a ladder. The script has the same ones.
const (
	ladderWidth  = 1000.0
	ladderTop    = 46.0 // names of the ends
	ladderBottom = 18.0
	axisEnd      = 62.0
	lifeLocal    = 424.0
	lifeRemote   = 650.0
	gutterLocal  = 402.0 // labels end here
	gutterRemote = 672.0 // labels begin here
	rowHeight    = 15.0
	foldHeight   = 36.0
	denseLadder  = 400 // more arrows than this are drawn thin
	leastLadder  = 160.0
	mostLadder   = 3600.0
	lettersLocal = 50 // that fit a gutter
	lettersFar   = 49
)

// A ladderLabel wants to stand at the place of its event, and is moved down
// where another one stands.
type ladderLabel struct {
	want, at float64
	text     string
	class    string
	weighty  bool // rather this one than another
	shown    bool
	hidden   int // how many after it have no room
}

// ladder draws a connection: two lines of life, time going down, to scale.
func ladder(c *conn, s *timescale) *picture {
	near, far := ladderLabels(c)
	rows := float64(max(len(near), len(far)))
	s.fit(min(max(rows*rowHeight*1.25+foldHeight*float64(len(s.folds)), leastLadder), mostLadder), foldHeight)
	trip := float64(c.halfTrip()) * s.perUS
	p := &picture{
		Name: "ladder", W: ladderWidth, H: num(ladderTop + trip + s.length() + rowHeight*3 + ladderBottom),
		Title: fmt.Sprintf("Ladder of connection %d", c.id),
		Desc: fmt.Sprintf("%s between %s on the left and %s on the right, time going down from %s to %s seconds. The table of segments has the same in words.",
			count(len(c.segments), "segment"), c.local, c.remote, seconds(s.first), seconds(s.last)),
	}
	place := func(us int64) float64 { return ladderTop + trip + s.at(us) }
	p.Keys = ladderKeys(c)
	p.Layers = []layer{ladderGrid(c, s, place, float64(p.H)), ladderArrows(c, place, trip), ladderTexts(near, far, place, trip, s)}
	return p
}

// ladderKeys explains the colours that are there.
func ladderKeys(c *conn) []key {
	there := map[string]bool{}
	for i := range c.segments {
		there[arrowClass(c, i)] = true
	}
	for _, l := range c.states {
		there[bandOf(l.To)] = true
	}
	var list []key
	for _, k := range []key{
		{"out", "from " + c.local}, {"in", "from " + c.remote}, {"out again", "sent again by " + c.local}, {"in again", "sent again by " + c.remote},
		{"rst", "RST"}, {"drop", "refused"}, {"opening", "opening"}, {"open", "established"}, {"closing", "closing"}, {"waiting", "TIME-WAIT"},
	} {
		if !there[k.Class] {
			continue
		}
		if k.Class == "opening" || k.Class == "open" || k.Class == "closing" || k.Class == "waiting" {
			k.Class = "bandkey " + k.Class
		} else {
			k.Class = "key seg " + k.Class
		}
		list = append(list, k)
	}
	return list
}

// ladderGrid is what lies under the segments: time, silences, and the states
// along the lines of life.
func ladderGrid(c *conn, s *timescale, place func(int64) float64, bottom float64) layer {
	var grid, folds, life path
	l := layer{Class: "grid"}
	ticks, step := s.ticks(60)
	for _, t := range ticks {
		y := place(t.US)
		grid.move(axisEnd, y)
		grid.across(ladderWidth)
		l.Texts = append(l.Texts, label{axisEnd - 6, num(y + 4), "end", tickText(t.US, step)})
	}
	for _, f := range s.folds {
		y0, y1 := place(f.from), place(f.to)
		for _, x := range []float64{lifeLocal, lifeRemote} {
			folds.tear(x, y0+(y1-y0)*0.35)
			folds.tear(x, y0+(y1-y0)*0.65)
		}
		l.Texts = append(l.Texts, label{(lifeLocal + lifeRemote) / 2, num((y0+y1)/2 + 4), "mid silence", span(f.length()) + " of silence"})
	}
	for _, x := range []float64{lifeLocal, lifeRemote} {
		life.move(x, ladderTop-8)
		life.down(bottom - ladderBottom)
	}
	l.Shapes = append(shapes(shape{"rule", grid}, shape{"life", life}), stateBands(c, place, bottom-ladderBottom)...)
	l.Shapes = append(l.Shapes, shapes(shape{"gap", folds}, shape{"fold", folds})...)
	l.Texts = append(l.Texts,
		label{lifeLocal, 16, "mid name", c.local}, label{lifeRemote, 16, "mid name", c.remote},
		label{lifeLocal, 31, "mid", c.localRole()}, label{lifeRemote, 31, "mid", c.remoteRole()})
	return l
}

func (c *conn) localRole() string {
	switch {
	case c.capture == nil:
		return "this host"
	case c.capture.Opener == "local":
		return "opened it"
	}
	return ""
}

func (c *conn) remoteRole() string {
	if c.capture == nil {
		return "the peer"
	}
	return ""
}

// bandOf is the part of a connection's life that a state belongs to.
func bandOf(state string) string {
	switch state {
	case "SYN-SENT", "SYN-RECEIVED":
		return "opening"
	case "ESTABLISHED":
		return "open"
	case "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK":
		return "closing"
	case "TIME-WAIT":
		return "waiting"
	}
	return ""
}

func stateBands(c *conn, place func(int64) float64, bottom float64) []shape {
	bands := map[string]*path{"opening": {}, "open": {}, "closing": {}, "waiting": {}}
	draw := func(state string, x, from, to float64) {
		if p := bands[bandOf(state)]; p != nil {
			p.move(x, from)
			p.down(max(to, from+2))
		}
	}
	last := map[string]int{}
	for i, l := range c.states {
		if j, ok := last[l.Side]; ok {
			draw(c.states[j].To, sideX(l.Side), place(c.states[j].TimeUS), place(l.TimeUS))
		}
		last[l.Side] = i
	}
	for _, side := range []string{"", "local", "remote"} {
		if i, ok := last[side]; ok {
			draw(c.states[i].To, sideX(side), place(c.states[i].TimeUS), bottom)
		}
	}
	var list []shape
	for _, name := range []string{"opening", "open", "closing", "waiting"} {
		list = append(list, shape{"band " + name, *bands[name]})
	}
	return shapes(list...)
}

func sideX(side string) float64 {
	if side == "remote" {
		return lifeRemote
	}
	return lifeLocal
}

// arrowClass is how a segment is drawn.
func arrowClass(c *conn, i int) string {
	l := &c.segments[i]
	switch {
	case refused(l):
		return "drop"
	case has(l.Flags, 'R'):
		return "rst"
	case again(l) && out(l):
		return "out again"
	case again(l):
		return "in again"
	case out(l):
		return "out"
	}
	return "in"
}

var arrowClasses = []string{"out", "in", "out again", "in again", "rst", "drop"}

// ladderArrows draws the segments. The local end's times are known; the other
// end is half a round trip away, as the handshake has shown it.
func ladderArrows(c *conn, place func(int64) float64, trip float64) layer {
	paths := map[string]*path{}
	for _, class := range arrowClasses {
		paths[class] = new(path)
	}
	for i := range c.segments {
		l := &c.segments[i]
		class := arrowClass(c, i)
		p, y := paths[class], place(l.TimeUS)
		x0, y0, x1, y1 := lifeLocal, y, lifeRemote, y+trip
		if !out(l) {
			x0, y0, x1, y1 = lifeRemote, y-trip, lifeLocal, y
		}
		p.arrow(x0, y0, x1, y1)
		if class == "drop" {
			p.cross(x0+(x1-x0)*0.85, y0+(y1-y0)*0.85)
		}
	}
	a := layer{Class: "arrows"}
	if len(c.segments) > denseLadder {
		a.Class = "arrows dense"
	}
	for _, class := range arrowClasses {
		a.Shapes = append(a.Shapes, shapes(shape{"seg " + class, *paths[class]})...)
	}
	return a
}

// ladderLabels are the texts of both gutters, with the place of each as its
// time for now.
func ladderLabels(c *conn) (near, far []*ladderLabel) {
	for i := range c.segments {
		l := &c.segments[i]
		class := arrowClass(c, i)
		item := &ladderLabel{want: float64(l.TimeUS), text: labelText(l), class: class, weighty: class != "out" && class != "in" || has(l.Flags, 'S') || has(l.Flags, 'F')}
		if out(l) {
			near = append(near, item)
		} else {
			far = append(far, item)
		}
	}
	for i := range c.states {
		l := &c.states[i]
		item := &ladderLabel{want: float64(l.TimeUS), text: l.To, class: "state", weighty: true}
		if l.Side == "remote" {
			far = append(far, item)
		} else {
			near = append(near, item)
		}
	}
	for i := range c.timers {
		if l := &c.timers[i]; l.What == "fired" {
			near = append(near, &ladderLabel{want: float64(l.TimeUS), text: spoken(l.Timer) + " timer fires", class: "timer", weighty: true})
		}
	}
	for i := range c.icmps {
		l := &c.icmps[i]
		near = append(near, &ladderLabel{want: float64(l.TimeUS), text: "ICMP " + l.Text + " from " + l.From, class: "icmp", weighty: true})
	}
	byTime := func(a, b *ladderLabel) int { return cmp.Compare(a.want, b.want) }
	slices.SortStableFunc(near, byTime)
	slices.SortStableFunc(far, byTime)
	return near, far
}

// labelText is a segment in a gutter: what is remarkable takes the room of the
// window, unless it is about that.
func labelText(l *trace.SegmentLine) string {
	text, notes := notation(l), notesText(l)
	if notes == "" {
		return text
	}
	if !strings.Contains(notes, "window") {
		text, _, _ = strings.Cut(text, " win ")
	}
	return text + " [" + notes + "]"
}

// spread moves labels down where they would stand on each other. One that would
// come too far from its event is left out and counted.
func spread(list []*ladderLabel) {
	far := 8 * rowHeight
	if len(list) > 80 { // rather fewer labels than labels that lag behind
		far = 3 * rowHeight
	}
	next := math.Inf(1) // the next weighty label
	limit := make([]float64, len(list))
	for i, l := range slices.Backward(list) {
		limit[i] = next
		if l.weighty {
			next = l.want
		}
	}
	free := math.Inf(-1)
	var last *ladderLabel
	for i, l := range list {
		l.at = max(l.want, free)
		allowed := far
		if l.weighty {
			allowed = 2 * far
		}
		if l.at-l.want > allowed || !l.weighty && l.at+rowHeight > limit[i]+far {
			if last != nil {
				last.hidden++
			}
			continue
		}
		l.shown, last, free = true, l, l.at+rowHeight
	}
}

func ladderTexts(near, far []*ladderLabel, place func(int64) float64, trip float64, s *timescale) layer {
	l := layer{Class: "labels"}
	var leaders path
	for _, side := range []struct {
		list            []*ladderLabel
		x, life, toward float64
		class           string
		letters         int
	}{{near, gutterLocal, lifeLocal - 4, 4, "end", lettersLocal}, {far, gutterRemote, lifeRemote + 4, -4, "", lettersFar}} {
		for _, item := range side.list {
			us := int64(item.want)
			item.want = place(us)
			if side.x == gutterRemote && item.class != "state" {
				item.want -= trip // when the peer sent it
			}
		}
		slices.SortStableFunc(side.list, func(a, b *ladderLabel) int { return cmp.Compare(a.want, b.want) })
		spread(side.list)
		for _, item := range side.list {
			if !item.shown {
				continue
			}
			leaders.move(side.life, item.want)
			leaders.line(side.x+side.toward, item.at)
			l.Texts = append(l.Texts, label{num(side.x), num(item.at + 4), spaced(side.class, "note "+item.class), short(item.text, item.hidden, side.letters)})
		}
	}
	l.Shapes = shapes(shape{"leader", leaders})
	return l
}

func spaced(a, b string) string {
	if a == "" {
		return b
	}
	return a + " " + b
}

// short cuts a text to so many letters, and says how many labels it stands for.
func short(text string, hidden, letters int) string {
	var more string
	if hidden > 0 {
		more = fmt.Sprintf(" (+%d)", hidden)
	}
	if room := letters - len(more); len(text) > room {
		text = text[:room-1] + "…"
	}
	return text + more
}
