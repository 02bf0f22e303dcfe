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
	lines := map[string]int{}
	for _, r := range rows {
		if at := lines[r.id]; at != 0 {
			faults = append(faults, fmt.Sprintf("line %d: %s stands in line %d already", r.line, r.id, at))
		}
		lines[r.id] = r.line
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
