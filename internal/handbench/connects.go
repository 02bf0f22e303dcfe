// Package handbench has our side of the benchmarks of many short connections: each
// function does one piece of work in the network namespace of the calling thread,
// on the processors that the process may use, and says what it took. Who compares
// makes the namespaces, the peer and the turns: cmd/handbench is one that does.
package handbench

import (
	"cmp"
	"context"
	"math"
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

// Connects makes whole connections, handshake and a close of four segments, as many
// as it can for a time.
type Connects struct {
	IO           rawsock.IOMode
	Remotes      []netip.AddrPort // listeners, in turns; several let each port rest longer
	Parallel     int              // connections at once
	Ports        int              // source ports, claimed before the clock starts; default 4096
	Warm, Length time.Duration    // what happens in Warm does not count
}

// Run does it. Opening the link and claiming the ports is not in the time.
func (c Connects) Run() (Report, error) {
	link, err := rawsock.Open(rawsock.Config{IO: c.IO, Family: rawsock.IPv4, NoTimestamps: true})
	if err != nil {
		return Report{}, err
	}
	d := handshakes.New(handshakes.Config{
		Link: link, Conn: engine.ConnConfig{TimeWait: -1}, // one RTO
		Parallel: c.Parallel,
	})
	defer d.Close()
	if err := c.start(link, d); err != nil {
		return Report{}, err
	}
	time.Sleep(c.Warm)
	before, began, cpu := d.Stats(), time.Now(), CPUTime()
	time.Sleep(c.Length)
	after, elapsed, spent := d.Stats(), time.Since(began), CPUTime()-cpu
	d.Cancel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return Report{
		Done: after.Closed - before.Closed, Failed: after.Failed - before.Failed, Elapsed: elapsed, CPU: spent,
	}, d.Wait(ctx)
}

// start claims the ports and asks for more connections than there will be time for.
func (c Connects) start(link *rawsock.Conn, d *handshakes.Driver) error {
	for i, remote := range c.Remotes {
		source, mtu, err := link.Route(remote.Addr(), netip.Addr{})
		if err != nil {
			return err
		}
		if i == 0 {
			if err := d.Reserve(source, cmp.Or(c.Ports, 4096)); err != nil {
				return err
			}
		}
		if err := d.Open(handshakes.Target{Local: source, Remote: remote, MTU: mtu}, math.MaxInt32); err != nil {
			return err
		}
	}
	return nil
}

// CPUTime is what the process has used of processors so far.
func CPUTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
