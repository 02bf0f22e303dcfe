package rfcdoc

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// A faultRow is one threat, fault or invariant of docs/faults.md or
// docs/invariants.md.
type faultRow struct {
	line   int
	id     string
	what   string
	answer string
	tests  []reference
	status string
}

const (
	faultHeader     = "| id | what comes | what is done | test | status |"
	invariantHeader = "| id | what holds | where it is checked | test | status |"
)

// The catalogue, by its sections.
var (
	catalogue = []series{
		{"A", 25}, {"B", 17}, {"C", 21}, {"D", 19}, {"E-", 12}, {"F", 13}, {"G-", 6},
		{"H", 11}, {"I", 14}, {"J", 14}, {"K", 10}, {"L", 9}, {"M", 11},
	}
	invariants = []series{{"I", 29}, {"L", 7}}
)

func readFaultRow(line string) (r faultRow, fault string) {
	cells, fault := cellsOf(line, 5)
	if fault != "" {
		return r, fault
	}
	r.id, r.what, r.answer, r.status = cells[0], cells[1], cells[2], cells[4]
	r.tests, fault = readReferences(cells[3])
	return r, fault
}

// judge says what a row owes: a defence names what shows it, and what is less
// than a defence says why.
func (r faultRow) judge() (faults []string) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Sprintf("line %d, %s: ", r.line, r.id)+fmt.Sprintf(format, args...))
	}
	kind, reason, _ := strings.Cut(r.status, ":")
	reason = strings.TrimSpace(reason)
	answered := r.answer != "" && len(r.tests) > 0
	switch kind {
	case "defended":
		if reason != "" {
			fault("%q says more than defended: call it in part", r.status)
		}
		if !answered {
			fault("defended, but how, and which test shows it?")
		}
	case "in part":
		if !answered || reason == "" {
			fault("in part needs what is done, a test, and what is missing")
		}
	case "by absence", "not ours", "not yet":
		if reason == "" {
			fault("%s, but no reason", kind)
		}
	default:
		fault("unknown status %q", r.status)
	}
	if r.what == "" {
		fault("the row does not say what it is about")
	}
	for _, t := range r.tests {
		if !strings.HasSuffix(t.file, "_test.go") || !strings.HasPrefix(t.name, "Test") && !strings.HasPrefix(t.name, "Fuzz") {
			fault("%s is no test", t)
		}
	}
	return faults
}

// TestEveryFaultHasItsTest holds docs/faults.md to the catalogue and to the tree.
func TestEveryFaultHasItsTest(t *testing.T) {
	holdFaultPage(t, "docs/faults.md", faultHeader, catalogue)
}

// TestEveryInvariantIsChecked holds docs/invariants.md to the list and to the tree.
func TestEveryInvariantIsChecked(t *testing.T) {
	holdFaultPage(t, "docs/invariants.md", invariantHeader, invariants)
}

func holdFaultPage(t *testing.T, page, header string, lists []series) {
	lines, faults := readTables(filepath.Join(root, page), header)
	known := tree{}
	var places []place
	for _, l := range lines {
		r, fault := readFaultRow(l.text)
		r.line = l.number
		if fault != "" {
			faults = append(faults, fmt.Sprintf("line %d: %s", l.number, fault))
			continue
		}
		places = append(places, place{r.id, r.line})
		faults = append(faults, r.judge()...)
		for _, test := range r.tests {
			if err := known.find(test); err != nil {
				faults = append(faults, fmt.Sprintf("line %d, %s: %v", r.line, r.id, err))
			}
		}
	}
	for _, f := range append(faults, compareIDs(places, lists)...) {
		t.Errorf("%s: %s", page, f)
	}
}

// TestFaultPageFaultsAreFound breaks a good row in every way it could break.
func TestFaultPageFaultsAreFound(t *testing.T) {
	const good = "| A1 | a threat | a defence | `engine/loss_test.go:TestKarn`, `segment/fuzz_test.go:FuzzParse` | defended |"
	for _, tt := range []struct{ change, to string }{
		{"defended", "defended: nearly"},
		{"defended", "in part"},
		{"defended", "by absence:"},
		{"defended", "fine"},
		{"`engine/loss_test.go:TestKarn`, `segment/fuzz_test.go:FuzzParse`", ""},
		{"`engine/loss_test.go:TestKarn`", "loss_test.go"},
		{"loss_test.go", "loss.go"},
		{"TestKarn", "Karn"},
		{"a threat", ""},
		{"a defence", ""},
		{"a defence", "a defence | or two"},
	} {
		r, fault := readFaultRow(strings.Replace(good, tt.change, tt.to, 1))
		if fault == "" && len(r.judge()) == 0 {
			t.Errorf("%q instead of %q is not found", tt.to, tt.change)
		}
	}
	if r, fault := readFaultRow(good); fault != "" || len(r.judge()) != 0 {
		t.Errorf("%s: %s %q", good, fault, r.judge())
	}
}
