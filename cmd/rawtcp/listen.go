package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/trace"
	"rawtcp/rawsock"
)

// listenOptions are the settings of listen.
type listenOptions struct {
	talkOptions
	echo, discard bool
	send          []byte
	hasSend       bool
	sendFile      string
	cat           bool
	count         int // 0: without end
	backlog       int
	close         string
	mute          bool
	synDelay      time.Duration
	timeWait      string
	to            target // where --to carries the connections; no host: nowhere
}

func (p *program) listenCommand() *command {
	o := &listenOptions{close: "fin"}
	o.color = "auto"
	flags := o.listenFlags()
	for _, f := range append(o.lifeFlags(&o.timeWait), o.talkOptions.flags()...) {
		if f.name != "source-port" { // the port is the argument
			flags = append(flags, f)
		}
	}
	return &command{
		name: "listen", usage: "rawtcp listen [flags] [ADDR]:PORT", help: helpListen, flags: flags,
		run: func(ctx context.Context, args []string) error { return p.listen(ctx, o, args) },
	}
}

func (o *listenOptions) listenFlags() []flagSpec {
	return []flagSpec{
		{name: "echo", group: groupData, usage: "send back what comes (default)", set: switchTo(&o.echo)},
		{name: "discard", group: groupData, usage: "read and forget what comes", set: switchTo(&o.discard)},
		{name: "send", arg: "TEXT", group: groupData, usage: `send TEXT to each peer and close; \r\n, \x00 and the like as in Go`, set: o.setSend},
		{name: "send-file", arg: "FILE", group: groupData, usage: "send the content of FILE to each peer and close", set: textTo(&o.sendFile)},
		{name: "cat", group: groupData, usage: "like netcat -l: one connection to stdin and stdout", set: switchTo(&o.cat)},
		{name: "to", arg: "HOST:PORT", group: groupData, usage: "carry each connection on to HOST:PORT over the kernel's TCP; see rawtcp proxy", set: o.setTo},
		{name: "count", short: "c", arg: "N", group: groupClose, usage: "exit after N connections", set: numberTo(&o.count, 1, 1<<31-1)},
		{name: "backlog", arg: "N", group: groupClose, usage: "how many connections may wait (default 128)", set: numberTo(&o.backlog, 1, 1<<20)},
		{name: "close", arg: "HOW", group: groupClose, usage: "fin: orderly; rst: abort; none: leave without a word", set: oneOf(&o.close, "fin", "rst", "none")},
		{name: "mute", group: groupClose, usage: "never answer a SYN", set: switchTo(&o.mute)},
		{name: "syn-delay", arg: "D", group: groupClose, usage: "wait before the SYN-ACK", set: durationTo(&o.synDelay)},
	}
}

func (o *listenOptions) setSend(s string) error {
	data, err := unescape(s)
	o.send, o.hasSend = data, err == nil
	return err
}

func (o *listenOptions) check() error {
	if err := o.talkOptions.check(); err != nil {
		return err
	}
	modes := 0
	for _, given := range []bool{o.echo, o.discard, o.hasSend, o.sendFile != "", o.cat, o.to.host != ""} {
		if given {
			modes++
		}
	}
	switch {
	case modes > 1:
		return usageError("--echo, --discard, --send, --send-file, --cat and --to exclude each other")
	case o.to.host != "" && o.close != "fin":
		return usageError("--to closes as the other side does: --close %s does not go with it", o.close)
	case o.cat && (o.json || o.pcap == "-"):
		return usageError("only one of --cat, --json and --pcap - can have stdout")
	case o.cat && o.count > 1:
		return usageError("--cat serves one connection")
	case o.sendFile == "-":
		return usageError("--send-file - has no sense for many connections; use --cat")
	}
	return checkReadable(o.sendFile)
}

// where returns the local address and port that the argument names. Without an
// address it is [::], which stands for both families, or one of them if -4 or
// -6 asks for that.
func (o *listenOptions) where(ctx context.Context, args []string) (netip.AddrPort, error) {
	host, port := "", ""
	switch {
	case len(args) == 0:
		return netip.AddrPort{}, usageError("no port: want [ADDR]:PORT")
	case len(args) > 2:
		return netip.AddrPort{}, usageError("too many arguments: want [ADDR]:PORT, got %q after it", args[2])
	case len(args) == 2:
		host, port = strings.Trim(args[0], "[]"), args[1]
	case !strings.Contains(args[0], ":"):
		port = args[0]
	default:
		var err error
		if host, port, err = splitHostPort(args[0]); err != nil {
			return netip.AddrPort{}, err
		}
	}
	n, err := parsePort(port)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr, err := o.address(ctx, host)
	return netip.AddrPortFrom(addr, n), err
}

