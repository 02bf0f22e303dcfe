package puppet_test

import (
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/puppet"
	"rawtcp/internal/simnet"
	"rawtcp/segment"
)

// A world is a Board, and a host with an echo service made of our own engine,
// on a simulated network with a millisecond each way.
type world struct {
	*testing.T
	network     *simnet.Network
	here, there *simnet.Port
	host        *engine.Host
	listener    *engine.NetListener
	board       *puppet.Board
	target      netip.AddrPort
	mu          sync.Mutex
	sent        []moment // what left us
	states      states   // of the host's connections
}

type moment struct {
	at  time.Duration
	seg segment.Segment
}

// inWorld runs a test in virtual time.
func inWorld(t *testing.T, cfg puppet.Config, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, target: netip.MustParseAddrPort("198.18.0.2:4000")}
		w.network = simnet.New(simnet.Config{Path: simnet.PathConfig{Delay: time.Millisecond}, Tap: w.tap})
		w.here = w.network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{netip.MustParseAddr("198.18.0.1")}, Refuse: true})
		w.there = w.network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{w.target.Addr()}, Refuse: true})
		w.states.of = map[uint64]engine.State{}
		w.host = engine.NewHost(engine.HostConfig{Link: w.there, Tracer: &w.states, Secret: [32]byte{1}})
		defer w.host.Close()
		var err error
		if w.listener, err = w.host.Listen(w.target, engine.ListenConfig{}); err != nil {
			t.Fatal(err)
		}
		go w.echo()
		cfg.Link = w.here
		w.board = puppet.NewBoard(cfg)
		defer w.board.Close()
		test(w)
	})
}

func (w *world) tap(p simnet.Packet) {
	if p.From != w.here {
		return
	}
	var s segment.Segment
	if s.Parse(append([]byte(nil), p.Data...)) == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sent = append(w.sent, moment{p.Sent, s})
	}
}

// left is what has left us.
func (w *world) left() []moment {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sent)
}

// paced checks that no more packets have left in any second than the rate says.
func (w *world) paced(rate int) {
	w.Helper()
	sent := w.left()
	for i := range sent[rate:] {
		if gap := sent[i+rate].at - sent[i].at; gap < time.Second {
			w.Fatalf("packets %d to %d left within %v", i, i+rate, gap)
		}
	}
}

func (w *world) echo() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

// stage opens a stage that fails the test when it cannot go on.
func (w *world) stage(puppets int) *puppet.Stage {
	w.Helper()
	s, err := w.board.Stage(w.Context(), puppet.StageConfig{Label: "T1 test", Puppets: puppets, Abort: func(err error) { w.Errorf("the stage: %v", err) }})
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// open opens a connection.
func (w *world) open(s *puppet.Stage) *puppet.Puppet {
	w.Helper()
	p := s.Puppet(w.target, puppet.Shape{})
	if a := p.Open(); a != puppet.Opened {
		w.Fatalf("the connection is %v", a)
	}
	return p
}

// nothingLeft checks that no port of ours is claimed and that no connection of
// the host is open.
func (w *world) nothingLeft() {
	w.Helper()
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	if n := w.here.Claims(); n != 0 {
		w.Errorf("%d ports are still claimed", n)
	}
	w.states.Lock()
	defer w.states.Unlock()
	for conn, state := range w.states.of {
		if state != engine.Closed && state != engine.Listen {
			w.Errorf("connection %d of the host is in %v", conn, state)
		}
	}
}

// states follow the connections of the host.
type states struct {
	sync.Mutex
	of map[uint64]engine.State
}

func (s *states) Trace(e *engine.Event) {
	if e.Kind != engine.EventState {
		return
	}
	s.Lock()
	defer s.Unlock()
	s.of[e.Conn] = e.To
}
