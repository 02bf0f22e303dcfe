// Command mutants brings back known bugs, one at a time, and tells which test
// notices each.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"rawtcp/internal/mutants"
)

func main() {
	only := flag.String("only", "", "try the mutants whose name, class or package matches `regexp`")
	jobs := flag.Int("jobs", runtime.GOMAXPROCS(0), "how many to try at once")
	flag.Parse()
	if err := campaign(*only, *jobs); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func campaign(only string, jobs int) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("read -only: %w", err)
	}
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("ask go where the module is: %w", err)
	}
	var list []mutants.Mutant
	for _, m := range mutants.All() {
		if wanted.MatchString(m.Name) || wanted.MatchString(m.Class) || wanted.MatchString(m.Dir) {
			list = append(list, m)
		}
	}
	bench, err := mutants.NewBench(filepath.Dir(strings.TrimSpace(string(out))), list)
	if err != nil {
		return err
	}
	if err := bench.Prepare(list); err != nil {
		return errors.Join(err, bench.Close())
	}
	report := bench.Run(list, jobs, func(v *mutants.Verdict) { fmt.Fprintln(os.Stdout, v) })
	fmt.Fprintln(os.Stdout, &report)
	return errors.Join(report.Failed(), bench.Close())
}
