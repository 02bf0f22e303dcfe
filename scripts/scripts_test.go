// Package scripts tests the shell scripts beside it, in network namespaces of its own.
package scripts

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rawtcp/internal/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// A result is what a program printed and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a program on a host.
func run(t *testing.T, h *netlab.Host, name string, args ...string) result {
	t.Helper()
	return finish(t, h.Command(t.Context(), name, args...))
}

func finish(t *testing.T, cmd *netlab.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = patience // what keeps stdout open longer was left behind
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// must runs a program on a host that has to succeed, and returns what it printed.
func must(t *testing.T, h *netlab.Host, name string, args ...string) string {
	t.Helper()
	r := run(t, h, name, args...)
	if r.code != 0 {
		t.Fatalf("%s %v: exit code %d\n%s%s", name, args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// patience is how long something may take that takes a moment: no more than a
// bound for the hopeless case, on a machine that is slow and busy besides.
const patience = time.Minute

// eventually polls until ok, for what the kernel does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func host(t *testing.T) *netlab.Host {
	t.Helper()
	return netlab.NewTest(t).MustHost(t, "h")
}

func TestShellcheck(t *testing.T) {
	scripts, err := filepath.Glob("*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	path, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Fatalf("%v; install the package shellcheck", err)
	}
	if out, err := exec.Command(path, scripts...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestScriptsAreExecutable(t *testing.T) {
	for _, script := range []string{"rst-guard.sh", "netns-lab.sh"} {
		info, err := os.Stat(script)
		if err != nil || info.Mode()&0o111 != 0o111 {
			t.Errorf("%s: mode %v, %v", script, info.Mode(), err)
		}
	}
}

// A misuse is a wrong command line and what the complaint must contain.
type misuse struct {
	args []string
	says string
}

func testMisuse(t *testing.T, script string, table []misuse) {
	h := host(t)
	for _, tc := range table {
		r := run(t, h, "./"+script, tc.args...)
		if r.code != 2 || !strings.Contains(r.stderr, tc.says) || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s %q: exit code %d, want 2 and one line with %q on stderr\n%s%s", script, tc.args, r.code, tc.says, r.stdout, r.stderr)
		}
	}
	if r := run(t, h, "./"+script, "--help"); r.code != 0 || !strings.HasPrefix(r.stdout, "usage: "+script) || r.stderr != "" {
		t.Errorf("--help: %+v", r)
	}
}
