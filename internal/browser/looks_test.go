package browser

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestLooks keeps pictures for people to look at: light, dark, small, and printed.
func TestLooks(t *testing.T) {
	file := write(t, lines(t, "lost"))
	for theme, paper := range map[string]string{"light": "rgb(255, 255, 255)", "dark": "rgb(17, 22, 29)"} {
		b := open(t, file, command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}}))
		b.alive()
		if got := eval[string](b, `getComputedStyle(document.querySelector("main > section")).backgroundColor`); got != paper {
			t.Errorf("%s: the paper is %s, want %s", theme, got, paper)
		}
		keep(t, theme+".png", value(b, chromedp.FullScreenshot(100)))
	}
	b := open(t, file)
	b.alive()
	keep(t, "printed.pdf", value(b, chromedp.PrintToPDF(chromedp.PDFPaper(chromedp.PaperSize{Width: 8.27, Height: 11.69}), chromedp.PDFPreferCSSPageSize())))
	b.quiet()
	b = open(t, write(t, long(2000)))
	b.alive()
	b.do(js(`{ const c = document.querySelector("section.conn").connection; c.ladder.window.scrollIntoView(); c.ladder.zoom(40); c.choose(301, true); c.plots.zoom(6); }`))
	keep(t, "long.png", value(b, chromedp.CaptureScreenshot()))
	b.do(js(`document.querySelector(".plots").scrollIntoView()`))
	keep(t, "long-plots.png", value(b, chromedp.CaptureScreenshot()))
	b = open(t, write(t, lines(t, "lost")), command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 390, Height: 800, DeviceScaleFactor: 1, Mobile: true}))
	b.alive()
	if wide := eval[int](b, `document.documentElement.scrollWidth`); wide > 390 {
		t.Errorf("the page is %d wide on a screen of 390", wide)
	}
	if middle := eval[bool](b, `(() => { const w = document.querySelector(".window"), r = w.getBoundingClientRect(), line = (424 + 650) / 2 * 0.86 - w.scrollLeft; return line > 0 && line < r.width; })()`); !middle {
		t.Error("the arrows are out of sight on a small screen")
	}
	keep(t, "small.png", value(b, chromedp.FullScreenshot(100)))
}

// On paper a ladder is cut into pieces that fit, all of it is there, and no
// button is.
func TestPaper(t *testing.T) {
	b := open(t, write(t, long(300)), command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"}))
	b.alive()
	pieces := eval[[]float64](b, `[...document.querySelectorAll(".still svg.ladder")].map(s => s.getBoundingClientRect().height / s.getBoundingClientRect().width)`)
	if len(pieces) < 2 {
		t.Errorf("a ladder of 300 segments is in %d pieces", len(pieces))
	}
	for i, high := range pieces {
		if high <= 0 || high > 0.641 {
			t.Errorf("piece %d is %v of its width high", i, high)
		}
	}
	if same := eval[bool](b, `[...document.querySelectorAll(".still svg.ladder use")].every(u => Math.abs(u.getBBox().height - document.querySelector(".still svg.ladder g").getBBox().height) < 1)`); !same {
		t.Error("a piece shows something else than the ladder")
	}
	for _, css := range []string{"button", ".live", ".window", "nav"} {
		if n := eval[int](b, fmt.Sprintf(`[...document.querySelectorAll(%q)].filter(e => e.getBoundingClientRect().height > 0).length`, css)); n > 0 {
			t.Errorf("%s is on paper", css)
		}
	}
	b.quiet()
}

// value is what an action gives.
func value[T any](b *tab, a chromedp.Action[T]) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, a)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}
