package browser

import (
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestLooks keeps pictures for people to look at: light, dark, small, and printed.
func TestLooks(t *testing.T) {
	for _, name := range []string{"data-lost-fast.client.v4", "close-reset.client.v4"} {
		file := write(t, golden(t, name))
		for theme, scheme := range map[string]string{"light": "rgb(255, 255, 255)", "dark": "rgb(17, 22, 29)"} {
			b := open(t, file, command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}}))
			b.alive()
			if got := eval[string](b, `getComputedStyle(document.querySelector("main > section")).backgroundColor`); got != scheme {
				t.Errorf("%s: the paper is %s, want %s", theme, got, scheme)
			}
			keep(t, name+"."+theme+".jpg", value(b, chromedp.FullScreenshot(90)))
		}
		b := open(t, file)
		b.alive()
		keep(t, name+".pdf", value(b, chromedp.PrintToPDF(chromedp.PDFPaper(chromedp.PaperSize{Width: 8.27, Height: 11.69}), chromedp.PDFPreferCSSPageSize())))
		b.quiet()
	}
	b := open(t, write(t, golden(t, "data-lost-fast.client.v4")), command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 390, Height: 800, DeviceScaleFactor: 1, Mobile: true}))
	b.alive()
	if wide := eval[int](b, `document.documentElement.scrollWidth`); wide > 390 {
		t.Errorf("the page is %d wide on a screen of 390", wide)
	}
	keep(t, "small.jpg", value(b, chromedp.FullScreenshot(90)))
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
