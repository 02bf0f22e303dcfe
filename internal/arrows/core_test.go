package arrows

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The files of engine around its core, where locks and net.Conn live. All
// others are the core: segments and time in, segments out.
var shell = []string{"loop.go", "readers.go", "shard.go", "commons.go", "outbox.go", "netlistener.go", "dial.go", "claims.go", "netconn.go", "netcontrol.go"}

// The one file of engine that reads the clock and starts goroutines.
const loop = "loop.go"

// What the core may import. A package that is not here would let the world in.
var coreImports = []string{
	"rawtcp/segment",
	"bytes", "cmp", "container/heap", "encoding/binary", "errors", "fmt", "io", "iter", "math", "math/bits",
	"maps", "net/netip", "reflect", "slices", "sort", "strconv", "strings", "syscall", "time",
	"crypto/hmac", "crypto/sha256", "hash",
}

// What the core may name of package time: lengths of time, never a moment of
// the wall clock and never a timer.
var coreTime = []string{"Duration", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour"}

// What stays in the loop.
var loopOnly = []string{"go statement", "time.Now", "time.Since", "time.Until", "time.After", "time.AfterFunc", "time.Sleep",
	"time.Tick", "time.NewTimer", "time.NewTicker"}

// A sin is something a core file must not do.
type sin struct {
	pos  token.Position
	what string
}

// sinsOf returns what the file does against the rules of the core.
func (c *checker) sinsOf(file *ast.File) []sin {
	var sins []sin
	sorted := map[ast.Expr]bool{} // what is handed to slices.Sorted and its sisters
	add := func(n ast.Node, what string) { sins = append(sins, sin{c.fset.Position(n.Pos()), what}) }
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			if path, _ := strconv.Unquote(n.Path.Value); !slices.Contains(coreImports, path) {
				add(n, "import of "+path)
			}
		case *ast.GoStmt:
			add(n, "go statement")
		case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
			add(n, "channel")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				add(n, "channel")
			}
		case *ast.RangeStmt:
			switch c.info.Types[n.X].Type.Underlying().(type) {
			case *types.Map:
				add(n, "range over a map")
			case *types.Chan:
				add(n, "channel")
			}
		case *ast.CallExpr:
			if strings.HasPrefix(c.callOf(n, "slices"), "Sorted") {
				sorted[n.Args[0]] = true
			}
			switch c.callOf(n, "maps") {
			case "Keys", "Values", "All":
				if !sorted[n] {
					add(n, "a map in its own order")
				}
			}
		case *ast.Ident:
			if what := worldly(c.info.Uses[n]); what != "" {
				add(n, what)
			}
		}
		return true
	})
	return sins
}

// callOf returns the function of package path that a call is to, or "".
func (c *checker) callOf(call *ast.CallExpr, path string) string {
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
		if obj := c.info.Uses[sel.Sel]; obj != nil && obj.Pkg() != nil && obj.Pkg().Path() == path {
			return obj.Name()
		}
	}
	return ""
}

// worldly says what is wrong with a name of package time or syscall, or "".
func worldly(obj types.Object) string {
	if obj == nil || obj.Pkg() == nil || obj.Parent() != obj.Pkg().Scope() {
		return "" // not a package's own name: a method, a field, a local, a builtin
	}
	switch obj.Pkg().Path() {
	case "time":
		if !slices.Contains(coreTime, obj.Name()) {
			return "time." + obj.Name()
		}
	case "syscall":
		if _, constant := obj.(*types.Const); !constant || !strings.HasPrefix(obj.Name(), "E") {
			return "syscall." + obj.Name()
		}
	}
	return ""
}

// TestCoreIsPure holds engine's core to its promise: the same calls with the
// same times give the same segments, on every run. And it holds the clock and
// the goroutines to one file.
func TestCoreIsPure(t *testing.T) {
	packages := list(t, "-export", "-deps", "./engine")
	engine := packages["rawtcp/engine"]
	for _, name := range shell {
		if !slices.Contains(engine.GoFiles, name) {
			t.Errorf("engine has no %s", name)
		}
	}
	sources := map[string]any{}
	for _, name := range engine.GoFiles {
		sources[filepath.Join(engine.Dir, name)] = nil
	}
	c := newChecker(packages)
	files, err := c.check("rawtcp/engine", sources)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := filepath.Base(c.fset.Position(file.Package).Filename)
		for _, s := range c.sinsOf(file) {
			switch {
			case !slices.Contains(shell, name):
				t.Errorf("%s: %s: the core takes now as an argument and touches no world", s.pos, s.what)
			case name != loop && slices.Contains(loopOnly, s.what):
				t.Errorf("%s: %s: only %s reads the clock and starts goroutines", s.pos, s.what, loop)
			}
		}
	}
}

