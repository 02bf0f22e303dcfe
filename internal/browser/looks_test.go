package browser

import (
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
	keep(t, "small.png", value(b, chromedp.FullScreenshot(100)))
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
