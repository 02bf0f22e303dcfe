package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"

	"rawtcp/internal/trace"
)

// plants are what a hostile peer, or a hostile file, would like a page to obey.
var plants = []string{
	"</script><script>alert(1)</script>", "</style><script>alert(1)</script>", "<img src=x onerror=alert(1)>", `"><svg onload=alert(1)>`, "' onclick='alert(1)",
	"<!--", "-->", "]]>", "<![CDATA[", "{{.}}", "${alert(1)}", "`", `\u003c/script>`, "&lt;script&gt;", "javascript:alert(1)", "\u2028\u2029",
	"\x1b]0;owned\x07", "\u202egnp.exe", "\u2066\u2069\u200b\ufeff", "\x00\x7f\b", "\xff\xfe\xc0\xaf", strings.Repeat("A", 5000), strings.Repeat("<", 3000), "\r\nforged", "\U000e0041", "é",
}

// planted is a run whose every text is the same one.
func planted(text string) *Run {
	r := NewRun()
	r.Add(trace.Start{Schema: trace.Schema, Command: text, Local: text, Remote: text, Iface: text, Guard: text, IO: text, Version: text, Args: []string{text}, Env: []string{text}})
	mss, scale, one, cookie := uint16(1460), uint8(7), uint32(1), text
	timeout := 5
	for i, dir := range []string{"out", "in", "out"} {
		r.Add(trace.SegmentLine{
			Conn: 1, TimeUS: int64(i) * 1000, Dir: dir, Src: text, Dst: text, Flags: text, Len: 5, Checksum: text, Note: text, Notes: []string{text}, Reason: text, State: text, PeerState: text,
			Options: trace.OptionsLine{MSS: &mss, WScale: &scale, SACKPermitted: true, SACK: [][2]uint32{{1, 2}}, TSVal: &one, TSEcr: &one, FastOpen: &cookie, UserTimeout: &timeout, Raw: text},
		})
	}
	r.Add(trace.StateLine{Conn: 1, TimeUS: 10, From: text, To: text, Cause: text, Side: text})
	r.Add(trace.TimerLine{Conn: 1, TimeUS: 20, Timer: text, What: text, Side: text})
	r.Add(trace.TimerLine{Conn: 1, TimeUS: 20, Timer: text, What: "fired", Side: text})
	r.Add(trace.ICMPLine{Conn: 1, TimeUS: 30, From: text, Text: text, Note: text})
	r.Add(trace.FindingLine{Conn: 1, Kind: text, Severity: text, Side: text, Text: text, Frames: []uint64{1}})
	r.Add(trace.FindingLine{Kind: text, Severity: text, Side: text, Text: text})
	r.Add(trace.ErrorLine{Code: 1, Message: text, Hint: text})
	origin := &trace.Origin{From: text, Text: text}
	r.Add(trace.Summary{Conn: uint64(1), Local: text, Remote: text, Result: text, Close: trace.Close{First: text, How: "rst"}, RST: origin, ICMP: origin, States: []string{text}})
	r.Add(trace.Summary{Conn: uint64(2), Local: text, Remote: text, Result: text, Close: trace.Close{First: text, How: "icmp"}, ICMP: origin})
	side := trace.SideLine{Addr: text, States: []string{text}}
	r.Add(trace.ConnectionLine{Conn: 3, Opener: text, Result: text, Close: trace.Close{First: text, How: text}, Local: side, Remote: side})
	return r
}

// structure is the elements of a page with their attributes' names, and all of
// its text: what a plant must not change, and what must be fit to be seen.
func structure(t *testing.T, page string) (elements []string, words string) {
	t.Helper()
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(page))
	script := false
	for {
		kind := z.Next()
		token := z.Token()
		switch kind {
		case html.ErrorToken:
			if z.Err() != io.EOF {
				t.Fatal(z.Err())
			}
			return elements, b.String()
		case html.TextToken:
			if script && strings.HasPrefix(token.Data, "{") && !json.Valid([]byte(token.Data)) {
				t.Fatalf("the data block is no JSON: %.200s", token.Data)
			}
			b.WriteString(token.Data)
		case html.CommentToken, html.DoctypeToken:
			elements = append(elements, token.String())
		default:
			script = kind == html.StartTagToken && token.Data == "script"
			element := fmt.Sprint(kind, " ", token.Data)
			for _, a := range token.Attr {
				element += " " + a.Key
				b.WriteString(a.Val)
			}
			elements = append(elements, element)
		}
	}
}

