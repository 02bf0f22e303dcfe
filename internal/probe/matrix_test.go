package probe_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"rawtcp/internal/probe"
	"rawtcp/internal/probe/conformance"
)

// stacks are the columns of the matrix.
var stacks = []string{"Linux", "gVisor", "rawtcp listen"}

// matrix is what known hosts answered, for docs/probe.md: their answers as they
// were taken down, and the tables of the tests that hold them to that.
func matrix(t *testing.T) string {
	t.Helper()
	answers := readAnswers(t)
	var b strings.Builder
	b.WriteString(matrixHead)
	for _, name := range stacks {
		fmt.Fprintf(&b, "- **%s**: %s\n", name, answers[name].About)
	}
	b.WriteString("\n" + answers.Table(probe.Rows(), stacks))
	b.WriteString(settingsHead)
	for _, target := range targets {
		target.lines(&b)
	}
	b.WriteString(brokenHead)
	for _, broken := range allBreakages() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", broken.name, cells(broken.found), cells(broken.blurs))
	}
	b.WriteString(boxesHead)
	for _, box := range boxes[1:] {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", box.does(), cells(box.outcomes), strings.Join(strings.Fields(box.excused), ", "))
	}
	return b.String()
}

const matrixHead = `## What known stacks answer

A conformance matrix: the outcome of each row, and its verdict where it is not pass. An empty place was not asked.
Taken down by make probe-targets, which holds every host to a table that was written before it was asked.

`

const settingsHead = `
## What settings of Linux change

The rows that answer otherwise than above, and no others.

| setting | row | answers | because |
|---|---|---|---|
`

const brokenHead = `
## What broken hosts are found by

Hosts that are broken in one way each. The rows in the second column find it, those in the third measure something else by means of what is
broken and say nothing bad; all others answer as for a good host.

| a host that | is found by | blurs |
|---|---|---|
`

const boxesHead = `
## What boxes on the path are found by

A router that changes what passes, between two others. The rows in the second column name the hop; those in the third are unknown, changed
on the path, and no row blames the host.

| a router with | is named by | excuses |
|---|---|---|
`

// lines are what a setting changes.
func (target target) lines(b *strings.Builder) {
	if target.sysctls == nil || strings.HasPrefix(target.name, "tcp_congestion_control=") && len(target.changed) == 0 {
		return // not every kernel offers the same
	}
	if len(target.changed) == 0 {
		fmt.Fprintf(b, "| %s | none | | |\n", target.name)
	}
	for _, id := range slices.SortedFunc(maps.Keys(target.changed), byCatalogue) {
		d := target.changed[id]
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", target.name, id, conformance.Cell(probe.Find(id), d.outcome), d.why)
	}
}

// byCatalogue sorts C2 before C10.
func byCatalogue(a, b string) int {
	place := func(id string) int {
		return slices.IndexFunc(probe.Rows(), func(r *probe.Row) bool { return r.ID == id })
	}
	return place(a) - place(b)
}

// cells are rows with their outcomes.
func cells(rows map[string]string) string {
	var words []string
	for _, id := range slices.SortedFunc(maps.Keys(rows), byCatalogue) {
		words = append(words, id+" "+conformance.Cell(probe.Find(id), rows[id]))
	}
	return strings.Join(words, ", ")
}

// does is the rule of a box.
func (b box) does() string {
	if b.iptables != "" {
		return "`iptables " + b.iptables + "`"
	}
	return "`nft " + strings.ReplaceAll(b.nft, "|", `\|`) + "`"
}

func readAnswers(t *testing.T) conformance.Answers {
	t.Helper()
	answers, err := conformance.Read(answersFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stacks {
		if answers[name] == nil {
			t.Fatalf("%s does not know %s: make probe-targets", answersFile, name)
		}
	}
	return answers
}

// TestAnswersAreThoseOfTheTables: what was taken down is what the tables say, row
// by row, and no row is missing.
func TestAnswersAreThoseOfTheTables(t *testing.T) {
	answers := readAnswers(t)
	check := func(name string, expected map[string]string) {
		for id, key := range expected {
			got := answers[name].Rows[id]
			if slices.Contains(strings.Split(key, "|"), got) || strings.HasPrefix(key, "unknown") && strings.HasPrefix(got, key) {
				continue
			}
			t.Errorf("%s, %s: %q was taken down, and the table says %q: make probe-targets", name, id, got, key)
		}
	}
	for _, target := range targets {
		if answers[target.stack()] == nil {
			if !target.newer && !strings.HasPrefix(target.name, "tcp_congestion_control=") {
				t.Errorf("%s does not know %s: make probe-targets", answersFile, target.stack())
			}
			continue
		}
		for _, service := range services {
			check(target.stack(), target.expected(service, true))
		}
	}
	for _, service := range services {
		check("rawtcp listen", listenExpected(service, true))
	}
}
