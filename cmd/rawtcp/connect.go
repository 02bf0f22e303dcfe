package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/trace"
	"rawtcp/rawsock"
)

// connectOptions are the settings of connect.
type connectOptions struct {
	talkOptions
	send     []byte
	hasSend  bool
	sendFile string
	cat      bool
	out      string
	wait     time.Duration
	hasWait  bool
	hold     time.Duration
	close    string
	timeWait string // empty: one RTO
	count    int
	interval time.Duration
}

const (
	defaultWait     = 2 * time.Second
	defaultInterval = time.Second
)

func newConnectOptions() *connectOptions {
	o := &connectOptions{count: 1, interval: defaultInterval, wait: defaultWait, close: "fin"}
	o.color = "auto"
	return o
}

func (p *program) connectCommand() *command {
	o := newConnectOptions()
	flags := append(o.dataFlags(), o.closeFlags()...)
	return &command{
		name: "connect", usage: "rawtcp connect [flags] HOST:PORT", help: helpConnect,
		flags: append(flags, o.talkOptions.flags()...),
		run:   func(ctx context.Context, args []string) error { return p.connect(ctx, o, args) },
	}
}

func (o *connectOptions) dataFlags() []flagSpec {
	return []flagSpec{
		{name: "send", arg: "TEXT", group: groupData, usage: `data to send; \r\n, \x00 and the like as in Go`, set: o.setSend},
		{name: "send-file", arg: "FILE", group: groupData, usage: "data to send; - is stdin", set: textTo(&o.sendFile)},
		{name: "cat", group: groupData, usage: "like netcat: stdin to the peer, the peer to stdout; the end of stdin half-closes", set: switchTo(&o.cat)},
		{name: "out", arg: "FILE", group: groupData, usage: "write what the peer sends to FILE, byte-exact; - is stdout", set: textTo(&o.out)},
		{name: "wait", arg: "D", group: groupData, usage: "after sending, wait for the peer's FIN or for D of silence (default 2; 0 when nothing is sent)", set: o.setWait},
		{name: "hold", arg: "D", group: groupData, usage: "stay in ESTABLISHED for D before closing", set: durationTo(&o.hold)},
		{name: "count", short: "c", arg: "N", group: groupData, usage: "do it N times, from ports that go round", set: numberTo(&o.count, 1, 1<<31-1)},
		{name: "interval", short: "i", arg: "D", group: groupData, usage: "from one start to the next (default 1)", set: durationTo(&o.interval)},
	}
}

func (o *connectOptions) closeFlags() []flagSpec {
	return append([]flagSpec{
		{name: "syn-retries", arg: "N", group: groupClose, usage: "send the SYN N more times (default 6: at 1, 3, 7, 15, 31, 63 s)", set: retriesTo(&o.conn.SYNRetries)},
		{name: "connect-timeout", arg: "D", group: groupClose, usage: "give the handshake up after D (default: 127, after the last SYN)", set: positiveTo(&o.conn.ConnectTimeout)},
		{name: "close", arg: "HOW", group: groupClose, usage: "fin: orderly; half: our FIN first, then read to the peer's; rst: abort; none: leave without a word", set: oneOf(&o.close, "fin", "half", "rst", "none")},
	}, o.lifeFlags(&o.timeWait)...)
}

// lifeFlags are the timers that connect and listen share.
func (o *talkOptions) lifeFlags(timeWait *string) []flagSpec {
	return []flagSpec{
		{name: "keepalive", arg: "IDLE,INTERVAL,COUNT", bare: keepAliveBare, group: groupClose, usage: "send keep-alives (default off; bare: " + keepAliveBare + ")", set: o.setKeepAlive},
		{name: "time-wait", arg: "D|full", group: groupClose, usage: "how long to stay in TIME-WAIT (default: one RTO; full: 2MSL)", set: o.timeWaitTo(timeWait)},
		{name: "msl", arg: "D", group: groupClose, usage: "maximum segment lifetime (default 30)", set: positiveTo(&o.conn.MSL)},
	}
}

func (o *talkOptions) setKeepAlive(s string) error {
	k, err := parseKeepAlive(s)
	if err == nil {
		o.conn.KeepAliveIdle, o.conn.KeepAliveInterval, o.conn.KeepAliveCount = k.idle, k.interval, k.count
	}
	return err
}

// oneRTO is the TIME-WAIT of an impatient host, in the engine's words.
const oneRTO = -1

func (o *talkOptions) timeWaitTo(p *string) func(string) error {
	return func(s string) error {
		if s == "full" {
			*p, o.conn.TimeWait = s, 0 // the engine's default is 2MSL
			return nil
		}
		d, err := parseDuration(s)
		if err != nil {
			return fmt.Errorf("%w, or full", err)
		}
		*p, o.conn.TimeWait = s, max(d, 1) // 0 would be the default
		return nil
	}
}

