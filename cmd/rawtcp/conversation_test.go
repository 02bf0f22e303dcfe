package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
)

// A stopped conversation leaves its peer, who does not close, the grace time; a
// second signal, or the end of the run's own time, cuts that short.
func TestLeave(t *testing.T) {
	for name, tt := range map[string]struct {
		stop func(c *control)
		want time.Duration
	}{
		"a signal":    {func(c *control) { c.cancel(errSignal{os.Interrupt}) }, graceTime},
		"two signals": {func(c *control) { c.cancel(errSignal{os.Interrupt}); close(c.kill) }, 0},
		"no time":     {func(c *control) { c.cancel(errDeadline) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, peer := simulatedPair(t)
				rein := &control{kill: make(chan struct{})}
				rein.stop, rein.cancel = context.WithCancelCause(t.Context())
				c := converse(ours, rein, nil)
				tt.stop(rein)
				began := time.Now()
				c.leave()
				if took := time.Since(began); took != tt.want {
					t.Errorf("it took %v, want %v", took, tt.want)
				}
				if <-peer.Done(); !errors.Is(peer.Err(), engine.ErrReset) {
					t.Errorf("the peer ended with %v", peer.Err())
				}
				<-c.ended
			})
		})
	}
}

// simulatedPair is a connection on a simulated network. It must be called inside
// a bubble of synctest.
func simulatedPair(t *testing.T) (ours, peer *engine.NetConn) {
	here, there := netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2")
	network := simnet.New(simnet.Config{Seed: 1, Path: simnet.PathConfig{Delay: time.Millisecond}})
	from := engine.NewHost(engine.HostConfig{Link: network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{here}})})
	to := engine.NewHost(engine.HostConfig{Link: network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{there}})})
	t.Cleanup(func() { from.Close(); to.Close() })
	return connectPair(t, from, to, netip.AddrPortFrom(there, 1))
}

// The first signal asks for an end, the second for one at once; SIGQUIT only asks.
func TestControlOfSignals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := &control{kill: make(chan struct{}), status: func() { asked++ }}
		c.stop, c.cancel = context.WithCancelCause(t.Context())
		signals, done := make(chan os.Signal), make(chan struct{})
		go c.watch(signals, done)
		killed := func() bool {
			synctest.Wait()
			select {
			case <-c.kill:
				return true
			default:
				return false
			}
		}
		signals <- syscall.SIGQUIT
		if killed() || asked != 1 || c.stopped() != nil {
			t.Errorf("after SIGQUIT: asked %d times, stopped %v", asked, c.stopped())
		}
		signals <- os.Interrupt
		if killed() || c.stopped() != error(errSignal{os.Interrupt}) {
			t.Errorf("after one signal: killed %t, stopped %v", killed(), c.stopped())
		}
		signals <- syscall.SIGTERM
		if !killed() || c.stopped() != error(errSignal{os.Interrupt}) {
			t.Errorf("after two signals: killed %t, stopped %v", killed(), c.stopped())
		}
		close(done)
	})
}
