package bench

import (
	"fmt"
	"slices"
	"time"
)

// A contest is work that several contenders do in turns, so that what disturbs
// one disturbs the others.
type contest struct {
	name        string
	comparisons []comparison
	setUp       func(*Session) error // may be nil
	eachRound   func(*Session) error // may be nil
	contenders  []contender          // who take turns, unless measure is set
	measure     func(*Session) (series, error)
}

// A contender does the work once.
type contender struct {
	name string
	run  func(*Session) (sample, error)
}

// contests are all there are. That of memory comes first, while no sockets of
// others have left their slabs behind.
func contests() []contest {
	return slices.Concat(memoryContests(), codecContests(), handshakeContests(), probeContests(), bulkContests(), latencyContests(), accuracyContests())
}

// Goals are the names of all goals, in order.
func Goals() []string {
	var goals []string
	for _, c := range contests() {
		for _, cmp := range c.comparisons {
			if !slices.Contains(goals, cmp.goal) {
				goals = append(goals, cmp.goal)
			}
		}
	}
	slices.SortStableFunc(goals, func(a, b string) int { return order(a) - order(b) })
	return goals
}

// order is the number of a goal.
func order(goal string) (n int) {
	fmt.Sscanf(goal, "P%d", &n)
	return n
}

// wanted returns the contest with the comparisons of those goals alone, and the
// contenders these need. All goals are wanted if none is named.
func (c contest) wanted(goals []string) (contest, bool) {
	if len(goals) == 0 {
		return c, true
	}
	var kept []comparison
	needed := map[string]bool{}
	for _, cmp := range c.comparisons {
		if slices.Contains(goals, cmp.goal) {
			kept = append(kept, cmp)
			needed[cmp.ours], needed[cmp.peer] = true, true
		}
	}
	c.comparisons = kept
	c.contenders = slices.DeleteFunc(slices.Clone(c.contenders), func(who contender) bool { return !needed[who.name] })
	return c, len(kept) > 0
}

// noMoreTries is when no contest is held again: the whole is to end in twenty
// minutes, ten of which it takes on a quiet machine.
const noMoreTries = 15 * time.Minute

// rows measures and compares. A contest whose peers varied too much to be
// published is held again, at most twice: nothing but the peers decides that.
func (c contest) rows(s *Session) ([]Row, error) {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		rows, err := c.held(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		restless := Refusals(rows)
		if len(restless) == 0 || s.Quick || attempt == attempts || time.Since(s.began) > noMoreTries {
			return rows, nil
		}
		s.say("%s: held again, for %s", c.name, restless[0])
	}
}

// held is one attempt.
func (c contest) held(s *Session) ([]Row, error) {
	if c.setUp != nil {
		if err := c.setUp(s); err != nil {
			return nil, err
		}
	}
	measure := c.measure
	if measure == nil {
		measure = c.turns
	}
	got, err := measure(s)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, cmp := range c.comparisons {
		r, err := cmp.row(got)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// turns has each contender run once a round, in every second round in the
// opposite order: A B B A.
func (c contest) turns(s *Session) (series, error) {
	got := series{}
	for round := range s.Rounds {
		if c.eachRound != nil {
			if err := c.eachRound(s); err != nil {
				return nil, err
			}
		}
		order := slices.Clone(c.contenders)
		if round%2 != 0 {
			slices.Reverse(order)
		}
		for _, who := range order {
			s.progress("%s: round %d of %d, %s", c.name, round+1, s.Rounds, who.name)
			one, err := who.run(s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", who.name, err)
			}
			got.add(who.name, one)
		}
	}
	return got, nil
}
