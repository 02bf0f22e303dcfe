package bench

import (
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
	c := contest{name: "codec", measure: func(s *Session) (series, error) { return measureJobs(s, jobs), nil }}
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

// measureJobs has the contenders of each job take turns of a millisecond.
func measureJobs(s *Session, jobs []peers.Job) series {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	rounds, run := 6*s.Rounds+1, time.Millisecond
	if s.Quick {
		rounds, run = 5, 10*time.Microsecond
	}
	got := series{}
	worst := map[string]float64{"Parse": 0, "Verify": 0, "Append": 0}
	for i, j := range jobs {
		s.progress("codec: %s, %d of %d", j.Name, i+1, len(jobs))
		measureJob(got, j, rounds, run)
		kind, _, _ := strings.Cut(j.Name, "/")
		worst[kind] = max(worst[kind], testing.AllocsPerRun(20, j.Contenders[0].Do))
	}
	for kind, allocs := range worst {
		got.add("rawtcp", sample{kind + "/allocs": allocs})
	}
	return got
}

func measureJob(got series, j peers.Job, rounds int, run time.Duration) {
	contenders := j.Contenders
	if j.Floor != nil {
		contenders = append(slices.Clone(contenders), peers.Contender{Name: floor, Do: j.Floor})
	}
	var counts []int
	for _, c := range contenders {
		counts = append(counts, calibrate(c.Do, run))
	}
	for range rounds {
		for i, c := range contenders {
			v := float64(repeat(c.Do, counts[i]).Nanoseconds()) / float64(counts[i])
			if strings.HasPrefix(j.Name, "Checksum/") {
				v = float64(j.Size) / v // octets a nanosecond are GB/s
			}
			got.add(c.Name, sample{j.Name: v})
		}
	}
}

// calibrate returns how often to repeat do for about one run.
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
