package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rawtcp/internal/netlab"
	"rawtcp/internal/trace"
)

// patience is how long something may take that takes a moment: no more than a
// bound for the hopeless case, on a machine that is slow and busy besides.
const patience = time.Minute

// TestMain runs the tests in namespaces of their own; called by the name of
// the command, the test binary is the command.
func TestMain(m *testing.M) {
	commands := map[string]func(){"rawtcp": main}
	if commands[filepath.Base(os.Args[0])] != nil {
		testscript.Main(m, commands)
	}
	netlab.Main(inside{m, commands})
}

// inside is what runs once the namespaces are there. It does not return.
type inside struct {
	m        *testing.M
	commands map[string]func()
}

// Run implements the interface that netlab.Main asks for.
func (i inside) Run() int {
	testscript.Main(i.m, i.commands)
	return 1
}

// The scripts under testdata/script run the command in a lab of two hosts: us,
// where rawtcp runs, and them, with servers on the kernel's own TCP.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUpLab,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"us":        func(ts *testscript.TestScript, neg bool, args []string) { labOf(ts).run(ts, neg, "us", args) },
			"them":      func(ts *testscript.TestScript, neg bool, args []string) { labOf(ts).run(ts, neg, "them", args) },
			"start":     func(ts *testscript.TestScript, neg bool, args []string) { labOf(ts).start(ts, neg, args) },
			"until":     func(ts *testscript.TestScript, neg bool, args []string) { labOf(ts).until(ts, neg, args) },
			"signal":    func(ts *testscript.TestScript, neg bool, args []string) { labOf(ts).signal(ts, neg, args) },
			"ends":      func(ts *testscript.TestScript, neg bool, args []string) { labOf(ts).ends(ts, neg, args) },
			"jsonlines": jsonLines,
			"jsonlast":  jsonLast,
		},
	})
}

// A scriptLab is the lab of one script.
type scriptLab struct {
	hosts map[string]*netlab.Host
	procs map[string]*scriptProcess
}

// scriptProcess is a program that runs beside the script.
type scriptProcess struct {
	cmd            *netlab.Cmd
	stdout, stderr lockedBuffer
	ended          chan struct{}
	err            error
}

// lockedBuffer may be read while a program writes to it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

type labKey struct{}

func labOf(ts *testscript.TestScript) *scriptLab { return ts.Value(labKey{}).(*scriptLab) }

// setUpLab makes the two hosts and their servers, and tells the script where
// they are: $THEM4, $THEM6, $US4, $US6, and a port for each kind of server.
func setUpLab(env *testscript.Env) error {
	lab := netlab.New()
	env.Defer(lab.Close)
	us, err := lab.Host("us")
	if err != nil {
		return err
	}
	them, err := lab.Host("them")
	if err != nil {
		return err
	}
	if _, err := lab.Join(us, them, netlab.LinkConfig{}); err != nil {
		return err
	}
	for name, addr := range map[string]string{
		"US4": us.Addr4().String(), "US6": us.Addr6().String(),
		"THEM4": them.Addr4().String(), "THEM6": them.Addr6().String(),
	} {
		env.Setenv(name, addr)
	}
	for name, handler := range scriptServers {
		server, err := them.Serve(0, handler)
		if err != nil {
			return err
		}
		env.Setenv(name, strconv.Itoa(int(server.Port())))
	}
	http, err := them.ServeHTTP(0, netlab.Hello)
	if err != nil {
		return err
	}
	env.Setenv("HTTP", strconv.Itoa(int(http)))
	env.Setenv("LANG", "C.UTF-8")
	env.Values[labKey{}] = &scriptLab{
		hosts: map[string]*netlab.Host{"us": us, "them": them},
		procs: map[string]*scriptProcess{},
	}
	return nil
}

var scriptServers = map[string]netlab.Handler{
	"ECHO":    netlab.Echo,
	"DISCARD": netlab.Discard,
	"MUTE":    netlab.Mute,
	"SOURCE":  netlab.Source(1, 1<<20),
	"GREET":   func(c *net.TCPConn) { _, _ = io.WriteString(c, "hello\x1b[31m\n") },
	"RESET": func(c *net.TCPConn) { // a RST as soon as something comes
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
	},
}

