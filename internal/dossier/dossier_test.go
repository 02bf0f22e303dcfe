package dossier_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"rawtcp/internal/dossier"
	"rawtcp/internal/probe"
	"rawtcp/internal/trace"
)

// saved is a run as --json writes it.
func saved(t *testing.T, r *probe.Report) string {
	t.Helper()
	text := `{"type":"start","schema":"rawtcp/1"}` + "\n"
	for i := range r.Results {
		line, err := json.Marshal(probe.NewLine(&r.Results[i], target.String(), 5))
		if err != nil {
			t.Fatal(err)
		}
		text += string(line) + "\n"
	}
	return text + `{"type":"summary","probe":{"print":"` + r.Print() + `"}}` + "\n"
}

func read(t *testing.T, text string) *dossier.Run {
	t.Helper()
	got, err := dossier.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestDiff: a host that no RST reaches differs in the rows of RSTs alone.
func TestDiff(t *testing.T) {
	good := read(t, saved(t, run(t, false, "A3", "C1", "C2", "C10")))
	deaf := read(t, saved(t, run(t, true, "A3", "C1", "C2")))
	if !strings.HasPrefix(good.Print, "rtp1;ip=4;ttl=64;df=1;win=65535;opt=M1460,") || good.Target != target.String() {
		t.Errorf("target %s, print %s", good.Target, good.Print)
	}
	differ, shared := dossier.Diff(good, deaf)
	got := ""
	for _, d := range differ {
		got += d.Row + " " + d.Name + " "
		for _, side := range []*probe.Line{d.A, d.B} {
			if side == nil {
				got += "none "
				continue
			}
			got += side.Outcome + " "
		}
	}
	if want := "C1 rst-exact dead ignored C2 rst-in-window challenge ignored C10 data-beyond-window acked none "; got != want || shared != 3 {
		t.Errorf("%d shared, got  %s\nwant %s", shared, got, want)
	}
	if differ, _ := dossier.Diff(good, good); len(differ) != 0 {
		t.Errorf("a run differs from itself: %v", differ)
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                          dossier.ErrNoRun.Error(),
		`{"type":"start"}`:          dossier.ErrNoRun.Error(),
		"{}\nnot json":              "line 2: ",
		`{"type":"row","row":5}`:    "line 1: ",
		`{"type":"row","facts":{}}`: "line 1: ",
	} {
		if _, err := dossier.Read(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := dossier.Read(strings.NewReader("{}")); !errors.Is(err, dossier.ErrNoRun) {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"type":"row","row":"C2","name":"n","verdict":"pass"}` + "\n" + `{"type":"row","row":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := dossier.Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		if differ, _ := dossier.Diff(got, got); len(differ) != 0 {
			t.Fatalf("a run differs from itself: %v", differ)
		}
	})
}

var outside = regexp.MustCompile(`(?i)<script|<img|<iframe|@import|url\(| src=| on[a-z]+=`)

// TestPage: a page has every row with its clause and ladder, fetches nothing, runs
// nothing, and shows what came from the network as text.
func TestPage(t *testing.T) {
	report := run(t, true, "A3", "C1")
	report.Results[0].Text = `<script>alert(1)</script>`
	report.Results[0].Facts = append(report.Results[0].Facts, probe.Fact{Name: "bad", Text: `"><img src=x onerror=alert(1)>`})
	var b bytes.Buffer
	page := dossier.Page{Target: target.String(), Name: "<b>host", Service: "echo", Began: time.Unix(0, 0), Version: "1", Report: report}
	if err := page.Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		"default-src &#39;none&#39;", "<h1>&lt;b&gt;host</h1>", "&lt;script&gt;alert(1)", `id="A3"`, `id="C1" open`, "RFC 9293 section 3.10.7.4",
		"the connection lives on (this run)", "C. Segments in ESTABLISHED", "SYN-SENT", "rtp1;ip=4;", "@media print",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	body := text[strings.Index(text, "<body>"):]
	for _, tag := range regexp.MustCompile(`<[^>]*>`).FindAllString(text, -1) {
		if outside.MatchString(tag) {
			t.Errorf("the page has %s", tag)
		}
	}
	if strings.Count(body, "<details") != 2 || strings.Count(body, "<summary>") != 2 || strings.Count(text, "<h1>") != 1 {
		t.Error("the rows do not fold, or there is no heading")
	}
}

// TestLadder: a long row keeps its ends.
func TestLadder(t *testing.T) {
	r := &run(t, false, "C1").Results[0]
	one := dossier.Ladder(r, trace.LadderConfig{})
	if !strings.Contains(one, "SYN-SENT") || strings.Count(one, "\n") < len(r.Record) {
		t.Errorf("the ladder:\n%s", one)
	}
	for len(r.Record) < 2000 {
		r.Record = append(r.Record, r.Record...)
	}
	text := dossier.Ladder(r, trace.LadderConfig{Width: 200})
	if n := strings.Count(text, "\n"); n < 500 || n > 1200 || !strings.Contains(text, "more, which a capture shows") {
		t.Errorf("%d lines", n)
	}
}
