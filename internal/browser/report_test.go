package browser

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

//go:embed testdata/axe.min.js
var axe string

// views are runs that show different things.
var views = []string{
	"lost", "zero-window", "attack", "refused", "simultaneous",
	"reset", "two", "keep-alive", "unanswered",
}

// The pictures hold as many marks as the run has events, before and after the
// script has drawn them, and the page asks for nothing and complains of nothing.
func TestPictures(t *testing.T) {
	for _, name := range views {
		t.Run(name, func(t *testing.T) {
			text := lines(t, name)
			want := shapeOf(t, text)
			b := open(t, write(t, text))
			b.alive()
			b.do(js(`for (const s of document.querySelectorAll("section.conn")) s.scrollIntoView()`))
			b.until(`document.querySelectorAll("section.conn:not(.alive)").length === 0`)
			b.do(js(counting))
			if got := eval[int](b, `heads(".still .arrows path")`); got != want.segments {
				t.Errorf("%d arrows in the file, %d segments", got, want.segments)
			}
			b.do(js(`for (const s of document.querySelectorAll("section.conn")) s.connection.ladder.whole()`))
			if got := eval[int](b, `liveSegments()`); got != want.segments {
				t.Errorf("the script knows %d segments of %d", got, want.segments)
			}
			if got := eval[int](b, `document.querySelectorAll(".segments tbody tr").length`); got != want.segments {
				t.Errorf("%d rows, %d segments", got, want.segments)
			}
			if got := eval[int](b, `document.querySelectorAll("[aria-label='Table of states'] tbody tr").length`); got != want.states {
				t.Errorf("%d steps, %d states", got, want.states)
			}
			if got := eval[int](b, `moves(".lanes path.fired")`); got != want.fired {
				t.Errorf("%d timers fire, want %d", got, want.fired)
			}
			if got := eval[int](b, `moves(".graph path.data, .graph path.resent")`); got != want.bars {
				t.Errorf("%d bars in the graphs, want %d", got, want.bars)
			}
			if got := eval[int](b, `moves(".graph path.sack")`); got != want.sacks {
				t.Errorf("%d SACK blocks, want %d", got, want.sacks)
			}
			if got := eval[int](b, `moves(".graph path.shut")`); (got > 0) != want.shut {
				t.Errorf("%d marks of a zero window, and there is one: %t", got, want.shut)
			}
			if got := eval[string](b, `mismatch()`); got != "" {
				t.Errorf("the script and the table disagree: %s", got)
			}
			b.quiet()
		})
	}
}

// counting is what the tests count with. An arrow is two moves in a path, one
// for its line and one for its head; a refused one has two more for its cross.
const counting = `
	moves = (css) => [...document.querySelectorAll(css)].reduce((n, p) => n + (p.getAttribute("d").match(/M/g) || []).length, 0);
	heads = (css) => [...document.querySelectorAll(css)].reduce((n, p) => n + (p.getAttribute("d").match(/M/g) || []).length / (p.classList.contains("drop") ? 4 : 2), 0);
	liveSegments = () => [...document.querySelectorAll("section.conn")].reduce((n, s) => n + s.connection.segments.length, 0);
	mismatch = () => {
		for (const s of document.querySelectorAll("section.conn")) {
			const rows = [...s.querySelectorAll(".segments tbody tr")].map(r => r.cells[3].textContent);
			const told = s.connection.segments.map(x => s.connection.notation(x));
			for (let i = 0; i < told.length; i++) if (rows[i] !== told[i]) return rows[i] + " and " + told[i];
		}
		return "";
	};`

// The labels and arrows that the script draws are those of the file, where there
// is room for all.
func TestScriptDrawsWhatTheFileHas(t *testing.T) {
	b := open(t, write(t, lines(t, "lone")))
	b.alive()
	b.do(js(counting), js(`{ const l = document.querySelector("section.conn").connection.ladder; l.setScale(l.readable()); l.draw(); }`))
	still := eval[int](b, `heads(".still .arrows path")`)
	if live := eval[int](b, `heads(".window .arrows path")`); live != still || live == 0 {
		t.Errorf("%d arrows by the script, %d in the file", live, still)
	}
	texts := func(css string) string {
		return eval[string](b, fmt.Sprintf(`JSON.stringify([...document.querySelectorAll(%q)].map(t => t.textContent).sort())`, css))
	}
	if live, still := texts(".window .labels text"), texts(".still .labels text"); live != still {
		t.Errorf("labels by the script\n%s\nin the file\n%s", live, still)
	}
}

