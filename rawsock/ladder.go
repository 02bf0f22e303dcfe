package rawsock

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Guard returns what keeps the kernel silent on the latest claim: "minttl+md5",
// "minttl+md5+filter", "nft owner table" and the like, or "none" before the
// first claim and under GuardNone.
func (c *Conn) Guard() string {
	c.claims.making.Lock()
	defer c.claims.making.Unlock()
	if c.claims.guard == "" {
		return "none"
	}
	return c.claims.guard
}

// suppress makes the kernel silent on h, by the way that the configuration
// demands or the first one of the ladder that goes. It is called in the network
// namespace of the sockets.
func (cs *claims) suppress(h *hold) error {
	switch cs.c.cfg.Guard {
	case GuardNone:
		cs.guard = "none"
		return nil
	case GuardSocket:
		return cs.suppressBySocket(h)
	case GuardNFT:
		return cs.suppressByTable(h)
	}
	return cs.climb(h)
}

var errNoWays = fmt.Errorf("this kernel offers a guard socket no way to drop segments: %w", unix.EPERM)

func (cs *claims) suppressBySocket(h *hold) error {
	g, err := newPortGuard(h.local, h.zone, cs.c.cfg.Interface)
	if err != nil {
		return err
	}
	if len(g.ways) == 0 {
		return errors.Join(errNoWays, g.Close())
	}
	h.guard, cs.guard = g, g.describe()
	return nil
}

// describe names the ways, and what is wrong with an incomplete guard.
func (g *portGuard) describe() string {
	if g.complete() {
		return g.String()
	}
	return g.String() + " (a peer whose segments arrive with TTL 255 still draws a RST)"
}

func (cs *claims) suppressByTable(h *hold) error {
	g, err := newReservation(h.local, h.zone, cs.c.cfg.Interface)
	if err != nil {
		return err
	}
	if err := cs.silenceByTable(h, g); err != nil {
		return errors.Join(err, g.Close())
	}
	cs.guard = "nft owner table"
	return nil
}

// climb takes the first rung that holds: a complete guard socket; the guard
// socket and the table together; an incomplete guard socket.
func (cs *claims) climb(h *hold) error {
	g, err := newPortGuard(h.local, h.zone, cs.c.cfg.Interface)
	if err != nil {
		return err
	}
	if g.complete() {
		h.guard, cs.guard = g, g.String()
		return nil
	}
	err = cs.silenceByTable(h, g)
	switch {
	case err == nil:
		cs.guard = "nft owner table"
	case len(g.ways) > 0:
		h.guard, cs.guard = g, g.describe()
	default:
		return errors.Join(errNoWays, err, g.Close())
	}
	return nil
}

// silenceByTable adds h to the table, which it makes when it is the first. A
// table that spares our mark needs sockets that set it.
func (cs *claims) silenceByTable(h *hold, reservation io.Closer) error {
	if !cs.c.marked {
		return fmt.Errorf("an nft table would drop our own RSTs, which cannot be marked: %w", unix.EPERM)
	}
	if cs.nft == nil {
		t, err := newOwnerTable(cs.c.cfg.Mark)
		if err != nil {
			return needNetAdmin(err)
		}
		cs.nft = t
	}
	if err := cs.nft.add(h.local); err != nil {
		return needNetAdmin(fmt.Errorf("add %v to the nft table: %w", h.local, err))
	}
	h.guard = &tableGuard{cs.nft, h.local, reservation}
	return nil
}

// A tableGuard is an entry of the table and the port's reservation.
type tableGuard struct {
	table       *ownerTable
	local       netip.AddrPort
	reservation io.Closer
}

// Close ends the silence and gives the port back.
func (g *tableGuard) Close() error {
	return errors.Join(g.table.remove(g.local), g.reservation.Close())
}

func needNetAdmin(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("need CAP_NET_ADMIN for nftables: sudo setcap cap_net_raw,cap_net_admin+ep %s, or silence the kernel by hand and choose guard none: %w", executable(), err)
	}
	return err
}

// TryGuard tries a way of keeping the kernel silent on a throw-away loopback
// port and returns its description as Guard does, or why it does not go. It
// needs no raw socket.
func TryGuard(mode GuardMode) (description string, err error) {
	c := &Conn{cfg: Config{Guard: mode}.withDefaults(), marked: true}
	cs := &c.claims
	cs.init(c)
	defer cs.closeAll()
	local, err := freePort()
	if err != nil {
		return "", err
	}
	h := &hold{local: local}
	if err := cs.suppress(h); err != nil {
		return "", fmt.Errorf("guard %v: %w", mode, err)
	}
	if h.guard != nil {
		err = h.guard.Close()
	}
	return cs.guard, err
}

// freePort returns a loopback port that is free at the moment.
func freePort() (netip.AddrPort, error) {
	r, err := newReservation(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0), 0, "")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer r.Close()
	sa, err := unix.Getsockname(r.fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}
	sa4, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", unix.EAFNOSUPPORT)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), uint16(sa4.Port)), nil
}
