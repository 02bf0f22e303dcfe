package rfcdoc

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// A series is a run of identifiers: prefix1 to prefixN.
type series struct {
	prefix string
	n      int
}

// The complete lists: appendix B of RFC 9293, and for the others what this
// project counts, by section.
var complete = []series{
	{"MUST-", 69}, {"SHLD-", 31}, {"MAY-", 18}, {"REC-", 1},
	{"4987-3.4-", 2}, {"4987-3.5-", 1}, {"4987-3.6-", 5}, {"4987-3.7-", 1},
	{"5961-3.2-", 5}, {"5961-4.2-", 3}, {"5961-5.2-", 2}, {"5961-7-", 3},
	{"5927-4.1-", 1}, {"5927-4.2-", 1}, {"5927-5.2-", 1}, {"5927-6.2-", 1}, {"5927-7.2-", 2},
	{"6298-2.1-", 1}, {"6298-2.2-", 1}, {"6298-2.3-", 3}, {"6298-2.4-", 1}, {"6298-2.5-", 1}, {"6298-3-", 3}, {"6298-4-", 1}, {"6298-5-", 1}, {"6298-5.1-", 1}, {"6298-5.2-", 1}, {"6298-5.3-", 1}, {"6298-5.4-", 1}, {"6298-5.5-", 1}, {"6298-5.6-", 1}, {"6298-5.7-", 1},
	{"6528-3-", 2}, {"6528-4-", 1},
	{"7323-2.2-", 4}, {"7323-2.3-", 6}, {"7323-2.4-", 4}, {"7323-3.2-", 9}, {"7323-4.1-", 1}, {"7323-4.2-", 1}, {"7323-4.3-", 3}, {"7323-5.2-", 4}, {"7323-5.3-", 4}, {"7323-5.4-", 1}, {"7323-5.5-", 1}, {"7323-5.7-", 1}, {"7323-7.1-", 1},
	{"2018-2-", 1}, {"2018-4-", 7}, {"2018-5-", 3}, {"2018-5.1-", 2}, {"2018-8-", 3},
	{"2883-4-", 5}, {"2883-5-", 1}, {"2883-5.2-", 1},
	{"5681-3.1-", 11}, {"5681-3.2-", 7}, {"5681-4.1-", 1}, {"5681-4.2-", 2}, {"5681-4.3-", 1},
	{"6582-3.2-", 4},
	{"6937-3-", 2}, {"6937-4-", 1},
	{"3522-3.2-", 2}, {"5682-2.1-", 4}, {"5682-3.1-", 2}, {"4015-3.1-", 3},
	{"9406-4.2-", 4}, {"9406-4.3-", 2},
	{"9438-4.2-", 1}, {"9438-4.3-", 1}, {"9438-4.6-", 1}, {"9438-4.7-", 1}, {"9438-4.8-", 1}, {"9438-4.9-", 1}, {"9438-4.10-", 1}, {"9438-5.8-", 1},
	{"8985-3.3.2-", 4}, {"8985-4-", 2}, {"8985-6.2-", 2}, {"8985-7.2-", 2}, {"8985-7.3-", 3}, {"8985-7.4.2-", 1}, {"8985-9.3-", 3},
	{"3168-6.1.1-", 4}, {"3168-6.1.2-", 7}, {"3168-6.1.3-", 1}, {"3168-6.1.4-", 1}, {"3168-6.1.5-", 2}, {"3168-6.1.6-", 1},
	{"1191-3-", 2}, {"1191-5-", 1}, {"1191-6.3-", 1}, {"1191-6.5-", 1}, {"8201-4-", 1},
	{"4821-4-", 4}, {"4821-5.2-", 1}, {"4821-7.2-", 1}, {"4821-7.3-", 1}, {"4821-7.4-", 1}, {"4821-7.6-", 4}, {"4821-7.7-", 2},
	{"5482-3-", 5}, {"5482-3.1-", 5}, {"5482-3.2-", 1}, {"5482-3.3-", 2}, {"5482-3.4-", 1}, {"5482-4.2-", 1},
	{"7413-4.1.1-", 1}, {"7413-4.1.2-", 2}, {"7413-4.1.3-", 4}, {"7413-4.2-", 2}, {"7413-4.2.1-", 2}, {"7413-4.2.2-", 9}, {"7413-5.1-", 1},
	{"6191-2-", 5},
	{"1337-3-", 1},
}

