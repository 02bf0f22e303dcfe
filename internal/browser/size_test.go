package browser

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
)

// What 10,000 segments may cost, in time of a processor: the clock on the wall
// says more of what else the machine does. It is told, and two seconds are the
// promise on a machine that has nothing else to do. On one that takes long for
// any table of that length, a multiple of that is the bound.
const (
	openBound = 2 * time.Second
	openTimes = 15 // it is 4 or 5
	stepBound = 500 * time.Millisecond
	stepTimes = 4
)

// A connection of 10,000 segments opens soon, and answers soon when it is moved.
func TestTenThousandSegments(t *testing.T) {
	b := open(t, write(t, long(10000)), command(performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks}))
	b.alive()
	// Two frames later what was drawn is on the screen.
	opened := eval[float64](b, `new Promise(f => requestAnimationFrame(() => requestAnimationFrame(() => f(performance.now()))))`)
	opening := b.worked()
	slowest := eval[float64](b, `(async () => {
		const ladder = document.querySelector("section.conn").connection.ladder, frame = () => new Promise(requestAnimationFrame);
		ladder.whole();
		let worst = 0;
		for (const factor of [1.6, 1.6, 1.6, 1.6, 0.625, 1.6, 1.6, 1.6]) {
			const began = performance.now();
			ladder.zoom(factor);
			ladder.window.scrollTop += 300;
			await frame();
			worst = Math.max(worst, performance.now() - began);
		}
		return worst;
	})()`)
	moving := (b.worked() - opening) / 9
	before := b.worked()
	b.do(js(`document.implementation.createHTMLDocument("").body.innerHTML = "<table>" + "<tr><td>one</td><td>two</td><td>three</td><td>four</td></tr>".repeat(10000) + "</table>"`))
	table := b.worked() - before
	t.Logf("open after %.0f ms, %v of them work; a step of zoom and scroll is %v of work, the slowest took %.0f ms; a bare table takes %v", opened, opening, moving, slowest, table)
	if bound := max(openBound, openTimes*table); opening > bound {
		t.Errorf("opening takes %v of work, want at most %v", opening, bound)
	}
	if bound := max(stepBound, stepTimes*table); moving > bound {
		t.Errorf("a step of zoom takes %v of work, want at most %v", moving, bound)
	}
	if n := eval[int](b, `document.querySelectorAll(".segments tbody tr").length`); n != 10000 {
		t.Errorf("%d rows", n)
	}
	if n := eval[int](b, `document.querySelectorAll("svg *").length`); n > 5000 {
		t.Errorf("%d elements in pictures: marks are not grouped", n)
	}
	b.quiet()
}

// worked is how long the page's thread has had a processor, which does not
// count how busy the machine is with others.
func (b *tab) worked() time.Duration {
	b.t.Helper()
	got := value(b, func(ctx context.Context, t *chromedp.Target) (performance.GetMetricsResult, error) {
		return cdp.Call(ctx, t, performance.GetMetrics, cdp.Empty{})
	})
	for _, m := range got.Metrics {
		if m.Name == "ThreadTime" {
			return time.Duration(m.Value * float64(time.Second))
		}
	}
	b.t.Fatal("the browser does not tell how long it worked")
	return 0
}

// A run of many connections has a table of all, and draws the first ones only
// when they come near.
func TestManyConnections(t *testing.T) {
	b := open(t, write(t, many(t, 60)))
	b.until(`document.documentElement.classList.contains("js")`)
	if n := eval[int](b, `document.querySelectorAll("[aria-label='Table of connections'] tbody tr").length`); n != 60 {
		t.Errorf("%d rows", n)
	}
	if n := eval[int](b, `document.querySelectorAll("section.conn").length`); n != 20 {
		t.Errorf("%d connections are drawn", n)
	}
	if text := eval[string](b, `document.querySelector(".run").textContent`); !strings.Contains(text, "The first 20 connections are drawn") {
		t.Errorf("the page does not say so:\n%s", text)
	}
	if n := eval[int](b, `document.querySelectorAll("section.conn.alive").length`); n > 5 {
		t.Errorf("%d connections came to life at once", n)
	}
	b.do(chromedp.Click(chromedp.CSS(`a[href="#c20"]`)))
	b.until(`document.querySelector("#c20").classList.contains("alive")`)
	b.quiet()
}
