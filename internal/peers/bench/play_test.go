package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"rawtcp/internal/netlab"
)

func TestMain(m *testing.M) {
	if code, done := Role(os.Args[1:]); done { // this program is both sides of a run, too
		os.Exit(code)
	}
	netlab.Main(m)
}

// short is a session that measures for a moment.
func short(t *testing.T) *Session {
	t.Helper()
	s := quiet(1)
	s.ctx, s.port, s.Quick, s.Warm, s.Length = t.Context(), firstPort, true, time.Millisecond, 20*time.Millisecond
	if err := s.chooseCPUs(); err != nil {
		t.Fatal(err)
	}
	if err := s.enter(true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.leave)
	return s
}

// Every stack can do the work of the streams, and the rate that counts is what
// the other side saw.
func TestStacksSendAndReceive(t *testing.T) {
	s := short(t)
	for _, stack := range []string{goNet, ourRaw, ourPacket, gvisorGSO, gvisorNoGSO} {
		for _, direction := range []string{"send", "receive"} {
			c := bulk("test", direction, 2, true, stack)
			got, err := c.contenders[0].run(s)
			if err != nil {
				t.Errorf("%s, %s: %v", stack, direction, err)
				continue
			}
			if direction == "send" && got[rate] != got["peer "+rate] || got[rate] <= 0 || got[cpuTime] < 0 {
				t.Errorf("%s, %s: %v", stack, direction, got)
			}
			_, told := got[allocations]
			if _, us := links[stack]; told != us {
				t.Errorf("%s, %s: allocations a segment told: %t", stack, direction, told)
			}
		}
	}
}

// What went wrong in another process is told here.
func TestSubjectSaysWhyItFailed(t *testing.T) {
	s := short(t)
	if got, err := s.play("smoke signals", "send", "sink", nil); err == nil || !strings.Contains(err.Error(), `no stack is called "smoke signals"`) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.play(goNet, "dig", "sink", nil); err == nil || !strings.Contains(err.Error(), `no work is called "dig"`) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.play(goNet, "send", "dig", nil); err == nil || !strings.Contains(err.Error(), "the kernel's side") {
		t.Errorf("%v, %v", got, err)
	}
}

// A canceled benchmark ends its processes.
func TestCanceledBenchmarkEnds(t *testing.T) {
	s := short(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.ctx = ctx
	if got, err := s.play(goNet, "send", "sink", nil); err == nil {
		t.Errorf("%v", got)
	}
}

func TestRoleRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {"-quick"}, {"-only", "P7"}} {
		if _, done := Role(args); done {
			t.Errorf("%q is taken for a role", args)
		}
	}
}

// What is told in JSON has all that the table has.
func TestReportInJSON(t *testing.T) {
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode(Report{Rows: []Row{judged(t, "peer", atLeast(1), 10, 10, 10)}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"goal":"P7"`, `"peer":{"name":"peer","low":10,"median":10,"high":10,"spread":0}`,
		`"ratio":{"low":1,"median":1,"high":1}`, `"bound":{"at_least":true,"value":1}`, `"met":true`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %s in %s", want, &text)
		}
	}
}