// TestOneTimer holds the host to one runtime timer, however many connections it
// has: what waits for a moment stands in a queue of ours.
func TestOneTimer(t *testing.T) {
	packages := list(t, "-export", "-deps", "./engine")
	engine := packages["rawtcp/engine"]
	sources := map[string]any{}
	for _, name := range engine.GoFiles {
		sources[filepath.Join(engine.Dir, name)] = nil
	}
	c := newChecker(packages)
	files, err := c.check("rawtcp/engine", sources)
	if err != nil {
		t.Fatal(err)
	}
	var timers []string
	for _, file := range files {
		for _, s := range c.sinsOf(file) {
			switch s.what {
			case "time.After", "time.AfterFunc", "time.Sleep", "time.Tick", "time.NewTimer", "time.NewTicker":
				timers = append(timers, s.what)
			}
		}
	}
	if want := []string{"time.NewTimer"}; !slices.Equal(timers, want) {
		t.Errorf("engine makes timers by %v, want %v, once for each host", timers, want)
	}
}

// TestCoreRulesBite plants each sin once, and what is allowed beside it.
func TestCoreRulesBite(t *testing.T) {
	packages := list(t, "-export", "-deps", "maps", "math/rand/v2", "net", "slices", "sync", "syscall", "time")
	for _, test := range []struct{ imports, body, want string }{ // imports: paths, one space between two
		{"", `go func() {}()`, "go statement"},
		{"", `var c chan int; _ = c`, "channel"},
		{"", `c := make(chan int); c <- 1`, "channel channel"},
		{"", `c := make(chan int); <-c`, "channel channel"},
		{"", `c := make(chan int); for range c {}`, "channel channel"},
		{"", `select {}`, "channel"},
		{"", `m := map[int]int{}; for range m {}`, "range over a map"},
		{"", `type table map[int]int; for range (table{}) {}`, "range over a map"},
		{"time", `_ = time.Now()`, "time.Now"},
		{"time", `now := time.Now; _ = now`, "time.Now"},
		{"time", `var at time.Time; _ = at`, "time.Time"},
		{"time", `time.Sleep(time.Second)`, "time.Sleep"},
		{"time", `time.AfterFunc(0, nil)`, "time.AfterFunc"},
		{"syscall", `syscall.Getpid()`, "syscall.Getpid"},
		{"syscall", `var e syscall.Errno; _ = e`, "syscall.Errno"},
		{"math/rand/v2", `_ = rand.Int()`, "import of math/rand/v2"},
		{"sync", `var mu sync.Mutex; mu.Lock()`, "import of sync"},
		{"net", `_, _ = net.Dial("", "")`, "import of net"},

		{"maps", `for range maps.Keys(map[int]int{}) {}`, "a map in its own order"},
		{"maps", `next := maps.Values(map[int]int{}); next(nil)`, "a map in its own order"},

		{"", `m := map[int]int{}; m[1]++; for range []int{} {}; for range 3 {}`, ""},
		{"maps slices", `for range slices.Sorted(maps.Keys(map[int]int{})) {}`, ""},
		{"time", `d := 3 * time.Second; _ = d.Seconds()`, ""},
		{"syscall", `var err error = syscall.EADDRINUSE; _ = err`, ""},
	} {
		t.Run(test.body, func(t *testing.T) {
			text := "package p\n"
			for path := range strings.FieldsSeq(test.imports) {
				text += fmt.Sprintf("import %q\n", path)
			}
			text += "func f() { " + test.body + " }\n"
			c := newChecker(packages)
			files, err := c.check("p", map[string]any{"p.go": text})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range c.sinsOf(files[0]) {
				got = append(got, s.what)
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
