package dossier_test

import (
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/probe"
	"rawtcp/internal/puppet"
	"rawtcp/internal/simnet"
	"rawtcp/segment"
)

var target = netip.MustParseAddrPort("198.18.0.2:4000")

// run runs rows against an echo service of our engine in virtual time. deaf makes
// the host one that no RST reaches.
func run(t *testing.T, deaf bool, ids ...string) *probe.Report {
	t.Helper()
	var report *probe.Report
	synctest.Test(t, func(t *testing.T) {
		network := simnet.New(simnet.Config{})
		us := netip.MustParseAddr("198.18.0.1")
		here := network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{us}, Refuse: true})
		there := network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{target.Addr()}, Refuse: true})
		road := simnet.PathConfig{Delay: time.Millisecond}
		network.SetPath(there, here, road)
		if deaf {
			road.Hook = withoutRST
		}
		network.SetPath(here, there, road)
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
		rows, err := probe.Select(probe.Rows(), ids)
		if err != nil {
			t.Fatal(err)
		}
		service, _ := probe.ParseService("echo", "host")
		b := &probe.Battery{Board: board, Target: target, Service: service, Rows: rows}
		if report, err = b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	return report
}

func withoutRST(packet []byte) []byte {
	var s segment.Segment
	if s.Parse(packet) == nil && s.Flags.Has(segment.RST) {
		return nil
	}
	return packet
}
