// Package handbench has our side of the benchmarks of many short connections: each
// function does one piece of work in the network namespace of the calling thread,
// on the processors that the process may use, and says what it took. Who compares
// makes the namespaces, the peer and the turns: cmd/handbench is one that does.
package handbench

import (
	"context"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"rawtcp/engine"
	"rawtcp/internal/handshakes"
	"rawtcp/rawsock"
)

// A Report is what a piece of work took.
type Report struct {
	Done    int           // connections closed orderly, or probes answered
	Failed  int           // others
	Elapsed time.Duration // wall time
	CPU     time.Duration // of the process, in user and kernel mode, what the kernel did for others on its behalf included
}

// PerSecond returns how much was done in a second.
func (r Report) PerSecond() float64 { return float64(r.Done) / r.Elapsed.Seconds() }

// Connects says what connections are made.
type Connects struct {
	IO       rawsock.IOMode
	Remotes  []netip.AddrPort // in turns; several let each port rest longer
	Parallel int
	Count    int
	Ports    int // claimed before the clock starts
}

// Run makes whole connections: handshake, and a close of four segments. Opening the
// link and claiming the ports is not in the time.
func (c Connects) Run() (Report, error) {
	link, err := rawsock.Open(rawsock.Config{IO: c.IO})
	if err != nil {
		return Report{}, err
	}
	d := handshakes.New(handshakes.Config{
		Link: link, Conn: engine.ConnConfig{TimeWait: -1}, // one RTO
		Parallel: c.Parallel, Ports: c.Ports,
	})
	defer d.Close()
	targets := make([]handshakes.Target, len(c.Remotes))
	for i, remote := range c.Remotes {
		source, mtu, err := link.Route(remote.Addr(), netip.Addr{})
		if err != nil {
			return Report{}, err
		}
		targets[i] = handshakes.Target{Local: source, Remote: remote, MTU: mtu}
	}
	if err := d.Reserve(targets[0].Local, c.Ports); err != nil {
		return Report{}, err
	}
	if err := c.warmUp(d, targets); err != nil {
		return Report{}, err
	}
	before := d.Stats()
	began, cpu := time.Now(), cpuTime()
	err = c.all(d, targets, c.Count)
	r := Report{Elapsed: time.Since(began), CPU: cpuTime() - cpu}
	after := d.Stats()
	r.Done, r.Failed = after.Closed-before.Closed, after.Failed-before.Failed
	return r, err
}

// warmUp makes the first few, for which neighbours are resolved and memory is taken.
func (c Connects) warmUp(d *handshakes.Driver, targets []handshakes.Target) error {
	return c.all(d, targets, min(c.Count, 4*max(c.Parallel, len(targets))))
}

func (c Connects) all(d *handshakes.Driver, targets []handshakes.Target, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for i, t := range targets {
		share := n / len(targets)
		if i < n%len(targets) {
			share++
		}
		if err := d.Open(t, share); err != nil {
			return err
		}
	}
	return d.Wait(ctx)
}

// cpuTime is what the process has used of processors so far.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