func TestMouse(t *testing.T) {
	b := open(t, write(t, lines(t, "lost")))
	b.alive()
	// The third label of the peer's is its first duplicate ACK.
	b.do(chromedp.ScrollIntoView(chromedp.CSS(".window")))
	b.chooses(`[...document.querySelectorAll(".window .labels text.note.in")].find(t => t.textContent.includes("dup ack"))`, "Segment 9 of 17")
	b.panel("dup ack")
	// An arrow does as well as its label: the retransmission is the only dashed one.
	b.chooses(`document.querySelector(".window .arrows path.again")`, "fast retransmission")
	if n := eval[int](b, `document.querySelectorAll(".chosen-arrow").length`); n != 1 {
		t.Errorf("%d arrows are marked", n)
	}
	b.zoomed("the button", chromedp.Click(chromedp.CSS(`.live button[aria-label="Zoom in"]`)))
	b.zoomed("the wheel", b.wheel(".window", -120))
	b.do(chromedp.Click(chromedp.CSS(`.live button[aria-label="Show the whole connection"]`)))
	if got := eval[string](b, `document.querySelector(".live .hint").textContent`); got != "0.000000 to 0.820002 s" {
		t.Errorf("the whole is %s", got)
	}
	b.do(chromedp.Click(chromedp.CSS(`.live button[aria-label="Fold silences"]`)))
	if got := eval[string](b, `document.querySelector(".live button[aria-label='Fold silences']").getAttribute("aria-pressed")`); got != "false" {
		t.Errorf("silences are still folded: %s", got)
	}
	b.quiet()
}

// The graphs zoom and move by mouse and keyboard, and choose a segment for the
// ladder.
func TestGraph(t *testing.T) {
	b := open(t, write(t, lines(t, "lost")))
	b.alive()
	const hint = `document.querySelector(".plots .hint").textContent`
	whole := eval[string](b, hint)
	b.do(chromedp.ScrollIntoView(chromedp.CSS(".plots .graph")))
	b.changes("the wheel", hint, b.wheel(".plots .graph", -120))
	b.changes("the button", hint, chromedp.Click(chromedp.CSS(`.plots button[aria-label="Later"]`)))
	b.do(chromedp.Click(chromedp.CSS(`.plots button[aria-label="Show the whole connection"]`)))
	b.awaits("the whole", hint, func(got string) bool { return got == whole })
	b.do(chromedp.Focus(chromedp.CSS(".plots .scroller")))
	b.changes("plus", hint, chromedp.KeyEvent("+"))
	b.changes("right", hint, chromedp.KeyEvent(kb.ArrowRight))
	b.do(chromedp.KeyEvent("0"))
	b.awaits("nought", hint, func(got string) bool { return got == whole })
	b.chooses(`document.querySelector(".plots .graph path.resent")`, "Segment ")
	b.until(`document.querySelector(".details h4") !== null`)
	if eval[string](b, `document.querySelector(".plots .chosen-line").getAttribute("d")`) == "" {
		t.Error("the graph does not mark what is chosen")
	}
	b.quiet()
}

func TestKeyboard(t *testing.T) {
	b := open(t, write(t, lines(t, "lost")))
	b.alive()
	// Tab alone comes to the ladder.
	for range 40 {
		b.do(chromedp.KeyEvent(kb.Tab))
		if eval[bool](b, `document.activeElement.classList.contains("window")`) {
			break
		}
	}
	if !eval[bool](b, `document.activeElement.classList.contains("window")`) {
		t.Fatal("the keyboard does not reach the ladder")
	}
	b.do(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.ArrowDown))
	b.panel("Segment 3 of 17")
	b.panel("completes the handshake")
	b.do(chromedp.KeyEvent(kb.ArrowUp))
	b.panel("Segment 2 of 17")
	b.do(chromedp.KeyEvent(kb.End))
	b.panel("Segment 17 of 17")
	b.zoomed("plus", chromedp.KeyEvent("+"))
	b.zoomed("minus", chromedp.KeyEvent("-"))
	b.do(chromedp.KeyEvent(kb.Escape))
	b.panel("No segment is chosen")
	b.quiet()
}

// reply is how long a page that works may take to show what was done to it.
const reply = time.Minute

// panel waits for the details to have a text.
func (b *tab) panel(text string) {
	b.t.Helper()
	b.awaits("the details", `document.querySelector(".details").textContent`, func(got string) bool { return strings.Contains(got, text) })
}

// chooses clicks on what an expression finds until the details have a text: a page
// that is still laying itself out may have moved it from under the mouse.
func (b *tab) chooses(expression, text string) {
	b.t.Helper()
	clicked := time.Time{}
	b.awaits("the details", `document.querySelector(".details").textContent`, func(got string) bool {
		if strings.Contains(got, text) {
			return true
		}
		if time.Since(clicked) > reply/10 {
			b.click(expression)
			clicked = time.Now()
		}
		return false
	})
}

