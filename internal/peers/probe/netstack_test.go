package probe

import (
	"cmp"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"rawtcp/engine"
	battery "rawtcp/internal/probe"
	"rawtcp/internal/probe/conformance"
	"rawtcp/internal/puppet"
	"rawtcp/internal/simnet"
)

// answers are what netstack answers, by row. It says of itself that it has no
// PAWS (C17); it judges the ACK field of data only while closing (C7, C8), and
// forgets a FIN without data that comes early (C14).
var answers = map[string]string{
	"A1": "open", "A3": "ack", "A4": "ack", "A5": "reset", "A6": "listen", "A7": "syn-only", "A8": "exact", "A9": "exact",
	"B1": "ignored", "B2": "ignored", "B3": "default", "B4": "honoured", "B5": "direct", "B6": "ignored", "B7": "taken", "B8": "honest",
	"B9": "accepted", "B10": "right", "B11": "ignored", "B12": "dropped", "B13": "acked", "B14": "ignored", "B15": "works", "B16": "all",
	"C1": "dead", "C2": "challenge", "C3": "silent", "C4": "dead", "C5": "challenge", "C6": "challenge", "C7": "accepted", "C8": "accepted",
	"C9": "silent", "C10": "acked", "C11": "exact", "C13": "refused", "C14": "lost", "C17": "accepted", "C18": "dead",
	"D10": "both", "F2": "data",
	"G1": "declined", "G2": "no-ecn", "G3": "works", "G4": "direct", "G5": "no-ecn", "G6": "none", "G7": "not-offered", "G8": "plain", "G9": "exact",
	"H1": "random", "H2": "shared", "H3": "mixed", "H4": "printed", "H5": "alike",
	"P3": "direct", "P4": "none",
}

// timed are answers to rows that take some seconds, or look at when something
// comes: they are asked for with -all.
var timed = map[string]string{
	"D2": "last", "D3": "rack", "D4": "none", "D5": "sack", "D6": "go-back-n", "D8": "recovers",
	"E1": "ten", "E3": "bytes", "E6": "at-once", "E7": "at-once", "E8": "exact", "E9": "unreported", "E10": "silent", "E11": "fills",
	"F1": "fin", "F3": "reset", "F4": "reset", "F7": "silent", "F8": "protected", "F10": "time-wait",
}

var (
	all    = flag.Bool("all", false, "ask netstack for every row that is quick, also for those that no table knows")
	record = flag.Bool("record", false, "take down what netstack answers, for docs/probe.md")
)

// services are what the ports of a Netstack can do.
var services = map[uint16]string{EchoPort: "echo", WebPort: "http"}

// TestNetstack holds the battery against netstack, each group beside the others.
func TestNetstack(t *testing.T) {
	for _, group := range battery.Groups() {
		for port := range services {
			rows := rowsFor(group, port)
			if len(rows) > 0 {
				t.Run(fmt.Sprintf("%s %d", group.Letter, port), func(t *testing.T) {
					t.Parallel()
					probe(t, port, rows)
				})
			}
		}
	}
}

// rowsFor are the rows of a group that want the service behind a port.
func rowsFor(group battery.Group, port uint16) (rows []*battery.Row) {
	for _, r := range group.Rows {
		if _, known := answers[r.ID]; !known && (!*all || r.Risk&(battery.Slow|battery.Intrusive|battery.Passive) != 0) {
			continue
		}
		if (r.Service == battery.BulkData || r.Service == battery.ClosesFirst) == (port == WebPort) {
			rows = append(rows, r)
		}
	}
	return rows
}

func probe(t *testing.T, port uint16, rows []*battery.Row) {
	network := simnet.New(simnet.Config{})
	us, them := netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2")
	here := network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{us}, Refuse: true})
	n, err := New(network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{them}}), them)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	board := puppet.NewBoard(puppet.Config{Link: here, Rate: 1000})
	defer board.Close()
	service, err := battery.ParseService(services[port], them.String())
	if err != nil {
		t.Fatal(err)
	}
	b := &battery.Battery{Board: board, Target: netip.AddrPortFrom(them, port), Service: service, Rows: rows}
	report, err := b.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range report.Results {
		r := &report.Results[i]
		t.Logf("%-4s %-10s %-14s %s", r.Row.ID, r.Verdict, r.Key, r.Text)
		want := cmp.Or(answers[r.Row.ID], timed[r.Row.ID])
		if r.Verdict == battery.Unknown && timed[r.Row.ID] != "" && r.Text == battery.TooSlow {
			want = "" // netstack's clock is the real one, and this machine was busy
		}
		if want != "" && r.Key != want {
			t.Errorf("%s: %q (%s), want %q\n%s", r.Row.ID, r.Key, r.Text, want, evidence(r))
		}
	}
	takeDown(t, report)
}

const (
	answersFile = "../../probe/testdata/answers.json"
	module      = "gvisor.dev/gvisor"
)

var taking sync.Mutex

// takeDown records what netstack answered, if that is asked for.
func takeDown(t *testing.T, report *battery.Report) {
	t.Helper()
	if !*record {
		return
	}
	taking.Lock()
	defer taking.Unlock()
	if err := conformance.Record(answersFile, "gVisor", "gVisor netstack "+version(t)+", SACK on", report); err != nil {
		t.Error(err)
	}
}

// version is that of netstack's module, as go.mod has it.
func version(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) >= 2 && words[0] == module {
			return words[1]
		}
	}
	t.Fatal("go.mod does not name " + module)
	return ""
}

// evidence is the segments of a row.
func evidence(r *battery.Result) string {
	var b strings.Builder
	for i, rec := range r.Record {
		if e := rec.Event; e.Segment != nil && i < 40 {
			arrow := "<"
			if e.Kind == engine.EventSegmentOut {
				arrow = ">"
			}
			fmt.Fprintf(&b, "  %12v conn %d %s %v\n", time.Duration(e.At), e.Conn, arrow, e.Segment)
		}
	}
	return b.String()
}
