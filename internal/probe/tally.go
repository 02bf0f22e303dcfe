package probe

import (
	"fmt"

	"rawtcp/internal/puppet"
)

// An attempt is what one run of a row has shown.
type attempt struct {
	outcome *Outcome // nil: unknown
	why     string   // unknown
	facts   []Fact
	record  []puppet.Record
}

func (a *attempt) key() string {
	if a.outcome == nil {
		return ""
	}
	return a.outcome.Key
}

func (a *attempt) said() string {
	if a.outcome == nil {
		return a.why
	}
	return a.outcome.Says
}

// solid reports whether no loss can explain the outcome.
func (a *attempt) solid() bool { return a.outcome != nil && !a.outcome.LikeLoss }

// A tally weighs the attempts at one row.
type tally struct {
	row   *Row
	tries []*attempt
}

// How often an outcome has to come.
const (
	solidBad     = 2 // bad news that no loss explains
	unsureBad    = 5 // bad news that might be loss, unless the row says otherwise
	unsureGood   = 3 // good news that might be loss, on a path that loses
	unknownTries = 3 // attempts that show nothing
)

// decide returns a verdict with the attempt that stands for it, or no verdict and
// the last attempt if there has to be another one.
//
// A segment that came is evidence; one that did not come is a hint. So a solid
// outcome outweighs all others, and bad news wants more of them than good.
func (t *tally) decide(lossy bool) (Verdict, *attempt, string) {
	last := t.tries[len(t.tries)-1]
	if last.solid() {
		return t.decideSolid(last)
	}
	attempts := t.row.Attempts
	if attempts == 0 {
		attempts = unsureBad
	}
	if solid := t.firstSolid(); solid != nil && len(t.tries) >= attempts+solidBad {
		return Unknown, last, fmt.Sprintf("it came only once in %d attempts: %s", len(t.tries), solid.said())
	}
	if last.outcome == nil {
		if n := t.count(""); n >= min(unknownTries, attempts) {
			return Unknown, last, last.why
		}
		return "", last, ""
	}
	want := 1
	switch {
	case last.outcome.Verdict.Bad() || t.firstSolid() != nil:
		want = attempts
	case lossy:
		want = min(unsureGood, attempts)
	}
	if t.firstSolid() == nil && t.count(last.key()) >= want {
		return last.outcome.Verdict, last, last.said()
	}
	if len(t.tries) >= attempts+solidBad {
		return Unknown, last, fmt.Sprintf("%d attempts, and no outcome came %d times", len(t.tries), want)
	}
	return "", last, ""
}

// decideSolid decides after an attempt that no loss explains.
func (t *tally) decideSolid(last *attempt) (Verdict, *attempt, string) {
	first := t.firstSolid()
	switch {
	case first.key() != last.key():
		return Unknown, last, fmt.Sprintf("attempts contradict each other: %s; %s", first.said(), last.said())
	case !last.outcome.Verdict.Bad() || t.count(last.key()) >= solidBad:
		return last.outcome.Verdict, last, last.said()
	}
	return "", last, ""
}

func (t *tally) firstSolid() *attempt {
	for _, a := range t.tries {
		if a.solid() {
			return a
		}
	}
	return nil
}

// count returns how many attempts have an outcome.
func (t *tally) count(key string) (n int) {
	for _, a := range t.tries {
		if a.key() == key {
			n++
		}
	}
	return n
}
