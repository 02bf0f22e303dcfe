package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/ping"
	"rawtcp/internal/trace"
	"rawtcp/rawsock"
	"rawtcp/segment"
)

// pingOptions are the settings of `rawtcp ping`.
type pingOptions struct {
	talkOptions
	count    int // of each target; 0: until stopped
	interval time.Duration
	wait     time.Duration
	full     bool
	live     bool
}

const groupProbes = "Probes"

// leastInterval is the shortest interval that anybody may ask for: what ping
// allows an ordinary user. A flood of SYNs is an attack, not a measurement.
const leastInterval = 2 * time.Millisecond

// pingStagger is the time between the first probes of two targets.
const pingStagger = 10 * time.Millisecond

func (p *program) pingCommand() *command {
	o := &pingOptions{interval: time.Second, wait: time.Second}
	o.color = "auto"
	return &command{
		name: "ping", usage: "rawtcp ping [flags] HOST:PORT...", help: helpPing,
		flags: append(o.probeFlags(), pingFlags(&o.talkOptions)...),
		run:   func(ctx context.Context, args []string) error { return p.ping(ctx, o, args) },
	}
}

// pingFlags are those of every command that talks, without the narrator and the
// report: a probe is no conversation.
func pingFlags(o *talkOptions) []flagSpec {
	return slices.DeleteFunc(o.flags(), func(f flagSpec) bool { return f.name == "explain" || f.name == "report" })
}

func (o *pingOptions) probeFlags() []flagSpec {
	return []flagSpec{
		{name: "count", short: "c", arg: "N", group: groupProbes, usage: "end after N probes of each target (default: go on until Ctrl-C)", set: numberTo(&o.count, 1, 1<<31-1)},
		{name: "interval", short: "i", arg: "D", group: groupProbes, usage: "from one probe of a target to the next (default 1, least 0.002)", set: o.setInterval},
		{name: "wait", short: "W", arg: "D", group: groupProbes, usage: "wait so long for an answer (default 1); what comes later is late", set: positiveTo(&o.wait)},
		{name: "full", group: groupProbes, usage: "complete each handshake and close it with a FIN; default: half-open, ended by our RST", set: switchTo(&o.full)},
		{name: "live", group: groupProbes, usage: "draw a histogram on the terminal while it runs", set: switchTo(&o.live)},
	}
}

func (o *pingOptions) setInterval(s string) error {
	d, err := parseDuration(s)
	if err == nil && d < leastInterval {
		err = fmt.Errorf("want at least %v", leastInterval)
	}
	if err == nil {
		o.interval = d
	}
	return err
}

func (o *pingOptions) check(stdout any) error {
	if err := o.talkOptions.check(); err != nil {
		return err
	}
	switch {
	case !o.live:
	case o.json || o.quiet || o.verbose > 0 || o.pcap == "-":
		return usageError("--live has the terminal to itself: leave out --json, -q, -v and --pcap -")
	case !isTerminal(stdout):
		return usageError("--live needs a terminal on stdout; without it each answer is a line")
	}
	return nil
}

