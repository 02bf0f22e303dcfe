package handshakes_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/handshakes"
	"rawtcp/internal/simnet"
	"rawtcp/segment"
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
	tap    func(simnet.Packet)     // of all that is sent
}

// bubble runs a test in virtual time. That it ends says that no goroutine is left.
func bubble(t *testing.T, cfg worldConfig, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{net: simnet.New(simnet.Config{Seed: cfg.seed, Path: cfg.path, Tap: cfg.tap})}
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

// With CloseBehind the next SYN follows our FIN and does not wait for the peer's;
// still there are not two handshakes at a time.
func TestCloseBehind(t *testing.T) {
	slow := func(c *engine.NetConn) {
		_, _ = io.Copy(io.Discard, c)
		time.Sleep(time.Second)
		_ = c.Close()
	}
	for _, parallel := range []int{1, 3} {
		opening, most := 0, 0
		tap := func(p simnet.Packet) {
			var s segment.Segment
			if p.From.Addr() != here || s.Parse(p.Data) != nil {
				return
			}
			switch {
			case s.Flags.Has(segment.SYN):
				opening++
			case s.Flags.Has(segment.FIN):
				opening--
			}
			most = max(most, opening)
		}
		cfg := worldConfig{path: simnet.PathConfig{Delay: time.Millisecond}, serve: slow, tap: tap, driver: handshakes.Config{Parallel: parallel, CloseBehind: true}}
		bubble(t, cfg, func(w *world) {
			const n = 60
			start := time.Now()
			if err := w.driver.Open(web, n); err != nil {
				t.Fatal(err)
			}
			w.wait(t)
			if s := w.driver.Stats(); s.Closed != n || s.Failed != 0 {
				t.Errorf("%+v", s)
			}
			// A handshake is one round trip of 2 ms; the last close takes its second.
			if took := time.Since(start); took > time.Second+200*time.Millisecond || most != parallel {
				t.Errorf("%v for all of them, %d handshakes at a time, want %d", took, most, parallel)
			}
		})
	}
}

// What is left to peers that do not close is bounded.
func TestCloseBehindIsBounded(t *testing.T) {
	cfg := worldConfig{driver: handshakes.Config{Parallel: 64, CloseBehind: true, Patience: time.Minute}, serve: func(c *engine.NetConn) { _, _ = io.Copy(io.Discard, c) }}
	bubble(t, cfg, func(w *world) {
		if err := w.driver.Open(web, 5000); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second) // of virtual time: where the accept queue was full, some wait for a retransmission
		if s := w.driver.Stats(); s.Opened-s.Closed-s.Failed != 4096 {
			t.Errorf("of %+v connections not 4096 are under way", s)
		}
		w.driver.Cancel()
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

// Ports go round: not more are claimed than may be, and none meets the peer again
// before TIME-WAIT is over.
func TestPortsGoRound(t *testing.T) {
	var last = map[netip.AddrPort]time.Time{}
	const wait = 100 * time.Millisecond
	path := simnet.PathConfig{Delay: time.Millisecond, Hook: func(pkt []byte) []byte {
		var s segment.Segment
		if s.Parse(pkt) == nil && s.Src.Addr() == here {
			if at, used := last[s.Src]; used && s.Flags == segment.SYN && time.Since(at) < wait {
				t.Errorf("%v was used again after %v", s.Src, time.Since(at))
			}
			last[s.Src] = time.Now()
		}
		return pkt
	}}
	cfg := handshakes.Config{Ports: 10, Parallel: 1000, Conn: engine.ConnConfig{TimeWait: wait}}
	bubble(t, worldConfig{path: path, driver: cfg}, func(w *world) {
		began := time.Now()
		if err := w.driver.Open(web, 200); err != nil {
			t.Fatal(err)
		}
		w.wait(t)
		if s := w.driver.Stats(); s.Closed != 200 {
			t.Errorf("%+v", s)
		}
		if n := w.port.Claims(); n != 10 || len(last) != 10 {
			t.Errorf("%d ports are claimed, %d were used", n, len(last))
		}
		if took := time.Since(began); took < 19*wait || took > 30*wait {
			t.Errorf("200 connections from 10 ports took %v", took)
		}
	})
}

// Every target may use every port: twice as many connections at a time.
func TestTargetsShareThePorts(t *testing.T) {
	cfg := handshakes.Config{Ports: 5, Conn: engine.ConnConfig{TimeWait: time.Second}}
	bubble(t, worldConfig{path: simnet.PathConfig{Delay: time.Millisecond}, driver: cfg}, func(w *world) {
		other := web
		other.Remote = netip.AddrPortFrom(there, 81) // closed
		began := time.Now()
		for _, to := range []handshakes.Target{web, other} {
			if err := w.driver.Open(to, 5); err != nil {
				t.Fatal(err)
			}
		}
		w.wait(t)
		if s := w.driver.Stats(); s.Closed != 5 || s.Failed != 5 || w.port.Claims() != 5 || time.Since(began) > time.Second {
			t.Errorf("%+v, %d ports, %v", s, w.port.Claims(), time.Since(began))
		}
	})
}

// Ports that another has are left to him, and no port at all is an error.
func TestPortsOfOthers(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		var theirs []io.Closer
		for port := 49152; port <= 65535; port++ {
			if port%1000 != 0 {
				c, err := w.port.Claim(netip.AddrPortFrom(here, uint16(port)))
				if err != nil {
					t.Fatal(err)
				}
				theirs = append(theirs, c)
			}
		}
		if err := w.driver.Open(web, 50); err != nil {
			t.Fatal(err)
		}
		w.wait(t)
		for _, r := range w.results {
			if r.Err != nil || r.Local.Port()%1000 != 0 {
				t.Errorf("%+v", r)
			}
		}
		if free := w.port.Claims() - len(theirs); free != 16 {
			t.Errorf("%d ports of our own", free)
		}
		elsewhere := web
		elsewhere.Local = netip.MustParseAddr("198.18.0.99")
		if err := w.driver.Open(elsewhere, 1); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("from an address of nobody: %v", err)
		}
		for _, c := range theirs {
			_ = c.Close()
		}
	})
}

