package bench

import (
	"fmt"
	"slices"
)

// A contest is work that several contenders do in turns, so that what disturbs
// one disturbs the others. One turn of each is a lap; several laps are a round,
// whose figures are the medians of theirs, so that a stall falls out.
type contest struct {
	name        string
	comparisons []comparison
	setUp       func(*Session) error // may be nil
	eachLap     func(*Session) error // may be nil
	contenders  []contender          // who take turns, unless lap or measure is set
	laps        int                  // in a round; 0: one
	lap         func(*Session) (lap, error)
	measure     func(*Session) (series, error) // where there is no round; may be nil
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

// rows measures and compares. A contest whose peers varied too much to be
// published is held again, at most twice and while patience lasts: nothing but the
// peers decides that.
func (c contest) rows(s *Session) ([]Row, error) {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		began := s.gate.now()
		rows, err := c.held(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		took := s.gate.now().Sub(began)
		restless := Refusals(rows)
		if len(restless) == 0 || s.Quick || attempt == attempts || s.gate.left < took {
			return rows, nil
		}
		s.gate.again(c.name, took)
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

// turns plays the laps of all rounds and returns what came of each round.
func (c contest) turns(s *Session) (series, error) {
	perRound := max(1, c.laps)
	if s.Quick {
		perRound = 1
	}
	number := 0
	kept, err := s.gate.laps(s.Rounds*perRound, func() (lap, error) {
		number++
		return c.playLap(s, number)
	})
	if err != nil {
		return nil, err
	}
	got := series{}
	for round := range slices.Chunk(kept, perRound) {
		for name, one := range medians(round) {
			got.add(name, one)
		}
	}
	return got, nil
}

// playLap has each contender run once, in every second lap in the opposite order:
// A B B A. Laps are numbered from 1.
func (c contest) playLap(s *Session, number int) (lap, error) {
	if c.eachLap != nil {
		if err := c.eachLap(s); err != nil {
			return nil, err
		}
	}
	if c.lap != nil {
		s.progress("%s: lap %d, %d wanted", c.name, number, s.Rounds*c.laps)
		return c.lap(s)
	}
	order := slices.Clone(c.contenders)
	if number%2 == 0 {
		slices.Reverse(order)
	}
	got := lap{}
	for _, who := range order {
		s.progress("%s: lap %d, %d wanted: %s", c.name, number, s.Rounds*max(1, c.laps), who.name)
		one, err := who.run(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", who.name, err)
		}
		got[who.name] = one
	}
	return got, nil
}

// medians is what a round of laps comes to, metric by metric.
func medians(round []lap) lap {
	all := series{}
	for _, l := range round {
		for name, one := range l {
			all.add(name, one)
		}
	}
	got := lap{}
	for name, metrics := range all {
		got[name] = sample{}
		for metric, values := range metrics {
			got[name][metric] = middle(values).Median
		}
	}
	return got
}