func (o *listenOptions) address(ctx context.Context, host string) (netip.Addr, error) {
	switch {
	case host == "" && o.source.IsValid():
		return o.source, nil
	case host == "" && o.ipv4, host == "*" && o.ipv4:
		return netip.IPv4Unspecified(), nil
	case host == "", host == "*":
		return netip.IPv6Unspecified(), nil
	}
	if err := checkHost(host); err != nil {
		return netip.Addr{}, err
	}
	addrs, err := target{host: host}.resolve(ctx, o.family())
	if err != nil {
		return netip.Addr{}, err
	}
	return addrs[0], nil
}

// A listenRun is one run of listen.
type listenRun struct {
	p       *program
	o       *listenOptions
	local   netip.AddrPort
	rein    *control
	session *session
	link    *rawsock.Conn
	host    *engine.Host
	bridge  *bridge        // with --to
	busy    sync.WaitGroup // connections being served

	mu     sync.Mutex
	served int   // connections that were accepted and have ended
	err    error // first failure of our own
	enough chan struct{}
}

func (p *program) listen(ctx context.Context, o *listenOptions, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.timeWait == "" {
		o.conn.TimeWait = oneRTO
	}
	if o.cat {
		o.count = 1
	}
	r := &listenRun{p: p, o: o, enough: make(chan struct{})}
	if o.show {
		return r.show(ctx, args)
	}
	return r.run(ctx, args)
}

// run does all that a run does around its connections.
func (r *listenRun) run(ctx context.Context, args []string) (err error) {
	if r.local, err = r.o.where(ctx, args); err != nil {
		return err
	}
	if r.session, err = r.p.openSession("listen", &r.o.talkOptions, r.o.cat, trace.TagPeer); err != nil {
		return err
	}
	defer func() { err = firstOf(err, r.session.end(err)) }()
	r.rein = newControl(ctx, r.o.timeout, r.status)
	defer r.rein.end()
	if err := r.open(); err != nil {
		return err
	}
	defer r.link.Close()
	defer r.host.Close()
	if r.o.to.host != "" {
		if err := r.openBridge(); err != nil {
			return err
		}
		defer r.bridge.close()
	}
	if err := r.session.watchReader(r.rein); err != nil {
		return err
	}
	listener, err := r.claim()
	if err != nil {
		return err
	}
	r.serve(listener)
	return r.finish()
}

func (r *listenRun) open() error {
	var err error
	r.link, err = rawsock.Open(rawsock.Config{
		Interface: r.o.iface, Source: r.o.source, Guard: r.o.guard, Family: r.family(), IO: r.o.io,
	})
	if err != nil {
		return openFailure(err)
	}
	r.session.attach(r.link)
	tracer, err := r.session.begin(r.o.iface, func(string) {})
	if err != nil {
		r.link.Close()
		return err
	}
	r.host = engine.NewHost(engine.HostConfig{Link: r.session.link(r.link), Tracer: tracer, OnPanic: crash})
	return nil
}

// family keeps an IPv6 address from claiming the port on IPv4 too.
func (r *listenRun) family() rawsock.Family {
	if f := r.o.family(); f != rawsock.Both {
		return f
	}
	switch addr := r.local.Addr(); {
	case addr.Is4():
		return rawsock.IPv4
	case !addr.IsUnspecified():
		return rawsock.IPv6
	}
	return rawsock.Both
}

// claim takes the port, and says so.
func (r *listenRun) claim() (*engine.NetListener, error) {
	listener, err := r.host.Listen(r.local, engine.ListenConfig{
		Backlog: r.o.backlog, Conn: r.o.conn, Mute: r.o.mute, SYNDelay: r.o.synDelay,
	})
	if err != nil {
		return nil, listenFailure(r.local, err)
	}
	guard := r.link.Guard()
	r.session.start(trace.Start{Local: r.local.String(), Iface: r.o.iface, Guard: guard}, "")
	fmt.Fprintln(r.p.stderr, listenBanner(r.local, guard, r.o.mute))
	return listener, nil
}

