package mutants

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Switch is the environment variable that names the mutant to bring to life.
const Switch = "RAWTCP_MUTANT"

// A graft is a source file with mutants in it, all asleep: each mutant's
// function stands there a second time with the bug, and the healthy one hands
// over to it when its mutant is chosen. So one build serves all.
type graft struct {
	file  string // from the root of the module
	src   []byte
	tree  *ast.File
	set   *token.FileSet
	edits []edit
}

// An edit replaces text[at:end] of a file.
type edit struct {
	at, end int
	with    string
}

// graftAll returns the files of the module at root that mutants change, with
// the mutants in them. Every mutant that cannot be placed is an error.
func graftAll(root string, list []Mutant) (files map[string][]byte, errs []error) {
	rooms := map[string][]*graft{}
	files = map[string][]byte{}
	for i := range list {
		m := &list[i]
		if rooms[m.Dir] == nil {
			room, err := parseRoom(root, m.Dir)
			if err != nil {
				errs = append(errs, fmt.Errorf("mutant %s: %w", m.Name, err))
				continue
			}
			rooms[m.Dir] = room
		}
		if err := place(rooms[m.Dir], m); err != nil {
			errs = append(errs, err)
		}
	}
	for dir, room := range rooms {
		for _, g := range room {
			if len(g.edits) > 0 {
				files[g.file] = g.text()
			}
		}
		files[filepath.Join(dir, "mutant_chosen.go")] = []byte("package " + room[0].tree.Name.Name +
			"\n\nimport \"os\"\n\nvar mutantChosen = os.Getenv(\"" + Switch + "\")\n")
	}
	return files, errs
}

func parseRoom(root, dir string) (room []*graft, err error) {
	names, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		g := &graft{file: filepath.Join(dir, filepath.Base(name)), set: token.NewFileSet()}
		if g.src, err = os.ReadFile(name); err != nil {
			return nil, err
		}
		if g.tree, err = parser.ParseFile(g.set, name, g.src, parser.SkipObjectResolution); err != nil {
			return nil, err
		}
		room = append(room, g)
	}
	if len(room) == 0 {
		return nil, fmt.Errorf("there is no package %s", dir)
	}
	return room, nil
}

// place adds m to the one file of its room that has its function.
func place(room []*graft, m *Mutant) error {
	for _, g := range room {
		for _, d := range g.tree.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || funcName(f) != m.Func {
				continue
			}
			if n := strings.Count(g.body(f), m.Old); n != 1 || m.Old == "" {
				return fmt.Errorf("mutant %s: %q stands %d times in %s of %s, want once: the code has moved, and the mutant must follow it",
					m.Name, m.Old, n, m.Func, g.file)
			}
			g.add(f, m)
			return nil
		}
	}
	return fmt.Errorf("mutant %s: there is no function %s in %s: the code has moved, and the mutant must follow it", m.Name, m.Func, m.Dir)
}

// add puts the function with the bug behind everything else, and a hand-over at
// the beginning of the healthy one.
func (g *graft) add(f *ast.FuncDecl, m *Mutant) {
	name := f.Name.Name + "Mutant" + strings.ReplaceAll(m.Name, "-", "_")
	params, renamed := g.params(f)
	call := name + "(" + params + ")"
	if f.Recv != nil {
		call = f.Recv.List[0].Names[0].Name + "." + call
	}
	if f.Type.Results != nil {
		call = "return " + call
	} else {
		call += "; return"
	}
	at := g.offset(f.Body.Lbrace) + 1
	g.edits = append(g.edits, renamed...)
	g.edits = append(g.edits, edit{at, at, fmt.Sprintf(" if mutantChosen == %q { %s };", m.Name, call)})

	begin, end := g.offset(f.Pos()), g.offset(f.Name.Pos())
	// The compiler names the mutant in its complaints, by this directive.
	bug := fmt.Sprintf("\n//line %s:1\n%s%s%s%s\n", m.Name, g.src[begin:end], name,
		g.src[g.offset(f.Name.End()):g.offset(f.Body.Pos())], strings.Replace(g.body(f), m.Old, m.New, 1))
	g.edits = append(g.edits, edit{len(g.src), len(g.src), bug})
}

// params returns the names of f's parameters for a call, and the edits that
// give a name to those that have none.
func (g *graft) params(f *ast.FuncDecl) (call string, renamed []edit) {
	var names []string
	for _, field := range f.Type.Params.List {
		dots := ""
		if _, ok := field.Type.(*ast.Ellipsis); ok {
			dots = "..."
		}
		if len(field.Names) == 0 {
			name := fmt.Sprintf("mutantParam%d", len(names))
			at := g.offset(field.Type.Pos())
			renamed = append(renamed, edit{at, at, name + " "})
			names = append(names, name)
		}
		for _, ident := range field.Names {
			name := ident.Name
			if name == "_" {
				name = fmt.Sprintf("mutantParam%d", len(names))
				renamed = append(renamed, edit{g.offset(ident.Pos()), g.offset(ident.End()), name})
			}
			names = append(names, name+dots)
		}
	}
	return strings.Join(names, ", "), renamed
}

// text applies the edits. What two mutants of one function both ask for, the
// names of parameters, is done once.
func (g *graft) text() []byte {
	slices.SortStableFunc(g.edits, func(a, b edit) int { return cmp.Compare(a.at, b.at) })
	var out bytes.Buffer
	at, last := 0, edit{}
	for _, e := range g.edits {
		if e == last {
			continue
		}
		out.Write(g.src[at:e.at])
		out.WriteString(e.with)
		at, last = e.end, e
	}
	out.Write(g.src[at:])
	return out.Bytes()
}

func (g *graft) offset(p token.Pos) int { return g.set.PositionFor(p, false).Offset }

func (g *graft) body(f *ast.FuncDecl) string {
	return string(g.src[g.offset(f.Body.Pos()):g.offset(f.Body.End())])
}

// funcName returns Name or Type.Name.
func funcName(f *ast.FuncDecl) string {
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
