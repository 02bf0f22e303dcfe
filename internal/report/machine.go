package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"rawtcp/internal/trace"
)

const (
	machineWidth  = 1000.0
	machineHeight = 600.0
	nodeWidth     = 132.0
	nodeHeight    = 34.0
)

// A node is a state with the place of its middle. CLOSED stands twice, as in
// figure 5 of RFC 9293: where a connection begins and where it ends.
type node struct {
	state string
	x, y  float64
}

var nodes = []node{
	{"CLOSED", 500, 34},
	{"LISTEN", 500, 128},
	{"SYN-RECEIVED", 160, 216},
	{"SYN-SENT", 840, 216},
	{"ESTABLISHED", 500, 304},
	{"FIN-WAIT-1", 160, 392},
	{"CLOSE-WAIT", 840, 392},
	{"FIN-WAIT-2", 160, 490},
	{"CLOSING", 500, 490},
	{"LAST-ACK", 840, 490},
	{"TIME-WAIT", 500, 570},
	{closedAgain, 840, 570},
}

// closedAgain is the CLOSED at the end.
const closedAgain = "CLOSED "

// A way is an arrow of figure 5, from a point to a point, with its words beside it.
type way struct {
	from, to       string
	x0, y0, x1, y1 float64
	event, action  string
	tx, ty         float64 // of the words
	anchor         string
}

// The ways are those of RFC 9293 figure 5, and the one that its note 2 adds.
var ways = []way{
	{"CLOSED", "LISTEN", 470, 51, 470, 111, "passive OPEN", "create TCB", 454, 78, "end"},
	{"LISTEN", "CLOSED", 530, 111, 530, 51, "CLOSE", "delete TCB", 546, 78, ""},
	{"CLOSED", "SYN-SENT", 566, 28, 880, 199, "active OPEN", "create TCB, snd SYN", 768, 112, ""},
	{"SYN-SENT", "CLOSED", 800, 199, 566, 46, "CLOSE", "delete TCB", 716, 158, "end"},
	{"LISTEN", "SYN-RECEIVED", 440, 145, 226, 205, "rcv SYN", "snd SYN,ACK", 308, 196, ""},
	{"SYN-RECEIVED", "LISTEN", 160, 199, 434, 128, "rcv RST", "", 258, 156, "end"},
	{"LISTEN", "SYN-SENT", 560, 145, 774, 205, "SEND", "snd SYN", 650, 190, "end"},
	{"SYN-SENT", "SYN-RECEIVED", 774, 216, 226, 216, "rcv SYN", "snd SYN,ACK", 500, 190, "mid"},
	{"SYN-RECEIVED", "ESTABLISHED", 226, 227, 440, 287, "rcv ACK of SYN", "", 350, 246, ""},
	{"SYN-SENT", "ESTABLISHED", 774, 227, 560, 287, "rcv SYN,ACK", "snd ACK", 648, 246, "end"},
	{"SYN-RECEIVED", "FIN-WAIT-1", 160, 233, 160, 375, "CLOSE", "snd FIN", 144, 300, "end"},
	{"ESTABLISHED", "FIN-WAIT-1", 440, 321, 226, 381, "CLOSE", "snd FIN", 318, 340, "end"},
	{"ESTABLISHED", "CLOSE-WAIT", 560, 321, 774, 381, "rcv FIN", "snd ACK", 682, 340, ""},
	{"FIN-WAIT-1", "FIN-WAIT-2", 160, 409, 160, 473, "rcv ACK of FIN", "", 144, 444, "end"},
	{"FIN-WAIT-1", "CLOSING", 226, 398, 460, 473, "rcv FIN", "snd ACK", 380, 422, ""},
	{"FIN-WAIT-1", "TIME-WAIT", 200, 409, 446, 553, "rcv FIN, ACK of FIN", "snd ACK", 344, 498, "end"},
	{"FIN-WAIT-2", "TIME-WAIT", 160, 507, 434, 570, "rcv FIN", "snd ACK", 262, 560, "end"},
	{"CLOSING", "TIME-WAIT", 500, 507, 500, 553, "rcv ACK of FIN", "", 516, 534, ""},
	{"CLOSE-WAIT", "LAST-ACK", 840, 409, 840, 473, "CLOSE", "snd FIN", 856, 438, ""},
	{"LAST-ACK", closedAgain, 840, 507, 840, 553, "rcv ACK of FIN", "", 856, 534, ""},
	{"TIME-WAIT", closedAgain, 566, 570, 774, 570, "Timeout=2MSL", "delete TCB", 670, 544, "mid"},
}

