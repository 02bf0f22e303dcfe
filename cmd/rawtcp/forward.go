package main

import (
	"net"

	"rawtcp/engine"
	"rawtcp/rawsock"
)

func (o *listenOptions) setTo(s string) error {
	t, err := parseTarget([]string{s})
	if err == nil {
		// The program behind has coalesced its data already, or wants it not to be.
		o.to, o.conn.NoDelay = t, true
	}
	return err
}

// openBridge finds out whether --to can be resolved, before anybody connects.
func (r *listenRun) openBridge() error {
	if _, err := r.o.to.resolve(r.rein.stop, rawsock.Both); err != nil {
		return err
	}
	b, err := newBridge(r.session, r.rein)
	r.bridge = b
	return err
}

// forward carries a peer's connection on over the kernel's TCP.
func (r *listenRun) forward(own *engine.NetConn) error {
	peer := own.RemoteAddr().String()
	c, err := r.dialKernel(own)
	if err != nil {
		_ = own.Abort() // an error is that the peer has reset it
		r.bridge.fail(notCarriedText(peer, err), err)
		return err
	}
	program, done, err := r.bridge.end(c)
	if err != nil {
		_ = own.Abort()
		r.bridge.fail(notCarriedText(peer, err), err)
		return err
	}
	defer done()
	r.bridge.say(carriedText(peer, c.LocalAddr(), c.RemoteAddr()))
	if err := r.bridge.join(own, program); err != nil {
		r.bridge.fail(brokenText(peer, c.LocalAddr(), err), err)
	}
	return err
}

// dialKernel connects to --to, for as long as the peer waits for it.
func (r *listenRun) dialKernel(own *engine.NetConn) (*net.TCPConn, error) {
	ctx, cancel := r.bridge.while(own.Done())
	defer cancel()
	var d net.Dialer
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, "tcp", r.o.to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}
