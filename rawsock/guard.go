package rawsock

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A portGuard keeps the kernel's TCP silent on an address and port: a socket
// that listens there, is told to drop all it gets, and never accepts. Incoming
// segments find it and end there, so the kernel has nothing to answer. No other
// program can take the port, and nothing is left when the process dies.
type portGuard struct {
	fd   int
	ways []string // how it drops; none: it only reserves the port
}

// The ways of dropping.
const (
	wayTTL    = "minttl"
	wayMD5    = "md5"
	wayFilter = "filter"
)

// newPortGuard makes a guard on local. zone is the interface index of a
// link-local address; device, if not empty, limits the guard to an interface.
// A guard that found no way to drop does not listen: it would accept.
func newPortGuard(local netip.AddrPort, zone uint32, device string) (*portGuard, error) {
	fd, err := tcpSocket(local, device)
	if err != nil {
		return nil, err
	}
	g := &portGuard{fd: fd, ways: dropEverything(fd, local.Addr().Is6())}
	if err := bind(fd, local, zone); err != nil {
		g.Close()
		return nil, err
	}
	if len(g.ways) == 0 {
		return g, nil
	}
	if err := unix.Listen(fd, 1); err != nil {
		g.Close()
		return nil, os.NewSyscallError("listen", err)
	}
	return g, nil
}

// newReservation keeps a port from other programs and does no more.
func newReservation(local netip.AddrPort, zone uint32, device string) (*portGuard, error) {
	fd, err := tcpSocket(local, device)
	if err != nil {
		return nil, err
	}
	g := &portGuard{fd: fd}
	if err := bind(fd, local, zone); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// Close gives the port back.
func (g *portGuard) Close() error {
	return os.NewSyscallError("close", unix.Close(g.fd))
}

func (g *portGuard) String() string { return strings.Join(g.ways, "+") }

// complete reports whether the guard holds against every peer. The minimum TTL
// alone lets through what arrives with a TTL of 255.
func (g *portGuard) complete() bool {
	return len(g.ways) > 1 || len(g.ways) == 1 && g.ways[0] != wayTTL
}

// tcpSocket makes a TCP socket for local's family, not an MPTCP one, which the
// net package would make for a listener.
func tcpSocket(local netip.AddrPort, device string) (int, error) {
	domain := unix.AF_INET
	if local.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if domain == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("setsockopt", err)
		}
	}
	if device != "" {
		// A kernel that refuses this leaves a guard on all interfaces, which
		// guards more and not less.
		_ = unix.BindToDevice(fd, device)
	}
	return fd, nil
}

// bind binds without SO_REUSEADDR: a connection of the kernel in TIME-WAIT on
// the port would answer for it, and makes the bind fail.
func bind(fd int, local netip.AddrPort, zone uint32) error {
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(local.Port()), Addr: local.Addr().As16(), ZoneId: zone}
	if local.Addr().Is4() {
		sa = &unix.SockaddrInet4{Port: int(local.Port()), Addr: local.Addr().As4()}
	}
	err := os.NewSyscallError("bind", unix.Bind(fd, sa))
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w: another program or a connection in TIME-WAIT has the port (ss -tanp 'sport = %d')", err, local.Port())
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: need CAP_NET_BIND_SERVICE: sudo setcap cap_net_raw,cap_net_bind_service+ep %s", err, executable())
	}
	return err
}

// dropEverything tells a socket to drop all segments, in every way that is
// allowed, and returns the ways.
func dropEverything(fd int, v6 bool) []string {
	var ways []string
	if setMinTTL(fd, v6) == nil {
		ways = append(ways, wayTTL)
	}
	if setMD5Key(fd, v6) == nil {
		ways = append(ways, wayMD5)
	}
	if attachFilter(fd, refuseAll) == nil {
		ways = append(ways, wayFilter)
	}
	return ways
}

// setMinTTL makes a socket drop what has passed a router.
func setMinTTL(fd int, v6 bool) error {
	if v6 {
		return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_MINHOPCOUNT, 255)
	}
	return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_MINTTL, 255)
}

// setMD5Key gives a socket a key for everybody, a prefix of length 0: it drops
// every segment that is not signed with the key (RFC 2385 section 2.0), and
// nobody knows the key.
func setMD5Key(fd int, v6 bool) error {
	sig := unix.TCPMD5Sig{Flags: unix.TCP_MD5SIG_FLAG_PREFIX, Keylen: 16}
	sig.Addr.Family = unix.AF_INET
	if v6 {
		sig.Addr.Family = unix.AF_INET6
	}
	rand.Read(sig.Key[:sig.Keylen])
	return unix.SetsockoptTCPMD5Sig(fd, unix.SOL_TCP, unix.TCP_MD5SIG_EXT, &sig)
}
