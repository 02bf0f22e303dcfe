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
		{goodLine + "\n\n{", "line 4: not JSON Lines of rawtcp: no JSON at octet 1"},
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
