package differ

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Tally is what a campaign against one subject found.
type Tally struct {
	Subject  string
	Seeds    int
	Known    map[string]int // by entry of the list
	Examples map[string]*Difference
	Unlisted []*Difference // one of each kind
	Kinds    map[string]int
}

// tries is how often a conversation with a difference that is not listed is held
// again before it counts: where time is real, a timer may come in between.
const tries = 3

// Campaign plays seeds from first on against a subject until the time is over,
// or until most seeds were played.
func Campaign(name string, s Subject, first uint64, most int, d time.Duration) (*Tally, error) {
	t := &Tally{Subject: name, Known: map[string]int{}, Examples: map[string]*Difference{}, Kinds: map[string]int{}}
	for start := time.Now(); t.Seeds < most && time.Since(start) < d; t.Seeds++ {
		plan := Draw(first + uint64(t.Seeds))
		found, err := hold(name, &plan, s)
		if err != nil {
			return t, fmt.Errorf("%vwith %s: %w", &plan, name, err)
		}
		for _, d := range found {
			if d.Known != "" {
				if t.Known[d.Known]++; t.Known[d.Known] == 1 {
					t.Examples[d.Known] = d
				}
				continue
			}
			if t.Kinds[d.Kind()]++; t.Kinds[d.Kind()] == 1 {
				t.Unlisted = append(t.Unlisted, d)
			}
		}
	}
	return t, nil
}

// hold plays one plan against both.
func hold(name string, plan *Plan, s Subject) (found []*Difference, err error) {
	ours, err := Play(plan, &Ours{})
	if err != nil {
		return nil, err
	}
	for range tries {
		theirs, err := Play(plan, s)
		if err != nil {
			return nil, err
		}
		found = Compare(plan, ours, theirs, KnownOf(name))
		if !slices.ContainsFunc(found, func(d *Difference) bool { return d.Known == "" }) {
			return found, nil
		}
	}
	return found, nil
}

// Unseen returns the entries of the list that did not occur.
func (t *Tally) Unseen() (ids []string) {
	for _, k := range KnownOf(t.Subject) {
		if t.Known[k.ID] == 0 {
			ids = append(ids, k.ID)
		}
	}
	return ids
}

// String is the tally in words.
func (t *Tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d conversations; listed differences:", t.Subject, t.Seeds)
	for _, id := range slices.Sorted(maps.Keys(t.Known)) {
		fmt.Fprintf(&b, " %s %d", id, t.Known[id])
	}
	if ids := t.Unseen(); len(ids) > 0 {
		fmt.Fprintf(&b, "; never seen: %v", ids)
	}
	for _, d := range t.Unlisted {
		fmt.Fprintf(&b, "\n\n%d times, not listed: %v", t.Kinds[d.Kind()], d)
	}
	return b.String()
}
