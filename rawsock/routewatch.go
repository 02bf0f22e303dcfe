package rawsock

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A routeWatch hears the kernel tell of changes to routes, addresses, devices
// and neighbours.
type routeWatch struct {
	p    *packetLink
	file *os.File
	done sync.WaitGroup
}

// routeGroups are the groups of linux/rtnetlink.h that change the answer of Route,
// and hopGroups those that change where a packet goes.
var (
	routeGroups = []int{
		unix.RTNLGRP_LINK, unix.RTNLGRP_NEXTHOP,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE,
		unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE,
	}
	hopGroups = append([]int{unix.RTNLGRP_NEIGH}, routeGroups...)
)

// routeSocket opens a socket that hears what the kernel tells those groups.
func routeSocket(groups []int) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	for _, group := range groups {
		if err == nil {
			err = os.NewSyscallError("NETLINK_ADD_MEMBERSHIP", unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group))
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func openRouteWatch(p *packetLink) (*routeWatch, error) {
	fd, err := routeSocket(hopGroups)
	if err != nil {
		return nil, err
	}
	w := &routeWatch{p: p, file: os.NewFile(uintptr(fd), "rtnetlink")}
	w.done.Go(w.run)
	return w, nil
}

// close ends the watch.
func (w *routeWatch) close() {
	w.file.Close()
	w.done.Wait()
}

func (w *routeWatch) run() {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buf)
		switch {
		case err == nil:
			w.heard(buf[:n])
		case errors.Is(err, unix.ENOBUFS):
			w.changed() // something was lost
		default:
			return
		}
	}
}

// heard takes one datagram.
func (w *routeWatch) heard(b []byte) {
	messages, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		w.changed()
		return
	}
	changed := false
	for _, m := range messages {
		switch m.Header.Type {
		case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
			w.neighbour(m)
		default:
			changed = true
		}
	}
	if changed {
		w.changed()
	}
}

func (w *routeWatch) neighbour(m syscall.NetlinkMessage) {
	n, err := netlink.NeighDeserialize(m.Data)
	if err != nil {
		w.changed()
		return
	}
	if m.Header.Type == unix.RTM_DELNEIGH {
		n.HardwareAddr = nil
	}
	w.p.hops.met(*n)
}

func (w *routeWatch) changed() {
	w.p.locals.forget()
	w.p.hops.expire()
}
