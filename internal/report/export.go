package report

import (
	"bytes"
	"fmt"
	"html/template"
	"regexp"
	"strings"
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
	err := aloneTemplate.ExecuteTemplate(&b, "alone", struct {
		*picture
		Style template.CSS
	}{p, template.CSS(aloneStyle)})
	return b.Bytes(), err
}

// aloneStyle is the style of the figures with the colours of light paper
// written out: many programs that read SVG know no variables.
var aloneStyle = plainColours(figureStyle + "\n.paper { fill: var(--paper); }\n")

var (
	colourUse  = regexp.MustCompile(`var\((--[a-z]+)\)`)
	colourName = regexp.MustCompile(`(--[a-z]+): light-dark\((#[0-9a-f]{6}), #[0-9a-f]{6}\)`)
)

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