// retriesTo knows that the engine's 0 is the default, and none is negative.
func retriesTo(p *int) func(string) error {
	return func(s string) error {
		if err := numberTo(p, 0, 255)(s); err != nil {
			return err
		}
		if *p == 0 {
			*p = -1
		}
		return nil
	}
}

func (o *connectOptions) setSend(s string) error {
	data, err := unescape(s)
	o.send, o.hasSend = data, err == nil
	return err
}

func (o *connectOptions) setWait(s string) error {
	o.hasWait = true
	return durationTo(&o.wait)(s)
}

// unescape reads Go's escapes; a quote needs none.
func unescape(s string) ([]byte, error) {
	var data []byte
	for s != "" {
		if s[0] != '\\' {
			data = append(data, s[0])
			s = s[1:]
			continue
		}
		if len(s) > 1 && (s[1] == '"' || s[1] == '\'') {
			data = append(data, s[1])
			s = s[2:]
			continue
		}
		r, multibyte, rest, err := strconv.UnquoteChar(s, 0)
		if err != nil {
			return nil, fmt.Errorf(`bad escape at %q: want \n, \r, \t, \\, \x00, \u00e9`, s)
		}
		if multibyte {
			data = append(data, string(r)...)
		} else {
			data = append(data, byte(r))
		}
		s = rest
	}
	return data, nil
}

func (o *connectOptions) check() error {
	if err := o.talkOptions.check(); err != nil {
		return err
	}
	sources := 0
	for _, given := range []bool{o.hasSend, o.sendFile != "", o.cat} {
		if given {
			sources++
		}
	}
	stdouts := 0
	for _, given := range []bool{o.cat, o.out == "-", o.json, o.pcap == "-"} {
		if given {
			stdouts++
		}
	}
	switch {
	case sources > 1:
		return usageError("--send, --send-file and --cat exclude each other")
	case o.cat && o.out != "":
		return usageError("--cat and --out exclude each other: --cat writes to stdout")
	case stdouts > 1:
		return usageError("only one of --cat, --out -, --json and --pcap - can have stdout")
	case o.count > 1 && (o.cat || o.out != "" || o.sendFile == "-"):
		return usageError("-c does not go with --cat, --out or --send-file -")
	}
	return checkReadable(o.sendFile)
}

// checkReadable finds out about a missing file before anything is sent.
func checkReadable(path string) error {
	if path == "" || path == "-" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return usageError("%w", err)
	}
	return f.Close()
}

// A connectRun is one run of connect: a link, a host on it, and one connection
// after the other.
type connectRun struct {
	p       *program
	o       *connectOptions
	target  target
	rein    *control
	session *session
	link    *rawsock.Conn
	host    *engine.Host
	remote  netip.AddrPort
	route   rawsock.Route
	out     io.Writer
	outFile *os.File
	replied int // connections that reached ESTABLISHED

	handshakes *handshakeSeries // in place of host, where nothing is said on the connections
}

func (p *program) connect(ctx context.Context, o *connectOptions, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	t, err := parseTarget(args)
	if err != nil {
		return err
	}
	r := &connectRun{p: p, o: o, target: t, out: io.Discard}
	if o.show {
		return r.show(ctx)
	}
	return r.run(ctx)
}

// run does all that a run does around its connections.
func (r *connectRun) run(ctx context.Context) (err error) {
	if r.o.timeWait == "" {
		r.o.conn.TimeWait = oneRTO
	}
	if r.session, err = r.p.openSession("connect", &r.o.talkOptions, r.o.cat || r.o.out == "-", trace.TagLocal); err != nil {
		return err
	}
	defer func() { err = firstOf(err, r.session.end(err)) }()
	r.rein = newControl(ctx, r.o.timeout, r.status)
	defer r.rein.end()
	if err := r.openOut(); err != nil {
		return err
	}
	if r.outFile != nil {
		defer func() { err = firstOf(err, closeOutput(r.outFile)) }()
	}
	if err := r.open(); err != nil {
		return r.explain(err, nil)
	}
	defer r.link.Close()
	if r.host != nil {
		defer r.host.Close()
	} else {
		defer r.handshakes.driver.Close()
	}
	if err := r.session.watchReader(r.rein); err != nil {
		return err
	}
	return r.series()
}

// firstOf is the first error there is: what the network did counts more than
// what a file did.
func firstOf(err, later error) error {
	if err != nil {
		return err
	}
	return later
}

func closeOutput(f *os.File) error {
	if err := f.Close(); err != nil {
		return &failure{code: exitOutput, err: fmt.Errorf("cannot write: %w", err)}
	}
	return nil
}

