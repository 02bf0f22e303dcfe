package sim

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A Tally is what a campaign came to.
type Tally struct {
	First, Next                          uint64 // the seeds played: from First, before Next
	Seeds, Segments, Connections, Octets int64
	Simulated, Took                      time.Duration
	Failures                             []Result `json:",omitempty"`
}

// A Campaign is how many seeds to play. A limit that is zero is none; the
// campaign ends when Time is over, or when both Segments and Connections are
// reached, or at a failure too many.
type Campaign struct {
	Time                  time.Duration
	Segments, Connections int64
	Workers               int
	Failures              int
	Batch                 uint64          // seeds between two reports
	Report                func(Tally)     // nil: none; told after each batch
	Stop                  <-chan struct{} // closed: end after the batch
}

// again is how often a seed is played twice, to see that it is the same run (L6).
const again = 512

// Play goes on from where t ends. Workers share nothing but the next seed.
func (c *Campaign) Play(t *Tally) {
	before, start := t.Took, time.Now()
	for !c.over(t, time.Since(start)) {
		c.batch(t, start)
		t.Took = before + time.Since(start)
		if c.Report != nil {
			c.Report(*t)
		}
	}
}

func (c *Campaign) over(t *Tally, took time.Duration) bool {
	select {
	case <-c.Stop:
		return true
	default:
	}
	counts := c.Segments > 0 || c.Connections > 0
	return len(t.Failures) >= c.Failures || c.Time > 0 && took >= c.Time ||
		counts && t.Segments >= c.Segments && t.Connections >= c.Connections
}

// batch plays the next seeds on all workers. Each seed below t.Next was played.
func (c *Campaign) batch(t *Tally, start time.Time) {
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		next atomic.Uint64
		bad  atomic.Int64
		end  = t.Next + c.Batch
	)
	next.Store(t.Next)
	bad.Store(int64(len(t.Failures)))
	for range c.Workers {
		wg.Go(func() {
			var mine Tally
			for (c.Time == 0 || time.Since(start) < c.Time) && int(bad.Load()) < c.Failures {
				seed := next.Add(1) - 1
				if seed >= end {
					break
				}
				r := playSeed(seed)
				if mine.add(r); r.Violation != "" {
					bad.Add(1)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			t.join(&mine)
		})
	}
	wg.Wait()
	t.Next = min(next.Load(), end)
}

// playSeed plays one seed, now and then twice.
func playSeed(seed uint64) Result {
	p := Draw(seed)
	if seed%again != 0 {
		return Run(&p, nil)
	}
	one, two := &Recorder{digest: newDigest(), road: newDigest()}, &Recorder{digest: newDigest(), road: newDigest()}
	r, q := Run(&p, one), Draw(seed)
	Run(&q, two)
	if r.Violation == "" && one.Sum() != two.Sum() {
		r.Violation = fmt.Sprintf("L6: one run has the trace %x, another %x", one.Sum(), two.Sum())
	}
	return r
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
func (t Tally) String() string {
	s := max(t.Took.Seconds(), 1e-9)
	return fmt.Sprintf("seeds %d to %d: %d segments, %d connections (%.0f segments each), %.1f simulated hours, %d violations in %.1f s\n"+
		"%.0f segments/s, %.0f connections/s, %.0f seeds/s, %.0f simulated seconds/s, %.1f MB/s delivered",
		t.First, max(t.Next, 1)-1, t.Segments, t.Connections, float64(t.Segments)/float64(max(1, t.Connections)), t.Simulated.Hours(),
		len(t.Failures), s, float64(t.Segments)/s, float64(t.Connections)/s, float64(t.Seeds)/s, t.Simulated.Seconds()/s, float64(t.Octets)/s/1e6)
}
