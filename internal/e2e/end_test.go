package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawtcp/internal/netlab"
	"rawtcp/segment"
)

// A situation is a state in which the end comes.
type situation struct {
	state string // of our connection, as the ladder says it
	serve netlab.Handler
	args  []string
	noFIN bool   // our FIN is lost on its way, however often it is sent
	until string // the peer closes when the ladder says this
}

// situations are made by real peers: one that echoes, one that never answers a
// FIN, one that closes at once.
var situations = []situation{
	{state: "SYN-SENT"},
	{state: "ESTABLISHED", serve: netlab.Echo, args: []string{"--hold", "60s"}},
	{state: "FIN-WAIT-2", serve: netlab.Mute, args: []string{"--close", "half", "--wait", "60s"}},
	{state: "CLOSE-WAIT", serve: closeAtOnce, args: []string{"--hold", "60s"}},
	{state: "TIME-WAIT", serve: netlab.Echo, args: []string{"--time-wait", "full"}},
}

// cutSituations last because our FIN does not get through: there is no way to
// tell such a peer anything.
var cutSituations = []situation{
	{state: "FIN-WAIT-1", serve: netlab.Mute, noFIN: true},
	{state: "CLOSING", until: "FIN-WAIT-1", noFIN: true},
	{state: "LAST-ACK", serve: closeAtOnce, args: []string{"--wait", "60s"}, noFIN: true},
}

// closeAtOnce is a peer that sends its FIN first.
func closeAtOnce(c *net.TCPConn) {
	_ = c.CloseWrite()
	_, _ = io.Copy(io.Discard, c)
}

// hasFIN is the loss of every FIN.
func hasFIN(packet []byte) bool {
	var s segment.Segment
	return s.Parse(packet) == nil && s.Flags.Has(segment.FIN)
}

// reach starts a connect that stays in the situation's state, and returns it
// with its local port.
func (s situation) reach(t *testing.T, guard string) (p *process, a, b *netlab.Host, port uint16) {
	t.Helper()
	a, b, r := netlab.RelayPair(t, netlab.RelayConfig{})
	harm, serve, told := netlab.Impairment{}, s.serve, make(chan struct{})
	switch {
	case s.noFIN:
		harm.Drop = hasFIN
	case s.serve == nil:
		harm.Drop = func([]byte) bool { return true }
	}
	if err := r.Set(netlab.AtoB, harm); err != nil {
		t.Fatal(err)
	}
	tell := sync.OnceFunc(func() { close(told) })
	t.Cleanup(tell)
	if serve == nil {
		serve = func(c *net.TCPConn) { <-told; closeAtOnce(c) }
	}
	to := target(b.Addr4(), b.MustServe(t, serve).Port())
	p = start(t, a, nil, "CONNECT", rawtcp, slices.Concat([]string{"connect", to, "--guard", guard, "-v"}, s.args)...)
	p.saying(s.until)
	tell()
	p.saying(s.state)
	return p, a, b, localPort(t, p.text())
}

// saying waits until the process has said something.
func (p *process) saying(what string) {
	p.t.Helper()
	eventually(p.t, patience, fmt.Sprintf("%s says %q", p.name, what), func() bool { return strings.Contains(p.text(), what) })
}

var localPortText = regexp.MustCompile(`src \S*?:(\d+)[,\s]`)

func localPort(t *testing.T, text string) uint16 {
	t.Helper()
	m := localPortText.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no local port in\n%s", text)
	}
	port, err := strconv.ParseUint(m[1], 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(port)
}

// rules returns what any firewall of h holds.
func rules(t *testing.T, h *netlab.Host) string {
	t.Helper()
	r := runProgram(t, h, nil, "nft", "list", "ruleset")
	if r.code != 0 {
		t.Fatalf("nft: %s", r)
	}
	return r.stdout
}

// kill -9 in any state, with either guard: the kernel takes back all of it.
func TestKillLeavesNothingBehind(t *testing.T) {
	for _, guard := range []string{"socket", "nft"} {
		for _, s := range slices.Concat(situations, cutSituations) {
			t.Run(guard+" "+s.state, func(t *testing.T) {
				t.Parallel()
				p, a, _, port := s.reach(t, guard)
				if guard == "socket" && !strings.Contains(socketsOn(t, a, port), "LISTEN") {
					t.Fatalf("no guard on port %d", port)
				}
				if guard == "nft" && !strings.Contains(rules(t, a), "rawtcp") {
					t.Fatalf("no rule of ours in %q", rules(t, a))
				}
				p.signal(syscall.SIGKILL)
				p.wait()
				eventually(t, patience, "no rule and no listener", func() bool {
					return rules(t, a) == "" && socketsOn(t, a, port) == ""
				})
			})
		}
	}
}

