package probe_test

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rawtcp/internal/probe"
)

var update = flag.Bool("update", false, "write docs/probe.md")

const pageFile = "../../docs/probe.md"

// TestPage: docs/probe.md is what the declarations say.
func TestPage(t *testing.T) {
	text := probe.Page(matrix(t))
	if *update {
		if err := os.WriteFile(pageFile, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, string(got)); diff != "" {
		t.Errorf("docs/probe.md is not what the rows say (go test -run TestPage -update):\n%s", diff)
	}
}

var (
	idForm     = regexp.MustCompile(`^[A-HP][1-9][0-9]?$`)
	wordForm   = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	ruleForm   = regexp.MustCompile(`^(|(MUST|SHLD|MAY)-[0-9]+)$`)
	sectionRef = regexp.MustCompile(`^[0-9A-Z]+(\.[0-9A-Z]+)*$`)
)

// TestDeclarations holds every row to what the doc comment asks for.
func TestDeclarations(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range probe.Groups() {
		for _, r := range g.Rows {
			if seen[r.ID] || !idForm.MatchString(r.ID) || r.Group() != g.Letter {
				t.Errorf("%s in group %s: a bad id, or one that is there twice", r.ID, g.Letter)
			}
			seen[r.ID] = true
			if !wordForm.MatchString(r.Name) || r.Question == "" || r.Stimulus == "" || r.Takes <= 0 || r.Test == nil || len(r.Clauses) == 0 {
				t.Errorf("%s says too little of itself", r.ID)
			}
			if (r.Risk&probe.Data != 0) != (r.Service != probe.NoService) {
				t.Errorf("%s: its risk is %v and its service %v", r.ID, r.Risk, r.Service)
			}
			checkOutcomes(t, r)
		}
	}
}

func checkOutcomes(t *testing.T, r *probe.Row) {
	t.Helper()
	var seen []string
	clauses := slices.Clone(r.Clauses)
	for _, o := range r.Outcomes {
		if slices.Contains(seen, o.Key) || !wordForm.MatchString(o.Key) || o.Says == "" {
			t.Errorf("%s: outcome %q", r.ID, o.Key)
		}
		if !slices.Contains([]probe.Verdict{probe.Pass, probe.Note, probe.Fail, probe.Vulnerable}, o.Verdict) {
			t.Errorf("%s: outcome %q has the verdict %q; what is unknown is no outcome", r.ID, o.Key, o.Verdict)
		}
		seen = append(seen, o.Key)
		if !o.Rule.IsZero() {
			clauses = append(clauses, o.Rule)
		}
	}
	if len(seen) < 2 {
		t.Errorf("%s can end in one way only", r.ID)
	}
	for _, c := range clauses {
		if c.RFC == 0 || !sectionRef.MatchString(c.Section) || !ruleForm.MatchString(c.Rule) {
			t.Errorf("%s: clause %v", r.ID, c)
		}
	}
}
