package mutants

import (
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
	for _, m := range All() {
		if _, _, err := m.apply(root); err != nil {
			t.Error(err)
		}
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
		if file, _, err := m.apply(root); err == nil || !strings.Contains(err.Error(), "mutant x") {
			t.Errorf("%s: %s, %v", what, file, err)
		}
	}
}

// TestBenchTellsTheFates tries one mutant of each kind for good: noticed,
// surviving, not compiling, and running without end.
func TestBenchTellsTheFates(t *testing.T) {
	b := Bench{Root: mustAbs(t, root), Work: t.TempDir()}
	seq := []stage{{dir: "segment", run: "^TestSeqOrder$"}}
	for _, tt := range []struct {
		m    Mutant
		plan []stage
		want string
	}{
		{Mutant{"order-without-wrap", "D1", "segment", "Seq.Less", "int32(s.n-t.n) < 0", "s.n < t.n"}, seq, "by segment TestSeqOrder, error <nil>"},
		{Mutant{"harmless", "D1", "segment", "Seq.Less", "int32(s.n-t.n) < 0", "0 > int32(s.n-t.n)"}, seq, "by , error <nil>"},
		{Mutant{"no-go", "D1", "segment", "Seq.Less", "int32(s.n-t.n) < 0", "int32(s.n-t.n)"}, seq, "by , error mutant no-go: build the tests of segment"},
		{Mutant{"no-test", "D1", "segment", "Seq.Less", "int32(s.n-t.n) < 0", "s.n < t.n"}, []stage{{dir: "segment", run: "^TestNowhere$"}}, `segment has no tests that match "^TestNowhere$"`},
	} {
		v := b.try(&tt.m, tt.plan)
		if got := fmt.Sprintf("by %s, error %v", v.By, v.Err); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.m.Name, got, tt.want)
		}
	}
}

// TestStageThatFailsByItselfIsAnError: else it would notice every mutant.
func TestStageThatFailsByItselfIsAnError(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":      "module sick\n",
		"a.go":        "package sick\n\nfunc one() int { return 1 }\n",
		"one_test.go": "package sick\n\nimport \"testing\"\n\nfunc TestOne(t *testing.T) { t.Fatal(one()) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := Bench{Root: dir, Work: t.TempDir()}
	m := Mutant{"two", "A1", ".", "one", "1", "2"}
	if v := b.Try(&m); v.Err == nil || !strings.Contains(v.Err.Error(), "TestOne fails without a mutant") {
		t.Errorf("%v", &v)
	}
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

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
