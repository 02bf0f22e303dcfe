package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// demoMark is in the environment of the demo and of all that it starts.
const demoMark = "RAWTCP_E2E_MARK=demo"

// demoTime is more than the demo can take by waiting for anything: it is done in
// a second where it has a processor to itself.
const demoTime = 20 * time.Second

// The demo shows the main job at once and leaves nothing behind:
// no process, and so none of its nameless namespaces. The tests run in a user
// namespace of their own, where root is an ordinary user of the host; the demo
// makes its own inside of it.
func TestDemo(t *testing.T) {
	cmd := exec.Command(rawtcp, "demo")
	cmd.Env = append(os.Environ(), demoMark)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if took := time.Since(start); took > demoTime {
		t.Errorf("it took %v", took)
	}
	checkDemo(t, string(out))
	eventually(t, patience, "no process of the demo", func() bool { return len(processesWith(demoMark)) == 0 })
}

// An ordinary user, without any capability, gets the same.
func TestDemoAsAnOrdinaryUser(t *testing.T) {
	out, err := os.ReadFile(os.Getenv(demoEnv))
	if err != nil {
		t.Fatal(err)
	}
	checkDemo(t, string(out))
}

func checkDemo(t *testing.T, out string) {
	t.Helper()
	for _, want := range []string{"SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED", "200 OK", "segments"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}
