// Package arrows holds the tests that keep the rooms apart: who may import
// whom, and what the engine's core may not do. docs/ARCHITECTURE.md says why.
package arrows

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "rawtcp/"

// A listed is what the go command says of one package; test files are left out.
type listed struct {
	ImportPath string
	Dir        string
	Standard   bool
	GoFiles    []string
	Imports    []string
	Deps       []string // all, also through others
	Export     string   // file with the compiled package's types
}

// list asks the go command, from the module's root.
func list(t *testing.T, args ...string) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Standard,GoFiles,Imports,Deps,Export"}, args...)...)
	cmd.Dir = filepath.Join("..", "..")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	packages := map[string]listed{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("go list %s: %v", strings.Join(args, " "), err)
		}
		packages[p.ImportPath] = p
	}
}

// A checker finds the types of source text that imports compiled packages.
type checker struct {
	fset *token.FileSet
	conf types.Config
	info types.Info
}

// newChecker returns a checker that can import any of packages.
func newChecker(packages map[string]listed) *checker {
	c := &checker{fset: token.NewFileSet()}
	c.info = types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	c.conf.Importer = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(packages[path].Export)
	})
	return c
}

// check parses and type-checks the files of one package, given as name -> text
// (nil: read the file of that name).
func (c *checker) check(path string, sources map[string]any) ([]*ast.File, error) {
	var files []*ast.File
	for name, src := range sources {
		f, err := parser.ParseFile(c.fset, name, src, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	_, err := c.conf.Check(path, c.fset, files, &c.info)
	return files, err
}
