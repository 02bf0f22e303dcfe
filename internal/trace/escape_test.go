package trace

import (
	"strings"
	"testing"
)

// Each kind of what a terminal might obey, and text that must stay as it is.
func TestEscapedText(t *testing.T) {
	for in, want := range map[string]string{
		"plain ~ text":     "plain ~ text",
		"a\r\n\tb":         `a\r\n\tb`,
		"\x00\a\x1b[2J":    `\x00\x07\x1b[2J`,
		"\x7f":             `\x7f`,
		"\u0085\u009b31m":  `\u0085\u009b31m`, // C1 as UTF-8
		"\x80\x9b31m\xff":  `\x80\x9b31m\xff`, // C1 as octets
		"\u202eevil\u2066": `\u202eevil\u2066`,
		"\u00e9\u4e16":     `\u00e9\u4e16`,
		"\U000e0001":       `\U000e0001`,
		"\uffff\ufffd":     `\uffff\ufffd`, // a replacement character that was sent as such
		`say "hi" \ there`: `say \"hi\" \\ there`,
		"\xe2\x82":         `\xe2\x82`, // cut in the middle
	} {
		if got := string(AppendEscaped(nil, []byte(in))); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestSnippetFitsItsWidth(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("a", 100), strings.Repeat("\x1b", 100), strings.Repeat("\U000e0001", 20)} {
		for width := 20; width < 60; width++ {
			got := string(appendSnippet(nil, []byte(text), width))
			if len(got) > width && len(got) > len(`""...`) {
				t.Errorf("%q in %d columns: %s", text, width, got)
			}
			if whole := `"` + string(AppendEscaped(nil, []byte(text))) + `"`; got != whole && !strings.HasSuffix(got, `"...`) {
				t.Errorf("%q in %d columns: %s says not that there is more", text, width, got)
			}
		}
	}
}
