package mutants

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// A Mutant is one bug, and the change that brings it back: in one function, one
// line, found by its text, so that it survives what moves around it.
type Mutant struct {
	Name  string // of the bug, unique
	Class string // the rows of docs/faults.md or docs/invariants.md it belongs to, separated by blanks
	Dir   string // of its package, from the root of the module
	Func  string // the function it stands in: Name or Type.Name; empty: outside of functions
	Old   string // what stands there, within one line; it must stand there once
	New   string // what the bug was
}

// apply returns the path of the file that m changes, from root, and the text
// with the bug in it.
func (m *Mutant) apply(root string) (file string, text []byte, err error) {
	files, err := filepath.Glob(filepath.Join(root, m.Dir, "*.go"))
	if err != nil {
		return "", nil, fmt.Errorf("mutant %s: %w", m.Name, err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return "", nil, fmt.Errorf("mutant %s: %w", m.Name, err)
		}
		places, err := m.places(name, src)
		if err != nil {
			return "", nil, err
		}
		if found += len(places); len(places) == 1 {
			at := places[0]
			file, text = name, []byte(string(src[:at])+m.New+string(src[at+len(m.Old):]))
		}
	}
	if found != 1 {
		where := m.Func
		if where == "" {
			where = "the declarations"
		}
		return "", nil, fmt.Errorf("mutant %s: %q stands %d times in %s of %s, want once: the code has moved, and the mutant must follow it",
			m.Name, m.Old, found, where, m.Dir)
	}
	if file, err = filepath.Rel(root, file); err != nil {
		return "", nil, fmt.Errorf("mutant %s: %w", m.Name, err)
	}
	return file, text, nil
}

// places returns the offsets in src where the change applies.
func (m *Mutant) places(name string, src []byte) (at []int, err error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("mutant %s: %w", m.Name, err)
	}
	for _, d := range tree.Decls {
		if funcName(d) != m.Func {
			continue
		}
		begin, end := set.Position(d.Pos()).Offset, set.Position(d.End()).Offset
		for {
			i := strings.Index(string(src[begin:end]), m.Old)
			if i < 0 {
				break
			}
			at = append(at, begin+i)
			begin += i + len(m.Old)
		}
	}
	return at, nil
}

// funcName returns Name or Type.Name of a function, "" of any other declaration.
func funcName(d ast.Decl) string {
	f, ok := d.(*ast.FuncDecl)
	if !ok {
		return ""
	}
	if f.Recv == nil {
		return f.Name.Name
	}
	t := f.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if name, ok := t.(*ast.Ident); ok {
		return name.Name + "." + f.Name.Name
	}
	return f.Name.Name
}
