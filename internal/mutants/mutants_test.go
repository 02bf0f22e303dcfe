package mutants

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// TestEveryMutantApplies finds mutants that the code has left behind.
func TestEveryMutantApplies(t *testing.T) {
	_, errs := graftAll(root, All())
	for _, err := range errs {
		t.Error(err)
	}
}

// TestMutantsAreWellFormed: one line each, a name of its own, a class that the
// page of faults has.
func TestMutantsAreWellFormed(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/faults.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range All() {
		if names[m.Name] {
			t.Errorf("two mutants are called %s", m.Name)
		}
		names[m.Name] = true
		if strings.Contains(m.Old+m.New, "\n") || m.Old == "" || m.Old == m.New {
			t.Errorf("%s is no change within one line", m.Name)
		}
		if len(strings.Fields(m.Class)) == 0 {
			t.Errorf("%s has no class", m.Name)
		}
		for _, class := range strings.Fields(m.Class) {
			if !regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(class) + ` \|`).Match(page) {
				t.Errorf("%s: docs/faults.md has no row %s", m.Name, class)
			}
		}
	}
	if len(names) < 60 {
		t.Errorf("%d mutants, want at least 60", len(names))
	}
}

// TestMutantsThatCannotBePlaced are errors that name the mutant.
func TestMutantsThatCannotBePlaced(t *testing.T) {
	for what, m := range map[string]Mutant{
		"text that is gone":       {"x", "A1", "segment", "Seq.Less", "no such text", ""},
		"text that stands twice":  {"x", "A1", "segment", "Seq.Less", "n", ""},
		"a function that is gone": {"x", "A1", "segment", "Seq.Lesser", "int32", "int64"},
		"a package that is gone":  {"x", "A1", "nowhere", "Seq.Less", "int32", "int64"},
	} {
		if _, err := NewBench(root, []Mutant{m}); err == nil || !strings.Contains(err.Error(), "mutant x") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestBenchTellsTheFates tries one mutant of each kind for good: noticed,
// surviving, panicking, and one that meets no test.
func TestBenchTellsTheFates(t *testing.T) {
	list := []Mutant{
		{"order-without-wrap", "D1", "segment", "Seq.Less", "int32(s.n-t.n) < 0", "s.n < t.n"},
		{"harmless", "D1", "segment", "Seq.Less", "int32(s.n-t.n) < 0", "0 > int32(s.n-t.n)"},
		{"falls", "D1", "segment", "Seq.LessEq", "int32(s.n-t.n) <= 0", "[]bool{}[s.n]"},
	}
	b := newBench(t, list)
	seq := stage{dir: "segment", run: "^TestSeqOrder$"}
	for _, tt := range []struct {
		m    *Mutant
		s    stage
		want string
	}{
		{&list[0], seq, "by segment TestSeqOrder, error <nil>"},
		{&list[1], seq, "by , error <nil>"},
		{&list[2], seq, "by segment TestSeqOrder, error <nil>"},
		{&list[0], stage{dir: "segment", run: "^TestNowhere$"}, `segment has no tests that match "^TestNowhere$"`},
	} {
		v := b.try(tt.m, []stage{tt.s})
		if got := fmt.Sprintf("by %s, error %v", v.By, v.Err); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.m.Name, got, tt.want)
		}
	}
}

// TestSickTestsAreErrors: a mutant that does not compile, and a test that fails
// without one, would both look like a kill.
func TestSickTestsAreErrors(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":         "module sick\n",
		"ill/a.go":       "package ill\n\nfunc one() int { return 1 }\n",
		"ill/a_test.go":  "package ill\n\nimport \"testing\"\n\nfunc TestOne(t *testing.T) { t.Fatal(one()) }\n",
		"well/a.go":      "package well\n\nfunc one(_ int, two ...int) int { return 1 + len(two) }\n",
		"well/a_test.go": "package well\n\nimport \"testing\"\n\nfunc TestOne(t *testing.T) { one(1) }\n",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		m    Mutant
		want string
	}{
		{Mutant{"two", "A1", "ill", "one", "return 1", "return 2"}, "TestOne fails without a mutant"},
		{Mutant{"no-go", "A1", "well", "one", "len(two)", `"two"`}, "no-go:1"},
	} {
		b, err := NewBench(dir, []Mutant{tt.m})
		if err != nil {
			t.Fatal(err)
		}
		if v := b.Try(&tt.m); v.Err == nil || !strings.Contains(v.Err.Error(), tt.want) {
			t.Errorf("%v, want %s", &v, tt.want)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

func newBench(t *testing.T, list []Mutant) *Bench {
	t.Helper()
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBench(abs, list)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestCulprit(t *testing.T) {
	for out, want := range map[string]string{
		"--- FAIL: TestA (0.00s)\n    --- FAIL: TestA/b (0.00s)\nFAIL":               "TestA",
		"panic: test timed out after 30s\n\trunning tests:\n\t\tTestB (30s)\n\ngoro": "TestB (timeout)",
		"fatal error: runtime: out of memory\n\nruntime stack":                       "(runtime: out of memory)",
		"something\nexit status 3\n":                                                 "(exit status 3)",
	} {
		if got := culprit(out); got != want {
			t.Errorf("%q: %s, want %s", out, got, want)
		}
	}
}

// TestReport: what fails a campaign.
func TestReport(t *testing.T) {
	m := Mutant{Name: "m"}
	killed, alive, broken := Verdict{Mutant: &m, By: "x TestX", Took: 2e9}, Verdict{Mutant: &m}, Verdict{Mutant: &m, Err: os.ErrNotExist}
	nineteen := Report{}
	for range 19 {
		nineteen.Verdicts = append(nineteen.Verdicts, killed)
	}
	for _, tt := range []struct {
		more  []Verdict
		fails bool
	}{{nil, false}, {[]Verdict{alive}, false}, {[]Verdict{alive, alive}, true}, {[]Verdict{broken}, true}} {
		r := Report{append(nineteen.Verdicts[:19:19], tt.more...)}
		if err := r.Failed(); (err != nil) != tt.fails {
			t.Errorf("%v: %v", &r, err)
		}
	}
	if r := (Report{}); r.Failed() == nil {
		t.Error("nothing was tried, and that is fine")
	}
	r := Report{append(nineteen.Verdicts[:19:19], alive)}
	if got, want := r.String(), "20 mutants, 19 noticed (95.0 %), after 2.0 s in the median and 2.0 s at most\nsurvivors: m"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
