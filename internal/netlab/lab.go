package netlab

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netns"
)

// A Lab is a set of hosts and the links between them. Its methods may be
// called from any goroutine.
type Lab struct {
	mu    sync.Mutex
	hosts map[string]*Host
	links int      // joined so far; numbers the subnets
	onEnd []func() // what Close ends before the hosts, in reverse order
}

// New returns an empty lab. It needs CAP_SYS_ADMIN in the user namespace it
// runs in, which Main and Isolate provide, and root has.
func New() *Lab { return &Lab{hosts: make(map[string]*Host)} }

// Host makes a host: a network namespace of its own with lo up and no other
// interface. The name is for errors and for asking again.
func (l *Lab) Host(name string) (*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.add(name, netns.New)
}

// Here makes a host of the network namespace that this process itself runs in,
// for code that opens sockets later and on goroutines of its own, out of reach
// of Host.Do. It wants a process started by Main or Isolate, so that nobody
// else's network is changed. One lab at a time can have it. Its links go when
// the lab is closed; what Sysctl set stays.
func (l *Lab) Here(name string) (*Host, error) {
	if !Isolated() {
		return nil, fmt.Errorf("make host %s: this process was not started by netlab.Main or netlab.Isolate, and its network may be in use", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !hereTaken.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("make host %s: another host has the namespace of this process", name)
	}
	h, err := l.add(name, netns.Get)
	if err != nil {
		hereTaken.Store(false)
		return nil, err
	}
	return h, h.atEnd(func() {
		h.removeInterfaces()
		hereTaken.Store(false)
	})
}

// hereTaken tells whether some lab has the namespace of this process.
var hereTaken atomic.Bool

// add makes a host in the namespace that enter enters. The caller holds mu.
func (l *Lab) add(name string, enter func() (netns.NsHandle, error)) (*Host, error) {
	if l.hosts == nil {
		return nil, fmt.Errorf("make host %s: the lab is closed", name)
	}
	if l.hosts[name] != nil {
		return nil, fmt.Errorf("make host %s: the lab has a host of that name", name)
	}
	h, err := newHost(name, enter)
	if err != nil {
		return nil, fmt.Errorf("make host %s: %w", name, explain(err))
	}
	l.hosts[name] = h
	return h, nil
}

// Join connects two hosts by a veth pair and gives both ends an address of
// each family: link number n of the lab is 198.18.n.0/24 and 2001:db8:0:n::/64,
// a at .1 and ::1, b at .2 and ::2. Each host names its interfaces eth0, eth1 and so on.
// The link is up and both addresses are usable when Join returns.
func (l *Lab) Join(a, b *Host, cfg LinkConfig) (*Link, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.nextSubnet()
	if err != nil {
		return nil, fmt.Errorf("join %s and %s: %w", a.name, b.name, err)
	}
	link, err := newLink(a, a.nextInterface(), b, b.nextInterface(), cfg)
	if err != nil {
		return nil, fmt.Errorf("join %s and %s: %w", a.name, b.name, err)
	}
	for i, end := range []*Interface{link.A, link.B} {
		if err := end.number(subnet4(n, i+1), subnet6(n, i+1)); err != nil {
			return nil, fmt.Errorf("join %s and %s: %w", a.name, b.name, err)
		}
	}
	return link, nil
}

// Close ends every relay, server and command of the lab and gives up the
// namespaces, which the kernel then removes with all that is in them.
// It may be called more than once.
func (l *Lab) Close() {
	l.mu.Lock()
	hosts, onEnd := l.hosts, l.onEnd
	l.hosts, l.onEnd = nil, nil
	l.mu.Unlock()
	for i := len(onEnd) - 1; i >= 0; i-- {
		onEnd[i]()
	}
	for _, h := range hosts {
		h.close()
	}
}

// maxLinks is how many subnets the third octet of 198.18.n.0/24 can number.
const maxLinks = 256

// nextSubnet returns the number of a new link. The caller holds mu.
func (l *Lab) nextSubnet() (int, error) {
	if l.links == maxLinks {
		return 0, fmt.Errorf("a lab has at most %d links", maxLinks)
	}
	l.links++
	return l.links - 1, nil
}

// subnet4 is the address of one end of link n.
func subnet4(n, end int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(n), byte(end)}), 24)
}

// subnet6 is the address of one end of link n.
func subnet6(n, end int) netip.Prefix {
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8, 6: byte(n >> 8), 7: byte(n), 15: byte(end)}
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}