// serve accepts until it has had enough, and waits for all to end.
func (r *listenRun) serve(listener *engine.NetListener) {
	stop := make(chan struct{})
	spawn(func() {
		defer close(stop)
		select {
		case <-r.rein.stop.Done():
		case <-r.enough:
		}
		listener.Close()
	})
	reap := (&reaper{session: r.session, rein: r.rein, show: lineText}).start()
	for accepted := 0; r.o.count == 0 || accepted < r.o.count; accepted++ {
		nc, err := listener.AcceptConn()
		if err != nil {
			r.note(err)
			break
		}
		r.busy.Add(1)
		spawn(func() { r.connection(nc) })
	}
	if r.o.cat {
		listener.Close() // one is enough
	}
	r.busy.Wait()
	r.hadEnough()
	<-stop
	reap()
}

func (r *listenRun) hadEnough() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.enough:
	default:
		close(r.enough)
	}
}

// note keeps the first failure of our own; that the listener was closed is none.
func (r *listenRun) note(err error) {
	if err == nil || errors.Is(err, net.ErrClosed) || isStop(err) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = firstOf(r.err, err)
}

// connection serves one peer.
func (r *listenRun) connection(nc *engine.NetConn) {
	defer r.busy.Done()
	serve := r.talk
	if r.bridge != nil {
		serve = r.forward
	}
	err := serve(nc)
	r.mu.Lock()
	r.served++
	r.mu.Unlock()
	var f *failure
	if errors.As(err, &f) && f.code == exitOutput {
		r.note(err)
	}
}

func (r *listenRun) talk(nc *engine.NetConn) error {
	c, err := r.exchange(nc)
	switch {
	case errors.Is(err, errStopped):
		c.leave()
	case err == nil:
		err = c.closeAs(r.o.close, func() {})
		if errors.Is(err, errStopped) {
			c.leave()
		}
	default:
		_ = nc.Close()
	}
	if r.o.close != "none" {
		r.untilDone(nc)
	}
	return c.outcome(err, "stdout")
}

// untilDone waits until the connection is forgotten, TIME-WAIT and all.
func (r *listenRun) untilDone(nc *engine.NetConn) {
	select {
	case <-nc.Done():
	case <-r.rein.stop.Done():
	}
}

// exchange is what the application does with a peer before the close.
func (r *listenRun) exchange(nc *engine.NetConn) (*conversation, error) {
	switch {
	case r.o.cat:
		c := converse(nc, r.rein, r.p.stdout)
		return c, catBoth(c, r.p.stdin, r.session.closeStdout)
	case r.o.hasSend:
		c := converse(nc, r.rein, io.Discard)
		return c, c.send(bytes.NewReader(r.o.send))
	case r.o.sendFile != "":
		c := converse(nc, r.rein, io.Discard)
		return c, r.sendFile(c)
	case r.o.discard:
		c := converse(nc, r.rein, io.Discard)
		return c, c.untilEnd()
	}
	c := &conversation{nc: nc, rein: r.rein, ended: make(chan struct{})}
	c.out = echoTo{c}
	spawn(c.read)
	return c, c.untilEnd()
}

// echoTo sends back what the reader has read. While the peer does not take it,
// the reader waits, and the window closes: nothing piles up.
type echoTo struct{ c *conversation }

// Write implements io.Writer.
func (e echoTo) Write(p []byte) (int, error) {
	if err := e.c.send(bytes.NewReader(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (r *listenRun) sendFile(c *conversation) error {
	f, err := os.Open(r.o.sendFile)
	if err != nil {
		r.note(&failure{code: exitUsage, err: err})
		r.hadEnough()
		return err
	}
	defer f.Close()
	return c.send(f)
}

// finish ends the run: what was asked for was done if a peer was served.
func (r *listenRun) finish() error {
	err := r.err
	stopped := r.rein.stopped()
	if err == nil && r.served == 0 && stopped != nil {
		err = stopFailure(stopped, r.o.timeout)
	}
	r.session.fail(err)
	r.session.all(r.local.String())
	return err
}

// status answers SIGQUIT.
func (r *listenRun) status() {
	for _, id := range r.session.sums.Over(true) {
		if s, ok := r.session.sums.Peek(id); ok {
			fmt.Fprintln(r.p.stderr, lineText(s))
		}
	}
}

// listenFailure explains why the port is not ours.
func listenFailure(local netip.AddrPort, err error) error {
	switch codeOf(openFailure(err)) {
	case exitCapability:
		return openFailure(err)
	case exitLocal:
		return fail(exitLocal, "ss -ltn shows who listens, ip addr our addresses", "cannot listen on %s: %w", local, err)
	}
	return fmt.Errorf("cannot listen on %s: %w", local, err)
}