// A step is one change of state on the path taken.
type step struct {
	Number     int
	US         int64
	Side, From string
	To, Cause  string
	InFigure   bool
}

// Time is the moment of the step for people.
func (s step) Time() string { return seconds(s.US) }

// steps are the changes of state of one side; "" is every line without a side.
func (c *conn) steps(side string) []step {
	var list []step
	for _, l := range c.states {
		if sideOf(l) == side {
			at := wayOf(l.From, l.To)
			list = append(list, step{len(list) + 1, l.TimeUS, side, l.From, l.To, l.Cause, at >= 0})
		}
	}
	return list
}

func sideOf(l trace.StateLine) string {
	if l.Side == "remote" {
		return "remote"
	}
	return "local"
}

// wayOf is the way of the figure between two states, or -1.
func wayOf(from, to string) int {
	return slices.IndexFunc(ways, func(w way) bool { return w.from == from && strings.TrimSpace(w.to) == to })
}

// machine draws figure 5 of RFC 9293 with the path that one side has taken.
// Changes that the figure leaves out (its note 3: resets) are bowed lines.
func machine(c *conn, side string) *picture {
	steps := c.steps(side)
	p := &picture{
		Name: "machine", W: machineWidth, H: machineHeight, Title: "States of " + c.endName(side),
		Desc: "The state diagram of RFC 9293, figure 5. The path taken: " + pathText(steps) + ".",
	}
	taken, extra := map[int][]int{}, map[[2]string][]int{}
	for _, s := range steps {
		if i := wayOf(s.From, s.To); i >= 0 {
			taken[i] = append(taken[i], s.Number)
		} else if _, ok := nodeOf(s.From); ok {
			key := [2]string{s.From, s.To}
			extra[key] = append(extra[key], s.Number)
		}
	}
	base, lit := figureWays(taken)
	bows := bowedWays(steps, extra)
	p.Layers = []layer{base, bows, figureNodes(steps), lit}
	return p
}

func (c *conn) endName(side string) string {
	if side == "remote" {
		return c.remote
	}
	return c.local
}

// pathText is the path in words.
func pathText(steps []step) string {
	if len(steps) == 0 {
		return "none"
	}
	const most = 20
	text := steps[0].From
	for i, s := range steps {
		if i == most {
			return text + ", and so on"
		}
		text += " to " + s.To
	}
	return text
}

func nodeOf(state string) (node, bool) {
	i := slices.IndexFunc(nodes, func(n node) bool { return n.state == state })
	if i < 0 {
		return node{}, false
	}
	return nodes[i], true
}

// figureWays draws the figure's arrows, those taken apart from the others, and
// the badges with the numbers of the steps.
func figureWays(taken map[int][]int) (base, lit layer) {
	base.Class, lit.Class = "ways", "taken"
	var plain, bold, badges path
	for i, w := range ways {
		numbers := taken[i]
		class := "words"
		if len(numbers) > 0 {
			bold.arrow(w.x0, w.y0, w.x1, w.y1)
			badge(&badges, &lit, (w.x0+w.x1)/2, (w.y0+w.y1)/2, numbers)
			class = "words lit"
		} else {
			plain.arrow(w.x0, w.y0, w.x1, w.y1)
		}
		anchor := w.anchor
		base.Texts = append(base.Texts, label{num(w.tx), num(w.ty), spaced(anchor, class), w.event})
		if w.action != "" {
			base.Texts = append(base.Texts, label{num(w.tx), num(w.ty + 12), spaced(anchor, class+" action"), w.action})
		}
	}
	base.Shapes = shapes(shape{"way", plain}, shape{"way lit", bold})
	lit.Shapes = shapes(shape{"badge", badges})
	return base, lit
}

