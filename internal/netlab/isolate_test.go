package netlab

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// anyThreadIn reports whether a thread of any process we may look at is in the
// network namespace that /proc calls name, or holds a descriptor of it.
func anyThreadIn(t *testing.T, name string) bool {
	t.Helper()
	for _, pattern := range []string{"/proc/[0-9]*/task/[0-9]*/ns/net", "/proc/[0-9]*/fd/[0-9]*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if got, err := os.Readlink(file); err == nil && got == name {
				return true
			}
		}
	}
	return false
}

// child runs one test of this binary as a program of its own: the test named
// name, which does something only when the variable is set.
func child(t *testing.T, name string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+name+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

func TestMainIsolates(t *testing.T) {
	if !Isolated() {
		t.Fatal("not isolated")
	}
	if os.Getenv(outsideEnv) != "" {
		t.Error("the variable is still set: programs started from here would not isolate themselves")
	}
	if os.Geteuid() != 0 {
		t.Errorf("uid %d inside, want 0", os.Geteuid())
	}
	lo, err := os.ReadFile("/proc/self/net/dev")
	if err != nil || !strings.Contains(string(lo), "lo:") || strings.Contains(string(lo), "eth") {
		t.Errorf("the interfaces are not lo alone: %s %v", lo, err)
	}
}

// TestMainTellsTheExitCode runs a failing and a passing test of this binary.
func TestMainTellsTheExitCode(t *testing.T) {
	if os.Getenv("NETLAB_TEST_FAIL") != "" {
		t.Fatal("failing as asked")
	}
	if os.Getenv("NETLAB_TEST_DIE") != "" {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	if os.Getenv("NETLAB_TEST_PASS") != "" {
		return
	}
	for env, want := range map[string]int{"NETLAB_TEST_FAIL=1": 1, "NETLAB_TEST_PASS=1": 0, "NETLAB_TEST_DIE=1": 128 + 9} {
		cmd := child(t, "TestMainTellsTheExitCode", env)
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: exit code %d, want %d (%v)\n%s", env, got, want, err, out)
		}
	}
}

// TestMarkerAloneIsNotIsolation gives a child the variable without a namespace.
func TestMarkerAloneIsNotIsolation(t *testing.T) {
	if want := os.Getenv("NETLAB_TEST_OUTSIDE"); want != "" {
		here, err := netnsInode()
		if err != nil || strconv.FormatUint(here, 10) == want {
			t.Fatalf("the tests ran in the namespace %s of their caller (%v)", want, err)
		}
		return
	}
	here, err := netnsInode()
	if err != nil {
		t.Fatal(err)
	}
	inode := strconv.FormatUint(here, 10)
	out, err := child(t, "TestMarkerAloneIsNotIsolation", outsideEnv+"="+inode, "NETLAB_TEST_OUTSIDE="+inode).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestKillLeavesNothing kills a process that has a lab with a command in it.
func TestKillLeavesNothing(t *testing.T) {
	if os.Getenv("NETLAB_TEST_VICTIM") != "" {
		victim(t)
	}
	cmd := child(t, "TestKillLeavesNothing", "NETLAB_TEST_VICTIM=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for lines := bufio.NewScanner(out); len(names) < 3 && lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "namespace "); ok {
			names = append(names, name)
		}
	}
	if len(names) != 3 {
		t.Fatalf("the victim told %d namespaces, want 3", len(names))
	}
	for _, name := range names {
		if !anyThreadIn(t, name) {
			t.Errorf("nobody is in %s while the victim lives: the look is blind", name)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	for _, name := range names {
		eventually(t, "nobody is left in "+name, func() bool { return !anyThreadIn(t, name) })
	}
}

// victim builds a lab with a command in each host, tells the namespaces and waits to be killed.
func victim(t *testing.T) {
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("namespace", own)
	a, b := Pair(t, LinkConfig{})
	for _, h := range []*Host{a, b} {
		cmd := h.Command(t.Context(), "sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("namespace", name)
	}
	time.Sleep(time.Hour)
}

func TestSignalsReachTheTests(t *testing.T) {
	if os.Getenv("NETLAB_TEST_SIGNAL") != "" {
		fmt.Println("ready")
		time.Sleep(time.Hour)
	}
	cmd := child(t, "TestSignalsReachTheTests", "NETLAB_TEST_SIGNAL=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 128+15 {
		t.Errorf("exit code %d, want 143", got)
	}
}

func TestExplainNamesTheMend(t *testing.T) {
	files := func(have map[string]string) func(string) ([]byte, error) {
		return func(name string) ([]byte, error) {
			if s, ok := have[name]; ok {
				return []byte(s), nil
			}
			if name == "/proc/self/ns/user" && have["no userns"] == "" {
				return nil, fs.ErrPermission
			}
			return nil, fs.ErrNotExist
		}
	}
	for _, tc := range []struct {
		name string
		err  error
		have map[string]string
		want string
	}{
		{"debian", syscall.EPERM, map[string]string{"/proc/sys/kernel/unprivileged_userns_clone": "0\n"}, "sysctl kernel.unprivileged_userns_clone=1"},
		{"ubuntu", syscall.EACCES, map[string]string{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, "sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
		{"none left", syscall.ENOSPC, map[string]string{"/proc/sys/user/max_user_namespaces": "0\n"}, "sysctl user.max_user_namespaces="},
		{"container", syscall.EPERM, nil, "docker run"},
		{"kernel", syscall.EINVAL, map[string]string{"no userns": "1"}, "CONFIG_USER_NS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := explainWith(fmt.Errorf("fork: %w", tc.err), files(tc.have))
			if !strings.Contains(err.Error(), tc.want) || !errors.Is(err, tc.err) {
				t.Errorf("got %v, want it to name %q", err, tc.want)
			}
		})
	}
	plain := errors.New("something else")
	if got := explainWith(plain, files(nil)); got != plain {
		t.Errorf("an unrelated error became %v", got)
	}
}

// TestOrdinaryUser reports what asNobody found before the tests were isolated.
// Without its word the tests themselves must be those of an ordinary user.
func TestOrdinaryUser(t *testing.T) {
	if told, ok := os.LookupEnv(nobodyEnv); ok {
		if told != "" {
			t.Errorf("the tests as user nobody: %s", told)
		}
		return
	}
	uids, err := os.ReadFile("/proc/self/uid_map")
	if fields := strings.Fields(string(uids)); err != nil || len(fields) != 3 || fields[1] == "0" {
		t.Errorf("not run as nobody, and uid_map is %q (%v)", uids, err)
	}
}

const nobodyEnv = "NETLAB_TEST_NOBODY"

// asNobody runs some tests of this binary as user nobody, who is root of
// nothing, and returns what went wrong.
func asNobody() error {
	dir, err := os.MkdirTemp("", "netlab")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "netlab.test")
	if err := errors.Join(os.WriteFile(path, binary, 0o755), os.Chmod(dir, 0o755)); err != nil {
		return err
	}
	cmd := exec.Command(path, "-test.run=^(TestMainIsolates|TestEchoOverBothFamilies|TestSysctlIsOfOneHost)$", "-test.timeout=5m")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