// bare is a page without its style and script, which are always the same.
func bare(t *testing.T, r *Run) string {
	t.Helper()
	p := r.page()
	p.Style, p.Opener, p.Script = "", "", ""
	var b strings.Builder
	if err := pageTemplate.Execute(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// checkPlanted wants a page with a plant to be the page of a harmless word but
// for its text.
func checkPlanted(t *testing.T, text string) {
	t.Helper()
	// What the text is decides some classes of marks, and whether a fact is there.
	harmless := "a"
	if clean(text) == "" {
		harmless = ""
	}
	want, _ := structure(t, bare(t, planted(harmless)))
	got, words := structure(t, bare(t, planted(text)))
	if strings.ContainsAny(clean(text), "SFR.") || text == "fired" || bandOf(text) != "" {
		want = got // it reads as flags or as a state, and the pictures rightly differ
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		for i := range got {
			if i >= len(want) || got[i] != want[i] {
				t.Fatalf("%q: element %d is %q", text, i, got[i])
			}
		}
		t.Fatalf("%q: %d elements, want %d", text, len(got), len(want))
	}
	for _, r := range words {
		if r != '\n' && !unicode.IsPrint(r) && r != '\u202f' || r == unicode.ReplacementChar || unicode.Is(unicode.Bidi_Control, r) {
			t.Fatalf("%q: %U is in the page", text, r)
		}
	}
}

func TestPlants(t *testing.T) {
	for _, text := range plants {
		checkPlanted(t, text)
	}
}

// FuzzPlant: nothing that a stranger can put into a run changes a page but for its text.
func FuzzPlant(f *testing.F) {
	for _, p := range plants {
		f.Add(p)
	}
	f.Fuzz(checkPlanted)
}

// FuzzRead: no file makes the reader or the page fail, and what comes out is
// one page with every picture well formed.
func FuzzRead(f *testing.F) {
	for _, name := range runs {
		f.Add([]byte(text(f, name)))
	}
	f.Add([]byte(`{"type":"segment","conn":1,"t_us":9007199254740991,"dir":"in","flags":"S.","seq":4294967295,"ack":4294967295,"win":65535,"wscale":14,"len":1048576,"options":{"sack":[[1,4294967295],[0,0],[7,3],[9,9],[1,2]],"mss":0,"wscale":255}}` + "\n" +
		`{"type":"segment","conn":1,"t_us":0,"dir":"out","flags":"SFRPUEWe.","seq":0}`))
	f.Add([]byte(`{"type":"connection","conn":5,"handshake_us":-9223372036854775808,"syn_rtt_us":9223372036854775807,"local":{"bytes":18446744073709551615}}` + "\n" + `{"type":"summary","conn":5,"teardown_us":-1,"bytes_sent":18446744073709551615}`))
	f.Add([]byte(`{"type":"finding","conn":1,"t_us":-5}` + "\n" + `{"type":"summary","conn":1e300}` + "\n" + `{"type":"summary","conn":[]}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		r := NewRun()
		if r.Read(bytes.NewReader(file)) != nil {
			return
		}
		page := bare(t, r)
		if n := strings.Count(page, "<html"); n != 1 || !strings.HasSuffix(strings.TrimSpace(page), "</html>") {
			t.Fatalf("%d pages", n)
		}
		structure(t, page)
		if strings.Contains(page, "NaN") || strings.Contains(page, "Inf") && !strings.Contains(string(file), "Inf") && strings.Contains(page, `="Inf`) {
			t.Fatal("a picture has what is no number")
		}
		if err := r.Pictures(func(_ string, svg []byte) error { return wellFormed(svg) }); err != nil {
			t.Fatal(err)
		}
	})
}
