package main

import (
	"bytes"
	"flag"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rawtcp/engine"
	"rawtcp/internal/probe"
	"rawtcp/internal/puppet"
	"rawtcp/internal/simnet"
	"rawtcp/internal/trace"
	"rawtcp/segment"
)

var updateGolden = flag.Bool("update", false, "write testdata/probe")

// showRows are rows of the test's own, so that what they show is theirs alone.
var showRows = []*probe.Row{
	{
		ID: "A3", Name: "handshake", Question: "Is there a handshake?", Stimulus: "a SYN", Clauses: []probe.Clause{{RFC: 9293, Section: "3.5"}},
		Outcomes: []probe.Outcome{{Key: "open", Verdict: probe.Pass, Says: "there is one, and this sentence is so long that it does not fit a line of a terminal"}},
		Test:     func(t *probe.T) string { t.Connect(); return "open" },
	},
	{
		ID: "A4", Name: "unknowable", Question: "Can it be told?", Stimulus: "nothing", Clauses: []probe.Clause{{RFC: 9293, Section: "3.5"}},
		Test: func(t *probe.T) string {
			t.Unknown("the service has said too little to tell, and \x1b[31m it may stay like this for ever")
			return ""
		},
	},
	{
		ID: "C2", Name: "rst-in-window", Question: "Does it end?", Stimulus: "a RST", Clauses: []probe.Clause{{RFC: 5961, Section: "3.2"}},
		Outcomes: []probe.Outcome{
			{Key: "accepted", Verdict: probe.Vulnerable, Says: "the connection is dead: a RST anywhere in the window ends it"},
			{Key: "lives", Verdict: probe.Pass, Says: "it lives"},
		},
		Test: func(t *probe.T) string {
			p := t.Connect()
			p.Provoke(segment.RST, puppet.Seq(10))
			if t.Life(p) == puppet.Dead {
				return "accepted"
			}
			return "lives"
		},
	},
	{
		ID: "C7", Name: "timed", Question: "When does it answer?", Stimulus: "an octet", Clauses: []probe.Clause{{RFC: 9293, Section: "3.8.6.3", Rule: "MUST-40"}},
		Outcomes: []probe.Outcome{{Key: "quick", Verdict: probe.Note, Says: "it answers at once"}},
		Test: func(t *probe.T) string {
			p := t.Connect()
			sent := p.Send(segment.ACK|segment.PSH, puppet.Text([]byte("x")))
			if a := t.Answer(p, puppet.Acks(p.SndNxt())); a != nil {
				t.Times("answered_after", a.At-sent.At)
			}
			return "quick"
		},
	},
}

// battery runs showRows against our engine in virtual time, behind a road that
// makes it believe RSTs: it has a fault to show.
func battery(t *testing.T) (report *probe.Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		target := netip.MustParseAddrPort("198.18.0.2:7")
		network := simnet.New(simnet.Config{})
		here := network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{netip.MustParseAddr("198.18.0.1")}, Refuse: true})
		there := network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{target.Addr()}, Refuse: true})
		network.SetPath(here, there, simnet.PathConfig{Delay: time.Millisecond, Hook: believed})
		network.SetPath(there, here, simnet.PathConfig{Delay: time.Millisecond})
		host := engine.NewHost(engine.HostConfig{Link: there, Secret: [32]byte{1}})
		defer host.Close()
		l, err := host.Listen(target, engine.ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				go func() {
					defer c.Close()
					_, _ = io.Copy(c, c)
				}()
			}
		}()
		board := puppet.NewBoard(puppet.Config{Link: here, Random: rand.New(rand.NewPCG(1, 2)).Uint64})
		defer board.Close()
		b := &probe.Battery{Board: board, Target: target, Service: probe.GuessService(7, "host"), Rows: showRows}
		if report, err = b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	return report
}

// believed makes the host believe the RST of row C2, which is ten octets off.
func believed(packet []byte) []byte {
	var s segment.Segment
	if s.Parse(packet) != nil || s.Flags != segment.RST {
		return packet
	}
	s.Seq = s.Seq.Add(-10)
	packet, err := s.Append(nil)
	if err != nil {
		panic(err)
	}
	return packet
}

// TestProbeLooks: what a run shows on a terminal of 80 columns and in a pipe.
func TestProbeLooks(t *testing.T) {
	report := battery(t)
	for name, look := range map[string]probeLook{
		"terminal":         {columns: 80},
		"terminal-verbose": {columns: 80, verbose: 1},
		"pipe":             {},
		"color":            {columns: 80, ladder: trace.LadderConfig{Color: true}},
	} {
		look.ladder.UTF8 = true
		var b strings.Builder
		table := newProbeTable(rowsOf(report), func(group string, r *probe.Result) {
			if group != "" {
				b.WriteString("\n" + group + "\n")
			}
			b.WriteString(look.row(r))
		})
		for i := range slices.Backward(report.Results) { // whatever the order in which they end
			table.done(&report.Results[i])
		}
		b.WriteString(probeSummaryText(report, "198.18.0.2:7") + "\nprint " + report.Print() + "\n")
		golden(t, "testdata/probe/"+name+".txt", b.String())
		for line := range strings.Lines(b.String()) {
			if look.columns > 0 && !look.ladder.Color && !strings.HasPrefix(line, "print ") && len([]rune(strings.TrimSpace(line))) > look.columns {
				t.Errorf("%s: %d columns: %s", name, len([]rune(line)), line)
			}
		}
	}
}

