package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/trace"
	"rawtcp/rawsock"
)

func (p *program) proxyCommand() *command {
	o := newConnectOptions()
	o.count = 0 // without end
	// The program in front has coalesced its data already, or wants it not to be.
	o.conn.NoDelay = true
	flags := []flagSpec{
		{name: "count", short: "c", arg: "N", group: groupClose, usage: "exit after N connections", set: numberTo(&o.count, 1, 1<<31-1)},
	}
	for _, f := range append(o.closeFlags(), o.talkOptions.flags()...) {
		if f.name != "close" && f.name != "source-port" { // the program closes; each connection has a port of its own
			flags = append(flags, f)
		}
	}
	return &command{
		name: "proxy", usage: "rawtcp proxy [flags] LOCAL:PORT HOST:PORT", help: helpProxy, flags: flags,
		run: func(ctx context.Context, args []string) error { return p.proxy(ctx, o, args) },
	}
}

// A proxyRun is one run of proxy: what a connect has, and a listener on the
// kernel's TCP.
type proxyRun struct {
	connectRun
	local    string // where the programs connect to
	listener *net.TCPListener
	bridge   *bridge
	busy     sync.WaitGroup // connections being carried
	reached  atomic.Int64   // connections that became ESTABLISHED
}

func (p *program) proxy(ctx context.Context, o *connectOptions, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	if len(args) != 2 {
		return usageError("want LOCAL:PORT, where programs connect to, and HOST:PORT, where rawtcp does")
	}
	t, err := parseTarget(args[1:])
	if err != nil {
		return err
	}
	r := &proxyRun{connectRun: connectRun{p: p, o: o, target: t}}
	if o.show {
		return r.show(ctx)
	}
	return r.run(ctx, args[0])
}

// run does all that a run does around its connections.
func (r *proxyRun) run(ctx context.Context, local string) (err error) {
	if r.o.timeWait == "" {
		r.o.conn.TimeWait = oneRTO
	}
	if r.listener, err = listenKernel(ctx, local); err != nil {
		return err
	}
	defer r.listener.Close()
	r.local = r.listener.Addr().String()
	if r.session, err = r.p.openSession("proxy", &r.o.talkOptions, false, trace.TagLocal); err != nil {
		return err
	}
	defer func() { err = firstOf(err, r.session.end(err)) }()
	r.rein = newControl(ctx, r.o.timeout, r.status)
	defer r.rein.end()
	if err := r.open(); err != nil {
		return r.explain(err, nil)
	}
	defer r.link.Close()
	defer r.host.Close()
	defer r.bridge.close()
	if err := r.session.watchReader(r.rein); err != nil {
		return err
	}
	return r.finish(r.serve())
}

// listenKernel opens the listener on the kernel's TCP.
func listenKernel(ctx context.Context, local string) (*net.TCPListener, error) {
	host, port, err := splitHostPort(local)
	if err != nil {
		return nil, err
	}
	if _, err := parsePort(port); err != nil && port != "0" { // 0: any, and the banner tells which
		return nil, err
	}
	if host == "*" {
		local = net.JoinHostPort("", port)
	}
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false) // on by default, and it would change the SYN-ACK
	l, err := cfg.Listen(ctx, "tcp", local)
	switch {
	case err == nil:
		return l.(*net.TCPListener), nil
	case errors.Is(err, syscall.EACCES):
		return nil, fail(exitCapability, "a port below 1024 needs CAP_NET_BIND_SERVICE; take a higher one", "cannot listen on %s: %w", local, err)
	case isLocal(err):
		return nil, fail(exitLocal, "ss -ltn shows who listens, ip addr our addresses", "cannot listen on %s: %w", local, err)
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return nil, nameFailure(host, "ip", err)
	}
	return nil, fmt.Errorf("cannot listen on %s: %w", local, err)
}

// open resolves the target, opens the link, and finds out now what would else
// fail for every connection.
func (r *proxyRun) open() error { return r.openLink(r.prepare) }

