package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// LinkConfig says what a link is like.
type LinkConfig struct {
	// MTU in octets, 0 for 1500; below 1280 the kernel takes IPv6 away.
	MTU int

	// Offload leaves the checksum and segmentation offloads of veth on, as
	// containers have them: checksums on the wire are unfinished and frames of
	// up to 64 KiB pass. Off, the wire looks like a real one.
	Offload bool
}

// A Link is a veth pair between two hosts.
type Link struct{ A, B *Interface }

// An Interface is one end of a link.
type Interface struct {
	Host         *Host
	Name         string       // as the host calls it
	Index        int          // as the host counts it
	Addr4, Addr6 netip.Prefix // set by Lab.Join

	link netlink.Link
}

// newLink makes a veth pair between two hosts and brings it up, without addresses.
func newLink(a *Host, aName string, b *Host, bName string, cfg LinkConfig) (*Link, error) {
	if cfg.MTU == 0 {
		cfg.MTU = 1500
	}
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: aName, MTU: cfg.MTU},
		PeerName:      bName,
		PeerNamespace: netlink.NsFd(b.ns),
	}
	if err := a.nl.LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("make veth pair: %w", err)
	}
	l := &Link{A: &Interface{Host: a, Name: aName}, B: &Interface{Host: b, Name: bName}}
	for _, end := range []*Interface{l.A, l.B} {
		if err := end.configure(cfg); err != nil {
			return nil, err
		}
	}
	return l, l.A.awaitCarrier()
}

// awaitCarrier waits until the kernel has noticed that the peer is up: until
// then it drops what the interface sends. The end brought up last is ready at once.
func (i *Interface) awaitCarrier() error {
	return i.await("carrier", func() (bool, error) {
		link, err := i.Host.nl.LinkByIndex(i.Index)
		return err == nil && link.Attrs().OperState == netlink.OperUp, err
	})
}

// awaitSolicited waits until the kernel hears neighbour solicitations for an
// IPv6 address. It joins their group (RFC 4291 section 2.7.1) some time after
// the address is there, and the first solicitation lost costs a second.
func (i *Interface) awaitSolicited(addr netip.Addr) error {
	a := addr.As16()
	group := fmt.Sprintf(" ff0200000000000000000001ff%x ", a[13:])
	return i.await("neighbour solicitations for "+addr.String(), func() (heard bool, err error) {
		err = i.Host.Do(func() error {
			groups, err := os.ReadFile("/proc/thread-self/net/igmp6")
			for line := range strings.Lines(string(groups)) {
				heard = heard || strings.Contains(line, group) && strings.Fields(line)[1] == i.Name
			}
			return err
		})
		return heard, err
	})
}

// await polls until ready, for 5 s at most.
func (i *Interface) await(what string, ready func() (bool, error)) error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Microsecond) {
		ok, err := ready()
		if ok {
			return nil
		}
		if err == nil && time.Now().After(deadline) {
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			return i.told("wait for "+what+" on", err)
		}
	}
}

// configure finds the interface, sets what cfg says, brings it up and hands it to its host.
func (i *Interface) configure(cfg LinkConfig) error {
	link, err := i.Host.nl.LinkByName(i.Name)
	if err != nil {
		return i.told("find", err)
	}
	i.link, i.Index = link, link.Attrs().Index
	if err := errors.Join(i.SetMTU(cfg.MTU), i.Offload(cfg.Offload), i.Up()); err != nil {
		return err
	}
	i.Host.mu.Lock()
	defer i.Host.mu.Unlock()
	i.Host.interfaces = append(i.Host.interfaces, i)
	return nil
}

// number gives the interface its addresses: of IPv4 only where the kernel has no IPv6.
func (i *Interface) number(v4, v6 netip.Prefix) error {
	i.Addr4 = v4
	if err := i.AddAddr(v4); err != nil || i.link.Attrs().MTU < minMTU6 {
		return err
	}
	i.Addr6 = v6
	return i.AddAddr(v6)
}

// minMTU6 is the least a link must carry for IPv6 (RFC 8200 section 5).
const minMTU6 = 1280

// Up brings the interface up.
func (i *Interface) Up() error { return i.told("bring up", i.Host.nl.LinkSetUp(i.link)) }

// Down takes the interface down, as pulling the cable does: its peer loses carrier.
func (i *Interface) Down() error { return i.told("take down", i.Host.nl.LinkSetDown(i.link)) }

// SetMTU sets the largest IP packet the interface sends, in octets.
func (i *Interface) SetMTU(mtu int) error {
	return i.told(fmt.Sprintf("set MTU %d on", mtu), i.Host.nl.LinkSetMTU(i.link, mtu))
}

// AddAddr gives the interface, which must be up, one more address. It is
// usable when AddAddr returns.
func (i *Interface) AddAddr(p netip.Prefix) error {
	addr := &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD}
	err := i.told(fmt.Sprintf("add %s to", p), i.Host.nl.AddrAdd(i.link, addr))
	if err != nil || p.Addr().Is4() {
		return err
	}
	return i.awaitSolicited(p.Addr())
}

// DelAddr takes an address away.
func (i *Interface) DelAddr(p netip.Prefix) error {
	return i.told(fmt.Sprintf("remove %s from", p), i.Host.nl.AddrDel(i.link, &netlink.Addr{IPNet: ipNet(p)}))
}

// told names what was done to which interface in an error.
func (i *Interface) told(what string, err error) error {
	if err != nil {
		return fmt.Errorf("host %s: %s %s: %w", i.Host.name, what, i.Name, err)
	}
	return nil
}

// ipNet is p in package net's words.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
