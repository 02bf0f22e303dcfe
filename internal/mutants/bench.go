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
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Bench runs tests against the mutants of a module. Its methods may be called
// by several goroutines.
type Bench struct {
	root    string // of the module
	work    string // for what is built; Close removes it
	overlay string // the list of grafted files, for go build
	mu      sync.Mutex
	built   map[string]*binary
	sound   map[stage]*healthy
}

// A Verdict is what came of one mutant.
type Verdict struct {
	Mutant *Mutant
	By     string // the package and the test that noticed; empty: it survives
	Err    error  // it could not be tried, which is no kill
	Took   time.Duration
}

// A binary is the tests of one package, with all mutants asleep in them.
type binary struct {
	once sync.Once
	path string
	err  error
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

// NewBench grafts the mutants onto the module at root. The error names every
// mutant that has no place. Close the bench after use.
func NewBench(root string, list []Mutant) (*Bench, error) {
	files, errs := graftAll(root, list)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	work, err := os.MkdirTemp("", "mutants-*")
	if err != nil {
		return nil, fmt.Errorf("make a directory for test binaries: %w", err)
	}
	b := &Bench{root: root, work: work, built: map[string]*binary{}, sound: map[stage]*healthy{}}
	if err := b.writeOverlay(files); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Close removes what was built.
func (b *Bench) Close() error {
	if err := os.RemoveAll(b.work); err != nil {
		return fmt.Errorf("remove what was built: %w", err)
	}
	return nil
}

// writeOverlay writes the grafted files and the list that puts them in the
// place of the real ones.
func (b *Bench) writeOverlay(files map[string][]byte) error {
	replace := map[string]string{}
	for name, text := range files {
		path := filepath.Join(b.work, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return fmt.Errorf("write a file with mutants: %w", err)
		}
		replace[filepath.Join(b.root, name)] = path
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return fmt.Errorf("list the files with mutants: %w", err)
	}
	b.overlay = filepath.Join(b.work, "overlay.json")
	if err := os.WriteFile(b.overlay, list, 0o600); err != nil {
		return fmt.Errorf("list the files with mutants: %w", err)
	}
	return nil
}

// Try shows m to the tests that could notice it, until one does. What it takes
// to build them and to try them without a mutant is nobody's account.
func (b *Bench) Try(m *Mutant) Verdict { return b.try(m, stages(m.Dir)) }

func (b *Bench) try(m *Mutant, plan []stage) (v Verdict) {
	v.Mutant = m
	for _, s := range plan {
		patience, err := b.patience(s)
		if err != nil {
			v.Err = err
			return v
		}
		start := time.Now()
		v.By, v.Err = b.run(s, m.Name, patience)
		if v.Took += time.Since(start); v.By != "" || v.Err != nil {
			return v
		}
	}
	return v
}

// Prepare builds the tests that could notice any of the mutants. A mutant that
// does not compile is an error that names it.
func (b *Bench) Prepare(list []Mutant) error {
	var errs []error
	tried := map[string]bool{}
	for i := range list {
		for _, s := range stages(list[i].Dir) {
			if !tried[s.dir] {
				tried[s.dir] = true
				_, err := b.build(s.dir)
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// patience runs a stage without a mutant, once, and returns how long it may
// take with one. A stage that fails by itself would notice every mutant.
func (b *Bench) patience(s stage) (time.Duration, error) {
	b.mu.Lock()
	h := b.sound[s]
	if h == nil {
		h = new(healthy)
		b.sound[s] = h
	}
	b.mu.Unlock()
	h.once.Do(func() {
		if _, h.err = b.build(s.dir); h.err != nil {
			return
		}
		start := time.Now()
		by, err := b.run(s, "", 10*time.Minute)
		if h.took = time.Since(start); err == nil && by != "" {
			err = fmt.Errorf("%s fails without a mutant: mend that first", by)
		}
		h.err = err
	})
	return max(leastPatience, 5*h.took), h.err
}

// build makes the test binary of a package, once.
func (b *Bench) build(dir string) (string, error) {
	b.mu.Lock()
	t := b.built[dir]
	if t == nil {
		t = &binary{path: filepath.Join(b.work, strings.ReplaceAll(dir, "/", "_")+".test")}
		b.built[dir] = t
	}
	b.mu.Unlock()
	t.once.Do(func() {
		cmd := exec.Command("go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-gcflags=-e", "-overlay="+b.overlay, "-o", t.path, "./"+dir)
		cmd.Dir = b.root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.err = fmt.Errorf("build the tests of %s: %w\n%s", dir, err, bytes.TrimSpace(out))
		}
	})
	return t.path, t.err
}

// run runs a stage with a mutant, or with none, and returns who failed, ""
// if nobody did.
func (b *Bench) run(s stage, mutant string, patience time.Duration) (by string, err error) {
	path, err := b.build(s.dir)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience+leastPatience) // for a test that even its own timeout cannot end
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-test.failfast", "-test.timeout="+patience.String(), "-test.run="+s.run, "-test.skip="+s.skip)
	cmd.Dir = filepath.Join(b.root, s.dir)
	cmd.Env = append(os.Environ(), Switch+"="+mutant)
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
