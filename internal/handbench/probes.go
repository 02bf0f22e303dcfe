package handbench

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/ping"
	"rawtcp/rawsock"
	"rawtcp/segment"
)

// Probes makes half-open probes, SYN, SYN-ACK and our RST, as many as are answered
// in a time.
type Probes struct {
	IO           rawsock.IOMode
	Remotes      []netip.AddrPort // listeners
	Underway     int              // probes at once to each of them; default 256
	Warm, Length time.Duration    // what happens in Warm does not count
}

// A ProbeReport is a Report with the round trips. The SYN's time is that of the
// batch it left in, taken before it; the answer's is when it was read.
type ProbeReport struct {
	Report
	Resets   int // sent, of all the run
	Recorded int // round trips, each by itself
	Median   time.Duration
	P99      time.Duration
}

// Run does it. Every round trip is kept, and every probe ended by a RST of ours.
func (c Probes) Run() (ProbeReport, error) {
	link, err := rawsock.Open(rawsock.Config{IO: c.IO, Family: rawsock.IPv4, NoTimestamps: true})
	if err != nil {
		return ProbeReport{}, err
	}
	if c.Underway <= 0 {
		c.Underway = 256
	}
	var times []time.Duration
	cfg := ping.Config{Wait: time.Second, Flood: c.Underway, Emit: func(e *ping.Event) {
		if e.Kind == ping.Reply {
			times = append(times, e.RTT)
		}
	}}
	for _, remote := range c.Remotes {
		source, mtu, err := link.Route(remote.Addr(), netip.Addr{})
		if err != nil {
			return ProbeReport{}, errors.Join(err, link.Close())
		}
		t, err := target(source, remote, mtu)
		if err != nil {
			return ProbeReport{}, errors.Join(err, link.Close())
		}
		cfg.Targets = append(cfg.Targets, t)
	}
	p := ping.NewPinger(link, cfg, nil)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- p.Run(stop, nil) }()
	time.Sleep(c.Warm)
	before, began, cpu := ping.Total(p.Stats()), time.Now(), CPUTime()
	time.Sleep(c.Length)
	after, elapsed, spent := ping.Total(p.Stats()), time.Since(began), CPUTime()-cpu
	close(stop)
	err = <-ended
	end := ping.Total(p.Stats())
	r := ProbeReport{
		Report: Report{
			Done: after.Replies - before.Replies, Elapsed: elapsed, CPU: spent,
			Failed: after.Lost + after.Refused + after.Failed - before.Lost - before.Refused - before.Failed,
		},
		Resets: end.SegmentsSent - end.Sent, Recorded: len(times),
	}
	if slices.Sort(times); len(times) > 0 {
		r.Median, r.P99 = times[len(times)/2], times[len(times)*99/100]
	}
	return r, err
}

// target makes a target whose SYN is the one that the engine would send.
func target(source netip.Addr, remote netip.AddrPort, mtu int) (ping.Target, error) {
	t := ping.Target{Local: source, Remote: remote}
	stack := engine.NewStack(engine.StackConfig{})
	if _, err := stack.Dial(1, netip.AddrPortFrom(source, 1), remote, mtu, engine.ConnConfig{}); err != nil {
		return t, err
	}
	var syn segment.Segment
	if !stack.Transmit(1, &syn) {
		return t, errors.New("the engine has nothing to send")
	}
	t.SYN = syn
	return t, nil
}