// zoomed wants an action to change what part of the ladder is seen.
func (b *tab) zoomed(name string, action step) {
	b.t.Helper()
	b.changes(name, `String(document.querySelector("section.conn").connection.ladder.scale.perUS)`, action)
}

// changes wants an action to change the text of an expression.
func (b *tab) changes(name, expression string, action step) {
	b.t.Helper()
	before := eval[string](b, expression)
	b.do(action)
	b.awaits(name, expression, func(got string) bool { return got != before })
}

// awaits waits for the text of an expression to be as wanted.
func (b *tab) awaits(name, expression string, wanted func(string) bool) {
	b.t.Helper()
	var got string
	for deadline := time.Now().Add(reply); time.Now().Before(deadline); {
		if got = eval[string](b, expression); wanted(got) {
			return
		}
	}
	b.t.Fatalf("%s: still %s", name, got)
}

// click clicks in the middle of what an expression finds.
func (b *tab) click(expression string) {
	b.t.Helper()
	at := eval[[]float64](b, `(() => { const e = `+expression+`, box = e.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2]; })()`)
	b.do(chromedp.MouseClickXY(at[0], at[1]))
}

// wheel turns the wheel with Ctrl held.
func (b *tab) wheel(css string, by float64) step {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		at := eval[[]float64](b, fmt.Sprintf(`(() => { const box = document.querySelector(%q).getBoundingClientRect(); return [box.left + box.width / 2, box.top + Math.min(box.height / 2, 200)]; })()`, css))
		_, err := cdp.Call(ctx, t, input.DispatchMouseEvent, input.DispatchMouseEventParams{
			Type: chromedp.MouseWheel, X: at[0], Y: at[1], DeltaX: 0.01, DeltaY: by, // a zero would be left out
			Modifiers: int64(chromedp.ModifierCtrl),
		})
		return err
	})
}

// Without scripts all is there to be seen and read.
func TestWithoutScripts(t *testing.T) {
	b := open(t, write(t, lines(t, "lost")), command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	for _, css := range []string{".still svg.ladder", "svg.graph", "svg.lanes", "svg.machine", "dl.tiles", "[aria-label='Table of options'] table", ".segments summary", ".command pre"} {
		boxes := eval[[]bool](b, fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.getBoundingClientRect().height > 10)`, css))
		if len(boxes) == 0 || !boxes[0] {
			t.Errorf("%s is not to be seen: %v", css, boxes)
		}
	}
	if eval[bool](b, `document.documentElement.classList.contains("js")`) {
		t.Error("the script ran")
	}
	if shown := eval[int](b, `[...document.querySelectorAll("button")].filter(e => e.getBoundingClientRect().height > 0).length`); shown > 0 {
		t.Errorf("%d buttons are shown, and do nothing", shown)
	}
	b.quiet()
}

// Where the script fails the page is as it is without.
func TestScriptThatFails(t *testing.T) {
	b := open(t, write(t, lines(t, "lost")), command(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `window.ResizeObserver = class { constructor() { throw new Error("too old"); } };`}))
	b.until(`!document.documentElement.classList.contains("js")`)
	for css, seen := range map[string]bool{".still svg.ladder": true, ".segments summary": true, ".live": false, ".theme": false} {
		if high := eval[float64](b, fmt.Sprintf(`document.querySelector(%q).getBoundingClientRect().height`, css)); (high > 0) != seen {
			t.Errorf("%s is %v high", css, high)
		}
	}
}

// A violation is a rule of axe-core that is broken.
type violation struct {
	ID, Impact, Help string
	Nodes            []struct{ HTML, FailureSummary string }
}

// No rule of axe-core that is serious is broken, in both colours. In the dark
// only contrast can differ.
func TestAccessible(t *testing.T) {
	for _, name := range []string{"lost", "two"} {
		b := open(t, write(t, lines(t, name)))
		b.alive()
		b.do(js(axe), js(`for (const d of document.querySelectorAll("details")) d.open = true`))
		for _, look := range []struct{ theme, rules string }{{"light", ""}, {"dark", `, runOnly: ["color-contrast"]`}} {
			b.do(js(fmt.Sprintf(`document.querySelector("[data-theme-choice=%s]").click()`, look.theme)))
			broken := eval[[]violation](b, `axe.run(document, {resultTypes: ["violations"]`+look.rules+`}).then(r => r.violations)`)
			for _, v := range broken {
				v.judge(t, name+", "+look.theme)
			}
		}
	}
}
