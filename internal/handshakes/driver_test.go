package handshakes_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/handshakes"
	"rawtcp/internal/simnet"
)

var (
	here  = netip.MustParseAddr("198.18.0.1")
	there = netip.MustParseAddr("198.18.0.2")
	web   = handshakes.Target{Local: here, Remote: netip.AddrPortFrom(there, 80), MTU: 1500}
)

// A world is a Driver, and a server that closes when its peer has, on a virtual
// network in virtual time.
type world struct {
	net     *simnet.Network
	port    *simnet.Port
	driver  *handshakes.Driver
	server  *engine.Host
	served  atomic.Int32 // connections that the server has and that are not CLOSED
	results []handshakes.Result
}

type worldConfig struct {
	seed   uint64
	path   simnet.PathConfig
	driver handshakes.Config       // Link and Done are filled in
	serve  func(c *engine.NetConn) // one connection; default: to its end, and Close
}

// bubble runs a test in virtual time. That it ends says that no goroutine is left.
func bubble(t *testing.T, cfg worldConfig, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{net: simnet.New(simnet.Config{Seed: cfg.seed, Path: cfg.path})}
		w.port = w.net.NewPort(simnet.PortConfig{Addrs: []netip.Addr{here}})
		far := w.net.NewPort(simnet.PortConfig{Addrs: []netip.Addr{there}, Refuse: true})
		w.server = engine.NewHost(engine.HostConfig{Link: far, Secret: [32]byte{2}})
		l, err := w.server.Listen(netip.AddrPortFrom(there, 80), engine.ListenConfig{Backlog: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if cfg.serve == nil {
			cfg.serve = func(c *engine.NetConn) {
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				w.served.Add(1)
				go func() {
					nc := c.(*engine.NetConn)
					cfg.serve(nc)
					<-nc.Done()
					w.served.Add(-1)
				}()
			}
		}()
		cfg.driver.Link, cfg.driver.Secret = w.port, [32]byte{1}
		cfg.driver.Done = func(r *handshakes.Result) { w.results = append(w.results, *r) }
		w.driver = handshakes.New(cfg.driver)
		f(w)
		if err := w.driver.Close(); err != nil {
			t.Error(err)
		}
		if err := w.driver.Close(); err == nil {
			t.Error("it can be closed twice")
		}
		if n := w.port.Claims(); n != 0 {
			t.Errorf("%d ports are still claimed", n)
		}
		_ = w.server.Close()
	})
}

// wait waits until all is done, at most for an hour of virtual time.
func (w *world) wait(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := w.driver.Wait(ctx); err != nil {
		t.Fatalf("%v, after %+v", err, w.driver.Stats())
	}
}

func TestManyConnections(t *testing.T) {
	bubble(t, worldConfig{path: simnet.PathConfig{Delay: time.Millisecond}}, func(w *world) {
		const n = 1000
		if err := w.driver.Open(web, n); err != nil {
			t.Fatal(err)
		}
		w.wait(t)
		if s := w.driver.Stats(); s.Opened != n || s.Connected != n || s.Closed != n || s.Failed != 0 || s.Unsent != 0 {
			t.Errorf("%+v", s)
		}
		ids := map[uint64]bool{}
		for _, r := range w.results {
			if r.Err != nil || !r.Connected || r.Remote != web.Remote || ids[r.Conn] {
				t.Fatalf("%+v", r)
			}
			ids[r.Conn] = true
		}
		if len(ids) != n {
			t.Errorf("%d results", len(ids))
		}
		time.Sleep(time.Second) // of virtual time: the last ACKs are still on their way
		if left := w.served.Load(); left != 0 {
			t.Errorf("the server has %d connections left", left)
		}
	})
}

// A bad road costs time and nothing else.
func TestBadRoad(t *testing.T) {
	bad := simnet.PathConfig{Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, Corrupt: 0.02}
	for seed := range uint64(5) {
		bubble(t, worldConfig{seed: seed, path: bad, driver: handshakes.Config{Patience: 10 * time.Minute}}, func(w *world) {
			const n = 300
			if err := w.driver.Open(web, n); err != nil {
				t.Fatal(err)
			}
			w.wait(t)
			s := w.driver.Stats()
			if s.Opened != n || s.Closed+s.Failed != n || s.Failed > n/50 {
				t.Errorf("seed %d: %+v", seed, s)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		closed := web
		closed.Remote = netip.AddrPortFrom(there, 81)
		if err := w.driver.Open(closed, 100); err != nil {
			t.Fatal(err)
		}
		w.wait(t)
		for _, r := range w.results {
			if !errors.Is(r.Err, engine.ErrRefused) || r.Connected {
				t.Fatalf("%+v", r)
			}
		}
		if s := w.driver.Stats(); s.Failed != 100 {
			t.Errorf("%+v", s)
		}
	})
}