func rowsOf(r *probe.Report) (rows []*probe.Row) {
	for i := range r.Results {
		rows = append(rows, r.Results[i].Row)
	}
	return rows
}

func golden(t *testing.T, file, text string) {
	t.Helper()
	if *updateGolden {
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", file, diff)
	}
}

// TestProbeTableCut: what is done of a run that was cut short is told, in order.
func TestProbeTableCut(t *testing.T) {
	rows, err := probe.Select(probe.Rows(), []string{"A3", "A4", "C2"})
	if err != nil {
		t.Fatal(err)
	}
	told := ""
	table := newProbeTable(rows, func(group string, r *probe.Result) { told += group + "|" + r.Row.ID + " " })
	table.done(&probe.Result{Row: rows[2]})
	table.done(&probe.Result{Row: rows[1]})
	if told != "" {
		t.Errorf("told before its turn: %s", told)
	}
	table.flush()
	if want := "A. Reachability and handshake|A4 C. Segments in ESTABLISHED|C2 "; told != want {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestProbeWatch(t *testing.T) {
	rows := []*probe.Row{
		{ID: "C1", Name: "quick", Takes: 2 * time.Second},
		{ID: "D1", Name: "timer", Takes: 100 * time.Second, Risk: probe.Slow},
		{ID: "C2", Name: "last", Takes: 4 * time.Second},
	}
	now := time.Duration(0)
	w := newProbeWatch(rows, 1, true, func() time.Duration { return now }, nil)
	defer w.end()
	see := func(want string) {
		t.Helper()
		if got := w.text(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	see("0/3; about 1m40s left")
	w.note(probe.Progress{Row: rows[0], What: probe.RowBegins})
	w.note(probe.Progress{Row: rows[0], What: probe.RowAgain, Text: "silent"})
	now = 3 * time.Second
	see("0/3 C1 quick 3s: attempt 2; about 1m40s left")
	w.note(probe.Progress{Row: rows[1], What: probe.RowBegins})
	w.note(probe.Progress{Row: rows[1], What: probe.RowWaits, Text: "the next copy"})
	now = 13 * time.Second
	see("0/3 D1 timer 10s: the next copy (and 1 more); about 1m30s left")
	w.note(probe.Progress{Row: rows[1], What: probe.RowDone})
	w.note(probe.Progress{Row: rows[0], What: probe.RowDone})
	see("2/3; about 4s left")
	brisk := newProbeWatch([]*probe.Row{rows[0], rows[2]}, 2, false, func() time.Duration { return 0 }, nil)
	defer brisk.end()
	if got := brisk.left(); got != 3*time.Second {
		t.Errorf("%v left of six seconds in two lanes", got)
	}
}

// TestStatusLine: the status stays below what is written, and goes without a trace.
func TestStatusLine(t *testing.T) {
	var b bytes.Buffer
	s := &statusLine{out: &b, columns: 10}
	write := func(text string) {
		if n, err := s.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	write("one\n")
	s.set("waiting for it")
	write("two\n")
	s.set("waiting for that")
	s.set("")
	write("three\n")
	if want := "one\n\r\x1b[Kwaiting f\r\x1b[Ktwo\nwaiting f\r\x1b[Kthree\n"; strings.ReplaceAll(b.String(), "\r\x1b[K\r", "\r") != want && b.String() != want {
		t.Errorf("%q", b.String())
	}
}

// TestProbeRows: which rows the flags pick, and what they refuse.
func TestProbeRows(t *testing.T) {
	ids := func(o probeOptions) string {
		rows, err := o.rows()
		if err != nil {
			return err.Error()
		}
		text := ""
		for _, r := range rows {
			text += r.ID + " "
		}
		return text
	}
	for want, o := range map[string]probeOptions{
		"A2 C1 ": {only: "c1, A2"},
		"there is no row \"Z9\": --list shows them": {only: "Z9"},
	} {
		if got := ids(o); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	usual, fast, full := " "+ids(probeOptions{}), " "+ids(probeOptions{fast: true}), " "+ids(probeOptions{full: true})
	for id, where := range map[string][3]bool{"C2": {true, true, true}, "B3": {true, false, true}, "A2": {false, false, true}} {
		for i, rows := range []string{usual, fast, full} {
			if strings.Contains(rows, " "+id+" ") != where[i] {
				t.Errorf("%s: want %v of the usual, fast and full rows: %s", id, where, rows)
			}
		}
	}
	for _, o := range []probeOptions{{fast: true, full: true}, {authorized: true}, {diff: true, list: true}, {diff: true, page: "x"}, {page: "-"}} {
		if codeOf(o.check()) != exitUsage {
			t.Errorf("%+v is accepted", o)
		}
	}
}

// TestIntrusiveWantsConsent: a row that may disturb is for private addresses, or
// for hosts whose owner agrees.
func TestIntrusiveWantsConsent(t *testing.T) {
	rows := []*probe.Row{{ID: "C19", Risk: probe.Intrusive}}
	for _, tt := range []struct {
		addr                  string
		intrusive, authorized bool
		ok                    bool
	}{
		{"10.1.2.3", true, false, true},
		{"fd00::1", true, false, true},
		{"198.18.0.2", true, false, true},
		{"8.8.8.8", true, false, false},
		{"2600::1", true, false, false},
		{"8.8.8.8", true, true, true},
		{"224.0.0.1", true, true, false},
	} {
		r := &probeRun{o: &probeOptions{intrusive: tt.intrusive, authorized: tt.authorized}, rows: rows}
		if err := r.mayProbe(netip.MustParseAddr(tt.addr)); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
