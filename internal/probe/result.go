package probe

import (
	"time"

	"rawtcp/engine"
	"rawtcp/internal/puppet"
)

// A Fact is one thing that was observed.
type Fact struct {
	Name  string          // snake_case
	Text  string          // in words; relative numbers
	Times []time.Duration // exact, if it is about times
}

// A Result is what became of a row.
type Result struct {
	Row     *Row
	Verdict Verdict
	Key     string // of the outcome; empty: none was reached
	Text    string // what the outcome says, or why the verdict is unknown
	Rule    Clause // which decided
	Facts   []Fact // of the attempt that decided
	Offered string // the options of our SYN in that attempt
	Tries   int    // attempts made
	Agreed  int    // of them, those with this outcome
	Began   time.Duration
	Took    time.Duration
	Record  []puppet.Record // the evidence of the attempt that decided
}

// Conns returns the numbers of the connections of the evidence.
func (r *Result) Conns() []uint64 {
	var conns []uint64
	seen := map[uint64]bool{}
	for _, rec := range r.Record {
		if !seen[rec.Event.Conn] {
			seen[rec.Event.Conn] = true
			conns = append(conns, rec.Event.Conn)
		}
	}
	return conns
}

// Replay tells a tracer the evidence again, a ladder for instance.
func (r *Result) Replay(to engine.Tracer) {
	for _, rec := range r.Record {
		to.Trace(rec.Event)
	}
}

// A Report is what became of a battery.
type Report struct {
	Results []Result // in the order of the rows given
	Took    time.Duration
	Resent  int // segments that had to be sent again: the path loses
	Cut     bool
}

// Bad reports whether some verdict is an accusation.
func (r *Report) Bad() bool {
	for i := range r.Results {
		if r.Results[i].Verdict.Bad() {
			return true
		}
	}
	return false
}

// Count returns how many rows have a verdict.
func (r *Report) Count(v Verdict) (n int) {
	for i := range r.Results {
		if r.Results[i].Verdict == v {
			n++
		}
	}
	return n
}
