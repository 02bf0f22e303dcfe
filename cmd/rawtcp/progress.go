package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A progress is a line on a terminal that says how far a long work has come.
type progress struct {
	w     io.Writer
	name  string
	size  int64 // octets, 0 if not known
	began time.Time
	last  time.Time
	shown bool
}

// newProgress returns nil where nobody wants to see one: stderr is no terminal,
// or the output goes to the same terminal as it comes.
func (p *program) newProgress(name string, size int64, streaming bool) *progress {
	if !isTerminal(p.stderr) || streaming && isTerminal(p.stdout) {
		return nil
	}
	now := time.Now()
	return &progress{w: p.stderr, name: shown(name), size: size, began: now, last: now}
}

// progressPause is how long a line stays, and how long a work must take to
// deserve one.
const progressPause = 200 * time.Millisecond

// show tells how many octets are done.
func (b *progress) show(octets int64) {
	now := time.Now()
	if now.Sub(b.last) < progressPause {
		return
	}
	b.last, b.shown = now, true
	fmt.Fprintf(b.w, "\r%s\x1b[K", progressText(b.name, octets, b.size, now.Sub(b.began)))
}

// clear takes the line away.
func (b *progress) clear() {
	if b.shown {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}

// progressText is "x.pcap  [#####.....]  52 %  1.2 GB/s".
func progressText(name string, octets, size int64, took time.Duration) string {
	const cells = 30
	rate := float64(octets) / 1e6 / max(took.Seconds(), 1e-3)
	if size <= 0 || octets > size {
		return fmt.Sprintf("%s  %d MB  %.0f MB/s", name, octets/1e6, rate)
	}
	done := int(octets * cells / size)
	return fmt.Sprintf("%s  [%s%s] %3d %%  %.0f MB/s", name, strings.Repeat("#", done), strings.Repeat(".", cells-done), octets*100/size, rate)
}
