package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// DialConfig says how a connection is opened.
type DialConfig struct {
	Local netip.AddrPort // zero address: the route's; zero port: one by RFC 6056
	Conn  ConnConfig     // zero fields: the host's defaults

	// Data is written before the SYN leaves. With Conn.FastOpen and a cookie of
	// the server, what fits one segment rides on the SYN, and may then reach the
	// server's application twice if the network doubles the SYN (RFC 7413 section
	// 6.1); otherwise it follows the handshake. It is copied, and is an error if
	// it is longer than the send buffer.
	Data []byte
}

// Dial opens a connection and returns it ESTABLISHED. The error is a
// *net.OpError around ErrRefused, ErrTimeout, ErrUnreachable, ErrInUse,
// ErrBadAddress, the link's own error (EADDRINUSE, ENETUNREACH and so on) or
// ctx's; when ctx ends first, nothing of the attempt stays behind.
func (h *Host) Dial(ctx context.Context, remote netip.AddrPort, cfg DialConfig) (*NetConn, error) {
	remote = unmap(remote)
	local, mtu, err := h.route(remote, unmap(cfg.Local))
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, opError("dial", cfg.Local, remote, err)
	}
	c, err := h.open(ctx, local, remote, mtu, cfg)
	if err == nil {
		local = c.conn.Local() // with the port, so that the error tells which of many
		err = c.awaitOpen(ctx)
	}
	if err != nil {
		return nil, opError("dial", local, remote, err)
	}
	return c, nil
}

// route fills in the source address and finds the MTU.
func (h *Host) route(remote, local netip.AddrPort) (netip.AddrPort, int, error) {
	if !remote.IsValid() {
		return local, 0, ErrBadAddress
	}
	insist := local.Addr()
	if insist.IsUnspecified() {
		insist = netip.Addr{}
	}
	source, mtu, err := h.link.Route(remote.Addr(), insist)
	var broadcast BroadcastError
	switch {
	case errors.As(err, &broadcast):
		return local, 0, fmt.Errorf("%w: %w", ErrBadAddress, err)
	case err != nil:
		return local, 0, err
	}
	return netip.AddrPortFrom(source, local.Port()), mtu, nil
}

// open claims a port and sends the SYN.
func (h *Host) open(ctx context.Context, local, remote netip.AddrPort, mtu int, cfg DialConfig) (c *NetConn, err error) {
	err = h.onPort(ctx, local, remote, func(local netip.AddrPort) error {
		c, err = h.openFrom(local, remote, mtu, cfg)
		return err
	})
	return c, err
}

// onPort calls use with local. If that has no port, it calls use with the ports
// of RFC 6056 algorithm 3, one after the other, while they are taken.
func (h *Host) onPort(ctx context.Context, local, remote netip.AddrPort, use func(local netip.AddrPort) error) error {
	if local.Port() != 0 {
		return use(local)
	}
	for try := 1; ; try++ {
		h.mu.Lock()
		port := h.stack.EphemeralPort(local.Addr(), remote, h.nextPort)
		h.nextPort++ // "next_ephemeral" goes on where the last search ended
		h.mu.Unlock()
		err := use(netip.AddrPortFrom(local.Addr(), port))
		taken := errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, ErrInUse)
		if !taken || try == ephemeralPorts || ctx.Err() != nil {
			return err
		}
	}
}

// ephemeralPorts is how many there are to try (RFC 6335 section 6).
const ephemeralPorts = 16384

// openFrom sends a SYN from a given port.
func (h *Host) openFrom(local, remote netip.AddrPort, mtu int, cfg DialConfig) (*NetConn, error) {
	claim, err := h.claims.take(local) // before the SYN: the kernel would answer the SYN-ACK with a RST
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.unlock()
	if err := h.refusal(); err != nil {
		h.leave(claim, nil)
		return nil, err
	}
	conn, err := h.stack.Dial(h.now(), withoutZone(local), withoutZone(remote), mtu, cfg.Conn)
	if err != nil {
		h.leave(claim, nil)
		return nil, err
	}
	if n, _ := conn.Write(h.now(), cfg.Data); n < len(cfg.Data) {
		conn.Abandon(h.now())
		h.leave(claim, nil)
		return nil, fmt.Errorf("%d octets for the SYN do not fit the send buffer of %d: write the rest after Dial", len(cfg.Data), n)
	}
	return h.adopt(conn, claim), nil
}

// withoutZone returns a as packets carry it: a zone is the link's affair.
func withoutZone(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}

// refusal is the error of a host that opens nothing any more.
func (h *Host) refusal() error {
	switch {
	case h.failure != nil:
		return h.failure
	case h.refusing:
		return net.ErrClosed
	}
	return nil
}

