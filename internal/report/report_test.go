package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rawtcp/internal/trace"
)

var update = flag.Bool("update", false, "write the golden pictures anew")

// runs are the JSON Lines under testdata: what internal/trace wrote of two
// engines on a simulated wire.
var runs = []string{
	"attack", "keep-alive", "lone", "lost", "refused", "request", "reset", "reset-client", "simultaneous", "too-big", "two", "unanswered", "zero-window",
}

func text(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func read(t testing.TB, lines string) *Run {
	t.Helper()
	r := NewRun()
	if err := r.Read(strings.NewReader(lines)); err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t testing.TB, r *Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The pictures of some runs, as files of their own.
func TestGoldenPictures(t *testing.T) {
	for _, name := range []string{"lost", "zero-window", "two", "attack", "unanswered"} {
		var names []string
		err := read(t, text(t, name)).Pictures(func(picture string, svg []byte) error {
			names = append(names, picture)
			file := filepath.Join("testdata", name+"-"+picture+".svg")
			if *update {
				return os.WriteFile(file, svg, 0o666)
			}
			want, err := os.ReadFile(file)
			if err == nil && !bytes.Equal(svg, want) {
				t.Errorf("%s has changed; go test ./internal/report -update, and look at it", file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join("testdata", name+"-*.svg"))
		if err != nil || len(files) != len(names) {
			t.Errorf("%s: %d files, %d pictures: %v", name, len(files), len(names), err)
		}
	}
}

// A page lets nothing in but its own style and script.
func TestPolicy(t *testing.T) {
	page := write(t, read(t, text(t, "lost")))
	policy := regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)
	if policy == nil {
		t.Fatal("no policy")
	}
	told := strings.NewReplacer("&#39;", "'", "&#43;", "+", "&#34;", `"`).Replace(policy[1])
	between := func(from, to string) string {
		_, rest, ok := strings.Cut(page, from)
		inner, _, more := strings.Cut(rest, to)
		if !ok || !more {
			t.Fatalf("nothing between %s and %s", from, to)
		}
		return inner
	}
	for _, want := range []string{
		"default-src 'none'", "style-src '" + digest(between("<style>", "</style>")) + "'",
		"script-src '" + digest(between("<script>", "</script>")) + "' '" + digest(pageScript) + "'", "base-uri 'none'", "form-action 'none'",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("the policy %s lacks %s", told, want)
		}
	}
	if strings.Contains(told, "unsafe") {
		t.Error(told)
	}
	for _, sin := range []string{" style=", " onclick=", " onload=", " src=", "javascript:", "@import", "url("} {
		if strings.Contains(page, sin) {
			t.Errorf("the page has %q", sin)
		}
	}
	for _, url := range regexp.MustCompile(`https?://[^"' )]*`).FindAllString(page, -1) {
		if url != "http://www.w3.org/2000/svg" {
			t.Errorf("the page names %s", url)
		}
	}
}

// A browser that knows no light-dark() has every colour too.
func TestColoursOfOldBrowsers(t *testing.T) {
	plain, _, _ := strings.Cut(wholeStyle, "@supports")
	for _, m := range colourUse.FindAllStringSubmatch(wholeStyle, -1) {
		if !strings.Contains(plain, m[1]+": #") {
			t.Errorf("%s has no plain colour", m[1])
		}
	}
}

// Every segment, state and timer of a run is in its page.
func TestPageHoldsEverything(t *testing.T) {
	for _, name := range runs {
		r := read(t, text(t, name))
		page := write(t, r)
		for _, c := range r.conns {
			for i := range c.segments {
				if row := fmt.Sprintf("<td>%s</td>", strings.ReplaceAll(notation(&c.segments[i]), "+", "&#43;")); !strings.Contains(page, row) {
					t.Errorf("%s: no row %s", name, row)
				}
			}
			for _, s := range c.states {
				if !strings.Contains(page, "<td>"+s.From+"</td><td>"+s.To+"</td>") {
					t.Errorf("%s: no step from %s to %s", name, s.From, s.To)
				}
			}
			for i := range c.timers {
				if l := &c.timers[i]; !strings.Contains(page, "<td>"+laneName(l)+"</td><td>"+l.What+"</td>") {
					t.Errorf("%s: no timer %s %s", name, l.Timer, l.What)
				}
			}
		}
	}
}

// The script's data say the same as the lines.
func TestDataBlock(t *testing.T) {
	r := read(t, text(t, "lost"))
	page := write(t, r)
	_, rest, _ := strings.Cut(page, `<script type="application/json" class="data">`)
	block, _, _ := strings.Cut(rest, "</script>")
	var d dataBlock
	if err := json.Unmarshal([]byte(block), &d); err != nil {
		t.Fatal(err)
	}
	c := r.conns[0]
	if len(d.Segments) != len(c.segments) || len(d.States) != len(c.states) || len(d.Graphs) != 1 {
		t.Fatalf("%d segments, %d states, %d graphs", len(d.Segments), len(d.States), len(d.Graphs))
	}
	for i, s := range d.Segments {
		l := &c.segments[i]
		if s[0] != l.TimeUS || d.Words[s[3]] != l.Flags || s[4] != int64(l.Seq) || s[10] != int64(l.Len) || d.Words[s[14]] != l.Reason {
			t.Errorf("segment %d is %v, the line %+v", i, s, l)
		}
	}
	if n := len(d.Graphs[0].SACKs); n != 3 {
		t.Errorf("%d SACK blocks, want 3", n)
	}
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		env, args []string
		want      string
	}{
		{nil, []string{"connect", "example.com:80"}, "rawtcp connect example.com:80"},
		{nil, []string{"connect", "[2001:db8::1]:80", ""}, "rawtcp connect '[2001:db8::1]:80' ''"},
		{[]string{"RAWTCP_MSS=500"}, []string{"listen", "-v", "--send", "it's a $HOME"}, `RAWTCP_MSS=500 rawtcp listen -v --send 'it'\''s a $HOME'`},
		{[]string{"a b=c"}, []string{"connect", "\x1b[31m\u202e\\'"}, `'a b=c' rawtcp connect $'\x1b[31m\xe2\x80\xae\\\''`},
		{nil, []string{"connect", "~root", "*", "a;b"}, "rawtcp connect '~root' '*' 'a;b'"},
	} {
		if got := commandLine(tt.env, tt.args); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// A command that wrote a file does not work a second time as it stands.
func TestCommandThatWrote(t *testing.T) {
	for _, tt := range []struct {
		env, args []string
		want      bool
	}{
		{nil, []string{"connect", "example.com:80"}, false},
		{nil, []string{"connect", "--report", "a.html", "example.com:80"}, true},
		{nil, []string{"connect", "--pcap=a.pcap", "example.com:80"}, true},
		{nil, []string{"connect", "--pcap=-", "--out", "-", "example.com:80"}, false},
		{nil, []string{"probe", "--report", "a.html", "--force", "example.com:80"}, false},
		{[]string{"RAWTCP_REPORT=a.html"}, []string{"listen", ":80"}, true},
		{[]string{"RAWTCP_REPORT=a.html", "RAWTCP_FORCE=1"}, []string{"listen", ":80"}, false},
	} {
		args, err := json.Marshal(map[string]any{"type": "start", "schema": trace.Schema, "command": "connect", "args": tt.args, "env": tt.env})
		if err != nil {
			t.Fatal(err)
		}
		page := new(bytes.Buffer)
		if err := read(t, string(args)).Write(page); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(page.String(), "add --force"); got != tt.want {
			t.Errorf("%q %q: says to add --force: %v, want %v", tt.env, tt.args, got, tt.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for lines, want := range map[string]string{
		"": "no connection to report on",
		`{"type":"start","schema":"rawtcp/1","command":"ping"}`:                                             "the lines of rawtcp ping",
		`{"type":"start","schema":"rawtcp/1","command":"connect"}`:                                          "no connection",
		`{"type":"start","schema":"rawtcp/1","command":"connect"}` + "\n" + `{"type":"error","message":""}`: "",
		`{"type":"state","conn":1,"t_us":0,"from":"CLOSED","to":"SYN-SENT","cause":""}`:                     "",
	} {
		err := read(t, lines).Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", lines, err, want)
		}
	}
	r := NewRun()
	r.Only = 7
	if err := r.Read(strings.NewReader(text(t, "two"))); err != nil || r.Check() == nil || !strings.Contains(r.Check().Error(), "no connection 7") {
		t.Errorf("%v, %v", err, r.Check())
	}
}

// A run that failed before its first segment still has a page, with the error.
func TestPageOfAnError(t *testing.T) {
	r := NewRun()
	r.Add(trace.ErrorLine{Code: 6, Message: "cannot find <b>host</b>", Hint: "look"})
	page := write(t, r)
	for _, want := range []string{"cannot find &lt;b&gt;host&lt;/b&gt;", "exit code 6", "Hint: look"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func segmentAt(conn uint64, us int64) trace.SegmentLine {
	return trace.SegmentLine{Type: "segment", Conn: conn, TimeUS: us, Dir: "out", Src: "192.0.2.1:1", Dst: "192.0.2.2:2", Flags: ".", Checksum: "ok"}
}

// Whatever comes, a bounded part is kept, and the page says what is missing.
func TestLimits(t *testing.T) {
	r := NewRun()
	for conn := range uint64(maxRows + 3) {
		r.Add(segmentAt(conn+1, int64(conn)))
	}
	for us := range int64(maxSegments + 5) {
		r.Add(segmentAt(1, us+10))
	}
	for range 3 {
		r.Add(segmentAt(0, 0))
	}
	for range maxErrors + 5 {
		r.Add(trace.ErrorLine{Message: "x"})
	}
	if len(r.conns) != maxRows || r.more != 3 || r.strays != 3 || len(r.errors) != maxErrors {
		t.Errorf("%d connections, %d more, %d strays, %d errors", len(r.conns), r.more, r.strays, len(r.errors))
	}
	if c := r.conns[0]; len(c.segments) != maxSegments || c.seen != maxSegments+6 {
		t.Errorf("%d segments kept of %d", len(c.segments), c.seen)
	}
	if c := r.conns[maxFull]; c.full || len(c.segments) != 0 || c.seen != 1 {
		t.Errorf("connection %d is drawn", c.id)
	}
	page := write(t, r)
	for _, want := range []string{
		"The first 20 connections are drawn", "The table ends at 1\u202f000 connections; 3 lines", "3 segments of no connection",
		"The first 20\u202f000 of 20\u202f006 segments are drawn",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say: %s", want)
		}
	}
}

// The table tells which connections of a capture to look at, drawn or not; of
// those that are not drawn nothing else is kept.
func TestFindingsAreCounted(t *testing.T) {
	r := NewRun()
	for conn := range uint64(maxFull + 1) {
		r.Add(trace.ConnectionLine{Conn: conn + 1, Result: "closed"})
	}
	for range 3 {
		r.Add(trace.FindingLine{Conn: maxFull + 1, Severity: "warning", Text: "x"})
	}
	r.Add(trace.FindingLine{Conn: maxFull + 1, Severity: "problem", Text: "x"})
	r.Add(trace.FindingLine{Conn: maxFull + 1, Severity: "info", Text: "x"})
	if page := write(t, r); !strings.Contains(page, "<td>1 problem, 3 warnings</td>") {
		t.Error("the table does not count the findings")
	}
	if n := len(r.conns[maxFull].findings); n != 0 {
		t.Errorf("%d findings are kept of a connection that is not drawn", n)
	}
}

func TestAllSegmentsTogetherAreLimited(t *testing.T) {
	r := NewRun()
	for conn := range uint64(5) {
		for us := range int64(maxSegments) {
			r.Add(segmentAt(conn+1, us))
		}
	}
	kept := 0
	for _, c := range r.conns {
		kept += len(c.segments)
	}
	if kept != maxAll || r.conns[4].full {
		t.Errorf("%d segments kept, want %d", kept, maxAll)
	}
}

// The lines of a run may come as values or as JSON: the page is the same.
func TestValuesAndJSONMakeTheSamePage(t *testing.T) {
	for _, name := range runs {
		r := NewRun()
		for line := range strings.Lines(text(t, name)) {
			v, err := parseLine([]byte(strings.TrimSpace(line)))
			if err != nil {
				t.Fatal(err)
			}
			r.Add(v)
		}
		if write(t, r) != write(t, read(t, text(t, name))) {
			t.Errorf("%s: the pages differ", name)
		}
	}
}
