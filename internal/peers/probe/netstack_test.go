package probe

import (
	"flag"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rawtcp/engine"
	battery "rawtcp/internal/probe"
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
}

var all = flag.Bool("all", false, "show what netstack answers to every row, also to those that answers does not know")

// TestNetstack holds the battery against netstack, each group beside the others.
func TestNetstack(t *testing.T) {
	for _, group := range battery.Groups() {
		for _, port := range []uint16{EchoPort, WebPort} {
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
		if (r.Service == battery.BulkData) == (port == WebPort) {
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
	service, err := battery.ParseService(map[uint16]string{EchoPort: "echo", WebPort: "http"}[port], them.String())
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
		if want, known := answers[r.Row.ID]; known && r.Key != want {
			t.Errorf("%s: %q (%s), want %q\n%s", r.Row.ID, r.Key, r.Text, want, evidence(r))
		}
	}
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
