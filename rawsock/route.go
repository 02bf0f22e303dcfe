package rawsock

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Route is how the kernel sends to one destination.
type Route struct {
	Source    netip.Addr // with a zone if it is link-local
	Interface string
	MTU       int    // largest datagram in octets, IP header included
	Raw       string // under PacketIO, why packets take the raw socket; "" if they need not
}

// A BroadcastError is the error of Route for the broadcast address of a network
// of this host: it stands for many hosts, and TCP is between two (RFC 9293
// section 3.9.1.1, MUST-46). To errors.Is it is syscall.ENETUNREACH, as from connect.
type BroadcastError struct{ Addr netip.Addr }

// Error names the address.
func (e *BroadcastError) Error() string {
	return fmt.Sprintf("%v is the broadcast address of a network", e.Addr)
}

// Broadcast reports true.
func (*BroadcastError) Broadcast() bool { return true }

// Unwrap returns syscall.ENETUNREACH.
func (*BroadcastError) Unwrap() error { return unix.ENETUNREACH }

// A router asks the kernel for routes.
type router struct {
	handle *netlink.Handle
	cache  routeCache
}

// newRouter opens a netlink socket in the calling thread's network namespace.
func newRouter() (*router, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a route socket: %w", err)
	}
	r := &router{handle: h}
	r.cache.open()
	return r, nil
}

func (r *router) close() {
	r.handle.Close()
	r.cache.close()
}

// Route returns the source address and the largest datagram (octets, IP header
// included) for a destination. local, if valid, is the source address the
// caller insists on; Config.Source stands in for one that is not.
//
// To errors.Is the error is syscall.ENETUNREACH or EHOSTUNREACH if there is no
// route, and EADDRNOTAVAIL if the source address is not of this host. For a
// broadcast address it is a *BroadcastError.
func (c *Conn) Route(remote, local netip.Addr) (source netip.Addr, mtu int, err error) {
	route, err := c.RouteInfo(remote, local)
	return route.Source, route.MTU, err
}

// RouteInfo is Route with all that is known.
func (c *Conn) RouteInfo(remote, local netip.Addr) (Route, error) {
	remote, local = remote.Unmap(), c.source(remote, local)
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return Route{}, routeError(remote, net.ErrClosed)
	}
	key := routeKey{remote, local}
	route, turn, ok := c.routes.cache.get(key)
	if ok {
		return route, nil
	}
	route, err := c.askRoute(remote, local)
	if err != nil {
		return Route{}, routeError(remote, err)
	}
	c.routes.cache.put(key, route, turn)
	return route, nil
}

// askRoute asks the kernel.
func (c *Conn) askRoute(remote, local netip.Addr) (Route, error) {
	if !remote.IsValid() {
		return Route{}, unix.EINVAL
	}
	if c.socket(remote.Is6()) == nil {
		return Route{}, unix.EAFNOSUPPORT
	}
	if err := c.routes.checkSource(remote, local); err != nil {
		return Route{}, err
	}
	oif, err := c.outInterface(remote, local)
	if err != nil {
		return Route{}, err
	}
	found, link, err := c.routes.resolve(remote, local, oif, c.cfg.Mark)
	if err != nil {
		return Route{}, err
	}
	route := makeRoute(found, link.Attrs(), remote, local)
	if c.packet != nil {
		route.Raw = noFrames(found, link)
	}
	return route, nil
}

func routeError(remote netip.Addr, err error) error {
	var addr net.Addr
	if remote.IsValid() {
		addr = &net.IPAddr{IP: remote.AsSlice(), Zone: remote.Zone()}
	}
	return &net.OpError{Op: "route", Net: "ip", Addr: addr, Err: err}
}

// source returns the source address to insist on, or the zero Addr.
func (c *Conn) source(remote, local netip.Addr) netip.Addr {
	if !local.IsValid() && c.cfg.Source.Unmap().Is4() == remote.Unmap().Is4() {
		local = c.cfg.Source
	}
	if local = local.Unmap(); local.IsUnspecified() {
		return netip.Addr{}
	}
	return local
}

// outInterface returns the index of the interface that the configuration or an
// address's zone insists on, or 0.
func (c *Conn) outInterface(remote, local netip.Addr) (int, error) {
	if c.ifindex != 0 {
		return c.ifindex, nil
	}
	for _, a := range []netip.Addr{remote, local} {
		if a.Zone() != "" {
			return c.zoneIndex(a.Zone())
		}
	}
	if remote.Is6() && remote.IsLinkLocalUnicast() {
		return 0, fmt.Errorf("a link-local address needs its interface, as in %v%%eth0: %w", remote, unix.EINVAL)
	}
	return 0, nil
}