// What the peer says first is thrown away, and its close is waited for.
func TestTalkativePeer(t *testing.T) {
	serve := func(c *engine.NetConn) {
		_, _ = c.Write(make([]byte, 100_000))
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}
	bubble(t, worldConfig{path: simnet.PathConfig{Delay: time.Millisecond}, serve: serve}, func(w *world) {
		if err := w.driver.Open(web, 20); err != nil {
			t.Fatal(err)
		}
		w.wait(t)
		if s := w.driver.Stats(); s.Closed != 20 {
			t.Errorf("%+v: %+v", s, w.results)
		}
	})
}

// A peer that never closes is reset in the end.
func TestPatience(t *testing.T) {
	var heard atomic.Int32
	serve := func(c *engine.NetConn) {
		_, _ = io.Copy(io.Discard, c)
		<-c.Done()
		if errors.Is(c.Err(), engine.ErrReset) {
			heard.Add(1)
		}
	}
	bubble(t, worldConfig{serve: serve, driver: handshakes.Config{Patience: 3 * time.Second}}, func(w *world) {
		began := time.Now()
		if err := w.driver.Open(web, 10); err != nil {
			t.Fatal(err)
		}
		w.wait(t)
		if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("it waited %v", took)
		}
		for _, r := range w.results {
			if !errors.Is(r.Err, handshakes.ErrNoFIN) || !r.Connected {
				t.Errorf("%+v", r)
			}
		}
		time.Sleep(time.Second)
		if n := heard.Load(); n != 10 {
			t.Errorf("%d peers were reset", n)
		}
	})
}

// A port of the caller's choice, one connection at a time.
func TestOpenFrom(t *testing.T) {
	isn := segment.MakeSeq(4711)
	cfg := handshakes.Config{Conn: engine.ConnConfig{TimeWait: time.Second}, ISN: func(engine.Time, netip.AddrPort, netip.AddrPort) segment.Seq { return isn }}
	bubble(t, worldConfig{path: simnet.PathConfig{Delay: time.Millisecond}, driver: cfg}, func(w *world) {
		local := netip.AddrPortFrom(here, 50_000)
		claim, err := w.port.Claim(local)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := w.driver.OpenFrom(local, web); err != nil {
				t.Fatal(err)
			}
			w.wait(t)
			if err := w.driver.OpenFrom(local, web); !errors.Is(err, engine.ErrInUse) {
				t.Errorf("in TIME-WAIT: %v", err)
			}
			time.Sleep(1100 * time.Millisecond)
		}
		if s := w.driver.Stats(); s.Closed != 3 {
			t.Errorf("%+v", s)
		}
		_ = claim.Close()
	})
}

// Who cancels gets no more connections; who gives up keeps those that are connected.
func TestCancelAndGiveUp(t *testing.T) {
	slow := simnet.PathConfig{Delay: 100 * time.Millisecond}
	bubble(t, worldConfig{path: slow, driver: handshakes.Config{Parallel: 4}}, func(w *world) {
		if err := w.driver.Open(web, 1000); err != nil {
			t.Fatal(err)
		}
		w.driver.Cancel()
		w.wait(t)
		if s := w.driver.Stats(); s.Opened != 4 || s.Closed != 4 {
			t.Errorf("%+v", s)
		}
		if err := w.driver.Open(web, 1000); err != nil {
			t.Fatal(err)
		}
		time.Sleep(250 * time.Millisecond) // ESTABLISHED, and our FIN is out
		w.driver.GiveUp()
		w.wait(t)
		if s := w.driver.Stats(); s.Opened != 8 || s.Closed != 8 {
			t.Errorf("%+v", s)
		}
		if err := w.driver.Open(web, 1000); err != nil {
			t.Fatal(err)
		}
		w.driver.GiveUp()
		w.wait(t)
		if s := w.driver.Stats(); s.Opened != 12 || s.Failed != 4 || !errors.Is(w.results[len(w.results)-1].Err, engine.ErrAborted) {
			t.Errorf("%+v", s)
		}
	})
}

// A packet that the link does not take is sent again in time.
func TestLinkThatIsFull(t *testing.T) {
	bubble(t, worldConfig{driver: handshakes.Config{Patience: time.Hour}}, func(w *world) {
		n := 0
		w.port.FailWrites(func([]byte) error {
			if n++; n%7 == 0 {
				return syscall.ENOBUFS
			}
			return nil
		})
		if err := w.driver.Open(web, 100); err != nil {
			t.Fatal(err)
		}
		w.wait(t)
		if s := w.driver.Stats(); s.Closed != 100 || s.Unsent == 0 {
			t.Errorf("%+v", s)
		}
		w.port.FailWrites(nil)
	})
}

// A link that breaks ends everything with its error.
func TestBrokenLink(t *testing.T) {
	bubble(t, worldConfig{path: simnet.PathConfig{Delay: time.Second}}, func(w *world) {
		if err := w.driver.Open(web, 100); err != nil {
			t.Fatal(err)
		}
		w.port.InjectError(syscall.ENODEV)
		if err := w.driver.Wait(context.Background()); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("the error is %v", err)
		}
		if err := w.driver.Open(web, 1); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("later it is %v", err)
		}
	})
}
