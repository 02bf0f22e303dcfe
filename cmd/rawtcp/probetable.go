package main

import (
	"sync"

	"rawtcp/internal/probe"
)

// A probeTable tells rows in the order of the catalogue, whatever the order in
// which they end.
type probeTable struct {
	tell func(group string, result *probe.Result) // group is empty but for its first row

	mu      sync.Mutex
	rows    []*probe.Row
	results map[*probe.Row]*probe.Result
	next    int
	group   string
}

func newProbeTable(rows []*probe.Row, tell func(string, *probe.Result)) *probeTable {
	return &probeTable{tell: tell, rows: rows, results: map[*probe.Row]*probe.Result{}}
}

// done takes a result, and tells it if all before it are told.
func (t *probeTable) done(r *probe.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.results[r.Row] = r
	for t.next < len(t.rows) && t.results[t.rows[t.next]] != nil {
		t.show()
	}
}

// flush tells what is left of a run that was cut short.
func (t *probeTable) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.next < len(t.rows) {
		t.show()
	}
}

// show tells the next row, if it was run. Called with the lock held.
func (t *probeTable) show() {
	result := t.results[t.rows[t.next]]
	t.next++
	if result == nil {
		return
	}
	title := groupTitle(result.Row)
	if title == t.group {
		title = ""
	} else {
		t.group = title
	}
	t.tell(title, result)
}

// groupTitle is "C. Segments in ESTABLISHED".
func groupTitle(r *probe.Row) string {
	for _, g := range probe.Groups() {
		if g.Letter == r.Group() {
			return g.Letter + ". " + g.Title
		}
	}
	return r.Group()
}
