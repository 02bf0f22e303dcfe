package dossier

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"

	"rawtcp/internal/probe"
	"rawtcp/internal/trace"
)

// A Page is what a page of HTML is made of.
type Page struct {
	Target  string // address and port
	Name    string // as the user wrote it
	Service string
	Local   string // our address
	Began   time.Time
	Version string
	Report  *probe.Report
	Failure string // why the run has no rows; may be empty
}

//go:embed assets/page.css
var style string

//go:embed assets/page.tmpl
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// policy allows a page its own style and nothing else.
const policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"

// pageData is what the template sees.
type pageData struct {
	Policy, Version, Name, Lead, Failure string
	Style                                template.CSS
	Counts                               []pageCount
	Facts                                []pageFact
	Groups                               []pageGroup
}

type pageCount struct {
	Verdict probe.Verdict
	Number  int
}

type pageFact struct {
	Name, Text string
	Mono       bool
}

type pageGroup struct {
	Letter, Title string
	Rows          []pageRow
}

// A pageRow is a row with all that folds out of it.
type pageRow struct {
	ID, Name, Question, Stimulus string
	Verdict                      probe.Verdict
	Text, Rule, RuleLink         string
	Tries, Agreed                int
	Took                         time.Duration
	Offered                      string
	Facts                        []probe.Fact
	Outcomes                     []pageOutcome
	Segments, Ladder             string
	Open                         bool
}

type pageOutcome struct {
	probe.OutcomeLine
	Chosen bool
}

// Write writes the page.
func (p *Page) Write(w io.Writer) error {
	d := pageData{
		Policy: policy, Version: p.Version, Name: p.Name, Failure: p.Failure, Style: template.CSS(style), //nolint:gosec // our own file
		Lead: "How this host's TCP behaves, row by row: what was sent, what came back, and the clause that decides.",
	}
	for _, v := range probe.Verdicts {
		if n := p.Report.Count(v); n > 0 {
			d.Counts = append(d.Counts, pageCount{v, n})
		}
	}
	d.Facts = p.facts()
	d.Groups = p.groups()
	return pageTemplate.Execute(w, d)
}

// facts are those of the run.
func (p *Page) facts() []pageFact {
	facts := []pageFact{
		{"Target", p.Target, true}, {"From", p.Local, true}, {"Service", p.Service, false},
		{"Began", p.Began.UTC().Format("2006-01-02 15:04:05 UTC"), false},
		{"Took", p.Report.Took.Round(100 * time.Millisecond).String(), false},
	}
	if bar, n := p.Report.ErrorBar(); n > 1 {
		facts = append(facts, pageFact{"Error of times", fmt.Sprintf("%v: so much differ the round trips of %d handshakes", bar.Round(time.Microsecond), n), false})
	}
	if p.Report.Resent > 0 {
		facts = append(facts, pageFact{"Loss", fmt.Sprintf("%d segments had to be sent again", p.Report.Resent), false})
	}
	if line := p.Report.Print(); line != "" {
		facts = append(facts, pageFact{"Stack print", line, true})
	}
	if p.Report.Cut {
		facts = append(facts, pageFact{"Ended early", "not all rows were run", false})
	}
	return facts
}

func (p *Page) groups() (groups []pageGroup) {
	for _, g := range probe.Groups() {
		group := pageGroup{Letter: g.Letter, Title: g.Letter + ". " + g.Title}
		for i := range p.Report.Results {
			if r := &p.Report.Results[i]; r.Row.Group() == g.Letter {
				group.Rows = append(group.Rows, newPageRow(r))
			}
		}
		if group.Rows != nil {
			groups = append(groups, group)
		}
	}
	return groups
}

func newPageRow(r *probe.Result) pageRow {
	row := pageRow{
		ID: r.Row.ID, Name: r.Row.Name, Question: r.Row.Question, Stimulus: r.Row.Stimulus, Verdict: r.Verdict, Text: r.Text,
		Rule: r.Rule.String(), RuleLink: ruleLink(r.Rule), Tries: r.Tries, Agreed: r.Agreed, Took: r.Took.Round(time.Millisecond),
		Offered: r.Offered, Facts: r.Facts, Open: r.Verdict.Bad(),
	}
	for _, o := range probe.NewDeclaration(r.Row).Outcomes {
		row.Outcomes = append(row.Outcomes, pageOutcome{o, o.Outcome == r.Key})
	}
	if n := len(r.Record); n > 0 {
		row.Segments = strconv.Itoa(r.Record[0].Number) + " to " + strconv.Itoa(r.Record[n-1].Number)
		row.Ladder = strings.TrimRight(Ladder(r, trace.LadderConfig{Width: 96, UTF8: true}), "\n")
	}
	return row
}

// ruleLink is where a clause can be read.
func ruleLink(c probe.Clause) string {
	if c.IsZero() {
		return ""
	}
	return fmt.Sprintf("https://www.rfc-editor.org/rfc/rfc%d.html#section-%s", c.RFC, c.Section)
}
