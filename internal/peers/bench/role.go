package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Spec tells a process of the benchmark what to do. The two sides of a run are
// processes of their own, so that each can be pinned and its time be counted.
type Spec struct {
	Stack   string           // of the tested side
	Work    string           // a key of works
	Local   netip.Addr       // of the tested side
	Remotes []netip.AddrPort // of the kernel's side: several addresses and one port
	Streams int              // connections at a time
	Warm    time.Duration    // what happens in it does not count
	Length  time.Duration    // what is measured
	Count   int              // where work is counted and not timed
	Wide    bool             // the tested side may use the processor of the kernel's side, too
}

// works are what a process can do.
var works = map[string]func(Spec) (sample, error){
	"send":     send,
	"receive":  receive,
	"sink":     sink,
	"source":   source,
	"connect":  connect,
	"accept":   accept,
	"pingpong": pingpong,
	"echo":     echo,
	"hold":     hold,
	"probe":    probe,
	"listen":   listenOnly,
	"call":     call,
}

// Role does what a process was started for by the benchmark itself; done is false
// if this is not such a process.
func Role(args []string) (code int, done bool) {
	var err error
	switch {
	case len(args) >= 3 && args[0] == "pin":
		err = pin(args[1], args[2:])
	case len(args) == 2 && args[0] == "role":
		err = play(args[1])
	default:
		return 0, false
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

// pin moves this process to a processor, or to several in a list such as "0,1", and becomes the program of args. Exec
// keeps the calling thread's processors for all threads to come, which a running
// Go program could not do for the threads that it has already.
func pin(cpus string, args []string) error {
	runtime.LockOSThread()
	if err := pinThread(cpus); err != nil {
		return err
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("start %s: %w", path, syscall.Exec(path, args, os.Environ()))
}

// pinThread moves the calling thread, which is locked, to processors.
func pinThread(cpus string) error {
	var set unix.CPUSet
	for cpu := range strings.SplitSeq(cpus, ",") {
		n, err := strconv.Atoi(cpu)
		if err != nil {
			return err
		}
		set.Set(n)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to processors %s: %w", cpus, err)
	}
	return nil
}

// play does the work of a spec, writes what it measured as a line of JSON, and
// lets the work go on until the benchmark closes our standard input: the other
// side may still be measuring.
func play(text string) error {
	var spec Spec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	do := works[spec.Work]
	if do == nil {
		return fmt.Errorf("no work is called %q", spec.Work)
	}
	if err := manyFiles(); err != nil {
		return err
	}
	got, err := do(spec)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", spec.Stack, spec.Work, err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(got); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// manyFiles lets this process have as many descriptors as it may.
func manyFiles() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}

// tellReady says that the kernel's side can be spoken to.
func tellReady() error {
	_, err := fmt.Println(peerReadiness)
	return err
}