// TestEveryRequirementStandsOnce holds the page to the complete lists.
func TestEveryRequirementStandsOnce(t *testing.T) {
	rows, faults := readPage(filepath.Join(root, "docs/rfc.md"))
	for _, f := range faults {
		t.Error(f)
	}
	for _, f := range compare(rows, complete) {
		t.Error(f)
	}
}

func compare(rows []row, lists []series) (faults []string) {
	at := make([]place, len(rows))
	for i, r := range rows {
		at[i] = place{r.id, r.line}
	}
	return compareIDs(at, lists)
}

// A place is where an identifier stands.
type place struct {
	id   string
	line int
}

func compareIDs(places []place, lists []series) (faults []string) {
	lines := map[string]int{}
	for _, p := range places {
		if at := lines[p.id]; at != 0 {
			faults = append(faults, fmt.Sprintf("line %d: %s stands in line %d already", p.line, p.id, at))
		}
		lines[p.id] = p.line
	}
	for _, s := range lists {
		for i := range s.n {
			id := fmt.Sprintf("%s%d", s.prefix, i+1)
			if lines[id] == 0 {
				faults = append(faults, id+" is missing")
			}
			delete(lines, id)
		}
	}
	for id, at := range lines {
		faults = append(faults, fmt.Sprintf("line %d: %s is in no list", at, id))
	}
	return faults
}

// TestEveryRowIsHonest holds each row to what its status promises, and to
// functions and tests that exist.
func TestEveryRowIsHonest(t *testing.T) {
	rows, _ := readPage(filepath.Join(root, "docs/rfc.md"))
	known := tree{}
	for _, r := range rows {
		for _, f := range r.judge() {
			t.Error(f)
		}
		for _, ref := range append(r.functions, r.tests...) {
			if err := known.find(ref); err != nil {
				t.Errorf("line %d, %s: %v", r.line, r.id, err)
			}
		}
	}
}

// A tree is the functions of each file that was asked for.
type tree map[string]map[string]bool

func (t tree) find(r reference) error {
	names, read := t[r.file]
	if !read {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, r.file), nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
		names = functions(file)
		t[r.file] = names
	}
	if !names[r.name] {
		return fmt.Errorf("there is no function %s", r)
	}
	return nil
}

// functions returns the names of a file's functions, methods as Type.Name.
func functions(file *ast.File) map[string]bool {
	names := map[string]bool{}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			name = receiver(f.Recv.List[0].Type) + "." + name
		}
		names[name] = true
	}
	return names
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	}
	return ""
}

// TestFaultsAreFound breaks a good row in every way the page could break.
func TestFaultsAreFound(t *testing.T) {
	const good = "| MUST-1 | 3.1 | a rule | `engine/ack.go:Conn.receiveACK` | `engine/ack_test.go:TestX` | obeyed |"
	for _, tt := range []struct{ change, to string }{
		{"obeyed |", "obeyed: nearly |"},
		{"obeyed |", "obeyed in part |"},
		{"obeyed |", "not followed: |"},
		{"obeyed |", "fine |"},
		{"`engine/ack_test.go:TestX`", ""},
		{"`engine/ack.go:Conn.receiveACK`", ""},
		{"`engine/ack.go:Conn.receiveACK`", "ack.go"},
		{"ack_test.go:TestX", "ack.go:TestX"},
		{":TestX", ":X"},
		{"engine/ack.go", "engine/ack_test.go"},
		{"a rule", ""},
		{"3.1", ""},
		{"| a rule", "| a rule | or two"},
	} {
		r, fault := readRow(strings.Replace(good, tt.change, tt.to, 1))
		if fault == "" && len(r.judge()) == 0 {
			t.Errorf("%q instead of %q is not found", tt.to, tt.change)
		}
	}
	r, fault := readRow(good)
	if fault != "" || len(r.judge()) != 0 {
		t.Errorf("%s: %s %q", good, fault, r.judge())
	}
	r.line = 7
	lists := []series{{"MUST-", 1}}
	for name, rows := range map[string][]row{"missing": {}, "doubled": {r, r}, "unknown": {r, {id: "MUST-2"}}} {
		if len(compare(rows, lists)) != 1 {
			t.Errorf("%s: %q", name, compare(rows, lists))
		}
	}
	if (tree{}).find(reference{"engine/ack.go", "Conn.receiveACK"}) != nil || (tree{}).find(reference{"engine/ack.go", "receiveACK"}) == nil {
		t.Error("methods are not told from functions")
	}
}
