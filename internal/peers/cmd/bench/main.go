// Command bench measures this TCP beside others in one run and prints a table of
// ratios. A run of everything whose peers were steady is written to a file; one
// whose peers varied is refused, and the exit code is 1. It exits 2 on bad usage.
//
// A missed goal is a row of the table and no failure.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"rawtcp/internal/netlab"
	"rawtcp/internal/peers/bench"
)

func main() {
	code, done := bench.Role(os.Args[1:])
	if !done {
		var err error
		if code, err = run(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
	os.Exit(code)
}

// settings are the flags.
type settings struct {
	bench.Options
	out  string
	json bool
}

// parse reads the flags. A run that is not whole is never written.
func parse() (settings, error) {
	var s settings
	only := flag.String("only", "", "these goals alone, such as P7,P8")
	flag.IntVar(&s.Rounds, "rounds", 5, "rounds, at least 5")
	flag.DurationVar(&s.Length, "length", 500*time.Millisecond, "measured part of a turn")
	flag.DurationVar(&s.Warm, "warm", 300*time.Millisecond, "part of a turn before it")
	stolen := flag.Float64("stolen", 100*bench.DefaultCalm.Limit, "per cent of the processor time it needs that others may have in a lap; one with more is played again")
	flag.DurationVar(&s.Calm.Rest, "rest", bench.DefaultCalm.Rest, "rest between two looks at a machine that is not calm")
	flag.DurationVar(&s.Calm.Patience, "patience", bench.DefaultCalm.Patience, "what rests, and whatever is done again, may take in all; 0: nothing is waited for")
	flag.BoolVar(&s.Quick, "quick", false, "only see that every row can be made: one short round")
	flag.BoolVar(&s.json, "json", false, "write JSON to standard output in place of the table")
	flag.StringVar(&s.out, "o", "", "write the report to this file")
	flag.StringVar(&s.Rawtcp, "rawtcp", "bin/rawtcp", "the built command, for P13")
	flag.Parse()
	s.Log, s.Calm.Limit = os.Stderr, *stolen/100
	if *only != "" {
		s.Only = strings.Split(strings.ToUpper(*only), ",")
	}
	for _, goal := range s.Only {
		if !slices.Contains(bench.Goals(), goal) {
			return s, fmt.Errorf("no goal is called %s; there are %s", goal, strings.Join(bench.Goals(), ", "))
		}
	}
	if s.Quick {
		s.Rounds, s.Length, s.Warm = 1, 50*time.Millisecond, 20*time.Millisecond
	} else if s.Rounds < 5 || s.Length <= 0 || s.Warm < 0 {
		return s, errors.New("want at least 5 rounds, a positive length, and a warm-up that is not negative")
	}
	if s.Calm.Limit < 0 || s.Calm.Rest <= 0 || s.Calm.Patience < 0 {
		return s, errors.New("want a positive rest, and neither -stolen nor -patience below 0")
	}
	if flag.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if s.Quick && s.out != "" {
		return s, errors.New("a quick run measures nothing that could be written to a file")
	}
	if len(s.Only) > 0 && s.out != "" {
		return s, errors.New("a part of the goals is not written to a file: leave out -o, or -only")
	}
	return s, nil
}

func run() (int, error) {
	s, err := parse()
	if err != nil {
		return 2, err
	}
	if !netlab.Isolated() && !bench.Privileged() {
		return netlab.Isolate(os.Args[1:]...)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := bench.Run(ctx, s.Options)
	if err != nil {
		return 1, err
	}
	if err := s.print(report); err != nil {
		return 1, err
	}
	if s.Quick {
		return 0, nil
	}
	return s.publish(report)
}

// print writes the report to standard output.
func (s settings) print(r bench.Report) error {
	if !s.json {
		r.Print(os.Stdout)
		return nil
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// publish writes the file, unless the peers varied too much.
func (s settings) publish(r bench.Report) (int, error) {
	if reasons := bench.Refusals(r.Rows); len(reasons) > 0 {
		return 1, fmt.Errorf("not published, for these peers were too restless to compare with (more may be had of a quiet machine, or of -patience 30m):\n  %s",
			strings.Join(reasons, "\n  "))
	}
	if s.out == "" {
		return 0, nil
	}
	var text bytes.Buffer
	r.Markdown(&text)
	if err := os.WriteFile(s.out, text.Bytes(), 0o644); err != nil {
		return 1, err
	}
	fmt.Fprintln(os.Stderr, "bench: written to", s.out)
	return 0, nil
}
