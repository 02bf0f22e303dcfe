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
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"rawtcp/internal/netlab"
)

// Set for the isolated process: the binary under test, built once as make
// build builds it, and what its demo said to an ordinary user.
const (
	binaryEnv = "RAWTCP_E2E_BINARY"
	demoEnv   = "RAWTCP_E2E_DEMO"
)

// rawtcp is the binary under test.
var rawtcp = os.Getenv(binaryEnv)

func TestMain(m *testing.M) {
	if rawtcp != "" {
		netlab.Main(m) // does not return
	}
	os.Exit(prepare())
}

// prepare builds the binary, runs its demo as an ordinary user, which no
// process inside the namespace can be, and then runs this program's tests inside.
func prepare() int {
	dir, err := os.MkdirTemp("", "rawtcp-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(os.Chmod(dir, 0o755), build(filepath.Join(dir, "rawtcp")), demoAsUser(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code, err := netlab.Isolate(os.Args[1:]...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if left := leftBehind(binaryEnv + "=" + filepath.Join(dir, "rawtcp")); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "the tests have left behind, now killed:\n%s\n", strings.Join(left, "\n"))
		code = max(code, 1)
	}
	return code
}

// leftBehind kills the processes that have mark in their environment, as all
// have that the tests started, and returns them. The last ones get a moment.
func leftBehind(mark string) (left []string) {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		marked := processesWith(mark)
		if len(marked) == 0 || time.Now().After(end) {
			for _, pid := range marked {
				line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				left = append(left, strings.ReplaceAll(string(line), "\x00", " "))
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			return left
		}
	}
}

// processesWith lists the other processes that have a setting in their environment.
func processesWith(setting string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		env, err := os.ReadFile(file)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && pid != os.Getpid() && slices.Contains(strings.Split(string(env), "\x00"), setting) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func build(binary string) error {
	cmd := exec.Command("go", "build", "-tags", "urfave_cli_no_docs,urfave_cli_no_suggest", "-o", binary, "rawtcp/cmd/rawtcp")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s%w", out, err)
	}
	return os.Setenv(binaryEnv, binary)
}

const nobody = 65534

// demoAsUser runs the demo as nobody if we are root, and as ourselves if not.
// What it said is judged by TestDemoAsAnOrdinaryUser.
func demoAsUser(dir string) error {
	cmd := exec.Command(os.Getenv(binaryEnv), "demo")
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		out = fmt.Appendf(out, "\nfailed: %v\n", err)
	}
	file := filepath.Join(dir, "demo")
	return errors.Join(os.WriteFile(file, out, 0o644), os.Setenv(demoEnv, file))
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 4*time.Minute) // cleanups run programs too
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := h.Command(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGABRT) } // a Go program then says where it hangs
	cmd.WaitDelay = patience
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
	case <-time.After(patience):
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
	case <-time.After(2 * patience):
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

// A capture is what passes one interface, in a file that tshark then judges.
type capture struct {
	t       *testing.T
	file    string
	handle  *pcapgo.EthernetHandle
	written atomic.Uint64 // packets
	done    chan error
}

// record starts a capture on an interface of h. (tcpdump insists on giving up
// root, which cannot be done in an ordinary user's namespace.)
func record(t *testing.T, h *netlab.Host, iface string) *capture {
	t.Helper()
	c := &capture{t: t, file: filepath.Join(t.TempDir(), "capture.pcap"), done: make(chan error, 1)}
	err := h.Do(func() (err error) { c.handle, err = pcapgo.NewEthernetHandle(iface); return err })
	if err != nil {
		t.Fatal(err)
	}
	go func() { c.done <- c.write() }()
	return c
}

const snaplen = 256

func (c *capture) write() error {
	f, err := os.Create(c.file)
	if err != nil {
		return err
	}
	defer f.Close()
	buffered := bufio.NewWriter(f)
	w := pcapgo.NewWriterNanos(buffered)
	if err := w.WriteFileHeader(snaplen, layers.LinkTypeEthernet); err != nil {
		return err
	}
	for {
		frame, info, err := c.handle.ReadPacketData()
		if err != nil { // it was closed
			return buffered.Flush()
		}
		frame = frame[:min(len(frame), snaplen)]
		info.CaptureLength = len(frame)
		if err := w.WritePacket(info, frame); err != nil {
			return err
		}
		c.written.Add(1)
	}
}

// stop ends the capture, so that its file is whole.
func (c *capture) stop() {
	c.t.Helper()
	time.Sleep(50 * time.Millisecond) // what is late would be a RST after the end
	eventually(c.t, patience, "all that was captured is written", c.isWhole())
	c.handle.Close()
	if err := <-c.done; err != nil {
		c.t.Fatal(err)
	}
}

// end ends the capture and returns its segments, a line each as tshark prints them.
func (c *capture) end() []string {
	c.t.Helper()
	c.stop()
	out, err := exec.Command("tshark", "-n", "-r", c.file, "-Y", "tcp").Output()
	if err != nil {
		c.t.Fatalf("tshark: %v", err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
}

// isWhole returns what reports whether all packets that the socket has taken
// are written.
func (c *capture) isWhole() func() bool {
	var taken uint64
	return func() bool {
		stats, err := c.handle.Stats() // since it was last asked
		if err != nil {
			c.t.Fatal(err)
		}
		taken += uint64(stats.Packets - stats.Drops)
		return c.written.Load() >= taken
	}
}

// wantNoRST ends the capture, which must hold segments and no RST from the host
// at addr. (Its peer's kernel may have reason for one: a last ACK that was
// repeated because the machine was slow finds no connection there any more. So
// may we, when our FIN went out twice and both were acknowledged.)
func (c *capture) wantNoRST(addr netip.Addr) {
	c.t.Helper()
	lines := c.end()
	if len(lines) < 6 {
		c.t.Fatalf("the capture holds %d segments: it proves nothing", len(lines))
	}
	fins := 0
	for _, line := range lines {
		if !strings.Contains(line, " "+addr.String()+" → ") {
			continue
		}
		if strings.Contains(line, "[FIN") {
			fins++
		}
		if isRST(line) && fins < 2 {
			c.t.Errorf("a RST: %s\n%s", line, strings.Join(lines, "\n"))
		}
	}
}

func isRST(line string) bool { return strings.Contains(line, "[RST") }

// The judge of the other tests sees the kernel's RST when there is one.
func TestCaptureSeesRSTs(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
	both(t, func(t *testing.T, f family) {
		c := record(t, b, "eth0")
		if conn, err := a.Dial(t.Context(), netip.AddrPortFrom(f.of(b), 9)); err == nil {
			conn.Close()
			t.Fatal("port 9 is open")
		}
		if lines := c.end(); len(lines) != 2 || !isRST(lines[1]) || !strings.Contains(lines[1], " "+f.of(b).String()+" → ") {
			t.Errorf("want a SYN and a RST:\n%s", strings.Join(lines, "\n"))
		}
	})
}

// socketsOn returns the TCP sockets of h's kernel that name the port, as ss prints them.
func socketsOn(t *testing.T, h *netlab.Host, port uint16) string {
	t.Helper()
	r := runProgram(t, h, nil, "ss", "-H", "-tan", "sport", "=", fmt.Sprintf(":%d", port))
	return r.stdout
}

func dialKernel(t *testing.T, h *netlab.Host, addr netip.Addr, port uint16) *net.TCPConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := h.Dial(ctx, netip.AddrPortFrom(addr, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
