// Command ratios prints, for each job of package peers, our time beside those of
// gVisor and gopacket, and for a sum that of a copy of the same octets. Short runs take turns, and a ratio is the median over the
// turns, so that a machine that changes its speed disturbs both sides alike. It
// exits 1 if ours allocates, 2 on bad usage.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"rawtcp/internal/peers"
)

func main() {
	rounds := flag.Int("rounds", 31, "runs of each contender, at least 5")
	run := flag.Duration("run", time.Millisecond, "length of one run")
	only := flag.String("only", "", "only jobs whose name contains this")
	flag.Parse()
	if *rounds < 5 || *run <= 0 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "ratios: want -rounds of at least 5, a positive -run and no arguments")
		os.Exit(2)
	}
	if !table(*rounds, *run, *only) {
		fmt.Fprintln(os.Stderr, "ratios: ours allocates; want 0 allocations everywhere")
		os.Exit(1)
	}
}

// table measures and prints; it reports whether ours never allocates.
func table(rounds int, run time.Duration, only string) (clean bool) {
	runtime.LockOSThread()
	clean = true
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "job\tours ns\tgvisor ns\tours/gvisor\tgopacket ns\tours/gopacket\tours GB/s\tours/copy\tours allocs\tgvisor allocs\tgopacket allocs\t")
	for _, job := range peers.Jobs() {
		if !strings.Contains(job.Name, only) {
			continue
		}
		times := measure(job, rounds, run)
		ours, gvisor, gopacket := times[0], times[1], times[2]
		var allocs [3]float64
		for i, c := range job.Contenders {
			allocs[i] = testing.AllocsPerRun(20, c.Do)
		}
		clean = clean && allocs[0] == 0
		floor := "-"
		if job.Floor != nil && job.Size > 0 {
			floor = fmt.Sprintf("%.2f", median(quotients(ours, times[3])))
		}
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.2f\t%.1f\t%.2f\t%.1f\t%s\t%.0f\t%.0f\t%.0f\t\n", job.Name,
			median(ours), median(gvisor), median(quotients(ours, gvisor)), median(gopacket), median(quotients(ours, gopacket)),
			float64(job.Size)/median(ours), floor, allocs[0], allocs[1], allocs[2])
	}
	w.Flush()
	return clean
}

// measure returns the nanoseconds of each contender, and behind them of the floor
// if there is one, turn by turn.
func measure(job peers.Job, rounds int, run time.Duration) [][]float64 {
	var works []func()
	for _, c := range job.Contenders {
		works = append(works, c.Do)
	}
	if job.Floor != nil {
		works = append(works, job.Floor)
	}
	times := make([][]float64, len(works))
	var counts []int
	for _, do := range works {
		counts = append(counts, calibrate(do, run))
	}
	for range rounds {
		for i, do := range works {
			took := repeat(do, counts[i])
			times[i] = append(times[i], float64(took.Nanoseconds())/float64(counts[i]))
		}
	}
	return times
}

// quotients divides turn by turn.
func quotients(a, b []float64) []float64 {
	q := make([]float64, len(a))
	for i := range a {
		q[i] = a[i] / b[i]
	}
	return q
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// calibrate returns how often to repeat do for about one run.
func calibrate(do func(), run time.Duration) int {
	n := 100
	for {
		took := repeat(do, n)
		if took > run/4 {
			return max(1, int(float64(n)*float64(run)/float64(took)))
		}
		n *= 4
	}
}

func repeat(do func(), n int) time.Duration {
	start := time.Now()
	for range n {
		do()
	}
	return time.Since(start)
}
