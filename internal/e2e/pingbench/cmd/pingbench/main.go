// Pingbench prints how far the round-trip times of `rawtcp ping`, hping3 and nping
// are from those in a capture. Its argument is the rawtcp binary; it exits 1 if
// that is not within its target. It sends nothing outside a network namespace of
// its own.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"rawtcp/internal/e2e/pingbench"
	"rawtcp/internal/netlab"
)

const probes = 1000

// The target: less than 2 us at the median and 5 us at the 99th percentile.
const (
	goalMedian = 2.0
	goalP99    = 5.0
)

func main() {
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pingbench:", err)
		code = 1
	}
	os.Exit(code)
}

func run() (int, error) {
	if len(os.Args) != 2 {
		return 2, errors.New("usage: pingbench RAWTCP")
	}
	binary, err := filepath.Abs(os.Args[1])
	if err != nil {
		return 1, err
	}
	if !netlab.Isolated() {
		return netlab.Isolate(binary)
	}
	lab := netlab.New()
	defer lab.Close()
	return compare(lab, binary)
}

// compare measures with each tool in turn. The exit code says whether rawtcp is
// within its target.
func compare(lab *netlab.Lab, binary string) (int, error) {
	a, b, err := pingbench.Pair(lab)
	if err != nil {
		return 1, err
	}
	fmt.Printf("%d SYNs each, one every %v, over a veth pair; error = tool's RTT - RTT in the capture, us\n", probes, pingbench.Interval)
	fmt.Printf("%-8s %8s %12s %12s %12s %12s %12s\n", "tool", "answers", "capture p50", "tool p50", "error p50", "|error| p50", "|error| p99")
	code := 0
	for i, t := range pingbench.Tools(binary, b.Addr4(), probes) {
		got, err := t.Measure(a)
		if err != nil {
			return 1, err
		}
		fmt.Printf("%-8s %8d %12.2f %12.2f %12.2f %12.2f %12.2f\n", t.Name, got.Answers, got.Captured, got.Told, got.Bias, got.P50, got.P99)
		if i == 0 && (got.P50 >= goalMedian || got.P99 >= goalP99) {
			fmt.Printf("%8s the target is below %.0f at the median and below %.0f at p99\n", "", goalMedian, goalP99)
			code = 1
		}
	}
	return code, nil
}