// badge is a disc with the numbers of the steps that went this way.
func badge(discs *path, l *layer, x, y float64, numbers []int) {
	const most = 3
	var parts []string
	for i, n := range numbers {
		if i == most {
			parts[i-1] += "…"
			break
		}
		parts = append(parts, strconv.Itoa(n))
	}
	text := strings.Join(parts, ",")
	half := float64(len(text)-1) * 3.2
	discs.move(x-half, y)
	discs.line(x+half+0.1, y)
	l.Texts = append(l.Texts, label{num(x), num(y + 4), "mid number", text})
}

// bowedWays draws the changes that are not in the figure.
func bowedWays(steps []step, extra map[[2]string][]int) layer {
	l := layer{Class: "taken"}
	var bows, discs path
	for _, s := range steps {
		key := [2]string{s.From, s.To}
		numbers := extra[key]
		from, ok := nodeOf(s.From)
		to, found := nodeOf(s.To)
		if len(numbers) == 0 || !ok || !found || from == to {
			continue
		}
		delete(extra, key)
		if to.state == "CLOSED" && from.y > 250 {
			to, _ = nodeOf(closedAgain)
		}
		x, y := bow(&bows, from, to)
		badge(&discs, &l, x, y, numbers)
	}
	l.Shapes = shapes(shape{"way lit bowed", bows}, shape{"badge", discs})
	return l
}

// bow draws a curve between two nodes and returns its middle.
func bow(p *path, from, to node) (x, y float64) {
	dx, dy := to.x-from.x, to.y-from.y
	size := max(math.Hypot(dx, dy), 1)
	const bend = 70
	cx, cy := (from.x+to.x)/2-dy/size*bend, (from.y+to.y)/2+dx/size*bend
	// It ends at the border of the box, on the line from the bend.
	ex, ey := border(to, cx, cy)
	sx, sy := border(from, cx, cy)
	p.move(sx, sy)
	p.add('Q', cx, cy, ex, ey)
	p.head(cx, cy, ex, ey)
	return sx/4 + cx/2 + ex/4, sy/4 + cy/2 + ey/4
}

// border is where the line from a node's middle to a point leaves its box.
func border(n node, x, y float64) (float64, float64) {
	dx, dy := x-n.x, y-n.y
	scale := math.Inf(1)
	if dx != 0 {
		scale = nodeWidth / 2 / math.Abs(dx)
	}
	if dy != 0 {
		scale = min(scale, nodeHeight/2/math.Abs(dy))
	}
	if math.IsInf(scale, 1) {
		return n.x, n.y
	}
	return n.x + dx*scale, n.y + dy*scale
}

// figureNodes draws the states; those passed are lit.
func figureNodes(steps []step) layer {
	passed := map[string]bool{}
	for i, s := range steps {
		if i == 0 {
			passed[s.From] = true
		}
		if s.To == "CLOSED" && i > 0 {
			passed[closedAgain] = true
		} else {
			passed[s.To] = true
		}
	}
	l := layer{Class: "states"}
	var plain, lit path
	for _, n := range nodes {
		p, class := &plain, "mid state"
		if passed[n.state] {
			p, class = &lit, "mid state lit"
		}
		p.box(n.x-nodeWidth/2, n.y-nodeHeight/2, nodeWidth, nodeHeight)
		l.Texts = append(l.Texts, label{num(n.x), num(n.y + 4), class, strings.TrimSpace(n.state)})
	}
	l.Shapes = shapes(shape{"node", plain}, shape{"node lit", lit})
	return l
}

// notInFigure names the steps that the figure does not have.
func notInFigure(steps []step) string {
	var list []string
	for _, s := range steps {
		if !s.InFigure {
			list = append(list, strconv.Itoa(s.Number))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return fmt.Sprintf("Not in the figure, which leaves resets and errors out (its note 3): step %s.", strings.Join(list, ", "))
}
