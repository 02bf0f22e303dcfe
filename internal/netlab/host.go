package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A Host is one network namespace. Its methods may be called from any goroutine.
type Host struct {
	name string
	ns   netns.NsHandle
	nl   *netlink.Handle // rtnetlink inside ns

	mu         sync.Mutex
	interfaces []*Interface
	onEnd      []func()
	closed     bool

	// starts carries work to the keeper, the thread that lives in the namespace
	// as long as the host and is the parent of every command.
	starts chan func()
}

var errHostClosed = errors.New("the host is closed")

// newHost makes a keeper and has it enter the namespace that enter returns.
func newHost(name string, enter func() (netns.NsHandle, error)) (*Host, error) {
	h := &Host{name: name, ns: netns.None(), starts: make(chan func())}
	ready := make(chan error)
	onOwnThread(func() { h.keep(enter, ready) })
	if err := <-ready; err != nil {
		h.close()
		return nil, err
	}
	nl, err := netlink.NewHandleAt(h.ns, unix.NETLINK_ROUTE)
	if err != nil {
		h.close()
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	h.nl = nl
	return h, nil
}

// keep enters the namespace and then stays in it until the host is closed.
func (h *Host) keep(enter func() (netns.NsHandle, error), ready chan<- error) {
	ns, err := enter()
	if err != nil {
		ready <- fmt.Errorf("enter network namespace: %w", err)
		return
	}
	h.ns = ns
	ready <- errors.Join(loopbackUp(), quietIPv6())
	for f := range h.starts {
		f()
	}
}

// quietIPv6 makes addresses usable at once and keeps router solicitations off
// the wire, on every interface still to come. Hosts without IPv6 have no such files.
func quietIPv6() error {
	for key, value := range map[string]string{
		"disable_ipv6": "0", "accept_dad": "0", "dad_transmits": "0",
		"router_solicitations": "0", "accept_ra": "0",
	} {
		err := writeSysctl("net.ipv6.conf.default."+key, value)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Name returns the name the host was made with.
func (h *Host) Name() string { return h.name }

// Do runs f on an operating system thread inside the host and returns its error.
// Sockets that f opens belong to the host for good; goroutines that f starts
// run outside. Calls may overlap.
func (h *Host) Do(f func() error) error {
	h.mu.Lock()
	closed := h.closed
	h.mu.Unlock()
	if closed {
		return fmt.Errorf("host %s: %w", h.name, errHostClosed)
	}
	return inNamespace(h.ns, f)
}

// Addr4 returns the IPv4 address of the host's first link, or the zero Addr.
func (h *Host) Addr4() netip.Addr { return h.firstInterface().Addr4.Addr() }

// Addr6 returns the IPv6 address of the host's first link, or the zero Addr.
func (h *Host) Addr6() netip.Addr { return h.firstInterface().Addr6.Addr() }

// firstInterface returns eth0, or an interface without addresses if there is none.
func (h *Host) firstInterface() *Interface {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.interfaces) == 0 {
		return &Interface{}
	}
	return h.interfaces[0]
}

// nextInterface returns the name of the interface to be added next.
func (h *Host) nextInterface() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprintf("eth%d", len(h.interfaces))
}

// AddRoute sends packets for dst to the neighbour via. A dst of 0.0.0.0/0 or
// ::/0 is the default route.
func (h *Host) AddRoute(dst netip.Prefix, via netip.Addr) error {
	route := &netlink.Route{Dst: ipNet(dst), Gw: via.AsSlice()}
	if err := h.nl.RouteAdd(route); err != nil {
		return fmt.Errorf("host %s: add route to %s via %s: %w", h.name, dst, via, err)
	}
	return nil
}

// DelRoute takes back an AddRoute.
func (h *Host) DelRoute(dst netip.Prefix, via netip.Addr) error {
	route := &netlink.Route{Dst: ipNet(dst), Gw: via.AsSlice()}
	if err := h.nl.RouteDel(route); err != nil {
		return fmt.Errorf("host %s: delete route to %s via %s: %w", h.name, dst, via, err)
	}
	return nil
}

// Forward makes the host a router for both families.
func (h *Host) Forward() error {
	return errors.Join(h.Sysctl("net.ipv4.ip_forward", "1"), h.Sysctl("net.ipv6.conf.all.forwarding", "1"))
}

// Sysctl sets a network setting of this host alone, such as "net.ipv4.tcp_sack" to "0".
// In an interface's name inside the key write "/" for ".".
func (h *Host) Sysctl(key, value string) error {
	if err := h.Do(func() error { return writeSysctl(key, value) }); err != nil {
		return fmt.Errorf("host %s: set %s to %s: %w", h.name, key, value, err)
	}
	return nil
}

// writeSysctl writes a setting of the calling thread's namespace.
func writeSysctl(key, value string) error {
	swap := strings.NewReplacer(".", "/", "/", ".")
	path := filepath.Join("/proc/sys", swap.Replace(key))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// removeInterfaces takes the host's links away, for a namespace that stays.
func (h *Host) removeInterfaces() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, i := range h.interfaces {
		_ = h.nl.LinkDel(i.link) // an error means that the other end went first
	}
}

// atEnd registers what close does before the namespace goes, last one first.
func (h *Host) atEnd(f func()) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return fmt.Errorf("host %s: %w", h.name, errHostClosed)
	}
	h.onEnd = append(h.onEnd, f)
	return nil
}

// close ends the host's servers and commands and lets the namespace go.
func (h *Host) close() {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	h.closed = true
	onEnd := h.onEnd
	h.mu.Unlock()
	for i := len(onEnd) - 1; i >= 0; i-- {
		onEnd[i]()
	}
	close(h.starts) // the keeper's thread ends, and its commands with it
	if h.nl != nil {
		h.nl.Close()
	}
	if h.ns.IsOpen() {
		h.ns.Close()
	}
}
