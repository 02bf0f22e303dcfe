package browser

import (
	"context"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// patience is how long any one thing may take on a slow machine.
const patience = 4 * time.Minute

// browser is the one that all tests share, each in a tab of its own.
var browser context.Context

// pictures is where what people should look at is kept: bin/report of the tree.
const pictures = "../../bin/report"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	path := findChromium()
	if path == "" {
		fmt.Fprintln(os.Stderr, "browser: no Chromium found: scripts/deps.sh test installs one")
		return 1
	}
	if err := os.MkdirAll(pictures, 0o777); err != nil {
		fmt.Fprintln(os.Stderr, "browser:", err)
		return 1
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, // root has no sandbox
		chromedp.WindowSize(1400, 1000),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", false))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	defer end()
	var stop context.CancelFunc
	browser, stop = chromedp.NewContext(allocator)
	defer stop()
	if err := chromedp.Do(browser); err != nil { // no deadline: it would be the browser's too
		fmt.Fprintln(os.Stderr, "browser: cannot start", path+":", err)
		return 1
	}
	return m.Run()
}

// findChromium is the path of a Chromium, or empty.
func findChromium() string {
	for _, name := range []string{"chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// A step is something done to a page that gives no value.
type step = chromedp.Action[chromedp.Void]

// A tab is one page, and what it has asked for and complained of.
type tab struct {
	t   *testing.T
	ctx context.Context

	listeners  sync.WaitGroup
	mu         sync.Mutex
	requests   []string
	complaints []string
}

// open opens a file in a tab of its own. before runs ahead of it.
func open(t *testing.T, file string, before ...step) *tab {
	t.Helper()
	b := &tab{t: t}
	t.Cleanup(b.listeners.Wait) // they end when the tab is closed
	ctx, stop := chromedp.NewContext(browser)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	b.ctx = ctx
	b.do(command(network.Enable, network.EnableParams{}), command(page.Enable, page.EnableParams{}))
	hear(b, chromedp.Events(ctx, network.RequestWillBeSent), func(e network.EventRequestWillBeSent) { b.requests = append(b.requests, e.Request.URL) })
	hear(b, chromedp.Events(ctx, page.JavascriptDialogOpening), func(e page.EventJavascriptDialogOpening) {
		b.complaints = append(b.complaints, "dialog: "+e.Message)
	})
	hear(b, chromedp.Console(ctx), func(m chromedp.ConsoleMessage) {
		b.complaints = append(b.complaints, fmt.Sprintf("%s: %s", m.Type, m.Text))
	})
	b.do(before...)
	b.do(chromedp.Navigate("file://" + file))
	return b
}

// hear notes what comes until the tab is closed.
func hear[E any](b *tab, events iter.Seq2[E, error], note func(E)) {
	b.listeners.Go(func() {
		for e, err := range events {
			if err != nil {
				return
			}
			b.mu.Lock()
			note(e)
			b.mu.Unlock()
		}
	})
}

// command is a command of the browser's protocol as a step.
func command[P, R any](c cdp.Command[P, R], params P) step {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// do runs actions, which must succeed.
func (b *tab) do(steps ...step) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// eval is the value of an expression in the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// js runs some statements in the page.
func js(statements string) step { return chromedp.Evaluate[chromedp.Void](statements) }

// until waits for an expression to be true.
func (b *tab) until(expression string) {
	b.t.Helper()
	b.do(chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingTimeout(patience), chromedp.WithPollingInterval(10*time.Millisecond)))
}

// alive waits for the first connection to have been brought to life.
func (b *tab) alive() { b.t.Helper(); b.until(`document.querySelector("section.conn.alive") !== null`) }

// quiet wants no request but the page's own, and no complaint.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, url := range b.requests {
		if i == 0 && strings.HasPrefix(url, "file://") || strings.HasPrefix(url, "data:") {
			continue
		}
		b.t.Errorf("the page asks for %s", url)
	}
	if len(b.requests) == 0 {
		b.t.Error("no request was seen, not even the page's own")
	}
	for _, c := range b.complaints {
		b.t.Errorf("the page complains: %s", c)
	}
}

// keep writes what people should look at.
func keep(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(pictures, name), data, 0o666); err != nil {
		t.Fatal(err)
	}
}
