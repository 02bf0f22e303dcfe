package report

import (
	"math"
	"strconv"
)

// A picture is a drawing as numbers and texts. A template writes it as SVG.
type picture struct {
	Name   string // a word: the class, and part of names of files
	Title  string
	Desc   string // what a reader who cannot see it is told
	W, H   num
	Keys   []key  // what its colours mean
	Note   string // what it does not show
	Layers []layer
}

// A slice is a band of a tall picture: where it begins, and how high it is.
type slice struct{ Y, H num }

// maxSlice is the greatest height of a slice: two of them fit a page of A4 or
// letter paper.
const maxSlice = 640.0

// Slices cuts a tall picture where no text stands, so that it can be printed
// on several pages. A picture that is not tall is one slice.
func (p *picture) Slices() []slice {
	const search = 120 // how far up a place to cut is looked for
	var list []slice
	from := 0.0
	for float64(p.H)-from > maxSlice {
		cut := from + maxSlice
		for y := cut; y > cut-search; y-- {
			if !p.textAt(y) {
				cut = y
				break
			}
		}
		list = append(list, slice{num(from), num(cut - from)})
		from = cut
	}
	return append(list, slice{num(from), num(float64(p.H) - from)})
}

// textAt reports whether a text stands across a height.
func (p *picture) textAt(y float64) bool {
	const above, below = 10, 4 // of the line that letters stand on
	for _, l := range p.Layers {
		for _, t := range l.Texts {
			if at := float64(t.Y); y > at-above && y < at+below {
				return true
			}
		}
	}
	return false
}

// A key is one entry of a legend.
type key struct{ Class, Text string }

// A layer is drawn over the layers before it, within its frame if it has one.
type layer struct {
	Class  string
	Frame  *frame
	Shapes []shape
	Texts  []label
}

// A frame cuts off what is outside of it; places in it count from its corner.
type frame struct{ X, Y, W, H num }

// A shape is one SVG path.
type shape struct {
	Class string
	D     path
}

// A label is one line of text.
type label struct {
	X, Y  num
	Class string
	Text  string
}

// A num is a coordinate, written with one decimal.
type num float64

// String implements fmt.Stringer; what is no number is 0.
func (n num) String() string { return string(n.append(nil)) }

func (n num) append(b []byte) []byte {
	f := float64(n)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		f = 0
	}
	f = math.Round(min(max(f, -1e9), 1e9)*10) / 10
	return strconv.AppendFloat(b, f+0, 'f', -1, 64)
}

// A path is the data of an SVG path: letters and numbers of our own.
type path []byte

// String implements fmt.Stringer.
func (p path) String() string { return string(p) }

func (p *path) add(command byte, numbers ...float64) {
	b := append(*p, command)
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ' ')
		}
		b = num(n).append(b)
	}
	*p = b
}

func (p *path) move(x, y float64) { p.add('M', x, y) }
func (p *path) line(x, y float64) { p.add('L', x, y) }
func (p *path) across(x float64)  { p.add('H', x) }
func (p *path) down(y float64)    { p.add('V', y) }

// dot is a line without length, which a round cap makes a dot of any scale.
func (p *path) dot(x, y float64) {
	p.move(x, y)
	*p = append(*p, "h0"...)
}

// box is a rectangle.
func (p *path) box(x, y, w, h float64) {
	p.move(x, y)
	p.across(x + w)
	p.down(y + h)
	p.across(x)
	*p = append(*p, 'Z')
}

// arrow is a line with a head at its end.
func (p *path) arrow(x0, y0, x1, y1 float64) {
	p.move(x0, y0)
	p.line(x1, y1)
	p.head(x0, y0, x1, y1)
}

// head is an open arrow head at the end of a line.
func (p *path) head(x0, y0, x1, y1 float64) {
	const long, wide = 8, 3.5
	dx, dy := x1-x0, y1-y0
	size := math.Hypot(dx, dy)
	if size == 0 {
		return
	}
	dx, dy = dx/size, dy/size
	p.move(x1-long*dx+wide*dy, y1-long*dy-wide*dx)
	p.line(x1, y1)
	p.line(x1-long*dx-wide*dy, y1-long*dy+wide*dx)
}

// cross is an x around a point.
func (p *path) cross(x, y float64) {
	const arm = 4.5
	p.move(x-arm, y-arm)
	p.line(x+arm, y+arm)
	p.move(x-arm, y+arm)
	p.line(x+arm, y-arm)
}

// tear is a short zigzag across a vertical line, where time is folded.
func (p *path) tear(x, y float64) {
	p.move(x-12, y+3)
	p.line(x-4, y-3)
	p.line(x+4, y+3)
	p.line(x+12, y-3)
}

// shapes drops the paths that have nothing in them.
func shapes(list ...shape) []shape {
	var drawn []shape
	for _, s := range list {
		if len(s.D) > 0 {
			drawn = append(drawn, s)
		}
	}
	return drawn
}

// tickText is a moment with no more digits than the step between ticks needs.
func tickText(us, step int64) string {
	if step >= 100e3 {
		decimals := 0
		if step < 1e6 {
			decimals = 1
		}
		return strconv.FormatFloat(float64(us)/1e6, 'f', decimals, 64) + " s"
	}
	decimals := 3
	for n := int64(10); n <= step && decimals > 0; n *= 10 {
		decimals--
	}
	return strconv.FormatFloat(float64(us)/1e3, 'f', decimals, 64) + " ms"
}
