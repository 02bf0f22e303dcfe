package probe_test

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rawtcp/internal/netlab"
)

// listenChanged are the rows in which `rawtcp listen` on a veth pair answers
// something else than the engine behind it does in virtual time.
var listenChanged = map[string]deviation{
	"C15": {"unknown", "for --to, the command reads on and carries it to the service, which may end it"},
	"F6":  {"none", "by default the command stays in TIME-WAIT for one RTO"},
	"F8":  {"over", "by default the command stays in TIME-WAIT for one RTO"},
}

// buildProduct builds the command.
func buildProduct(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "rawtcp")
	cmd := exec.Command("go", "build", "-tags", "urfave_cli_no_docs,urfave_cli_no_suggest", "-o", binary, "rawtcp/cmd/rawtcp")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s%v", out, err)
	}
	return binary
}

// TestListen holds the battery against our own command, as a stranger would run it.
func TestListen(t *testing.T) {
	t.Parallel()
	binary := buildProduct(t)
	for _, service := range services {
		expected := listenExpected(service, *everyRow)
		if len(expected) == 0 {
			continue
		}
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			k := newKernelHost(t)
			port := k.listen(t, binary, service)
			r := k.probePatiently(t, port, service, keys(expected))
			want(t, r, expected)
			takeDown(t, "rawtcp listen", "this version, settings as they come", r)
		})
	}
}

// listenExpected are the outcomes of the rows with a service.
func listenExpected(service string, every bool) map[string]string {
	expected := allAnswers().of(service, byEngine)
	maps.DeleteFunc(expected, func(id, _ string) bool { return !asksListen(id, every) })
	for id := range expected {
		if d, changes := listenChanged[id]; changes {
			expected[id] = d.outcome
		}
	}
	return expected
}

// asksListen reports whether our command is asked for a row.
func asksListen(id string, every bool) bool {
	_, changes := listenChanged[id]
	switch a := allAnswers()[id]; {
	case id == "A11" || id == "A12": // it connects to nobody
		return false
	case a.slow:
		return every && *slowRows
	}
	// B15: between the engine and the wire stands a raw socket, where the kernel
	// writes into IP options.
	return every || changes || id == "B15" || slices.Contains(sample, id)
}

// listen runs our command as a service and returns its port.
func (k *kernelHost) listen(t *testing.T, binary, service string) uint16 {
	t.Helper()
	const port = 4000
	args := []string{"listen", "--quiet", fmt.Sprint(":", port)}
	switch service {
	case "none":
		args = append(args, "--discard")
	case "http":
		web, err := k.there.ServeHTTP(0, webPage)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, "--to", fmt.Sprint("127.0.0.1:", web))
	}
	await(t, k.there.Command(t.Context(), binary, args...), "listening on")
	return port
}

// await starts a program and waits until it says on standard error that it is
// ready. It is killed when the test ends.
func await(t *testing.T, cmd *netlab.Cmd, ready string) {
	t.Helper()
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	var all []string
	for lines.Scan() {
		all = append(all, lines.Text())
		if strings.Contains(lines.Text(), ready) {
			go func() { // what it says later is of no interest, but must not block it
				for lines.Scan() {
					continue
				}
				_ = cmd.Wait()
			}()
			return
		}
	}
	t.Fatalf("%s is not ready: %v\n%s", cmd.Path, cmd.Wait(), strings.Join(all, "\n"))
}
