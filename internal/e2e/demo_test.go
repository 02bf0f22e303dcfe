package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The demo shows the main job in under three seconds and leaves nothing behind.
// The tests run in a user namespace of their own, where root is an ordinary
// user of the host; the demo makes its own inside of it.
func TestDemo(t *testing.T) {
	namespaces := func() int {
		seen := map[string]bool{}
		procs, err := os.ReadDir("/proc")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range procs {
			if ns, err := os.Readlink("/proc/" + p.Name() + "/ns/net"); err == nil {
				seen[ns] = true
			}
		}
		return len(seen)
	}
	before := namespaces()
	start := time.Now()
	out, err := exec.Command(rawtcp, "demo").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	checkDemo(t, string(out))
	if after := namespaces(); after != before {
		t.Errorf("%d network namespaces before, %d after", before, after)
	}
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