func (r *connectRun) openOut() error {
	switch {
	case r.o.cat || r.o.out == "-":
		r.out = r.p.stdout
	case r.o.out != "":
		f, err := openOutput(r.o.out, r.o.force)
		if err != nil {
			return err
		}
		r.out, r.outFile = f, f
	}
	return nil
}

// open resolves the target, opens the link and chooses the address.
func (r *connectRun) open() error { return r.openLink(r.prepare) }

// openLink resolves the target, opens the link and hands the addresses to
// prepare; if that fails, the link is closed again.
func (r *connectRun) openLink(prepare func(addrs []netip.Addr) error) error {
	addrs, err := r.target.resolve(r.rein.stop, r.o.family())
	if err != nil {
		return err
	}
	r.link, err = rawsock.Open(rawsock.Config{
		Interface: r.o.iface, Source: r.o.source, Guard: r.o.guard, Family: r.o.family(), IO: r.o.io,
	})
	if err != nil {
		return openFailure(err)
	}
	r.session.attach(r.link)
	if err := prepare(addrs); err != nil {
		r.link.Close()
		return err
	}
	return nil
}

func (r *connectRun) prepare(addrs []netip.Addr) error {
	if err := r.choose(addrs); err != nil {
		return err
	}
	tracer, err := r.session.begin(r.route.Interface, r.banner)
	if err != nil {
		return err
	}
	if r.o.onlyHandshakes() {
		r.prepareSeries(tracer)
		return nil
	}
	r.host = engine.NewHost(engine.HostConfig{Link: r.session.link(r.link), Tracer: tracer, OnPanic: crash})
	return nil
}

// choose takes the first address that there is a route to.
func (r *connectRun) choose(addrs []netip.Addr) error {
	var firstErr error
	for _, addr := range addrs {
		if err := checkRemote(addr); err != nil {
			return err
		}
		route, err := r.link.RouteInfo(addr, r.o.source)
		if err == nil {
			r.remote, r.route = netip.AddrPortFrom(addr, r.target.port), route
			r.session.goes(addr, route)
			return nil
		}
		firstErr = firstOf(firstErr, err)
	}
	return fail(exitLocal, "", "cannot reach %s: %w", r.target.host, firstErr)
}

// banner is the first line of the run.
func (r *connectRun) banner(local string) {
	remote := r.remote.Addr().String()
	guard := r.link.Guard()
	r.session.start(trace.Start{
		Local: local, Remote: r.remote.String(), Iface: r.route.Interface, MTU: r.route.MTU, Guard: guard,
	}, connectBanner(r.target, remote, local, r.route.Interface, r.remote.Port(), r.route.MTU, guard))
}

// series makes the connections. The exit code of one is its own; of several it
// is 0 if at least one got its reply.
func (r *connectRun) series() error {
	if r.handshakes != nil {
		return r.seriesOutcome(r.handshakes.run())
	}
	var err error
	for i := range r.o.count {
		began := time.Now()
		if err = r.attempt(); err != nil && codeOf(err) == exitLocal {
			break // it would be no different the next time
		}
		last := i == r.o.count-1
		if r.rein.stopped() != nil || last || !r.rein.sleep(r.o.interval-time.Since(began)) {
			break
		}
	}
	if r.o.count == 1 {
		return err
	}
	return r.seriesOutcome(err)
}

// seriesOutcome ends a run of several connections, of which err is the last one's.
func (r *connectRun) seriesOutcome(err error) error {
	r.session.all(r.remote.String())
	switch {
	case r.replied > 0:
		return nil
	case r.rein.stopped() != nil, codeOf(err) == exitLocal:
		return err
	}
	return &failure{code: exitNo, err: fmt.Errorf("no reply in %s: %w", plural(uint64(r.session.total.Connections()), "connection"), err)}
}

// attempt makes one connection, from SYN to summary.
func (r *connectRun) attempt() error {
	before := r.session.sums.Newest()
	nc, err := r.host.Dial(r.rein.stop, r.remote, engine.DialConfig{
		Local: netip.AddrPortFrom(r.route.Source, r.o.sourcePort), Conn: r.o.conn,
	})
	if err == nil {
		r.replied++
		err = r.talk(nc)
	}
	id := r.session.sums.Newest()
	sum, ok := r.session.sums.Take(id)
	if !ok || id == before {
		err = r.explain(err, nil)
		r.session.fail(err)
		return err
	}
	cause := err
	err = r.explain(cause, &sum)
	sum.Result = resultOf(cause, err, sum.Result)
	r.session.fail(err)
	r.session.sum(sum, r.sumText)
	return err
}

func (r *connectRun) sumText(s trace.Summary) string {
	text := summaryText(s)
	if r.o.timeWait == "" && !r.o.quiet && passed(s, engine.TimeWait) {
		text = timeWaitText(r.o.msl()) + "\n" + text
	}
	return text
}

func passed(s trace.Summary, state engine.State) bool {
	for _, name := range s.States {
		if name == state.String() {
			return true
		}
	}
	return false
}

