// Package conformance is what stacks answered to the battery: the matrix of
// docs/probe.md. The tests that hold the battery against a stack take its answers
// down when they are told to (make probe-targets); answers.json keeps them.
package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"rawtcp/internal/probe"
)

// A Stack is what one target answered.
type Stack struct {
	About string            `json:"about"` // which version, with which settings
	Rows  map[string]string `json:"rows"`  // outcome by row, or "unknown: why"
}

// Answers are those of all stacks, by name.
type Answers map[string]*Stack

// Read reads a file of answers. A file that is not there has none.
func Read(file string) (Answers, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Answers{}, nil
	}
	if err != nil {
		return nil, err
	}
	answers := Answers{}
	if err := json.Unmarshal(text, &answers); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return answers, nil
}

// Record adds the answers of a run to a file; those to other rows stay, as do those
// to rows that this machine was too slow to ask. One caller at a time.
func Record(file, name, about string, r *probe.Report) error {
	answers, err := Read(file)
	if err != nil {
		return err
	}
	if answers[name] == nil {
		answers[name] = &Stack{Rows: map[string]string{}}
	}
	answers[name].About = about
	for i := range r.Results {
		if res := &r.Results[i]; res.Verdict != probe.Unknown || !strings.HasSuffix(res.Text, probe.TooSlow) {
			answers[name].Rows[res.Row.ID] = Answer(res)
		}
	}
	text, err := json.MarshalIndent(answers, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// Answer is the outcome of a result, or "unknown: why".
func Answer(r *probe.Result) string {
	if r.Verdict == probe.Unknown {
		return "unknown: " + r.Text
	}
	return r.Key
}

// Table is a table of Markdown: a line for each row of the battery, and a column
// for each stack, in the order of names.
func (a Answers) Table(rows []*probe.Row, names []string) string {
	var b strings.Builder
	b.WriteString("| row | asks |")
	for _, name := range names {
		b.WriteString(" " + name + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(names)) + "\n")
	for _, r := range rows {
		cells := make([]string, len(names))
		for i, name := range names {
			cells[i] = a[name].cell(r)
		}
		if slices.ContainsFunc(cells, func(c string) bool { return c != "" }) {
			fmt.Fprintf(&b, "| %s %s | %s | %s |\n", r.ID, r.Name, r.Question, strings.Join(cells, " | "))
		}
	}
	return b.String()
}

// cell is what a stack answered to a row: the outcome, and its verdict if that is
// not pass. It is empty if the stack was not asked.
func (s *Stack) cell(r *probe.Row) string {
	if s == nil || s.Rows[r.ID] == "" {
		return ""
	}
	return Cell(r, s.Rows[r.ID])
}

// Cell is an answer with its verdict, if that is not pass.
func Cell(r *probe.Row, answer string) string {
	if why, unknown := strings.CutPrefix(answer, "unknown: "); unknown {
		return "unknown: " + why
	}
	o := r.Outcome(answer)
	switch {
	case o == nil:
		return answer + " (no outcome of this row any more)"
	case o.Verdict == probe.Pass:
		return answer
	case o.Verdict.Bad():
		return fmt.Sprintf("%s (**%s**)", answer, o.Verdict)
	}
	return fmt.Sprintf("%s (%s)", answer, o.Verdict)
}