// run is `us CODE [<FILE] PROGRAM ARGS`: the program must end with the code.
func (l *scriptLab) run(ts *testscript.TestScript, neg bool, host string, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: %s CODE [<FILE] PROGRAM [ARGS]", host)
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	cmd := l.command(ctx, ts, host, args[1:])
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	_, _ = ts.Stdout().Write(stdout.Bytes())
	_, _ = ts.Stderr().Write(stderr.Bytes())
	if code := exitCodeOf(runErr); code != want {
		ts.Fatalf("exit code %d, want %d (%v)\n%s%s", code, want, runErr, stdout.String(), stderr.String())
	}
}

// command is [<FILE] PROGRAM ARGS on a host.
func (l *scriptLab) command(ctx context.Context, ts *testscript.TestScript, host string, args []string) *netlab.Cmd {
	h := l.hosts[host]
	if h == nil {
		ts.Fatalf("no host %q", host)
	}
	var stdin io.Reader
	if file, ok := strings.CutPrefix(args[0], "<"); ok {
		stdin = strings.NewReader(ts.ReadFile(file))
		args = args[1:]
	}
	program, err := exec.LookPath(args[0])
	ts.Check(err)
	cmd := h.Command(ctx, program, args[1:]...)
	cmd.Args[0], cmd.Stdin = args[0], stdin
	cmd.WaitDelay = patience // for children that keep the output open
	cmd.Dir = ts.MkAbs(".")
	for _, name := range scriptEnv {
		if value := ts.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	return cmd
}

// scriptEnv is what a program gets of the script's environment.
var scriptEnv = []string{"PATH", "HOME", "TMPDIR", "LANG", "GOCOVERDIR", "NO_COLOR", "CLICOLOR_FORCE", "TERM", "COLUMNS",
	"RAWTCP_MSS", "RAWTCP_JSON", "RAWTCP_VERBOSE", "RAWTCP_TIMEOUT"}

func exitCodeOf(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ProcessState.Sys().(syscall.WaitStatus).Signaled():
		return 128 + int(exit.ProcessState.Sys().(syscall.WaitStatus).Signal())
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// start is `start NAME HOST [<FILE] PROGRAM ARGS`.
func (l *scriptLab) start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: start NAME HOST [<FILE] PROGRAM [ARGS]")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ts.Defer(cancel)
	p := &scriptProcess{cmd: l.command(ctx, ts, args[1], args[2:]), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	ts.Check(p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	l.procs[args[0]] = p
}

func (l *scriptLab) process(ts *testscript.TestScript, name string) *scriptProcess {
	p := l.procs[name]
	if p == nil {
		ts.Fatalf("no process %q was started", name)
	}
	return p
}

// until is `until NAME REGEXP`: it waits for the text in the program's output.
func (l *scriptLab) until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: until NAME REGEXP")
	}
	p := l.process(ts, args[0])
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if pattern.MatchString(p.stdout.String()) || pattern.MatchString(p.stderr.String()) {
			return
		}
	}
	ts.Fatalf("%s never said %q\n%s%s", args[0], args[1], p.stdout.String(), p.stderr.String())
}

// signal is `signal NAME INT|TERM|HUP|QUIT|KILL`.
func (l *scriptLab) signal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal NAME SIGNAL")
	}
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL}
	p := l.process(ts, args[0])
	ts.Check(p.cmd.Process.Signal(signals[args[1]]))
}

// ends is `ends NAME CODE`: it waits for the end, and shows the output.
func (l *scriptLab) ends(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ends NAME CODE")
	}
	p := l.process(ts, args[0])
	select {
	case <-p.ended:
	case <-time.After(patience):
		ts.Fatalf("%s did not end in time\n%s%s", args[0], p.stdout.String(), p.stderr.String())
	}
	_, _ = io.WriteString(ts.Stdout(), p.stdout.String())
	_, _ = io.WriteString(ts.Stderr(), p.stderr.String())
	if code := exitCodeOf(p.err); strconv.Itoa(code) != args[1] {
		ts.Fatalf("%s ended with %d, want %s\n%s%s", args[0], code, args[1], p.stdout.String(), p.stderr.String())
	}
}