// checkSource refuses a source address that is not of this host: the route
// lookup has other errors for that, or none.
func (r *router) checkSource(remote, local netip.Addr) error {
	if !local.IsValid() {
		return nil
	}
	if local.Is4() != remote.Is4() {
		return fmt.Errorf("source address %v is of the other family: %w", local, unix.EAFNOSUPPORT)
	}
	ok, err := r.isLocal(local)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("source address %v is not of this host (ip address lists them): %w", local, unix.EADDRNOTAVAIL)
	}
	return nil
}

// isLocal reports whether an address is one of this host's: the route to it is
// of type local.
func (r *router) isLocal(a netip.Addr) (bool, error) {
	if a.IsLinkLocalUnicast() && a.Is6() {
		return r.hasAddr(a)
	}
	routes, err := r.get(a, &netlink.RouteGetOptions{})
	if err != nil {
		if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
			return false, nil
		}
		return false, err
	}
	return routes[0].Type == unix.RTN_LOCAL, nil
}

// hasAddr looks an address up in the list of all: a route lookup for a
// link-local one is not certain without its interface.
func (r *router) hasAddr(a netip.Addr) (bool, error) {
	var list []netlink.Addr
	err := retry(func() (err error) {
		list, err = r.handle.AddrList(nil, netlink.FAMILY_V6)
		return err
	})
	if err != nil {
		return false, err
	}
	for _, have := range list {
		if ip, ok := netip.AddrFromSlice(have.IP); ok && ip.Unmap() == a.WithZone("") {
			return true, nil
		}
	}
	return false, nil
}

// resolve asks for the route and then for its interface.
func (r *router) resolve(remote, local netip.Addr, oif int, mark uint32) (netlink.Route, netlink.Link, error) {
	opts := &netlink.RouteGetOptions{OifIndex: oif, Mark: mark}
	if local.IsValid() {
		opts.SrcAddr = local.AsSlice()
	}
	routes, err := r.get(remote, opts)
	if err != nil {
		return netlink.Route{}, nil, err
	}
	if routes[0].Type == unix.RTN_BROADCAST {
		return netlink.Route{}, nil, &BroadcastError{remote}
	}
	var link netlink.Link
	err = retry(func() (err error) {
		link, err = r.handle.LinkByIndex(routes[0].LinkIndex)
		return err
	})
	return routes[0], link, err
}

// get returns at least one route.
func (r *router) get(remote netip.Addr, opts *netlink.RouteGetOptions) ([]netlink.Route, error) {
	var routes []netlink.Route
	err := retry(func() (err error) {
		routes, err = r.handle.RouteGetWithOptions(remote.AsSlice(), opts)
		return err
	})
	switch {
	case errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("the route prohibits it (ip route): %w", unix.EHOSTUNREACH)
	case errors.Is(err, unix.EINVAL):
		return nil, fmt.Errorf("the route is a black hole (ip route): %w", unix.EHOSTUNREACH)
	case err != nil:
		return nil, err
	case len(routes) == 0:
		return nil, unix.ENETUNREACH
	}
	return routes, nil
}

func makeRoute(r netlink.Route, link *netlink.LinkAttrs, remote, local netip.Addr) Route {
	route := Route{Source: local, Interface: link.Name, MTU: link.MTU}
	if !local.IsValid() {
		src, _ := netip.AddrFromSlice(r.Src)
		route.Source = src.Unmap()
	}
	if route.Source.Is6() && route.Source.IsLinkLocalUnicast() {
		route.Source = route.Source.WithZone(link.Name)
	}
	if r.MTU > 0 {
		route.MTU = min(route.MTU, r.MTU)
	}
	// The total length field has 16 bits; loopback's MTU is one octet more.
	if remote.Is4() {
		route.MTU = min(route.MTU, 0xffff)
	}
	return route
}

// retry repeats a netlink call that was interrupted: by a signal, or by a
// change of what it was listing.
func retry(f func() error) error {
	for range 10 {
		err := f()
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
	}
	return f()
}

// zoneIndex returns the interface index of an address's zone.
func (c *Conn) zoneIndex(zone string) (int, error) {
	if n, err := strconv.Atoi(zone); err == nil && n > 0 {
		return n, nil
	}
	link, err := c.routes.handle.LinkByName(zone)
	if err != nil {
		return 0, fmt.Errorf("interface %q: %w (ip link lists them)", zone, errors.Join(err, unix.ENODEV))
	}
	return link.Attrs().Index, nil
}
