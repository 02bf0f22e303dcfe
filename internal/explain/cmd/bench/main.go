// Command bench measures rawtcp explain beside tshark on one large capture of
// many connections, in one run on one machine:
//
//	bench [-size OCTETS] [-rounds N] RAWTCP
//
// It prints for each the time on the clock and the processor's, the memory, and
// the ratios, and ends with code 1 if a goal is missed: three times the speed of
// `tshark -q -z conv,tcp`, and 200 MiB at the most.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"rawtcp/internal/explain/traffic"
)

// The goals.
const (
	leastRatio = 3.0
	mostMemory = 200 << 20
)

func main() {
	size := flag.Int64("size", 1<<30, "octets of the capture")
	rounds := flag.Int("rounds", 3, "how often each is measured; the best counts")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: bench [-size OCTETS] [-rounds N] RAWTCP")
		os.Exit(2)
	}
	r, err := run(flag.Arg(0), *size, *rounds)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	r.print(*size, *rounds)
	if r.clockRatio() < leastRatio || r.explain.memory > mostMemory {
		os.Exit(1)
	}
}

// A result is what both programs took at best.
type result struct{ tshark, explain cost }

func (r *result) clockRatio() float64 { return float64(r.tshark.clock) / float64(r.explain.clock) }
func (r *result) cpuRatio() float64   { return float64(r.tshark.cpu) / float64(r.explain.cpu) }

func (r *result) print(size int64, rounds int) {
	fmt.Printf("capture of %d MiB, best of %d rounds\n", size>>20, rounds)
	fmt.Printf("%-28s %10s %10s %10s\n", "", "clock", "processor", "memory")
	for _, line := range []struct {
		name string
		cost cost
	}{{"tshark -q -z conv,tcp", r.tshark}, {"rawtcp explain --ladder none", r.explain}} {
		fmt.Printf("%-28s %9.2fs %9.2fs %6d MiB\n", line.name, line.cost.clock.Seconds(), line.cost.cpu.Seconds(), line.cost.memory>>20)
	}
	fmt.Printf("times as fast: %.1f by the clock, %.1f by the processor's time\n", r.clockRatio(), r.cpuRatio())
}

// A cost is what one run of a program took.
type cost struct {
	clock, cpu time.Duration
	memory     int64 // octets, the most that was resident
}

func run(rawtcp string, size int64, rounds int) (*result, error) {
	dir, err := os.MkdirTemp("", "rawtcp-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "many.pcap")
	if err := generate(file, size); err != nil {
		return nil, err
	}
	var ours, theirs []cost
	for range rounds { // by turns, so that both have the same weather
		for _, p := range []struct {
			costs *[]cost
			args  []string
		}{
			{&theirs, []string{"tshark", "-q", "-z", "conv,tcp", "-r", file}},
			{&ours, []string{rawtcp, "explain", "--ladder", "none", file}},
		} {
			c, err := measure(p.args)
			if err != nil {
				return nil, err
			}
			*p.costs = append(*p.costs, c)
		}
	}
	return &result{best(theirs), best(ours)}, nil
}

func generate(file string, size int64) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(traffic.Write(w, size, 1), w.Flush(), f.Close())
}

// measure runs a program whose output nobody reads.
func measure(args []string) (cost, error) {
	cmd := exec.Command(args[0], args[1:]...)
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("%s: %w", args[0], err)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return cost{time.Since(began), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), usage.Maxrss << 10}, nil
}

// best is the least of each.
func best(costs []cost) cost {
	by := func(f func(cost) int64) int64 {
		least := make([]int64, len(costs))
		for i, c := range costs {
			least[i] = f(c)
		}
		return slices.Min(least)
	}
	memory := int64(0)
	for _, c := range costs {
		memory = max(memory, c.memory)
	}
	return cost{
		clock: time.Duration(by(func(c cost) int64 { return int64(c.clock) })), cpu: time.Duration(by(func(c cost) int64 { return int64(c.cpu) })), memory: memory,
	}
}
