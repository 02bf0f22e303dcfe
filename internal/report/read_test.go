package report

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

const goodLine = `{"type":"state","conn":1,"t_us":5,"from":"CLOSED","to":"SYN-SENT","cause":"x"}` + "\n"

// An error names the line and what is wrong with it.
func TestReadErrors(t *testing.T) {
	for _, tt := range []struct{ lines, want string }{
		{"hello\n", "line 1: not JSON Lines of rawtcp: no JSON at octet 1"},
		{"{", "line 1: not JSON Lines of rawtcp: no JSON at octet 1"},
		{goodLine + "\n\n{\n", "line 4: not JSON Lines of rawtcp: no JSON at octet 1"},
		{goodLine + "{\n" + goodLine, "line 2: not JSON Lines of rawtcp: no JSON at octet 1"},
		{goodLine + `{"type":]`, "line 2: not JSON Lines of rawtcp: no JSON at octet 9"},
		{goodLine + "[]\n", "line 2: not JSON Lines of rawtcp: no JSON object"},
		{goodLine + "{}\n", "line 2: not JSON Lines of rawtcp: no type"},
		{`{"type":"start","schema":"rawtcp/9"}`, `line 1: not JSON Lines of rawtcp: schema "rawtcp/9"; want "rawtcp/1"`},
		{`{"type":"segment","dir":"up"}`, "line 1: not JSON Lines of rawtcp: dir is \"up\"; want in or out"},
		{`{"type":"segment","dir":"in","seq":-1}`, "line 1: not JSON Lines of rawtcp: seq cannot be a number -1"},
		{`{"type":"segment","dir":"in","win":"many"}`, "line 1: not JSON Lines of rawtcp: win cannot be a string"},
		{`{"type":"segment","dir":"in","len":-4}`, "line 1: not JSON Lines of rawtcp: len is -4; want what fits a segment"},
		{`{"type":"segment","dir":"in","wscale":15}`, "line 1: not JSON Lines of rawtcp: wscale is 15; want at most 14"},
		{`{"type":"state","t_us":-1}`, "line 1: not JSON Lines of rawtcp: t_us is -1; want a time from 0 to 9007199254740991"},
		{`{"type":"state","t_us":9007199254740992}`, "line 1: not JSON Lines of rawtcp: t_us is 9007199254740992; want a time from 0 to 9007199254740991"},
		{`{"type":"timer","due_us":-7}`, "line 1: not JSON Lines of rawtcp: due_us is -7; want a time from 0 to 9007199254740991"},
		{goodLine + strings.Repeat(" ", maxLine+1), "line 2: not JSON Lines of rawtcp: longer than 1048576 octets"},
	} {
		err := NewRun().Read(strings.NewReader(tt.lines))
		if err == nil || err.Error() != tt.want || !errors.Is(err, ErrFormat) {
			t.Errorf("%.60s\ngot  %v\nwant %s", tt.lines, err, tt.want)
		}
	}
	broken := errors.New("the disk is gone")
	if err := NewRun().Read(iotest.ErrReader(broken)); !errors.Is(err, broken) || errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

// A run whose program was killed ends in the middle of a line; what came before
// is shown, and the page tells of it.
func TestReadCutOff(t *testing.T) {
	whole := text(t, "lost")
	for _, left := range []int{1, 5, 40} {
		r := read(t, whole[:len(whole)-1-left])
		if c := r.conns[0]; len(c.segments) != 17 || c.sum != nil {
			t.Errorf("%d segments, %v", len(c.segments), c.sum)
		}
		if page := write(t, r); !strings.Contains(page, "ends in the middle of line 49: its program was stopped") {
			t.Error("the page does not say that the input is cut off")
		}
	}
}

// Several runs in one report: the numbers of their connections go on, and each
// is named with its command.
func TestReadSeveral(t *testing.T) {
	run, two := text(t, "request"), text(t, "two")
	together := read(t, run+two)
	apart := read(t, run)
	apart.Next()
	apart.Next() // nothing came in between
	if err := apart.Read(strings.NewReader(two)); err != nil {
		t.Fatal(err)
	}
	if len(apart.conns) != 3 || apart.conns[2].id != 3 || len(apart.sources) != 2 {
		t.Fatalf("%d connections of %d runs", len(apart.conns), len(apart.sources))
	}
	page := write(t, together)
	if page != write(t, apart) {
		t.Error("a second start line is not the same as Next")
	}
	for _, want := range []string{"The runs", "1 of 2", "2 of 2", `id="c1"`, `id="c3"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	one := NewRun()
	one.Only = 3
	if err := one.Read(strings.NewReader(run + two)); err != nil || len(one.conns) != 1 || one.conns[0].id != 3 {
		t.Errorf("%v, %v", one.conns, err)
	}
}

// However many runs come, a bounded number is told of.
func TestReadTooMany(t *testing.T) {
	r := read(t, strings.Repeat(text(t, "refused"), maxSources+5))
	if !strings.Contains(write(t, r), "5 more runs are not told of") {
		t.Error("the page does not say that runs are left out")
	}
	if len(r.sources) != maxSources || len(r.conns) != maxSources+5 {
		t.Errorf("%d runs, %d connections", len(r.sources), len(r.conns))
	}
}

// Types of line and keys that are not known yet are no error.
func TestReadPassesOverTheUnknown(t *testing.T) {
	r := read(t, `{"type":"tomorrow","conn":3}`+"\n\r\n"+`{"type":"state","conn":1,"t_us":5,"from":"CLOSED","to":"LISTEN","cause":"x","mood":"good"}`+"\r\n")
	if len(r.conns) != 1 || len(r.conns[0].states) != 1 {
		t.Errorf("%+v", r.conns)
	}
}

func TestReadOnlyOne(t *testing.T) {
	r := NewRun()
	r.Only = 2
	if err := r.Read(strings.NewReader(text(t, "two"))); err != nil {
		t.Fatal(err)
	}
	if len(r.conns) != 1 || r.conns[0].id != 2 || len(r.conns[0].segments) == 0 {
		t.Errorf("%+v", r.conns)
	}
}
