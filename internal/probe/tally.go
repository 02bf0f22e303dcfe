package probe

import (
	"fmt"

	"rawtcp/internal/puppet"
)

// An attempt is what one run of a row has shown.
type attempt struct {
	outcome *Outcome // nil: unknown
	why     string   // unknown
	detail  string   // behind what the outcome says
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
	if a.detail != "" {
		return a.outcome.Says + ": " + a.detail
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
	unsureNote   = 2 // a note that might be loss
	lossyGood    = 3 // what is no bad news and might be loss, on a path that loses
	unknownTries = 3 // attempts that show nothing
)

// decide returns a verdict with the attempt that stands for it, or no verdict and
// the last attempt if there has to be another one. excuses is how many times in a
// row loss may be the excuse for bad news; a row may have its own idea of that.
//
// A segment that came is evidence; one that did not come is a hint. So a solid
// outcome outweighs all others, and bad news wants more of them than good.
func (t *tally) decide(excuses int) (Verdict, *attempt, string) {
	last := t.tries[len(t.tries)-1]
	if last.solid() {
		return t.decideSolid(last)
	}
	if t.row.Attempts > 0 {
		excuses = t.row.Attempts
	}
	if solid := t.firstSolid(); solid != nil {
		if len(t.tries) >= excuses+solidBad {
			return Unknown, last, fmt.Sprintf("it came only once in %d attempts: %s", len(t.tries), solid.said())
		}
		return "", last, ""
	}
	if last.outcome == nil {
		if t.count("") >= min(unknownTries, excuses) {
			return Unknown, last, last.why
		}
		return "", last, ""
	}
	want := t.wanted(last.outcome.Verdict, excuses)
	switch {
	case t.count(last.key()) >= want:
		return last.outcome.Verdict, last, last.said()
	case len(t.tries) >= excuses+solidBad:
		return Unknown, last, fmt.Sprintf("%d attempts, and no outcome came %d times", len(t.tries), want)
	}
	return "", last, ""
}

// wanted returns how many times an outcome that might be loss has to come. Good
// news is doubted on a path that loses.
func (t *tally) wanted(v Verdict, excuses int) int {
	switch {
	case v.Bad():
		return excuses
	case excuses > fewestExcuses:
		return lossyGood
	case v == Note:
		return min(unsureNote, excuses)
	}
	return 1
}

// fewestExcuses is what a path has that was not seen to lose.
const fewestExcuses = 5

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