func TestKillOfListenLeavesNothingBehind(t *testing.T) {
	for _, guard := range []string{"socket", "nft"} {
		t.Run(guard, func(t *testing.T) {
			a, b := netlab.Pair(t, netlab.LinkConfig{})
			l := listen(t, b, ":7000", "--guard", guard)
			c := dialKernel(t, a, b.Addr4(), 7000)
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			l.signal(syscall.SIGKILL)
			l.wait()
			eventually(t, patience, "no rule and no listener", func() bool {
				return rules(t, b) == "" && socketsOn(t, b, 7000) == ""
			})
		})
	}
}

// peerSockets returns the connections of b's kernel that are still open.
func peerSockets(t *testing.T, b *netlab.Host) string {
	t.Helper()
	return runProgram(t, b, nil, "ss", "-H", "-tn", "state", "established", "state", "close-wait", "state", "syn-recv").stdout
}

// wantNoPeerSockets waits until b's kernel has heard our last word.
func wantNoPeerSockets(t *testing.T, b *netlab.Host) {
	t.Helper()
	eventually(t, patience, "the peer's connections are gone", func() bool { return peerSockets(t, b) == "" })
}

// Ctrl-C in any state leaves no half-open peer, and the summary is still printed.
func TestInterruptLeavesNoHalfOpenPeer(t *testing.T) {
	for _, s := range situations {
		t.Run(s.state, func(t *testing.T) {
			t.Parallel()
			p, a, b, port := s.reach(t, "auto")
			before := time.Now()
			p.signal(os.Interrupt)
			code := p.wait()
			if took := time.Since(before); took > patience/2 { // what holds it otherwise takes twice as long
				t.Errorf("it took %v", took)
			}
			if want := map[string]int{"TIME-WAIT": 0}; code != 130 && (code != want[s.state] || s.state != "TIME-WAIT") {
				t.Errorf("exit %d\n%s", code, p.text())
			}
			if !strings.Contains(p.text(), "segments") {
				t.Errorf("no summary\n%s", p.text())
			}
			wantNoPeerSockets(t, b)
			if left := socketsOn(t, a, port); left != "" {
				t.Errorf("left: %s", left)
			}
		})
	}
}

// A reader that goes away ends the connection in order.
func TestClosedPipeCleansUp(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{})
	echo := b.MustServe(t, netlab.Echo)
	r := runProgram(t, a, nil, "sh", "-c", fmt.Sprintf("%s connect %s --send hello --hold 60s | head -1", rawtcp, target(b.Addr4(), echo.Port())))
	if !strings.HasPrefix(r.stdout, "CONNECT") || strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("%s", r)
	}
	if r.took > patience/2 {
		t.Errorf("it took %v", r.took)
	}
	wantNoPeerSockets(t, b)
}

// A full disk costs the file and not the connection.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
	for _, flag := range []string{"--out", "--pcap"} {
		t.Run(flag, func(t *testing.T) {
			a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
			source := b.MustServe(t, netlab.Source(1, 1<<20))
			c := record(t, b, "eth0")
			file := filepath.Join(dir, "file"+flag)
			r := run(t, a, nil, "connect", target(b.Addr4(), source.Port()), flag, file, "--wait", "1s", "--close", "half")
			if r.code != 74 || !strings.Contains(r.stderr, "no space left on device") {
				t.Errorf("%s", r)
			}
			c.wantNoRST(a.Addr4())
			_ = os.Remove(file)
		})
	}
}

// --close rst reaches the peer, whatever keeps the kernel silent.
func TestCloseRSTReachesThePeer(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		for _, guard := range []string{"socket", "nft", "none"} {
			t.Run(guard, func(t *testing.T) {
				a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
				got := make(chan netlab.Received, 1)
				sink := b.MustServe(t, netlab.Sink(got))
				args := []string{"connect", target(f.of(b), sink.Port()), "--send", "hello", "--wait", "100ms", "--close", "rst", "--guard", guard}
				if guard == "none" {
					args = append(args, "--source-port", "40000")
					byHand(t, a, 40000)
				}
				mustRun(t, a, nil, args...)
				select {
				case r := <-got:
					if !errors.Is(r.Err, syscall.ECONNRESET) || r.N != 5 {
						t.Errorf("the peer saw %d octets and %v, want ECONNRESET", r.N, r.Err)
					}
				case <-time.After(patience):
					t.Error("the peer saw nothing")
				}
			})
		}
	})
}

// byHand suppresses the kernel's RSTs with the script, until the test ends.
func byHand(t *testing.T, h *netlab.Host, port int) {
	t.Helper()
	script, err := filepath.Abs("../../scripts/rst-guard.sh")
	if err != nil {
		t.Fatal(err)
	}
	if r := runProgram(t, h, nil, script, "up", "--port", fmt.Sprint(port)); r.code != 0 {
		t.Fatalf("%s", r)
	}
	t.Cleanup(func() {
		if r := runProgram(t, h, nil, script, "down", "--port", fmt.Sprint(port)); r.code != 0 {
			t.Errorf("%s", r)
		}
	})
}
