// Command sim plays simulated networks against the engine: many seeds for a
// time, or one seed with a ladder and a capture to study it.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"rawtcp/internal/sim"
)

func main() {
	var (
		d       = flag.Duration("d", 30*time.Second, "how long to play seeds")
		from    = flag.Uint64("from", 0, "first `seed`")
		workers = flag.Int("workers", runtime.GOMAXPROCS(0), "how many seeds to play at once")
		most    = flag.Int("failures", 1, "stop after so many failures")
		seed    = flag.Int64("seed", -1, "replay one `seed` instead")
		shrink  = flag.Bool("shrink", false, "with -seed: replay the smallest plan that still fails")
		ladder  = flag.String("ladder", "", "with -seed: write a ladder to `file`")
		capture = flag.String("pcap", "", "with -seed: write a pcapng to `file`")
		profile = flag.String("profile", "", "write a CPU profile to `file`")
	)
	flag.Parse()
	debug.SetGCPercent(800) // worlds are small and short-lived
	if err := profiled(*profile, func() error {
		if *seed >= 0 {
			return replay(uint64(*seed), *shrink, *ladder, *capture)
		}
		return campaign(*from, *d, *workers, *most)
	}); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

func profiled(path string, f func() error) error {
	if path == "" {
		return f()
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return fmt.Errorf("start profile: %w", err)
	}
	err = f()
	pprof.StopCPUProfile()
	if closing := out.Close(); err == nil {
		err = closing
	}
	return err
}

func campaign(from uint64, d time.Duration, workers, most int) error {
	t := sim.Campaign(from, d, workers, most)
	fmt.Fprintf(os.Stdout, "seeds from %d: %v\n", from, &t)
	for _, r := range t.Failures {
		fmt.Fprintf(os.Stdout, "seed %d: %s\n  replay: go run ./internal/sim/cmd/sim -seed %d -shrink -ladder run.txt -pcap run.pcapng\n", r.Seed, r.Violation, r.Seed)
	}
	if n := len(t.Failures); n > 0 {
		return fmt.Errorf("%d violations", n)
	}
	return nil
}

// replay plays one seed with everything written down.
func replay(seed uint64, shrink bool, ladder, capture string) error {
	p := sim.Draw(seed)
	if shrink {
		p = sim.Shrink(p, 2000)
	}
	fmt.Fprintln(os.Stdout, &p)
	files := [2]*os.File{}
	for i, path := range [...]string{ladder, capture} {
		if path == "" {
			continue
		}
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // Recorder.Close has told every failed write
		files[i] = f
	}
	rec, err := sim.NewRecorder(writer(files[0]), writer(files[1]))
	if err != nil {
		return err
	}
	r := sim.Run(&p, rec)
	if err := rec.Close(); err != nil {
		return fmt.Errorf("write the recording: %w", err)
	}
	fmt.Fprintf(os.Stdout, "%d segments, %v simulated, trace %x\n", r.Segments, r.Simulated, rec.Sum())
	if r.Violation != "" {
		return fmt.Errorf("seed %d: %s", seed, r.Violation)
	}
	return nil
}

// writer keeps a file that is not there from looking like one.
func writer(f *os.File) io.Writer {
	if f == nil {
		return nil
	}
	return f
}
