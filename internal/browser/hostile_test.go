package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// plants are what a hostile peer, or a hostile file, would like the page to obey.
var plants = []string{
	"</script><script>document.title='owned'</script>", "<img src=http://198.18.0.9/x onerror=alert(1)>", `"><svg onload=alert(1)>`, "' autofocus onfocus='alert(1)",
	"<!--<script>", "]]>", "\x1b]0;owned\x07", "\u202egnp.exe\u2066", "\x00\x7f", "\xff\xfe\xc0\xaf", "\u2028",
}

// planted are the lines of a run in which each text is the same one.
func planted(t *testing.T, text string) string {
	t.Helper()
	word, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	line := func(format string) { b.WriteString(strings.ReplaceAll(format, "@", string(word)) + "\n") }
	line(`{"type":"start","schema":"rawtcp/1","command":@,"local":@,"remote":@,"iface":@,"guard":@,"io":@,"version":@,"args":["connect",@],"env":[@]}`)
	line(`{"type":"state","conn":1,"t_us":0,"from":"CLOSED","to":"SYN-SENT","cause":@}`)
	line(`{"type":"segment","conn":1,"t_us":1,"dir":"out","src":@,"dst":@,"flags":"S","seq":0,"note":@,"reason":@,"state":@,"checksum":@,"options":{"fast_open":@}}`)
	line(`{"type":"segment","conn":1,"t_us":2000,"dir":"in","src":@,"dst":@,"flags":"P.","seq":0,"ack":1,"len":9,"notes":[@,@],"state":@}`)
	line(`{"type":"segment","conn":1,"t_us":3000,"dir":"out","src":@,"dst":@,"flags":".","seq":1,"ack":1,"len":9,"note":@}`)
	line(`{"type":"state","conn":1,"t_us":4000,"from":@,"to":@,"cause":@}`)
	line(`{"type":"timer","conn":1,"t_us":5000,"timer":@,"what":"fired"}`)
	line(`{"type":"timer","conn":1,"t_us":5000,"timer":@,"what":@}`)
	line(`{"type":"icmp","conn":1,"t_us":6000,"from":@,"icmp_type":3,"code":1,"text":@}`)
	line(`{"type":"finding","conn":1,"kind":@,"severity":@,"side":@,"text":@}`)
	line(`{"type":"error","code":1,"message":@,"hint":@}`)
	line(`{"type":"summary","conn":1,"local":@,"remote":@,"result":@,"close":{"first":@,"how":@},"states":[@]}`)
	return b.String()
}

// What a stranger says is text in the browser too: each segment's details are
// told by the script, and nothing but texts comes of it.
func TestPlants(t *testing.T) {
	harmless := ""
	for _, text := range []string{"word", strings.Join(plants, " "), strings.Repeat("<b>", 2000)} {
		b := open(t, write(t, planted(t, text)))
		b.do(js(`document.querySelector("section.conn").scrollIntoView()`)) // long texts push it out of sight
		b.alive()
		b.do(chromedp.Focus(chromedp.CSS(".window")))
		for range 3 {
			b.do(chromedp.KeyEvent(kb.ArrowDown))
		}
		b.panel("Segment 3 of 3")
		elements := eval[string](b, `[...document.querySelectorAll("*")].filter(e => !e.closest("svg")).map(e => [e.localName, ...[...e.attributes].map(a => a.name)].join(" ")).join("\n")`)
		if harmless == "" {
			harmless = elements
		}
		if elements != harmless {
			t.Errorf("%.80q changes the elements of the page", text)
		}
		if n := eval[int](b, `document.querySelectorAll("svg :not(path, text, title, g, svg, rect)").length`); n != 0 {
			t.Errorf("%.80q: %d strange elements in the pictures", text, n)
		}
		if strange := eval[string](b, `[...document.documentElement.innerText].filter(c => !/[\n\t -~µ→←–−…↓▸▾\u202f]/.test(c)).join("")`); strange != "" {
			t.Errorf("%.80q: %+q is shown", text, strange)
		}
		if title := eval[string](b, `document.title`); !strings.HasSuffix(title, "rawtcp report") {
			t.Errorf("%.80q: the title is %q", text, title)
		}
		b.quiet()
	}
}

// The policy of the page holds: what would come in by a hole cannot run, and
// nothing reaches a server that listens.
func TestPolicyHolds(t *testing.T) {
	var hits atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer server.Close()
	b := open(t, write(t, lines(t, "lost")))
	b.alive()
	for about, attempt := range map[string]string{
		"script-src-elem": `{ const s = document.createElement("script"); s.textContent = "window.owned = true"; document.body.append(s); }`,
		"script-src-attr": `{ const d = document.createElement("div"); d.setAttribute("onclick", "window.owned = true"); document.body.append(d); d.click(); }`,
		"img-src":         `{ const i = document.createElement("img"); i.src = "@/x.png"; document.body.append(i); }`,
		"connect-src":     `fetch("@/x").catch(() => {})`,
		"style-src-attr":  `{ const d = document.createElement("div"); d.setAttribute("style", "background: url(@/x)"); document.body.append(d); }`,
		"style-src-elem":  `{ const s = document.createElement("link"); s.rel = "stylesheet"; s.href = "@/x.css"; document.head.append(s); }`,
		"frame-src":       `{ const f = document.createElement("iframe"); f.src = "@/"; document.body.append(f); }`,
		"form-action":     `{ const f = document.createElement("form"); f.action = "@/"; document.body.append(f); f.submit(); }`,
		"base-uri":        `{ const f = document.createElement("base"); f.href = "@/"; document.head.append(f); }`,
	} {
		got := eval[string](b, fmt.Sprintf(`new Promise(told => {
			document.addEventListener("securitypolicyviolation", e => told(e.effectiveDirective), {once: true});
			setTimeout(told, 20000, "nothing");
			%s;
		})`, strings.ReplaceAll(attempt, "@", server.URL)))
		if got != about {
			t.Errorf("%s is held off by %s", about, got)
		}
	}
	if eval[bool](b, `window.owned === true`) {
		t.Error("a script that was put in has run")
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d requests came through", n)
	}
}