// awaitOpen waits for the handshake. When it fails or ctx ends, the connection
// is gone.
func (c *NetConn) awaitOpen(ctx context.Context) error {
	h := c.host
	stop := context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		c.wake()
	})
	defer stop()
	h.mu.Lock()
	defer h.unlock()
	for !c.connected {
		switch {
		case c.ended:
			return c.terminal()
		case ctx.Err() != nil:
			c.conn.Abort(h.now())
			return ctx.Err()
		}
		c.sleepReader()
	}
	return nil
}

// leave has a claim released, and conn told after that, when the lock is given
// up.
func (h *Host) leave(claim *claim, conn *NetConn) {
	h.leaving = append(h.leaving, farewell{claim, conn})
}

// Listen opens a listener, on a port of its own choice if local has none. It
// claims the port first: one that is taken is an error that is ErrInUse if this
// host listens there, syscall.EADDRINUSE if another program does. An
// unspecified address listens on every address of its family, [::] on those of
// both.
func (h *Host) Listen(local netip.AddrPort, cfg ListenConfig) (l *NetListener, err error) {
	local = unmap(local)
	err = h.onPort(context.Background(), local, netip.AddrPort{}, func(local netip.AddrPort) error {
		l, err = h.listen(local, cfg)
		return err
	})
	if err != nil {
		return nil, opError("listen", local, netip.AddrPort{}, err)
	}
	return l, nil
}

func (h *Host) listen(local netip.AddrPort, cfg ListenConfig) (*NetListener, error) {
	claim, err := h.claims.take(local)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.unlock()
	l := &NetListener{host: h, claim: claim, local: local}
	l.acceptable.L = &h.mu
	if err = h.refusal(); err == nil {
		l.listener, err = h.stack.Listen(h.now(), withoutZone(local), h.mtuTo, cfg)
	}
	if err != nil {
		h.leave(claim, nil)
		return nil, err
	}
	l.listener.OnReady = func() { h.rouse(&l.acceptable) }
	h.listeners = append(h.listeners, l)
	return l, nil
}

// mtuTo is the largest datagram towards a peer that opens a connection: what
// every path takes (RFC 8200 section 5, RFC 791 section 3.1) if the link cannot
// say, as for a link-local peer, whose packets name no zone; 0 for a broadcast address.
func (h *Host) mtuTo(remote netip.Addr) int {
	_, mtu, err := h.link.Route(remote, netip.Addr{})
	var broadcast BroadcastError
	switch {
	case err == nil:
		return mtu
	case errors.As(err, &broadcast):
		return 0
	case remote.Is6():
		return 1280
	}
	return 576
}

// Shutdown closes the listeners, sends a FIN on every connection and waits until
// each is CLOSED or in TIME-WAIT, where nothing more is owed to the peer. When
// ctx ends first, the others are aborted with a RST and the error is ctx's.
// The host opens nothing any more; Close is still to be called.
func (h *Host) Shutdown(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.progress.Broadcast()
	})
	defer stop()
	h.mu.Lock()
	defer h.unlock()
	h.draining++
	defer func() { h.draining-- }()
	h.refusing = true
	h.closeListeners()
	for _, c := range h.sortedConns() {
		c.close()
	}
	for h.anyUnsettled() {
		if err := ctx.Err(); err != nil {
			h.abortAll()
			return err
		}
		h.sleep(&h.progress)
	}
	return nil
}

func (h *Host) anyUnsettled() bool {
	for c := range h.conns {
		if state := c.conn.State(); state != Closed && state != TimeWait {
			return true
		}
	}
	return false
}

// Close resets every connection that is still open, releases the claims and
// closes the link. When it returns, nothing of the host runs any more.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.isClosed {
		h.mu.Unlock()
		return net.ErrClosed
	}
	h.refusing, h.isClosed = true, true
	h.out.retry = 0 // what a full link did not take gets one more chance
	h.closeListeners()
	h.abortAll()
	h.unlock()
	close(h.closing)
	err := h.link.Close()
	h.running.Wait()
	return err
}

func (h *Host) closeListeners() {
	for _, l := range slices.Clone(h.listeners) {
		l.close()
	}
}

func (h *Host) abortAll() {
	for _, c := range h.sortedConns() {
		c.conn.Abort(h.now())
		c.wake()
	}
}

// sortedConns lists the connections in the order they were made, so that what
// happens to all of them happens in the same order in every run.
func (h *Host) sortedConns() []*NetConn {
	list := make([]*NetConn, 0, len(h.conns))
	for c := range h.conns {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *NetConn) int { return int(a.conn.ID()) - int(b.conn.ID()) })
	return list
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
