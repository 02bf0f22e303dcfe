package mutants

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Target is the least share of mutants that the tests must notice, in percent.
const Target = 95

// A Report is what came of many mutants.
type Report struct{ Verdicts []Verdict }

// Run tries mutants on so many goroutines; each verdict is told as it comes.
func (b *Bench) Run(list []Mutant, jobs int, tell func(*Verdict)) Report {
	var (
		r    Report
		mu   sync.Mutex
		wg   sync.WaitGroup
		next = make(chan *Mutant)
	)
	for range max(jobs, 1) {
		wg.Go(func() {
			for m := range next {
				v := b.Try(m)
				mu.Lock()
				r.Verdicts = append(r.Verdicts, v)
				tell(&v)
				mu.Unlock()
			}
		})
	}
	for i := range list {
		next <- &list[i]
	}
	close(next)
	wg.Wait()
	return r
}

// String is one line of the table.
func (v *Verdict) String() string {
	result := v.By
	switch {
	case v.Err != nil:
		result = "ERROR " + v.Err.Error()
	case v.By == "":
		result = "SURVIVES"
	}
	return fmt.Sprintf("%-28s %-12s %6.1f s  %s", v.Mutant.Name, v.Mutant.Class, v.Took.Seconds(), result)
}

// Failed says why the tests are not good enough, nil if they are. A mutant that
// could not be tried is a failure whatever the rate.
func (r *Report) Failed() error {
	tried, killed, errors := r.count()
	switch {
	case errors > 0:
		return fmt.Errorf("%d mutants could not be tried", errors)
	case tried == 0:
		return fmt.Errorf("no mutant was tried")
	case killed*100 < Target*tried:
		return fmt.Errorf("%d of %d mutants were noticed, want %d %%", killed, tried, Target)
	}
	return nil
}

func (r *Report) count() (tried, killed, errors int) {
	for i := range r.Verdicts {
		switch v := &r.Verdicts[i]; {
		case v.Err != nil:
			errors++
		case v.By != "":
			killed++
			tried++
		default:
			tried++
		}
	}
	return tried, killed, errors
}

// String is the summary: the rate, the time to notice, and who survives.
func (r *Report) String() string {
	tried, killed, errors := r.count()
	var took []time.Duration
	var alive []string
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; v.By != "" {
			took = append(took, v.Took)
		} else if v.Err == nil {
			alive = append(alive, v.Mutant.Name)
		}
	}
	slices.Sort(took)
	slices.Sort(alive)
	var b strings.Builder
	fmt.Fprintf(&b, "%d mutants, %d noticed (%.1f %%)", tried, killed, 100*float64(killed)/float64(max(tried, 1)))
	if n := len(took); n > 0 {
		fmt.Fprintf(&b, ", after %.1f s in the median and %.1f s at most", took[n/2].Seconds(), took[n-1].Seconds())
	}
	if errors > 0 {
		fmt.Fprintf(&b, ", %d could not be tried", errors)
	}
	if len(alive) > 0 {
		fmt.Fprintf(&b, "\nsurvivors: %s", strings.Join(alive, ", "))
	}
	return b.String()
}
