package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// outsideEnv tells the isolated program the inode of the network namespace it
// was started from. A number and not a mere flag, so that the variable alone
// cannot make a program believe that it is isolated.
const outsideEnv = "RAWTCP_NETLAB_OUTSIDE"

// Main is for TestMain: it runs the tests inside a fresh user and network
// namespace with lo up, as root of that namespace, and exits with their code.
//
// It starts the test binary once more, which takes about 3 ms. Where the host
// forbids user namespaces but the caller is root, the tests get a network
// namespace only. Where neither is possible Main says why and how to mend it,
// and exits with code 1: tests that did not run have not passed.
//
// The tests run in a process group of their own, so they cannot read from a terminal.
func Main(m interface{ Run() int }) {
	if slices.Contains(os.Args, "-test.fuzzworker") {
		// A child of isolated tests, which talks to them over inherited pipes.
		os.Exit(m.Run())
	}
	if Isolated() {
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, "netlab:", explain(err))
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	code, err := Isolate(os.Args[1:]...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "netlab:", err)
	}
	os.Exit(code)
}

// Isolated reports whether this process was started by Isolate or Main and
// does have a network namespace of its own.
func Isolated() bool { return isolated() }

// isolated forgets the variable on first use: a program started from inside
// must be able to isolate itself again.
var isolated = sync.OnceValue(func() bool {
	outside := os.Getenv(outsideEnv)
	os.Unsetenv(outsideEnv)
	here, err := netnsInode()
	return outside != "" && err == nil && outside != strconv.FormatUint(here, 10)
})

// Isolate runs this program again with the given arguments in fresh user,
// network and mount namespaces, and waits for it. It returns the exit code
// (128 plus the signal if one ended the program); the error is about the start
// only, and then the code is 1.
//
// The program dies when this process dies, and receives the SIGINT, SIGTERM,
// SIGQUIT and SIGHUP that this process receives. It is in a process group of
// its own and cannot read from a terminal.
func Isolate(args ...string) (code int, err error) {
	// Pdeathsig follows the thread that started the child, not the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	outside, err := netnsInode()
	if err != nil {
		return 1, fmt.Errorf("find own network namespace: %w", err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	defer signal.Stop(signals)

	cmd, err := startIsolated(args, outside)
	if err != nil {
		return 1, explain(err)
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				// A failure means that the child is already gone.
				_ = cmd.Process.Signal(s)
			case <-done:
				return
			}
		}
	}()
	return exitCode(cmd.Wait())
}

// startIsolated starts this program as root of a user namespace, or, where
// that is refused and we are root anyway, in a network namespace only.
func startIsolated(args []string, outside uint64) (*exec.Cmd, error) {
	start := func(flags uintptr) (*exec.Cmd, error) {
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Args[0] = os.Args[0]
		cmd.Env = append(os.Environ(), outsideEnv+"="+strconv.FormatUint(outside, 10))
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:   flags,
			Unshareflags: syscall.CLONE_NEWNS, // here and not in Cloneflags: it also makes the mounts private
			Pdeathsig:    syscall.SIGKILL,
			Setpgid:      true, // or Ctrl-C would arrive twice: from the terminal and from us
		}
		if flags&syscall.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
		}
		return cmd, cmd.Start()
	}
	cmd, err := start(syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET)
	if err == nil || os.Geteuid() != 0 {
		return cmd, err
	}
	cmd, rootErr := start(syscall.CLONE_NEWNET)
	if rootErr != nil {
		return nil, errors.Join(err, rootErr)
	}
	return cmd, nil
}

// exitCode turns the result of Wait into what a shell would see.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			return 1, err
		}
		return 0, nil
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}

// loopbackUp brings lo up in the namespace of the calling thread.
func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}

// netnsInode identifies the network namespace of this process.
func netnsInode() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}
