package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A goroutine that panics ends the program with the code of an internal error
// and says why; Go's own way out would be 2, which means bad usage.
func TestPanicInAGoroutine(t *testing.T) {
	if os.Getenv("PANIC_IN_A_GOROUTINE") != "" {
		spawn(func() { panic("out of tea") })
		time.Sleep(time.Minute)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestPanicInAGoroutine$")
	cmd.Env = append(os.Environ(), "PANIC_IN_A_GOROUTINE=1")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != exitInternal {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "rawtcp: internal error: out of tea") || !strings.Contains(string(out), "goroutine") {
		t.Errorf("it said:\n%s", out)
	}
}
