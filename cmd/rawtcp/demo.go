package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"time"

	"rawtcp/internal/netlab"
)

// demoPort is where the web server of the demo listens.
const demoPort = 80

// demoWait is how long the demo listens on after the page has come.
const demoWait = 200 * time.Millisecond

// demoFlags are those of connect that have a meaning where all else is given.
var demoFlags = []string{"ipv4", "ipv6", "verbose", "explain", "quiet", "json", "pcap", "report", "force", "color", "time", "absolute-seq"}

func (p *program) demoCommand() *command {
	o := newConnectOptions()
	var flags []flagSpec
	for _, f := range o.talkOptions.flags() {
		if slices.Contains(demoFlags, f.name) || f.group == groupShape {
			flags = append(flags, f)
		}
	}
	return &command{
		name: "demo", usage: "rawtcp demo [flags]", help: helpDemo, flags: flags,
		run: func(ctx context.Context, args []string) error { return p.demo(ctx, o, args) },
	}
}

func (p *program) demo(ctx context.Context, o *connectOptions, args []string) error {
	if len(args) > 0 {
		return usageError("demo takes no arguments, got %q", args[0])
	}
	if err := o.check(); err != nil {
		return err
	}
	if !netlab.Isolated() {
		return isolatedAgain()
	}
	lab := netlab.New()
	defer lab.Close()
	client, remote, err := demoLab(lab, o.ipv6)
	if err != nil {
		return err
	}
	return client.Do(func() error { return p.demoConnect(ctx, o, remote) })
}

// isolatedAgain runs this very command in namespaces of its own.
func isolatedAgain() error {
	code, err := netlab.Isolate(os.Args[1:]...)
	switch {
	case err != nil:
		return &failure{code: exitCapability, err: err}
	case code != 0:
		return &failure{code: code, err: errors.New("the demo failed"), silent: true}
	}
	return nil
}

// demoLab makes two hosts, a cable between them, and a web server on the
// kernel's own TCP on the second. It returns the first and where the server is.
func demoLab(lab *netlab.Lab, ipv6 bool) (*netlab.Host, netip.AddrPort, error) {
	client, err := lab.Host("client")
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	server, err := lab.Host("server")
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	link, err := lab.Join(client, server, netlab.LinkConfig{})
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	l, err := server.Listen(demoPort)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	spawn(func() { _ = http.Serve(patient{l}, netlab.Hello) }) // until the process ends
	addr := link.B.Addr4.Addr()
	if ipv6 {
		addr = link.B.Addr6.Addr()
	}
	if !addr.IsValid() {
		return nil, netip.AddrPort{}, fail(exitLocal, "", "this kernel has no IPv6: try rawtcp demo -4")
	}
	return client, netip.AddrPortFrom(addr, demoPort), nil
}

// A patient listener's connections close a moment after they are asked to, so
// that the kernel acknowledges our FIN before it sends its own: four segments,
// as in the books, where a hasty server needs three.
type patient struct{ net.Listener }

// Accept implements net.Listener.
func (l patient) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return patientConn{c}, err
}

type patientConn struct{ net.Conn }

// demoPatience is longer than the kernel delays an ACK.
const demoPatience = 100 * time.Millisecond

// Close implements net.Conn.
func (c patientConn) Close() error {
	time.Sleep(demoPatience)
	return c.Conn.Close()
}

// demoConnect fetches the page with connect, from the calling thread's namespace.
func (p *program) demoConnect(ctx context.Context, o *connectOptions, remote netip.AddrPort) error {
	// In HTTP/1.1 the server keeps the connection open, so that ours is the
	// first FIN and the whole way through TIME-WAIT is to be seen.
	o.send, o.wait = []byte("GET / HTTP/1.1\r\nHost: demo\r\n\r\n"), demoWait
	var page bytes.Buffer
	t := target{host: remote.Addr().String(), port: remote.Port()}
	r := &connectRun{p: p, o: o, target: t, out: io.Discard}
	if !o.quiet && !o.json {
		r.out = &page
		fmt.Fprintln(r.textTo(), demoIntro(remote.Addr()))
	}
	err := r.run(ctx)
	if err == nil && page.Len() > 0 {
		fmt.Fprintln(r.textTo(), demoOutro(page.Bytes()))
	}
	return err
}

// textTo is where a person reads.
func (r *connectRun) textTo() io.Writer {
	if r.o.pcap == "-" {
		return r.p.stderr
	}
	return r.p.stdout
}
