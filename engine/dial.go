package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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
		next := int(h.nextPort.Add(1) - 1)                                  // "next_ephemeral" goes on where the last search ended
		port := h.shards[0].stack.EphemeralPort(local.Addr(), remote, next) // which hangs on the secret alone
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
	local, remote = withoutZone(local), withoutZone(remote)
	s := h.shardOf(local, remote)
	s.mu.Lock()
	defer s.unlock()
	if err := s.refusal(); err != nil {
		s.leave(claim, nil)
		return nil, err
	}
	conn, err := s.stack.Dial(s.now(), local, remote, mtu, cfg.Conn)
	if err != nil {
		s.leave(claim, nil)
		return nil, err
	}
	if n, _ := conn.Write(s.now(), cfg.Data); n < len(cfg.Data) {
		conn.Abandon(s.now())
		s.leave(claim, nil)
		return nil, fmt.Errorf("%d octets for the SYN do not fit the send buffer of %d: write the rest after Dial", len(cfg.Data), n)
	}
	return s.adopt(conn, claim), nil
}

// withoutZone returns a as packets carry it: a zone is the link's affair.
func withoutZone(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}

// awaitOpen waits for the handshake. When it fails or ctx ends, the connection
// is gone.
func (c *NetConn) awaitOpen(ctx context.Context) error {
	s := c.shard
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.wake()
	})
	defer stop()
	s.mu.Lock()
	defer s.unlock()
	for !c.connected {
		switch {
		case c.ended:
			return c.terminal()
		case ctx.Err() != nil:
			c.conn.Abort(s.now())
			return ctx.Err()
		}
		c.sleepReader(nil)
	}
	return nil
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
	defer h.mu.Unlock()
	if h.refusing {
		claim.release()
		return nil, net.ErrClosed
	}
	l := &NetListener{host: h, claim: claim, local: local}
	l.acceptable.L = &l.mu
	if err := l.open(cfg); err != nil {
		l.close()
		return nil, err
	}
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
	h.closeListeners()
	for _, s := range h.shards {
		s.refuse()
	}
	for _, s := range h.shards {
		if err := s.settle(ctx); err != nil {
			for _, s := range h.shards {
				s.abort()
			}
			return err
		}
	}
	return nil
}

// Close resets every connection that is still open, releases the claims and
// closes the link. When it returns, nothing of the host runs any more.
func (h *Host) Close() error {
	if h.isClosed.Swap(true) {
		return net.ErrClosed
	}
	h.closeListeners()
	for _, s := range h.shards {
		s.close()
	}
	close(h.closing)
	err := h.link.Close()
	h.running.Wait()
	return err
}

// closeListeners closes all of them, and refuses new ones.
func (h *Host) closeListeners() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusing = true
	for _, l := range h.listeners {
		l.close()
	}
	h.listeners = nil
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
