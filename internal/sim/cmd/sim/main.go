// Command sim plays simulated networks against the engine: a campaign of many
// seeds, or one seed with a ladder and a capture to study it.
//
// A campaign ends after a time, or when it has played so many segments and
// connections, and can be interrupted and resumed:
//
//	sim -d 0 -segments 1000000000 -connections 10000000 -state campaign.json -out found
//
// What fails is shrunk and written down in the directory of -out.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"syscall"
	"time"

	"rawtcp/internal/sim"
)

// batch is how many seeds are played between two looks at the state file.
const batch = 500

// shrinking bounds the runs that make a failing plan small.
const shrinking = 2000

type options struct {
	sim.Campaign
	from           uint64
	state, out     string
	seed           int64
	shrink         bool
	ladder, pcap   string
	profile        string
	reportInterval time.Duration
}

func main() {
	var o options
	flag.DurationVar(&o.Time, "d", 30*time.Second, "how long to play seeds; 0: until -segments and -connections are reached")
	flag.Int64Var(&o.Segments, "segments", 0, "play so many segments, and -connections")
	flag.Int64Var(&o.Connections, "connections", 0, "play so many connections, and -segments")
	flag.Uint64Var(&o.from, "from", 0, "first `seed`")
	flag.IntVar(&o.Workers, "workers", runtime.GOMAXPROCS(0), "how many seeds to play at once")
	flag.IntVar(&o.Failures, "failures", 1, "stop after so many violations")
	flag.StringVar(&o.state, "state", "", "go on from `file`, and keep it up to date")
	flag.StringVar(&o.out, "out", ".", "write what fails to `directory`: sim-SEED.txt and sim-SEED.pcapng")
	flag.DurationVar(&o.reportInterval, "report", 30*time.Second, "how often to tell where the campaign is")
	flag.Int64Var(&o.seed, "seed", -1, "replay one `seed` instead")
	flag.BoolVar(&o.shrink, "shrink", false, "with -seed: replay the smallest plan that still fails")
	flag.StringVar(&o.ladder, "ladder", "", "with -seed: write a ladder to `file`")
	flag.StringVar(&o.pcap, "pcap", "", "with -seed: write a pcapng to `file`")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile to `file`")
	flag.Parse()
	debug.SetGCPercent(800) // worlds are small and short-lived
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

func (o *options) run() (err error) {
	if o.Time <= 0 && o.Segments <= 0 && o.Connections <= 0 && o.seed < 0 {
		return errors.New("a campaign without an end: give -d, -segments or -connections")
	}
	if o.profile != "" {
		out, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(out); err != nil {
			return fmt.Errorf("start profile: %w", err)
		}
		defer func() {
			pprof.StopCPUProfile()
			err = errors.Join(err, out.Close())
		}()
	}
	if o.seed >= 0 {
		p := sim.Draw(uint64(o.seed))
		if o.shrink {
			p = sim.Shrink(p, shrinking)
		}
		return replay(p, o.ladder, o.pcap)
	}
	return o.campaign()
}

// campaign plays seeds, and writes down what fails.
func (o *options) campaign() error {
	t, err := o.load()
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals) // the second one is not held back
		close(stop)
	}()
	var saving error
	told, known := time.Now(), 0
	o.Batch, o.Stop = batch, stop
	o.Report = func(t sim.Tally) {
		saving = errors.Join(saving, o.save(t))
		for ; known < len(t.Failures); known++ {
			fmt.Fprintf(os.Stderr, "seed %d: %s\n", t.Failures[known].Seed, t.Failures[known].Violation)
		}
		if time.Since(told) >= o.reportInterval {
			told = time.Now()
			fmt.Fprintln(os.Stderr, t)
		}
	}
	o.Play(&t)
	fmt.Fprintln(os.Stdout, t)
	for _, r := range t.Failures {
		fmt.Fprintf(os.Stdout, "seed %d: %s\n", r.Seed, r.Violation)
		base := filepath.Join(o.out, fmt.Sprintf("sim-%d", r.Seed))
		if err := replay(sim.Shrink(sim.Draw(r.Seed), shrinking), base+".txt", base+".pcapng"); err == nil {
			fmt.Fprintln(os.Stdout, "  it does not fail again: see whether the run depends on anything but its seed")
		}
		fmt.Fprintf(os.Stdout, "  the smallest plan that fails is in %s.txt and %s.pcapng; replay: go run ./internal/sim/cmd/sim -seed %d -shrink\n", base, base, r.Seed)
	}
	if n := len(t.Failures); n > 0 {
		saving = errors.Join(saving, fmt.Errorf("%d violations", n))
	}
	return saving
}

// load returns what was played before, by the state file if there is one.
func (o *options) load() (sim.Tally, error) {
	t := sim.Tally{First: o.from, Next: o.from}
	if o.state == "" {
		return t, nil
	}
	text, err := os.ReadFile(o.state)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return t, fmt.Errorf("read %s, which a campaign wrote (remove it to begin anew): %w", o.state, err)
	}
	return t, nil
}

// save replaces the state file at once, so that an interruption leaves the old
// one or the new one. Failures stay out: a resumed campaign goes on behind them.
func (o *options) save(t sim.Tally) error {
	if o.state == "" {
		return nil
	}
	t.Failures = nil
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if err := os.WriteFile(o.state+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(o.state+".new", o.state)
}

// replay plays one plan with everything written down.
func replay(p sim.Plan, ladder, capture string) error {
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
	plan := os.Stdout
	if files[0] != nil {
		plan = files[0]
	}
	if _, err := fmt.Fprintln(plan, &p); err != nil {
		return err
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
		return fmt.Errorf("seed %d: %s", p.Seed, r.Violation)
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