// jsonLines checks that stdout is JSON Lines from a start to a summary or an error.
func jsonLines(ts *testscript.TestScript, neg bool, args []string) {
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\n"), "\n")
	var types []string
	for _, line := range lines {
		var object struct{ Type, Schema string }
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			ts.Fatalf("%v: %s", err, line)
		}
		if object.Type == "start" && object.Schema != trace.Schema {
			ts.Fatalf("schema %q", object.Schema)
		}
		types = append(types, object.Type)
	}
	last := types[len(types)-1]
	if types[0] != "start" || last != "summary" && last != "error" {
		ts.Fatalf("from %s to %s", types[0], last)
	}
	for _, want := range args {
		if !strings.Contains(strings.Join(types, " "), want) {
			ts.Fatalf("no line of type %s among %v", want, types)
		}
	}
}

// jsonLast is `jsonlast KEY=VALUE ...`: the last line of stdout has these
// values. A key may be a path: peer.mss. The value "*" is any but null.
func jsonLast(ts *testscript.TestScript, neg bool, args []string) {
	text := strings.TrimSuffix(ts.ReadFile("stdout"), "\n")
	line := text[strings.LastIndexByte(text, '\n')+1:]
	var object map[string]any
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		ts.Fatalf("%v: %s", err, line)
	}
	for _, arg := range args {
		path, want, _ := strings.Cut(arg, "=")
		var value any = object
		for key := range strings.SplitSeq(path, ".") {
			inner, _ := value.(map[string]any)
			value = inner[key]
		}
		got := fmt.Sprint(value)
		if list, ok := value.([]any); ok {
			got = strings.Trim(fmt.Sprint(list), "[]")
		}
		if want == "*" && value == nil || want != "*" && got != want {
			ts.Fatalf("%s is %s, want %s: %s", path, got, want, line)
		}
	}
}

// A panic ends the program with a code of its own, not with that of Go.
func TestPanicIsAnInternalError(t *testing.T) {
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"rawtcp", "version"}, nil, panicWriter{}, &stderr); code != exitInternal {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(stderr.String(), "internal error: on purpose") {
		t.Errorf("stderr %q", stderr.String())
	}
}

type panicWriter struct{}

func (panicWriter) Write([]byte) (int, error) { panic("on purpose") }

// Every variable of a flag is heard, and a flag wins over it.
func TestEnvironment(t *testing.T) {
	t.Setenv("RAWTCP_MSS", "500")
	t.Setenv("RAWTCP_VERBOSE", "2")
	for _, tt := range []struct {
		words   []string
		mss     int
		verbose int
	}{
		{[]string{"connect", "--", "h:1"}, 500, 2},
		{[]string{"connect", "--mss=600", "--verbose=1", "--", "h:1"}, 600, 1},
	} {
		p := &program{env: os.Getenv, stderr: io.Discard}
		o := newConnectOptions()
		ran := false
		c := &command{name: "connect", flags: o.talkOptions.flags(), run: func(context.Context, []string) error { ran = true; return nil }}
		line, err := normalise([]*command{c}, tt.words)
		if err == nil {
			err = p.dispatch(t.Context(), []*command{c}, line)
		}
		if err != nil || !ran || o.conn.MSS != tt.mss || o.verbose != tt.verbose {
			t.Errorf("%v: ran %v, mss %d, verbose %d, %v", tt.words, ran, o.conn.MSS, o.verbose, err)
		}
	}
}

func TestBadEnvironmentIsUsage(t *testing.T) {
	t.Setenv("RAWTCP_MSS", "many")
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"rawtcp", "connect", "--show", "127.0.0.1:1"}, nil, io.Discard, &stderr)
	want := `rawtcp connect: invalid value "many" from RAWTCP_MSS for --mss: want a number from 1 to 65535, or off (see rawtcp connect --help)` + "\n"
	if code != exitUsage || stderr.String() != want {
		t.Errorf("%d, %q", code, stderr.String())
	}
}

// No two flags share a variable, and none is a variable of ours for tests.
func TestVariablesAreUnique(t *testing.T) {
	for _, c := range testCommands() {
		seen := map[string]bool{}
		for _, f := range c.flags {
			if seen[f.env()] || strings.HasPrefix(f.env(), "RAWTCP_NETLAB") {
				t.Errorf("%s: %s", c.name, f.env())
			}
			seen[f.env()] = true
		}
	}
	if reflect.DeepEqual(testCommands()[0].flags, nil) {
		t.Error("no flags")
	}
}