// pingTargets reads HOST:PORT..., or HOST PORT.
func pingTargets(args []string) ([]target, error) {
	if len(args) == 2 && !strings.Contains(args[1], ":") {
		t, err := parseTarget(args)
		return []target{t}, err
	}
	if len(args) == 0 {
		_, err := parseTarget(nil)
		return nil, err
	}
	var targets []target
	for _, arg := range args {
		t, err := parseTarget([]string{arg})
		if err != nil {
			return nil, err
		}
		if slices.Contains(targets, t) {
			return nil, usageError("the target %s is named twice", arg)
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// A pinger is the half-open or the full way of probing.
type pinger interface {
	Run(stop, kill <-chan struct{}) error
	Stats() []ping.Stats
}

// A pingRun is one run of ping.
type pingRun struct {
	p       *program
	o       *pingOptions
	names   []target
	rein    *control
	session *session
	link    *rawsock.Conn
	config  ping.Config
	routes  []rawsock.Route

	mu     sync.Mutex
	pinger pinger // nil until it runs
	screen *pingScreen
	failed error // why the last probe that this host could not send was not sent
}

func (p *program) ping(ctx context.Context, o *pingOptions, args []string) error {
	if err := o.check(p.stdout); err != nil {
		return err
	}
	targets, err := pingTargets(args)
	if err != nil {
		return err
	}
	r := &pingRun{p: p, o: o, names: targets}
	if o.show {
		return r.show(ctx)
	}
	return r.run(ctx)
}

// run does all that a run does around its probes.
func (r *pingRun) run(ctx context.Context) (err error) {
	tag := trace.TagLocal
	if len(r.names) > 1 {
		tag = trace.TagPeer
	}
	if r.session, err = r.p.openSession("ping", &r.o.talkOptions, false, tag); err != nil {
		return err
	}
	defer func() { err = firstOf(err, r.session.close()) }()
	r.rein = newControl(ctx, r.o.timeout, r.status)
	defer r.rein.end()
	if err := r.open(); err != nil {
		if stopped := r.rein.stopped(); stopped != nil && isStop(err) {
			return stopFailure(stopped, r.o.timeout)
		}
		return err
	}
	defer r.link.Close()
	if err := r.session.watchReader(r.rein); err != nil {
		return err
	}
	return r.series()
}

// open resolves the targets, opens the link, and readies the probes.
func (r *pingRun) open() error {
	addrs := make([][]netip.Addr, len(r.names))
	for i, t := range r.names {
		var err error
		if addrs[i], err = t.resolve(r.rein.stop, r.o.family()); err != nil {
			return err
		}
	}
	var err error
	r.link, err = rawsock.Open(rawsock.Config{
		Interface: r.o.iface, Source: r.o.source, Guard: r.o.guard, Family: r.o.family(), TxTimestamps: true, IO: r.o.io,
	})
	if err != nil {
		return openFailure(err)
	}
	r.session.attach(r.link)
	if err := r.ready(addrs); err != nil {
		r.link.Close()
		return err
	}
	return nil
}

// ready makes the configuration of the probes.
func (r *pingRun) ready(addrs [][]netip.Addr) error {
	for i, t := range r.names {
		route, addr, err := r.choose(t, addrs[i])
		if err != nil {
			return err
		}
		made, err := r.o.target(route.Source, netip.AddrPortFrom(addr, t.port), route.MTU)
		if err != nil {
			return err
		}
		if j := slices.IndexFunc(r.config.Targets, func(other ping.Target) bool { return other.Remote == made.Remote }); j >= 0 {
			return usageError("the targets %s and %s are the same: %s", r.names[j].host, t.host, made.Remote)
		}
		r.config.Targets = append(r.config.Targets, made)
		r.routes = append(r.routes, route)
	}
	r.config.Count, r.config.Interval, r.config.Wait = r.o.count, r.o.interval, r.o.wait
	r.config.Stagger = min(pingStagger, r.o.interval/time.Duration(len(r.names)))
	r.config.Port, r.config.ISN = r.o.sourcePort, r.o.conn.ISN
	r.config.Emit, r.config.OnPanic = r.event, crash
	return nil
}

// choose takes the first address of a target that there is a route to.
func (r *pingRun) choose(t target, addrs []netip.Addr) (rawsock.Route, netip.Addr, error) {
	var firstErr error
	for _, addr := range addrs {
		route, err := r.link.RouteInfo(addr, r.o.source)
		if err == nil {
			r.session.goes(addr, route)
			return route, addr, nil
		}
		firstErr = firstOf(firstErr, err)
	}
	return rawsock.Route{}, netip.Addr{}, fail(exitLocal, "", "cannot reach %s: %w", t.host, firstErr)
}

// target makes a target whose SYN is the one that the engine would send.
func (o *pingOptions) target(source netip.Addr, remote netip.AddrPort, mtu int) (ping.Target, error) {
	stack := showStack(nil)
	port := max(o.sourcePort, 1)
	to := netip.AddrPortFrom(remote.Addr().WithZone(""), remote.Port())
	if _, err := stack.Dial(showTime, netip.AddrPortFrom(source.WithZone(""), port), to, mtu, o.conn); err != nil {
		return ping.Target{}, usageError("%w", err)
	}
	t := ping.Target{Local: source, Remote: remote}
	if !stack.Transmit(showTime, &t.SYN) {
		return t, errors.New("the engine has nothing to send")
	}
	return t, nil
}

// series sends the probes and sums them up.
func (r *pingRun) series() error {
	tracer, err := r.session.begin(r.routes[0].Interface, r.banner)
	if err != nil {
		return err
	}
	sinks := r.sinks(tracer)
	taps := r.taps()
	for _, t := range taps {
		defer t.Close()
	}
	link := stampingLink{r.session.link(r.link), r.link}
	var way pinger
	if r.o.full {
		r.o.conn.TimeWait = oneRTO
		way = ping.NewFull(link, r.config, r.o.conn, sinks, taps...)
	} else {
		way = ping.NewPinger(link, r.config, sinks, taps...)
	}
	r.mu.Lock()
	r.pinger = way
	r.mu.Unlock()
	if r.o.live {
		r.screen = openPingScreen(r)
	}
	err = way.Run(r.rein.stop.Done(), r.rein.kill)
	if r.screen != nil {
		r.screen.close()
	}
	return r.sum(way.Stats(), err)
}

// A stampingLink is a link as the capture sees it, with the stamps of the
// socket below.
type stampingLink struct {
	engine.Link
	conn *rawsock.Conn
}

// TxStamps implements ping.Link.
func (l stampingLink) TxStamps(dst []rawsock.TxStamp) int { return l.conn.TxStamps(dst) }

// taps opens one for each interface that we send by. Where there is none, the
// link's own timestamps serve.
func (r *pingRun) taps() []*ping.Tap {
	var taps []*ping.Tap
	var done []string
	for _, route := range r.routes {
		if slices.Contains(done, route.Interface) {
			continue
		}
		done = append(done, route.Interface)
		if t, err := ping.OpenTap(route.Interface); err == nil {
			taps = append(taps, t)
		}
	}
	return taps
}

// sinks are those of the session that a series has a use for. Segments are
// shown only when asked for, and nobody takes the summaries of connections.
func (r *pingRun) sinks(tracer engine.Tracer) engine.Tracer {
	all, isTee := tracer.(trace.Tee)
	if !isTee {
		return tracer
	}
	return slices.DeleteFunc(slices.Clone(all), func(t engine.Tracer) bool {
		switch t.(type) {
		case *trace.Collector:
			return true
		case *trace.Ladder, *trace.JSONLines:
			return r.o.verbose == 0
		}
		return false
	})
}

// banner is called with the first event, when the guard is known.
func (r *pingRun) banner(string) {
	guard := r.link.Guard()
	r.session.opened.Do(func() {
		for i, t := range r.config.Targets {
			route := r.routes[i]
			if r.session.json != nil {
				r.session.json.Start(trace.Start{
					Command: "ping", Local: t.Local.String(), Remote: t.Remote.String(), Iface: route.Interface,
					MTU: route.MTU, Guard: guard, IO: r.session.io.String(), Version: versionText(),
				})
			}
			if !r.o.live {
				r.session.say(pingBanner(r.names[i], t, route.Interface, route.MTU, guard))
			}
		}
	})
}

// event tells one event of the series as it happens.
func (r *pingRun) event(e *ping.Event) {
	if e.Kind == ping.Failed {
		r.failed = e.Err
	}
	r.banner("") // a run whose first SYN cannot be sent has shown no segment
	if r.session.json != nil {
		r.session.json.Line(e.At, func(at int64) any { return newProbeLine(e, at) })
	}
	if !r.o.quiet && !r.o.live {
		r.session.say(probeText(e, r.o.wait))
	}
	if r.screen != nil {
		r.screen.note(e)
	}
}

// status answers SIGQUIT: where things stand, on stderr.
func (r *pingRun) status() {
	r.mu.Lock()
	way := r.pinger
	r.mu.Unlock()
	if way == nil {
		return
	}
	for i, s := range way.Stats() {
		fmt.Fprintln(r.p.stderr, pingStatus(r.config.Targets[i].Remote.String(), &s))
	}
}

// sum ends the run: its summaries, and its exit code.
func (r *pingRun) sum(stats []ping.Stats, err error) error {
	err = r.outcome(stats, err)
	r.session.fail(err)
	result := trace.ResultTimeout
	for i := range stats {
		remote := r.config.Targets[i].Remote.String()
		line := newPingSummary(i+1, &stats[i])
		line.Local, line.Remote = r.config.Targets[i].Local.String(), remote
		if r.session.json != nil {
			r.session.json.Line(showTime, func(int64) any { return line })
		}
		r.session.say(pingSummaryText(remote, &stats[i]))
		result = betterResult(result, line.Result)
	}
	if r.session.json != nil {
		all := newPingSummary("all", ping.Total(stats))
		all.Result, all.Connections = result, len(stats)
		all.LinesLost = r.session.json.Lost()
		r.session.json.Line(showTime, func(int64) any { return all })
	}
	return err
}

// outcome is 0 for at least one answer, whatever ended the run.
func (r *pingRun) outcome(stats []ping.Stats, err error) error {
	total := ping.Total(stats)
	stopped := r.rein.stopped()
	var sig errSignal
	switch {
	case err != nil:
		return connectFailure(err, nil, r.o.sourcePort)
	case total.Received() > 0, errors.Is(stopped, errReaderGone):
		return nil
	case errors.As(stopped, &sig):
		return stopFailure(stopped, r.o.timeout)
	case total.Failed > 0 && total.Failed == total.Sent:
		return connectFailure(r.failed, nil, r.o.sourcePort)
	}
	hint := ""
	if total.Unreachable+total.Late == 0 {
		hint = hintDeaf
	}
	return fail(exitNo, hint, "no answer in time to %s", plural(uint64(total.Sent), "SYN"))
}

// show prints the SYN that ping would send.
func (r *pingRun) show(ctx context.Context) error {
	if len(r.names) > 1 {
		return usageError("--show shows one target's SYN: name one")
	}
	addrs, err := r.names[0].resolve(ctx, r.o.family())
	if err != nil {
		return err
	}
	source, mtu, err := routeUnprivileged(addrs[0], r.o.source, r.o.iface)
	if err != nil {
		return fail(exitLocal, "", "cannot reach %s: %w", r.names[0].host, err)
	}
	remote := netip.AddrPortFrom(addrs[0].WithZone(""), r.names[0].port)
	shown := &shownEvent{}
	stack := showStack(shown)
	port := r.o.sourcePort
	if port == 0 {
		port = stack.EphemeralPort(source, remote, 0)
	}
	if _, err := stack.Dial(showTime, netip.AddrPortFrom(source, port), remote, mtu, r.o.conn); err != nil {
		return usageError("%w", err)
	}
	return r.p.showFirst(stack, shown, r.o.json)
}

// flagsOf is an answer's flags in a word that people know.
func flagsOf(s *segment.Segment) string {
	if s.Flags.Has(segment.RST) {
		return "RST"
	}
	return "SYN-ACK"
}
