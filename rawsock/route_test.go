package rawsock

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wantRouteErrno checks an error of Route.
func wantRouteErrno(t *testing.T, err error, want syscall.Errno) {
	t.Helper()
	var op *net.OpError
	if !errors.Is(err, want) || !errors.As(err, &op) || op.Op != "route" {
		t.Errorf("Route: %v, want %v in a *net.OpError", err, want)
	}
}

func TestRoute(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l, other := newLab(t), newLab(t)
		c, err := openLink(Config{})
		must(t, err)
		defer c.Close()
		for _, remote := range []netip.Addr{l.theirs[family], mapped(l.theirs[family])} {
			route, err := c.RouteInfo(remote, netip.Addr{})
			if want := (Route{Source: l.ours[family], Interface: l.name, MTU: 1500}); route != want || err != nil {
				t.Errorf("RouteInfo(%v) = %+v, %v, want %+v", remote, route, err, want)
			}
		}
		unspecified := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}[family]
		route, err := c.RouteInfo(l.theirs[family], unspecified)
		if route.Source != l.ours[family] || err != nil {
			t.Errorf("with an unspecified source: %+v, %v", route, err)
		}
		route, err = c.RouteInfo(l.theirs[family], other.ours[family])
		if route.Source != other.ours[family] || route.Interface != l.name || err != nil {
			t.Errorf("with the source of another interface: %+v, %v", route, err)
		}
	})
}

func mapped(a netip.Addr) netip.Addr { return netip.AddrFrom16(a.As16()) }

func TestRouteToOurselves(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		c, err := openLink(Config{})
		must(t, err)
		defer c.Close()
		route, err := c.RouteInfo(l.ours[family], netip.Addr{})
		if want := (Route{Source: l.ours[family], Interface: "lo", MTU: []int{65535, 65536}[family], Raw: whyLocal()}); route != want || err != nil {
			t.Errorf("RouteInfo = %+v, %v, want %+v", route, err, want)
		}
	})
}

func TestRouteErrors(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		c, err := openLink(Config{})
		must(t, err)
		defer c.Close()
		outside := []netip.Addr{netip.MustParseAddr("198.19.77.1"), netip.MustParseAddr("2001:db8:ff77::1")}[family]
		_, _, err = c.Route(outside, netip.Addr{})
		wantRouteErrno(t, err, syscall.ENETUNREACH)

		_, _, err = c.Route(l.theirs[family], l.theirs[family])
		wantRouteErrno(t, err, syscall.EADDRNOTAVAIL)
		_, _, err = c.Route(l.theirs[family], outside)
		wantRouteErrno(t, err, syscall.EADDRNOTAVAIL)
		_, _, err = c.Route(l.theirs[family], l.ours[1-family])
		wantRouteErrno(t, err, syscall.EAFNOSUPPORT)
		_, _, err = c.Route(netip.Addr{}, netip.Addr{})
		wantRouteErrno(t, err, syscall.EINVAL)

		for typ, want := range map[int]syscall.Errno{unix.RTN_UNREACHABLE: syscall.EHOSTUNREACH, unix.RTN_BLACKHOLE: syscall.EHOSTUNREACH, unix.RTN_PROHIBIT: syscall.EHOSTUNREACH} {
			dst := ipNet(netip.PrefixFrom(outside, outside.BitLen()))
			must(t, netlink.RouteAdd(&netlink.Route{Dst: dst, Type: typ}))
			_, _, err = c.Route(outside, netip.Addr{})
			wantRouteErrno(t, err, want)
			must(t, netlink.RouteDel(&netlink.Route{Dst: dst, Type: typ}))
		}
	})
}

func TestNoRouteToBroadcast(t *testing.T) {
	l := newLab(t)
	c, err := openLink(Config{})
	must(t, err)
	defer c.Close()
	for _, local := range []netip.Addr{{}, l.ours[0]} {
		for _, a := range []netip.Addr{l.broadcast(), netip.MustParseAddr("127.255.255.255")} {
			_, _, err := c.Route(a, local)
			wantRouteErrno(t, err, syscall.ENETUNREACH)
			var b *BroadcastError
			if !errors.As(err, &b) || b.Addr != a || !b.Broadcast() {
				t.Errorf("Route(%v, %v): %v, want a BroadcastError of it", a, local, err)
			}
		}
		if _, _, err := c.Route(l.broadcast().Prev(), local); err != nil {
			t.Errorf("the address before the broadcast one: %v", err)
		}
	}
}

// broadcast is the broadcast address of the lab's IPv4 network.
func (l *lab) broadcast() netip.Addr {
	a := l.ours[0].As4()
	a[3] = 255
	return netip.AddrFrom4(a)
}

