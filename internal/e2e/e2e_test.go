package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rawtcp/internal/netlab"
)

// rawtcp is the binary under test, built once, as make build builds it.
var rawtcp string

func TestMain(m *testing.M) { netlab.Main(suite{m}) }

// A suite builds the binary before its tests run.
type suite struct{ m *testing.M }

func (s suite) Run() int {
	dir, err := os.MkdirTemp("", "rawtcp-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	rawtcp = filepath.Join(dir, "rawtcp")
	build := exec.Command("go", "build", "-tags", "urfave_cli_no_docs,urfave_cli_no_suggest", "-o", rawtcp, "rawtcp/cmd/rawtcp")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s%v\n", out, err)
		return 1
	}
	return s.m.Run()
}

// A family is one of the two address families.
type family int

const (
	v4 family = 4
	v6 family = 6
)

func (f family) String() string { return "IPv" + strconv.Itoa(int(f)) }

// both runs a test in both families.
func both(t *testing.T, test func(t *testing.T, f family)) {
	for _, f := range []family{v4, v6} {
		t.Run(f.String(), func(t *testing.T) { test(t, f) })
	}
}

func (f family) of(h *netlab.Host) netip.Addr {
	if f == v6 {
		return h.Addr6()
	}
	return h.Addr4()
}

func (f family) loopback() netip.Addr {
	if f == v6 {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

func target(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }

// A result is what a finished program left.
type result struct {
	code           int
	stdout, stderr string
	took           time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("exit %d after %v\n--- stdout\n%s\n--- stderr\n%s", r.code, r.took, r.stdout, r.stderr)
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// run runs rawtcp on h to its end.
func run(t *testing.T, h *netlab.Host, stdin io.Reader, args ...string) result {
	t.Helper()
	return runProgram(t, h, stdin, rawtcp, args...)
}

func runProgram(t *testing.T, h *netlab.Host, stdin io.Reader, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := h.Command(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s %v did not end\n%s%s", name, args, stdout.String(), stderr.String())
	}
	return result{exitCode(err), stdout.String(), stderr.String(), time.Since(start)}
}

// mustRun is run for what must succeed.
func mustRun(t *testing.T, h *netlab.Host, stdin io.Reader, args ...string) result {
	t.Helper()
	r := run(t, h, stdin, args...)
	if r.code != 0 {
		t.Fatalf("rawtcp %v: %s", args, r)
	}
	return r
}

// A process is a program that runs beside the test.
type process struct {
	*netlab.Cmd
	t      *testing.T
	name   string
	mu     sync.Mutex
	out    bytes.Buffer // stdout and stderr
	stdout bytes.Buffer
	exited chan struct{}
	err    error
}

// start runs a program beside the test until the test ends, and returns when
// a line of its output contains ready ("" : at once).
func start(t *testing.T, h *netlab.Host, stdin io.Reader, ready, name string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: h.Command(t.Context(), name, args...), t: t, name: name, exited: make(chan struct{})}
	p.Stdin = stdin
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	seen := make(chan struct{})
	var once sync.Once
	var readers sync.WaitGroup
	for _, r := range []io.Reader{stdout, stderr} {
		readers.Go(func() {
			in := bufio.NewReader(r)
			for {
				line, err := in.ReadString('\n')
				p.mu.Lock()
				p.out.WriteString(line)
				if r == stdout {
					p.stdout.WriteString(line)
				}
				p.mu.Unlock()
				if ready != "" && strings.Contains(line, ready) {
					once.Do(func() { close(seen) })
				}
				if err != nil {
					return
				}
			}
		})
	}
	go func() {
		readers.Wait()
		p.err = p.Wait()
		close(p.exited)
	}()
	if ready == "" {
		return p
	}
	select {
	case <-seen:
	case <-p.exited:
		t.Fatalf("%s %v ended early: %v\n%s", name, args, p.err, p.text())
	case <-time.After(20 * time.Second):
		t.Fatalf("%s %v never said %q\n%s", name, args, ready, p.text())
	}
	return p
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// wait waits for the end and returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		p.t.Fatalf("%s did not end\n%s", p.name, p.text())
	}
	return exitCode(p.err)
}

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// listen starts `rawtcp listen` on h and returns when it says that it listens.
func listen(t *testing.T, h *netlab.Host, args ...string) *process {
	t.Helper()
	return start(t, h, nil, "listening on", rawtcp, append([]string{"listen"}, args...)...)
}

// eventually polls until ok says yes.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// A capture is a tcpdump of one interface.
type capture struct {
	t    *testing.T
	h    *netlab.Host
	p    *process
	file string
}

// tcpdump captures what passes an interface of h.
func tcpdump(t *testing.T, h *netlab.Host, iface string) *capture {
	t.Helper()
	c := &capture{t: t, h: h, file: filepath.Join(t.TempDir(), "capture.pcap")}
	c.p = start(t, h, nil, "listening on", "tcpdump", "-i", iface, "-n", "-U", "--immediate-mode", "-Z", "root", "-w", c.file, "tcp")
	return c
}

// rsts ends the capture and returns its RST segments as tcpdump prints them.
func (c *capture) rsts() []string {
	c.t.Helper()
	return c.lines("(ip and tcp[13] & 4 != 0) or (ip6 and ip6[53] & 4 != 0)")
}

func (c *capture) lines(filter string) []string {
	c.t.Helper()
	time.Sleep(50 * time.Millisecond) // what is late would be a RST after the end
	c.p.signal(os.Interrupt)
	c.p.wait()
	out, err := exec.Command("tcpdump", "-n", "-r", c.file, filter).Output()
	if err != nil {
		c.t.Fatalf("tcpdump: %v", err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}

// wantNoRST ends the capture, which must hold segments and no RST.
func (c *capture) wantNoRST() {
	c.t.Helper()
	if all := c.lines(""); len(all) < 6 {
		c.t.Fatalf("the capture holds %d segments: it proves nothing\n%s", len(all), strings.Join(all, "\n"))
	}
	out, err := exec.Command("tcpdump", "-n", "-r", c.file, "(ip and tcp[13] & 4 != 0) or (ip6 and ip6[53] & 4 != 0)").Output()
	if err != nil || len(out) > 0 {
		c.t.Errorf("a RST was seen (%v):\n%s", err, out)
	}
}

// socketsOn returns the TCP sockets of h's kernel that name the port, as ss prints them.
func socketsOn(t *testing.T, h *netlab.Host, port uint16) string {
	t.Helper()
	r := runProgram(t, h, nil, "ss", "-H", "-tan", "sport", "=", fmt.Sprintf(":%d", port))
	return r.stdout
}

func dialKernel(t *testing.T, h *netlab.Host, addr netip.Addr, port uint16) *net.TCPConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := h.Dial(ctx, netip.AddrPortFrom(addr, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
