package main

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/probe"
	"rawtcp/internal/puppet"
	"rawtcp/internal/simnet"
)

// TestProbeEndsInTime: --fast takes less than 20 seconds and --full less than 5
// minutes, with their manners, in virtual time against our own engine.
func TestProbeEndsInTime(t *testing.T) {
	for _, tt := range []struct {
		name  string
		o     probeOptions
		limit time.Duration
	}{
		{"fast", probeOptions{fast: true}, 20 * time.Second},
		{"full", probeOptions{full: true}, 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows, err := tt.o.rows()
			if err != nil {
				t.Fatal(err)
			}
			var report *probe.Report
			synctest.Test(t, func(t *testing.T) { report = inVirtualTime(t, &tt.o, rows) })
			t.Logf("%d rows in %v", len(report.Results), report.Took)
			if report.Took >= tt.limit {
				t.Errorf("it took %v, want less than %v", report.Took, tt.limit)
			}
			if len(report.Results) < len(rows) || report.Bad() {
				t.Errorf("%d of %d rows, bad news: %v", len(report.Results), len(rows), report.Bad())
			}
		})
	}
}

// inVirtualTime runs rows against a web server on our own engine.
func inVirtualTime(t *testing.T, o *probeOptions, rows []*probe.Row) *probe.Report {
	target := netip.MustParseAddrPort("198.18.0.2:80")
	network := simnet.New(simnet.Config{})
	here := network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{netip.MustParseAddr("198.18.0.1")}, Refuse: true})
	there := network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{target.Addr()}, Refuse: true})
	for _, path := range [][2]*simnet.Port{{here, there}, {there, here}} {
		network.SetPath(path[0], path[1], simnet.PathConfig{Delay: time.Millisecond})
	}
	host := engine.NewHost(engine.HostConfig{Link: there, Conn: engine.ConnConfig{ReceiveBuffer: 64 << 10}, Secret: [32]byte{1}})
	defer host.Close()
	l, err := host.Listen(target, engine.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	page := strings.Repeat("all work and no play\n", 1<<18)
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) }))
	}()
	rate, conns := o.manners()
	board := puppet.NewBoard(puppet.Config{Link: here, Rate: rate, Conns: conns})
	defer board.Close()
	run := &probeRun{o: o}
	b := &probe.Battery{
		Board: board, Target: target, Service: probe.GuessService(80, "host"), Rows: rows, SideBySide: o.full, Lanes: run.lanes(conns),
	}
	report, err := b.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report
}