// A SYN to the broadcast address of a network goes to all of its hosts, and a
// wildcard claim must not let it through (RFC 9293 section 3.9.2.3, MUST-57). One
// from there arrives, and no answer to it leaves (MUST-63).
func TestBroadcastIsNotHeard(t *testing.T) {
	l := newLab(t)
	s := openStation(t, Config{Guard: GuardNone})
	w := l.newWire(0)
	must(t, unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
	s.claim(netip.AddrPortFrom(netip.IPv4Unspecified(), 4001))
	probe := func(from, to netip.Addr, seq uint32) {
		w.send(tcpPacket{src: netip.AddrPortFrom(from, 80), dst: netip.AddrPortFrom(to, 4001), seq: seq, flags: syn})
	}
	probe(w.here, l.broadcast(), 1)
	probe(w.here, l.ours[0], 2)
	if p := s.want(syn); p.seq != 2 {
		t.Errorf("let through %+v", p)
	}
	answer := tcpPacket{src: netip.AddrPortFrom(l.ours[0], 4001), dst: netip.AddrPortFrom(l.broadcast(), 80), flags: syn | ack}
	if _, err := s.WriteBatch([][]byte{answer.bytes()}); !errors.Is(err, syscall.EACCES) {
		t.Errorf("an answer to the broadcast address: %v, want EACCES", err)
	}
}

func TestRouteMTU(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		link, err := netlink.LinkByName(l.name)
		must(t, err)
		c, err := openLink(Config{})
		must(t, err)
		defer c.Close()
		must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(l.theirs[family], l.theirs[family].BitLen())), Scope: netlink.SCOPE_LINK, MTU: 1333}))
		_, mtu, err := c.Route(l.theirs[family], netip.Addr{})
		if mtu != 1333 || err != nil {
			t.Errorf("a route's own MTU: %d, %v", mtu, err)
		}
		must(t, netlink.LinkSetMTU(link, 1300))
		_, mtu, err = c.Route(l.theirs[family], netip.Addr{})
		if mtu != 1300 || err != nil {
			t.Errorf("a link narrower than its route: %d, %v", mtu, err)
		}
	})
}

func TestRouteSourceFromConfig(t *testing.T) {
	l, other := newLab(t), newLab(t)
	c, err := openLink(Config{Source: other.ours[0]})
	must(t, err)
	defer c.Close()
	src, _, err := c.Route(l.theirs[0], netip.Addr{})
	if src != other.ours[0] || err != nil {
		t.Errorf("source %v, %v, want %v", src, err, other.ours[0])
	}
	src, _, err = c.Route(l.theirs[1], netip.Addr{}) // of the other family: no say
	if src != l.ours[1] || err != nil {
		t.Errorf("source %v, %v, want %v", src, err, l.ours[1])
	}
}

func TestRouteFollowsTheMark(t *testing.T) {
	l := newLab(t)
	link, err := netlink.LinkByName(l.name)
	must(t, err)
	outside := netip.MustParseAddr("198.19.88.1")
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(outside, 32)), Scope: netlink.SCOPE_LINK, Table: 100}))
	rule := netlink.NewRule()
	rule.Mark, rule.Table = 0x77, 100
	must(t, netlink.RuleAdd(rule))
	defer netlink.RuleDel(rule)
	for mark, want := range map[uint32]string{0x77: l.name, 0x78: ""} {
		c, err := openLink(Config{Mark: mark})
		must(t, err)
		route, err := c.RouteInfo(outside, netip.Addr{})
		if route.Interface != want || (err == nil) != (want != "") {
			t.Errorf("mark %#x: %+v, %v", mark, route, err)
		}
		_, err = c.WriteBatch([][]byte{tcpPacket{src: netip.AddrPortFrom(l.ours[0], 1), dst: netip.AddrPortFrom(outside, 2)}.bytes()})
		if (err == nil) != (want != "") {
			t.Errorf("mark %#x: sending there: %v", mark, err)
		}
		c.Close()
	}
}

func TestNetlinkRetries(t *testing.T) {
	for _, interruption := range []error{syscall.EINTR, netlink.ErrDumpInterrupted} {
		calls := 0
		err := retry(func() error {
			if calls++; calls < 3 {
				return interruption
			}
			return nil
		})
		if calls != 3 || err != nil {
			t.Errorf("after %v: %d calls, %v", interruption, calls, err)
		}
	}
	calls := 0
	if err := retry(func() error { calls++; return syscall.EINTR }); err == nil || calls > 20 {
		t.Errorf("endless interruption: %d calls, %v", calls, err)
	}
}
