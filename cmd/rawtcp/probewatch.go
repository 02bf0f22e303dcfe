package main

import (
	"fmt"
	"sync"
	"time"

	"rawtcp/internal/probe"
)

// tellEvery is how often the status of a battery is written.
const tellEvery = 500 * time.Millisecond

// A probeWatch says on a terminal what a battery does and how long it will take.
type probeWatch struct {
	rows   []*probe.Row
	quick  int  // quick rows that may run at a time
	beside bool // the slow rows run beside them
	now    func() time.Duration
	status *statusLine // nil: nobody looks
	quit   chan struct{}
	ended  chan struct{}

	mu      sync.Mutex
	running []*runningRow // the one that began first stands first
	done    map[*probe.Row]bool
}

// A runningRow is a row that has begun.
type runningRow struct {
	row   *probe.Row
	since time.Duration
	text  string // what it waits for
	again int    // attempts beyond the first
}

func newProbeWatch(rows []*probe.Row, quick int, beside bool, now func() time.Duration, status *statusLine) *probeWatch {
	w := &probeWatch{rows: rows, quick: quick, beside: beside, now: now, status: status, done: map[*probe.Row]bool{}, quit: make(chan struct{}), ended: make(chan struct{})}
	if status == nil {
		close(w.ended)
		return w
	}
	spawn(w.run)
	return w
}

// end takes the status away.
func (w *probeWatch) end() {
	close(w.quit)
	<-w.ended
}

func (w *probeWatch) run() {
	defer close(w.ended)
	defer w.status.set("")
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	for {
		w.status.set(w.text())
		select {
		case <-w.quit:
			return
		case <-ticker.C:
		}
	}
}

// note takes news of the battery.
func (w *probeWatch) note(news probe.Progress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if news.What == probe.RowBegins {
		w.running = append(w.running, &runningRow{row: news.Row, since: w.now()})
		return
	}
	for i, r := range w.running {
		if r.row != news.Row {
			continue
		}
		switch news.What {
		case probe.RowWaits:
			r.text = news.Text
		case probe.RowAgain:
			r.again++
			r.text = fmt.Sprintf("attempt %d", r.again+1)
		case probe.RowDone:
			w.done[r.row] = true
			w.running = append(w.running[:i], w.running[i+1:]...)
		}
		return
	}
}

// text is "12/51 D1 data-rto 14s: the sixth copy; about 1m10s left". Of several
// rows it is about the one that began last.
func (w *probeWatch) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := fmt.Sprintf("%d/%d", len(w.done), len(w.rows))
	if n := len(w.running); n > 0 {
		r := w.running[n-1]
		text += fmt.Sprintf(" %s %s %v", r.row.ID, r.row.Name, (w.now() - r.since).Truncate(time.Second))
		if r.text != "" {
			text += ": " + r.text
		}
		if n > 1 {
			text += fmt.Sprintf(" (and %d more)", n-1)
		}
	}
	if left := w.left(); left > 0 {
		text += fmt.Sprintf("; about %v left", left.Round(time.Second))
	}
	return text
}

// left is how long the rest will take: the quick rows share their lanes, and the
// slow ones run beside them or each in its turn.
func (w *probeWatch) left() time.Duration {
	began := map[*probe.Row]time.Duration{}
	for _, r := range w.running {
		began[r.row] = w.now() - r.since
	}
	var quick, longest time.Duration
	for _, row := range w.rows {
		if w.done[row] {
			continue
		}
		rest := max(row.Takes-began[row], 0)
		if w.beside && row.Risk&probe.Slow != 0 {
			longest = max(longest, rest)
		} else {
			quick += rest
		}
	}
	return max(quick/time.Duration(w.quick), longest)
}