func (o *talkOptions) msl() time.Duration {
	if o.conn.MSL > 0 {
		return o.conn.MSL
	}
	return 30 * time.Second
}

// talk is what the application does once ESTABLISHED.
func (r *connectRun) talk(nc *engine.NetConn) error {
	c := converse(nc, r.rein, r.out)
	err := r.exchange(c)
	if errors.Is(err, errStopped) {
		c.leave()
	}
	return c.outcome(err, r.o.out)
}

func (r *connectRun) exchange(c *conversation) error {
	if r.o.cat {
		if err := catBoth(c, r.p.stdin, r.session.closeStdout); err != nil {
			return err
		}
		return c.fin(func() {})
	}
	sent, err := r.sendData(c)
	if err != nil {
		return err
	}
	if r.o.close == "half" {
		if err := c.nc.CloseWrite(); err != nil {
			return err
		}
		if err := c.untilEnd(); err != nil {
			return err
		}
		return c.settle()
	}
	if sent || r.o.hasWait {
		if err := c.untilQuiet(r.o.wait); err != nil {
			return err
		}
	}
	if r.o.hold > 0 {
		if err := c.hold(r.o.hold); err != nil {
			return err
		}
	}
	return c.closeAs(r.o.close, func() { r.session.say(noticeWaiting) })
}

// sendData sends what the flags ask for, and reports whether that was anything.
func (r *connectRun) sendData(c *conversation) (bool, error) {
	switch {
	case r.o.sendFile == "-":
		return true, c.send(r.p.stdin)
	case r.o.sendFile != "":
		f, err := os.Open(r.o.sendFile)
		if err != nil {
			return false, &failure{code: exitUsage, err: err}
		}
		defer f.Close()
		return true, c.send(f)
	case len(r.o.send) > 0:
		return true, c.send(bytes.NewReader(r.o.send))
	}
	return false, nil
}

// catBoth is netcat: in to the peer until its end, which is passed on as a FIN,
// and the peer to out until its own, which closeOut passes on. A person at a
// terminal is let go when the peer closes; a pipe may still have something to say.
func catBoth(c *conversation, in io.Reader, closeOut func()) error {
	sent := make(chan error, 1)
	spawn(func() {
		err := c.send(in)
		if err == nil {
			err = c.nc.CloseWrite()
		}
		sent <- err
	})
	ended := c.ended
	for {
		select {
		case err := <-sent:
			if err != nil {
				return err
			}
			return c.untilEnd()
		case <-ended:
			if c.fault != nil || isTerminal(in) {
				return c.fault
			}
			closeOut()
			ended = nil
		case <-c.rein.stop.Done():
			return errStopped
		}
	}
}

// status answers SIGQUIT: where things stand, on stderr.
func (r *connectRun) status() {
	for _, id := range r.session.sums.Over(true) {
		if s, ok := r.session.sums.Peek(id); ok {
			fmt.Fprintln(r.p.stderr, summaryText(s))
		}
	}
}

// explain turns what the engine or the link said into an exit code and a
// sentence; sum is what the wire showed, nil before the first segment.
func (r *connectRun) explain(err error, sum *trace.Summary) error {
	if stopped := r.rein.stopped(); stopped != nil && isStop(err) {
		return stopFailure(stopped, r.o.timeout)
	}
	return connectFailure(err, sum, r.o.sourcePort)
}

// isStop reports whether an error is only the echo of a stopped run.
func isStop(err error) bool {
	return errors.Is(err, errStopped) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// stopFailure is the failure of a run that was stopped before its end.
func stopFailure(cause error, timeout time.Duration) error {
	var sig errSignal
	switch {
	case errors.As(cause, &sig):
		return &failure{code: sig.code(), err: fmt.Errorf("interrupted by %w", sig), silent: true}
	case errors.Is(cause, errDeadline):
		return fail(exitTimeout, "", "timed out: --timeout %v is over", timeout)
	case errors.Is(cause, errReaderGone):
		return nil // `rawtcp ... | head` has what it wanted
	}
	return cause
}

// resultOf is the summary's word for how a connection ended: what the engine
// said and what it was explained as decide, else what was seen on the wire.
func resultOf(cause, explained error, onWire string) string {
	switch codeOf(explained) {
	case exitInterrupted, exitTerminated:
		return trace.ResultInterrupted
	case exitTimeout:
		return trace.ResultTimeout
	}
	switch {
	case errors.Is(cause, engine.ErrRefused):
		return trace.ResultRefused
	case errors.Is(cause, engine.ErrUnreachable):
		return trace.ResultUnreachable
	case errors.Is(cause, engine.ErrReset):
		return trace.ResultReset
	}
	return onWire
}

func isReaderGone(err error) bool { return errors.Is(err, syscall.EPIPE) }
