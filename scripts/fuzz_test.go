package scripts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fakeGo is a go command that knows one fuzz target, and of `go test -fuzz`
// says what $SAYS is and ends with 1 if that is anything.
const fakeGo = `#!/bin/sh
case "$*" in
*-list*) printf 'FuzzIt\nok  \trawtcp/it\t0.1s\n' ;;
*-fuzz=*) [ -z "$SAYS" ] || { printf '%b' "$SAYS"; exit 1; } ;;
esac
`

// The end of a target's time is no finding; all else is.
func TestFuzzScript(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(fakeGo), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, says string
		code       int
	}{
		{"content", "", 0},
		{"out of time", `--- FAIL: FuzzIt (30.0s)\n    context deadline exceeded\nFAIL\n`, 0},
		{"a finding at the end", `--- FAIL: FuzzIt (30.0s)\n    context deadline exceeded\n    Failing input written to testdata/fuzz/FuzzIt/1\nFAIL\n`, 1},
		{"a finding", `--- FAIL: FuzzIt (1.0s)\n    Failing input written to testdata/fuzz/FuzzIt/1\nFAIL\n`, 1},
		{"another failure", `FAIL rawtcp/it [build failed]\n`, 1},
	} {
		cmd := exec.CommandContext(t.Context(), "./fuzz.sh", "1s")
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "SAYS="+tt.says)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(string(out), "--- rawtcp/it FuzzIt") {
			t.Errorf("%s: exit %d, want %d\n%s", tt.name, code, tt.code, out)
		}
	}
	cmd := exec.CommandContext(t.Context(), "./fuzz.sh", "1s", "Nothing")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "there are:") {
		t.Errorf("a pattern that picks nothing: %s", out)
	}
}