func (r *proxyRun) prepare(addrs []netip.Addr) error {
	if err := r.choose(addrs); err != nil {
		return err
	}
	if err := tryGuard(r.link, r.route.Source); err != nil {
		return openFailure(err)
	}
	tracer, err := r.session.begin(r.route.Interface, func(string) {})
	if err != nil {
		return err
	}
	if r.bridge, err = newBridge(r.session, r.rein); err != nil {
		return err
	}
	r.host = engine.NewHost(engine.HostConfig{Link: r.session.link(r.link), Tracer: tracer, OnPanic: crash})
	guard := r.link.Guard()
	r.session.start(trace.Start{
		Local: r.local, Remote: r.remote.String(), Iface: r.route.Interface, MTU: r.route.MTU, Guard: guard,
	}, "")
	fmt.Fprintln(r.p.stderr, proxyBanner(r.local, r.target, r.remote, r.route.Source, r.route.Interface, r.route.MTU, guard))
	return nil
}

// tryGuard makes the kernel silent on some port for a moment.
func tryGuard(link *rawsock.Conn, local netip.Addr) error {
	const first, tries = 49152, 64 // RFC 6335 section 6
	var err error
	for port := range uint16(tries) {
		var claim io.Closer
		if claim, err = link.Claim(netip.AddrPortFrom(local, first+port)); err == nil {
			return claim.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return err
}

// serve accepts until it has had enough, and waits for all to end.
func (r *proxyRun) serve() error {
	defer context.AfterFunc(r.rein.stop, func() { r.listener.Close() })()
	summaries := reaper{session: r.session, rein: r.rein, show: proxyLineText}
	defer summaries.start()()
	defer r.busy.Wait()
	for accepted := 0; r.o.count == 0 || accepted < r.o.count; {
		c, err := r.listener.AcceptTCP()
		switch {
		case err == nil:
			accepted++
			r.busy.Add(1)
			spawn(func() { r.connection(c) })
		case r.rein.stopped() != nil:
			return nil
		case !isPassing(err) || !r.rein.sleep(acceptPause):
			return fmt.Errorf("cannot accept on %s: %w", r.local, err)
		}
	}
	return r.listener.Close() // there will be no more: a program that tries should know
}

// acceptPause is how long accepting rests when it has failed for want of
// something that may come free.
const acceptPause = 50 * time.Millisecond

// isPassing reports whether accept may succeed a moment later.
func isPassing(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// connection carries one program's connection.
func (r *proxyRun) connection(c *net.TCPConn) {
	defer r.busy.Done()
	near := c.RemoteAddr().String()
	program, done, err := r.bridge.end(c)
	if err != nil {
		r.bridge.fail(near+" closed: "+err.Error(), err)
		return
	}
	defer done()
	own, err := r.dial(program)
	if err != nil {
		program.reset()
		err = connectFailure(err, r.seen(err), 0)
		r.bridge.fail(notCarriedText(near, err), err)
		return
	}
	r.reached.Add(1)
	r.bridge.say(carriedText(near, own.LocalAddr(), own.RemoteAddr()))
	if err := r.bridge.join(own, program); err != nil {
		r.bridge.fail(brokenText(near, own.LocalAddr(), err), err)
	}
}

// dial opens the far connection, for as long as the program waits for it.
func (r *proxyRun) dial(program kernelEnd) (*engine.NetConn, error) {
	ctx, cancel := r.bridge.while(program.broken())
	defer cancel()
	own, err := r.host.Dial(ctx, r.remote, engine.DialConfig{
		Local: netip.AddrPortFrom(r.route.Source, 0), Conn: r.o.conn,
	})
	if err != nil && ctx.Err() != nil && r.rein.stopped() == nil {
		return nil, errProgramGone
	}
	return own, err
}

// seen returns what the wire showed of a dial that failed, nil if nothing or if
// it has been summed up already.
func (r *proxyRun) seen(err error) *trace.Summary {
	var op *net.OpError
	if !errors.As(err, &op) || op.Source == nil {
		return nil
	}
	for _, id := range slices.Backward(r.session.sums.Over(true)) { // a port may come again
		if s, ok := r.session.sums.Peek(id); ok && s.Local == op.Source.String() {
			return &s
		}
	}
	return nil
}

// errProgramGone is why a dial was given up.
var errProgramGone = fail(exitReset, "", "the program has reset its connection")

// finish ends the run: what was asked for was done if one connection was carried.
func (r *proxyRun) finish(err error) error {
	stopped := r.rein.stopped()
	switch {
	case err != nil || r.reached.Load() > 0:
	case stopped != nil:
		err = stopFailure(stopped, r.o.timeout)
	default:
		err = &failure{code: exitNo, err: fmt.Errorf("no connection to %s came about", r.remote)}
	}
	r.session.fail(err)
	r.session.all(r.remote.String())
	return err
}
