package bench

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"rawtcp/internal/peers"
)

// floor is the contender that only copies.
const floor = "memcpy"

// codecContests are the parser, the builder and the sum, P1 to P3.
func codecContests() []contest {
	jobs := slices.DeleteFunc(peers.Jobs(), func(j peers.Job) bool { return codecRows(j) == nil })
	c := contest{name: "codec", measure: func(s *Session) (series, error) { return measureJobs(s, jobs) }}
	for _, j := range jobs {
		c.comparisons = append(c.comparisons, codecRows(j)...)
	}
	for goal, kinds := range map[string]string{"P1": "Parse Verify", "P2": "Append"} {
		for _, kind := range strings.Fields(kinds) {
			c.comparisons = append(c.comparisons, comparison{goal: goal, work: work(kind) + ", worst of all", metric: kind + "/allocs",
				unit: "allocations", ours: "rawtcp", bound: atMost(0)})
		}
	}
	slices.SortStableFunc(c.comparisons, func(a, b comparison) int { return order(a.goal) - order(b.goal) })
	return []contest{c}
}

// codecRows are the comparisons that a job makes, nil if it belongs to no goal.
func codecRows(j peers.Job) []comparison {
	kind, shape, _ := strings.Cut(j.Name, "/")
	row := func(goal, unit, peer string, b *Bound) comparison {
		return comparison{goal: goal, work: work(kind) + ", " + described(shape), metric: j.Name, unit: unit, ours: "rawtcp", peer: peer, bound: b}
	}
	full := j.Size == 0 || j.Size == 1460
	switch {
	case full && (kind == "Parse" || kind == "Verify"):
		return []comparison{row("P1", "ns", "gvisor", atMost(0.7)), row("P1", "ns", "gopacket", atMost(0.2))}
	case full && kind == "Append":
		return []comparison{row("P2", "ns", "gvisor", atMost(0.8)), row("P2", "ns", "gopacket", atMost(0.25))}
	case kind == "Checksum" && (j.Size == 1460 || j.Size == 9000):
		return []comparison{row("P3", "GB/s", "gvisor", atLeast(2)), row("P3", "GB/s", floor, atLeast(0.5)), row("P3", "GB/s", "gopacket", nil)}
	}
	return nil
}

// work is what a kind of job does, in a reader's words.
func work(kind string) string {
	return map[string]string{"Parse": "parse", "Verify": "parse and verify", "Append": "build with checksums", "Checksum": "checksum"}[kind]
}

// described says a shape such as "SYN/0" in a reader's words.
func described(shape string) string {
	set, size, found := strings.Cut(shape, "/")
	if !found {
		return shape + " B" // of all options, timestamps alone
	}
	return map[string]string{"none": "no options", "SYN": "SYN options", "SACK": "with SACK blocks", "IPv6": "IPv6"}[set] + ", " + size + " B"
}

// The laps of the codec. A slice is long against the clock's 50 ns and short
// against a stall, so that a stall spoils few of them; a lap has so many slices of
// every contender of every job, and a round so many laps: hundreds of slices spread
// over seconds.
const (
	slice        = 200 * time.Microsecond
	slicesPerLap = 21
	lapsPerRound = 9
)

// measureJobs has the contenders of each job take turns of a slice.
func measureJobs(s *Session, jobs []peers.Job) (series, error) {
	run := slice
	if s.Quick {
		run = 10 * time.Microsecond
	}
	var all []timedJob
	allocs := sample{"Parse/allocs": 0, "Verify/allocs": 0, "Append/allocs": 0}
	for _, j := range jobs {
		all = append(all, prepare(j, run))
		kind, _, _ := strings.Cut(j.Name, "/")
		allocs[kind+"/allocs"] = max(allocs[kind+"/allocs"], testing.AllocsPerRun(20, j.Contenders[0].Do))
	}
	c := contest{name: "codec", laps: lapsPerRound, lap: func(s *Session) (lap, error) {
		got := lap{"rawtcp": maps.Clone(allocs)}
		return got, pinned(s.testCPU, func() {
			for _, j := range all {
				j.measure(got)
			}
		})
	}}
	return c.turns(s)
}

// A timedJob is a job and how often each of its contenders does it in a slice.
type timedJob struct {
	peers.Job
	contenders []peers.Contender
	counts     []int
}

func prepare(j peers.Job, run time.Duration) timedJob {
	t := timedJob{Job: j, contenders: j.Contenders}
	if j.Floor != nil {
		t.contenders = append(slices.Clone(j.Contenders), peers.Contender{Name: floor, Do: j.Floor})
	}
	for _, c := range t.contenders {
		t.counts = append(t.counts, calibrate(c.Do, run))
	}
	return t
}

// measure adds the job's figures to a lap: medians of its slices. On a busy
// machine these differ less from lap to lap than lower quantiles do, by a third.
func (t timedJob) measure(got lap) {
	for i, took := range t.slices() {
		name, v := t.contenders[i].Name, middle(took).Median
		if strings.HasPrefix(t.Name, "Checksum/") {
			v = float64(t.Size) / v // octets a nanosecond are GB/s
		}
		if got[name] == nil {
			got[name] = sample{}
		}
		got[name][t.Name] = v
	}
}

// slices has the contenders take turns of a slice, A B B A, and returns what each
// took to do the job once, in nanoseconds.
func (t timedJob) slices() [][]float64 {
	took := make([][]float64, len(t.contenders))
	for n := range slicesPerLap {
		for i := range t.contenders {
			if n%2 != 0 {
				i = len(t.contenders) - 1 - i
			}
			took[i] = append(took[i], float64(repeat(t.contenders[i].Do, t.counts[i]).Nanoseconds())/float64(t.counts[i]))
		}
	}
	return took
}

// pinned runs do on one processor. Its thread ends with it, so that no other code
// of this program is pinned, too.
func pinned(cpu string, do func()) error {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := pinThread(cpu)
		if err == nil {
			do()
		}
		ended <- err
	}()
	return <-ended
}

// calibrate returns how often to repeat do for about one slice.
func calibrate(do func(), run time.Duration) int {
	for n := 100; ; n *= 4 {
		if took := repeat(do, n); took > run/4 {
			return max(1, int(float64(n)*float64(run)/float64(took)))
		}
	}
}

func repeat(do func(), n int) time.Duration {
	start := time.Now()
	for range n {
		do()
	}
	return time.Since(start)
}
