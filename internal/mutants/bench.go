package mutants

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Bench runs tests against mutants of the module at Root. Its methods may be
// called by several goroutines.
type Bench struct {
	Root string // of the module
	Work string // a directory for what is built; the caller removes it

	mu    sync.Mutex
	built int // numbers the files in Work
	sound map[stage]*healthy
}

// A Verdict is what came of one mutant.
type Verdict struct {
	Mutant *Mutant
	By     string // the package and the test that noticed; empty: it survives
	Err    error  // it could not be tried, which is no kill
	Took   time.Duration
}

// healthy is how a stage does without a mutant.
type healthy struct {
	once sync.Once
	took time.Duration
	err  error
}

const (
	leastPatience = 30 * time.Second
	memoryLimit   = 4 << 30 // octets of address space: a mutant that grows without bound ends alone
)

// Try shows m to the tests that could notice it, until one does.
func (b *Bench) Try(m *Mutant) Verdict { return b.try(m, stages(m.Dir)) }

func (b *Bench) try(m *Mutant, plan []stage) (v Verdict) {
	v.Mutant = m
	overlay, err := b.overlay(m)
	if err != nil {
		v.Err = err
		return v
	}
	binaries := map[string]string{}
	for _, s := range plan {
		patience, err := b.patience(s) // not on the mutant's account
		if err != nil {
			v.Err = err
			return v
		}
		start := time.Now()
		if binaries[s.dir] == "" {
			if binaries[s.dir], err = b.build(s.dir, overlay); err != nil {
				v.Err = fmt.Errorf("mutant %s: %w", m.Name, err)
				return v
			}
			defer os.Remove(binaries[s.dir]) //nolint:errcheck // early; all of Work goes in the end
		}
		v.By, err = b.run(binaries[s.dir], s, patience)
		v.Took += time.Since(start)
		if err != nil {
			v.Err = fmt.Errorf("mutant %s: %w", m.Name, err)
		}
		if v.By != "" || v.Err != nil {
			return v
		}
	}
	return v
}

// patience runs a stage without a mutant, once, and returns how long it may
// take with one. A stage that fails by itself would notice every mutant.
func (b *Bench) patience(s stage) (time.Duration, error) {
	b.mu.Lock()
	if b.sound == nil {
		b.sound = map[stage]*healthy{}
	}
	h := b.sound[s]
	if h == nil {
		h = new(healthy)
		b.sound[s] = h
	}
	b.mu.Unlock()
	h.once.Do(func() {
		binary, err := b.build(s.dir, "")
		if err != nil {
			h.err = err
			return
		}
		defer os.Remove(binary) //nolint:errcheck // early; all of Work goes in the end
		start := time.Now()
		by, err := b.run(binary, s, 10*time.Minute)
		if h.took = time.Since(start); err == nil && by != "" {
			err = fmt.Errorf("%s fails without a mutant: mend that first", by)
		}
		h.err = err
	})
	return max(leastPatience, 5*h.took), h.err
}

// file returns a fresh name in Work.
func (b *Bench) file(suffix string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.built++
	return filepath.Join(b.Work, strconv.Itoa(b.built)+suffix)
}

// overlay writes the mutated file and the list that puts it in the place of the
// real one.
func (b *Bench) overlay(m *Mutant) (string, error) {
	file, text, err := m.apply(b.Root)
	if err != nil {
		return "", err
	}
	mutated, list := b.file(".go"), b.file(".json")
	replace := map[string]map[string]string{"Replace": {filepath.Join(b.Root, file): mutated}}
	names, err := json.Marshal(replace)
	if err == nil {
		err = errors.Join(os.WriteFile(mutated, text, 0o600), os.WriteFile(list, names, 0o600))
	}
	if err != nil {
		return "", fmt.Errorf("mutant %s: %w", m.Name, err)
	}
	return list, nil
}

// build makes the test binary of a package. What does not compile is an error.
func (b *Bench) build(dir, overlay string) (string, error) {
	binary := b.file(".test")
	args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", binary}
	if overlay != "" {
		args = append(args, "-overlay="+overlay)
	}
	cmd := exec.Command("go", append(args, "./"+dir)...)
	cmd.Dir = b.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the tests of %s: %w\n%s", dir, err, bytes.TrimSpace(out))
	}
	return binary, nil
}

// run runs a stage and returns who failed, "" if nobody did.
func (b *Bench) run(binary string, s stage, patience time.Duration) (by string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience+leastPatience) // for a test that even its own timeout cannot end
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.failfast", "-test.timeout="+patience.String(), "-test.run="+s.run, "-test.skip="+s.skip)
	cmd.Dir = filepath.Join(b.Root, s.dir)
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("run the tests of %s: %w", s.dir, err)
	}
	limit := unix.Rlimit{Cur: memoryLimit, Max: memoryLimit}
	limited := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_AS, &limit, nil)
	switch err := cmd.Wait(); {
	case err == nil && bytes.Contains(out.Bytes(), []byte("no tests to run")):
		return "", fmt.Errorf("%s has no tests that match %q", s.dir, s.run)
	case err == nil:
		return "", nil
	case limited != nil && !errors.Is(limited, unix.ESRCH): // or it had ended before
		return "", fmt.Errorf("limit the memory of the tests of %s: %w", s.dir, limited)
	case ctx.Err() != nil:
		return s.dir + " (killed after its time)", nil
	}
	return s.dir + " " + culprit(out.String()), nil
}

var (
	failed   = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	timedOut = regexp.MustCompile(`(?m)^panic: test timed out after .*\n\s*running tests:\n\s*(\S+)`)
	fatal    = regexp.MustCompile(`(?m)^(?:fatal error|panic): (.*)$`)
)

// culprit finds in a test binary's output who failed.
func culprit(out string) string {
	if m := timedOut.FindStringSubmatch(out); m != nil {
		return m[1] + " (timeout)"
	}
	if m := failed.FindStringSubmatch(out); m != nil {
		return m[1]
	}
	if m := fatal.FindStringSubmatch(out); m != nil {
		return "(" + m[1] + ")"
	}
	last := strings.TrimSpace(out)
	return "(" + last[strings.LastIndexByte(last, '\n')+1:] + ")"
}
