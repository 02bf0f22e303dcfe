package browser

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"rawtcp/internal/dossier"
	"rawtcp/internal/probe"
)

// verdictRows are as many as are needed for every verdict and several groups.
const verdictRows = 24

// verdicts is the page of a probe with every verdict.
func verdicts(t *testing.T) string {
	t.Helper()
	report := &probe.Report{Took: 42 * time.Second}
	for i, row := range probe.Rows()[:verdictRows] {
		report.Results = append(report.Results, probe.Result{
			Row: row, Verdict: probe.Verdicts[i%len(probe.Verdicts)], Text: "what was seen, <b>in words</b>", Tries: 3, Agreed: 2, Took: 150 * time.Millisecond,
			Offered: "mss 1460, sackOK, TS val 1 ecr 0, nop, wscale 5", Facts: []probe.Fact{{Name: "round trip", Text: "12 ms"}},
		})
	}
	page := dossier.Page{Target: "198.18.0.2:80", Name: "host.example", Service: "http", Local: "198.18.0.1", Began: time.Unix(1e9, 0), Version: "test", Report: report}
	var b bytes.Buffer
	if err := page.Write(&b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "verdicts.html")
	if err := os.WriteFile(file, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return file
}

// The page of a probe asks for nothing, has no serious fault for who cannot see
// it, in both colours, and fits a small screen.
func TestVerdicts(t *testing.T) {
	file := verdicts(t)
	for _, look := range []struct{ theme, rules string }{{"light", ""}, {"dark", `, runOnly: ["color-contrast"]`}} {
		b := open(t, file, command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.theme}}}))
		keep(t, "verdicts-"+look.theme+".png", value(b, chromedp.CaptureScreenshot()))
		b.do(js(axe), js(`[...document.querySelectorAll("details")].forEach((d, i) => d.open = i < 5)`))
		for _, v := range eval[[]violation](b, `axe.run(document, {resultTypes: ["violations"]`+look.rules+`}).then(r => r.violations)`) {
			v.judge(t, look.theme)
		}
		b.quiet()
	}
	b := open(t, file, command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 390, Height: 800, DeviceScaleFactor: 1, Mobile: true}))
	if wide := eval[int](b, `document.documentElement.scrollWidth`); wide > 390 {
		t.Errorf("the page is %d wide on a screen of 390", wide)
	}
	if rows := eval[int](b, `document.querySelectorAll("details.row").length`); rows != verdictRows {
		t.Errorf("%d rows, want %d", rows, verdictRows)
	}
}

// judge fails the test if the rule matters.
func (v *violation) judge(t *testing.T, about string) {
	t.Helper()
	text := fmt.Sprintf("%s: %s (%s): %s: %d times, such as %s\n%s", about, v.ID, v.Impact, v.Help, len(v.Nodes), v.Nodes[0].HTML, v.Nodes[0].FailureSummary)
	if v.Impact == "serious" || v.Impact == "critical" {
		t.Error(text)
	} else {
		t.Log(text)
	}
}
