package engine

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNamesAreCovered holds testdata/talks/names.txt, the checklist of what the
// tests of other stacks are about: each name is covered by a conversation, or
// has a reason why not; and every covers line names one of them.
func TestNamesAreCovered(t *testing.T) {
	covered := map[string]string{}
	for _, s := range loadScripts(t) {
		for _, name := range s.covers {
			covered[name] += "\n\t" + s.topic + "/" + s.title
		}
	}
	text, err := os.ReadFile("testdata/talks/names.txt")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t)
	for line := range strings.Lines(string(text)) {
		name, reason, _ := strings.Cut(stripComment(line), " ")
		switch talks := covered[name]; {
		case name == "":
		case talks != "" && reason != "":
			t.Errorf("%s is excused, and covered by%s", name, talks)
		case talks == "" && reason == "":
			t.Errorf("%s is covered by no conversation", name)
		case talks != "":
			t.Logf("%s%s", name, talks)
		}
		for _, test := range testText.FindAllString(reason, -1) {
			if !tests[test] {
				t.Errorf("%s: there is no %s", name, test)
			}
		}
		delete(covered, name)
	}
	for name, talks := range covered {
		t.Errorf("%q is no name of the checklist, and is covered by%s", name, talks)
	}
}

var testText = regexp.MustCompile(`\bTest[A-Z]\w*`)

// testNames finds the tests of this package.
func testNames(t *testing.T) map[string]bool {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
	}
	return names
}

// TestClausesNameRequirements: what a clause line calls MUST-n and the like is a
// row of docs/rfc.md. With -v it prints the requirements that no clause names.
func TestClausesNameRequirements(t *testing.T) {
	page, err := os.ReadFile("../docs/rfc.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| ((?:MUST|SHLD|MAY|REC)-\d+) `).FindAllStringSubmatch(string(page), -1) {
		rows[m[1]] = false
	}
	for _, s := range loadScripts(t) {
		for _, id := range requirementText.FindAllString(s.clause, -1) {
			if _, known := rows[id]; !known {
				t.Errorf("%s:%d: there is no requirement %s", s.file, s.line, id)
			}
			rows[id] = true
		}
	}
	for id, named := range rows {
		if !named {
			t.Logf("%s is named by no conversation", id)
		}
	}
}

var requirementText = regexp.MustCompile(`\b(?:MUST|SHLD|MAY|REC)-\d+`)
