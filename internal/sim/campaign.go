package sim

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A Tally is what a campaign came to.
type Tally struct {
	Seeds, Segments, Connections, Octets int64
	Simulated                            time.Duration
	Took                                 time.Duration
	Failures                             []Result // sorted by nothing: as they were found
}

// Campaign plays seeds from first on, in workers goroutines that share nothing
// but the next seed, for at least d or until so many have failed.
func Campaign(first uint64, d time.Duration, workers, failures int) Tally {
	var (
		t     Tally
		mu    sync.Mutex
		next  atomic.Uint64
		wg    sync.WaitGroup
		start = time.Now()
	)
	next.Store(first)
	work := func() {
		var mine Tally
		for time.Since(start) < d && mine.Failures == nil {
			p := Draw(next.Add(1) - 1)
			mine.add(Run(&p, nil))
		}
		mu.Lock()
		defer mu.Unlock()
		t.join(&mine)
	}
	for range workers {
		wg.Go(func() {
			for time.Since(start) < d {
				mu.Lock()
				enough := len(t.Failures) >= failures
				mu.Unlock()
				if enough {
					return
				}
				work()
			}
		})
	}
	wg.Wait()
	t.Took = time.Since(start)
	return t
}

func (t *Tally) add(r Result) {
	t.Seeds++
	t.Segments += int64(r.Segments)
	t.Connections += int64(r.Connections)
	t.Octets += int64(r.Octets)
	t.Simulated += r.Simulated
	if r.Violation != "" {
		t.Failures = append(t.Failures, r)
	}
}

func (t *Tally) join(o *Tally) {
	t.Seeds += o.Seeds
	t.Segments += o.Segments
	t.Connections += o.Connections
	t.Octets += o.Octets
	t.Simulated += o.Simulated
	t.Failures = append(t.Failures, o.Failures...)
}

// String tells the tally to a person.
func (t *Tally) String() string {
	s := max(t.Took.Seconds(), 1e-9)
	rate := func(n int64) float64 { return float64(n) / s }
	return fmt.Sprintf("%d seeds, %d segments, %d connections, %.1f simulated hours in %.1f s\n"+
		"%.0f seeds/s, %.0f segments/s, %.0f connections/s, %.0f simulated seconds/s, %.1f MB/s delivered",
		t.Seeds, t.Segments, t.Connections, t.Simulated.Hours(), s,
		rate(t.Seeds), rate(t.Segments), rate(t.Connections), t.Simulated.Seconds()/s, rate(t.Octets)/1e6)
}
