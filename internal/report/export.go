package report

import (
	"bytes"
	"fmt"
	"html/template"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// aloneText is a picture as a file of its own.
const aloneText = `{{define "alone"}}<svg xmlns="http://www.w3.org/2000/svg" width="{{.W}}" height="{{.H}}" viewBox="0 0 {{.W}} {{.H}}" role="img" class="picture {{.Name}}"><title>{{.Title}}</title><desc>{{.Desc}}</desc><style>{{.Style}}</style><rect class="paper" width="100%" height="100%"/>{{template "layers" .Layers}}</svg>
{{end}}`

var aloneTemplate = template.Must(template.Must(pageTemplate.Clone()).Parse(aloneText))

// Pictures hands ladder and graphs of each drawn connection to yield, as SVG
// files of their own. The name is made of our own words: "ladder",
// "sequence-local", "sequence-remote", behind "c1-" and so on where there are
// several connections. An error of yield ends it and is returned.
func (r *Run) Pictures(yield func(name string, svg []byte) error) error {
	for _, c := range r.conns {
		c.inOrder()
		if !c.full || len(c.segments) == 0 {
			continue
		}
		prefix := ""
		if len(r.conns) > 1 {
			prefix = fmt.Sprintf("c%d-", c.id)
		}
		s := newTimescale(c.moments(), c.roundTrip())
		if err := yieldPicture(prefix+"ladder", ladder(c, s), yield); err != nil {
			return err
		}
		for _, local := range c.directions() {
			name := prefix + "sequence-remote"
			if local {
				name = prefix + "sequence-local"
			}
			if err := yieldPicture(name, graph(c, s, local), yield); err != nil {
				return err
			}
		}
	}
	return nil
}

func yieldPicture(name string, p *picture, yield func(string, []byte) error) error {
	svg, err := alone(p)
	if err != nil {
		return err
	}
	return yield(name, svg)
}

// alone is a picture as a whole SVG file, with its own colours in it.
func alone(p *picture) ([]byte, error) {
	var b bytes.Buffer
	p = p.withLegend()
	err := aloneTemplate.ExecuteTemplate(&b, "alone", struct {
		*picture
		Style template.CSS
	}{p, template.CSS(aloneStyle)})
	return b.Bytes(), err
}

// withLegend is a picture with its title and keys below it: beside a picture in
// the page the page has them.
func (p *picture) withLegend() *picture {
	const margin, sample, gap, line, letter = 20.0, 26.0, 22.0, 18.0, 6.7
	q := *p
	x, y := margin, float64(p.H)+line
	title := layer{Class: "legend", Texts: []label{{num(x), num(y), "name", p.Title}}}
	q.Layers = append(slices.Clone(p.Layers), title)
	x, y = margin, y+line
	for _, k := range p.Keys {
		width := sample + letter*float64(utf8.RuneCountInString(k.Text)) + gap
		if x > margin && x+width > float64(p.W) {
			x, y = margin, y+line
		}
		group, class := k.mark()
		var mark path
		mark.move(x, y-4)
		mark.across(x + sample - 6)
		q.Layers = append(q.Layers, layer{Class: group, Shapes: shapes(shape{class, mark}), Texts: []label{{num(x + sample), num(y), "", k.Text}}})
		x += width
	}
	q.H = num(y + line/2)
	return &q
}

// mark is how a key is drawn in a picture: the class of its group, and its own.
func (k key) mark() (group, class string) {
	if band, ok := strings.CutPrefix(k.Class, "bandkey "); ok {
		return "legend", "band " + band
	}
	class = strings.TrimPrefix(k.Class, "key ")
	for _, group := range []string{"plot peer", "plot"} {
		if rest, ok := strings.CutPrefix(class, group+" "); ok {
			return group, rest
		}
	}
	return "legend", class
}

// aloneStyle is the style of the figures with the colours of light paper
// written out: many programs that read SVG know no variables.
var aloneStyle = plainColours(figureStyle + "\n.paper { fill: var(--paper); }\n")

var (
	colourUse  = regexp.MustCompile(`var\((--[a-z]+)\)`)
	colourName = regexp.MustCompile(`(--[a-z]+): light-dark\((#[0-9a-f]{6}), #[0-9a-f]{6}\)`)
)

// lightColours are those of the page for a browser that knows no light-dark().
func lightColours() string {
	var b strings.Builder
	b.WriteString(":root { ")
	for _, m := range colourName.FindAllStringSubmatch(pageStyle, -1) {
		fmt.Fprintf(&b, "%s: %s; ", m[1], m[2])
	}
	return b.String() + "}\n"
}

// plainColours replaces the names of colours by the light ones of the page.
func plainColours(style string) string {
	colours := map[string]string{}
	for _, m := range colourName.FindAllStringSubmatch(pageStyle, -1) {
		colours[m[1]] = m[2]
	}
	return colourUse.ReplaceAllStringFunc(style, func(use string) string {
		name := strings.TrimSuffix(strings.TrimPrefix(use, "var("), ")")
		return colours[name]
	})
}
