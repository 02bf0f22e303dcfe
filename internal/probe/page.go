package probe

import (
	"fmt"
	"strings"
)

// RiskText is a risk in words.
func (r Risk) RiskText() string {
	var words []string
	for i, word := range []string{"needs data", "slow", "intrusive", "the host connects to us"} {
		if r>>i&1 != 0 {
			words = append(words, word)
		}
	}
	if words == nil {
		return "safe"
	}
	return strings.Join(words, ", ")
}

// Page writes the battery's documentation in Markdown, from its declarations.
// matrix, which may be empty, is what known hosts answered.
func Page(matrix string) string {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, g := range Groups() {
		if len(g.Rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s. %s\n", g.Letter, g.Title)
		for _, r := range g.Rows {
			r.page(&b)
		}
	}
	if matrix != "" {
		b.WriteString("\n" + matrix)
	}
	return b.String()
}

const pageHead = `# The battery of rawtcp probe

Made from the declarations in internal/probe by its tests; to be changed there. Each row is one behaviour test against an
unmodified host: what it asks, what is sent, what may come of it, and the clause that decides.
`

func (r *Row) page(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s %s\n\n%s\n\n", r.ID, r.Name, r.Question)
	fmt.Fprintf(b, "- sent: %s\n- risk: %s; takes about %v\n", r.Stimulus, r.Risk.RiskText(), r.Takes)
	if r.Service != NoService {
		fmt.Fprintf(b, "- service: %v\n", r.Service)
	}
	var clauses []string
	for _, c := range r.Clauses {
		clauses = append(clauses, c.String())
	}
	fmt.Fprintf(b, "- clauses: %s\n\n| outcome | verdict | what was seen | decided by |\n|---|---|---|---|\n", strings.Join(clauses, "; "))
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", o.Key, o.Verdict, o.Says, r.rule(o))
	}
}
