package scripts

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rawtcp/internal/netlab"
)

const lab = "./netns-lab.sh"

func TestLabCarriesTraffic(t *testing.T) {
	h := host(t)
	for _, addr := range []string{"LAB_FAR4", "LAB_FAR6"} {
		r := run(t, h, lab, "--far", `for a in 198.18.0.2 2001:db8::2; do echo "hello from $a" | nc -lN "$a" 7777 & done; wait`,
			"--", "sh", "-c", `until nc -dw 5 "$`+addr+`" 7777; do :; done`)
		if r.code != 0 || !strings.HasPrefix(r.stdout, "hello from ") {
			t.Errorf("%s: %+v", addr, r)
		}
	}
}

func TestLabTellsAndDraws(t *testing.T) {
	h := host(t)
	r := run(t, h, lab, "sh", "-c", `echo $LAB_NEAR4 $LAB_NEAR6 $LAB_FAR4 $LAB_FAR6; exit 5`)
	if r.code != 5 || r.stdout != "198.18.0.1 2001:db8::1 198.18.0.2 2001:db8::2\n" {
		t.Errorf("%+v", r)
	}
	for _, word := range []string{"near", "far", "198.18.0.1/24", "2001:db8::2/64", "MTU 1500", "eth0 +---"} {
		if !strings.Contains(r.stderr, word) {
			t.Errorf("the drawing has no %q:\n%s", word, r.stderr)
		}
	}
	width := -1
	for line := range strings.Lines(r.stderr) {
		if width >= 0 && len(line) != width {
			t.Errorf("a line of the drawing has %d octets, others %d:\n%s", len(line), width, r.stderr)
		}
		width = len(line)
	}
	if r := run(t, h, lab, "-q", "true"); r.stderr != "" || r.code != 0 {
		t.Errorf("quiet: %+v", r)
	}
}

func TestLabMTU(t *testing.T) {
	h := host(t)
	out := must(t, h, lab, "--mtu", "1400", "--", "sh", "-c", `ip link show eth0; nsenter -n -t "$LAB_FAR" ip link show eth0`)
	if strings.Count(out, "mtu 1400") != 2 {
		t.Errorf("MTU 1400: %s", out)
	}
	out = must(t, h, lab, "--mtu=576", "--", "sh", "-c", `echo "[$LAB_NEAR6]"; ip -6 address show dev eth0 scope global`)
	if out != "[]\n" {
		t.Errorf("IPv6 below its least MTU: %s", out)
	}
}

func TestLabWire(t *testing.T) {
	h := host(t)
	show := `ethtool -k eth0; nsenter -n -t "$LAB_FAR" ethtool -k eth0`
	for _, name := range []string{"tcp-segmentation-offload: ", "generic-segmentation-offload: ", "tx-checksumming: "} {
		if out := must(t, h, lab, "--wire", "--", "sh", "-c", show); strings.Count(out, "\n"+name+"off") != 2 {
			t.Errorf("with --wire %s\n%s", name, out)
		}
		if out := must(t, h, lab, "--", "sh", "-c", show); strings.Count(out, "\n"+name+"on") != 2 {
			t.Errorf("without --wire %s\n%s", name, out)
		}
	}
}

func TestLabAsOrdinaryUser(t *testing.T) {
	r := ordinary(t, host(t), lab, "--", "sh", "-c", `id -u; ip -4 -o address show dev eth0`)
	if r.code != 0 || !strings.HasPrefix(r.stdout, "0\n") || !strings.Contains(r.stdout, "198.18.0.1/24") {
		t.Errorf("%+v", r)
	}
}

// TestLabLeavesNothing ends the lab in every way and looks for who is left in its namespaces.
func TestLabLeavesNothing(t *testing.T) {
	h := host(t)
	before := must(t, h, "ip", "-o", "link")
	for name, end := range map[string]func(cmd *netlab.Cmd){
		"end of the command": func(cmd *netlab.Cmd) { cmd.Stdin.(*os.File).Close() },
		"SIGTERM":            func(cmd *netlab.Cmd) { cmd.Process.Signal(syscall.SIGTERM) },
		"SIGKILL":            func(cmd *netlab.Cmd) { cmd.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			stdin, feed, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd := h.Command(t.Context(), lab, "-q", "--far", "exec sleep 1000", "--", "sh", "-c",
				`readlink /proc/self/ns/net "/proc/$LAB_FAR/ns/net"; exec cat`)
			cmd.Stdin = stdin
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			stdin.Close()
			cmd.Stdin = feed // so that end can close it
			lines := bufio.NewScanner(out)
			var namespaces []string
			for len(namespaces) < 2 && lines.Scan() {
				namespaces = append(namespaces, lines.Text())
			}
			if len(namespaces) != 2 || namespaces[0] == namespaces[1] {
				t.Fatalf("the namespaces are %q", namespaces)
			}
			for _, ns := range namespaces {
				if !anyoneIn(t, ns) {
					t.Errorf("nobody is in %s while the lab lives: the look is blind", ns)
				}
			}
			end(cmd)
			cmd.Wait()
			for _, ns := range namespaces {
				eventually(t, "nobody is left in "+ns, func() bool { return !anyoneIn(t, ns) })
			}
			feed.Close()
		})
	}
	if after := must(t, h, "ip", "-o", "link"); after != before {
		t.Errorf("the host had\n%sand has\n%s", before, after)
	}
}

// anyoneIn reports whether a process is in the network namespace that /proc calls name.
func anyoneIn(t *testing.T, name string) bool {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if got, err := os.Readlink(file); err == nil && got == name {
			return true
		}
	}
	return false
}

func TestLabMisuse(t *testing.T) {
	testMisuse(t, "netns-lab.sh", []misuse{
		{nil, "which command"},
		{[]string{"--"}, "which command"},
		{[]string{"--mtu"}, "--mtu wants a value"},
		{[]string{"--mtu", "67", "true"}, "'67' is not an MTU"},
		{[]string{"--mtu", "65536", "true"}, "'65536' is not an MTU"},
		{[]string{"--mtu", "1e3", "true"}, "'1e3' is not an MTU"},
		{[]string{"--far"}, "--far wants a value"},
		{[]string{"--nera", "true"}, "unknown option '--nera'"},
		{[]string{"--inside", "true"}, "unknown option '--inside'"},
	})
}
