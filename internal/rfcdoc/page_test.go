package rfcdoc

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// A row is one requirement of the page.
type row struct {
	line        int // in the file, from 1
	id          string
	section     string
	requirement string
	functions   []reference
	tests       []reference
	status      string
}

// A reference names a function: `file.go:Name` or `file.go:Type.Name`, the file
// by its path within the module.
type reference struct{ file, name string }

func (r reference) String() string { return r.file + ":" + r.name }

const header = "| id | section | requirement | function | test | status |"

// readPage returns the rows of the page's tables, and what is wrong with its form.
func readPage(name string) (rows []row, faults []string) {
	lines, faults := readTables(name, header)
	for _, l := range lines {
		r, fault := readRow(l.text)
		if r.line = l.number; fault != "" {
			faults = append(faults, fmt.Sprintf("line %d: %s", l.number, fault))
			continue
		}
		rows = append(rows, r)
	}
	return rows, faults
}

// A tableLine is one row of a table, as it stands.
type tableLine struct {
	number int // in the file, from 1
	text   string
}

// readTables returns the rows of a file's tables, which must all have this header.
func readTables(name, header string) (lines []tableLine, faults []string) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, []string{err.Error()}
	}
	inTable := false
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case line == header:
			inTable = true
		case !inTable:
			faults = append(faults, fmt.Sprintf("line %d: a table must begin with %s", i+1, header))
		case strings.HasPrefix(line, "|--"):
		default:
			lines = append(lines, tableLine{i + 1, line})
		}
	}
	return lines, faults
}

// cellsOf splits a table's row.
func cellsOf(line string, want int) (cells []string, fault string) {
	cells = strings.Split(strings.Trim(line, "|"), "|")
	if len(cells) != want {
		return nil, fmt.Sprintf("%d cells, want %d", len(cells), want)
	}
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells, ""
}

func readRow(line string) (r row, fault string) {
	cells, fault := cellsOf(line, 6)
	if fault != "" {
		return r, fault
	}
	r.id, r.section, r.requirement, r.status = cells[0], cells[1], cells[2], cells[5]
	if r.functions, fault = readReferences(cells[3]); fault == "" {
		r.tests, fault = readReferences(cells[4])
	}
	return r, fault
}

var referenceText = regexp.MustCompile("^`([\\w./-]+\\.go):((?:\\w+\\.)?\\w+)`$")

func readReferences(cell string) (list []reference, fault string) {
	if cell == "" {
		return nil, ""
	}
	for _, word := range strings.Split(cell, ", ") {
		m := referenceText.FindStringSubmatch(word)
		if m == nil {
			return nil, fmt.Sprintf("%s is no `file.go:Type.Name`", word)
		}
		list = append(list, reference{m[1], m[2]})
	}
	return list, ""
}

// judge says what a row owes: an obeyed requirement names who obeys it and what
// holds it; any other says why.
func (r row) judge() (faults []string) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Sprintf("line %d, %s: ", r.line, r.id)+fmt.Sprintf(format, args...))
	}
	kind, reason, _ := strings.Cut(r.status, ":")
	named := len(r.functions) > 0 && len(r.tests) > 0
	switch kind {
	case "obeyed":
		if reason != "" {
			fault("%q says more than obeyed: call it obeyed in part", r.status)
		}
		if !named {
			fault("obeyed, but by which function and which test?")
		}
	case "obeyed in part":
		if !named || strings.TrimSpace(reason) == "" {
			fault("obeyed in part needs a function, a test and what is missing")
		}
	case "by absence", "not followed", "not used", "not yet":
		if strings.TrimSpace(reason) == "" {
			fault("%s, but no reason", kind)
		}
	default:
		fault("unknown status %q", r.status)
	}
	if r.section == "" || r.requirement == "" {
		fault("section or requirement is empty")
	}
	for _, t := range r.tests {
		if !strings.HasSuffix(t.file, "_test.go") || !strings.HasPrefix(t.name, "Test") {
			fault("%s is no test", t)
		}
	}
	for _, f := range r.functions {
		if strings.HasSuffix(f.file, "_test.go") {
			fault("%s is in a test", f)
		}
	}
	return faults
}
