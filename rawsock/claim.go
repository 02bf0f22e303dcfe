package rawsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// A claim is a share in a hold on one or, for [::], two addresses.
type claim struct {
	claims *claims
	holds  []*hold
	once   sync.Once
	err    error
}

// Close gives the claim back. When nobody else shares it, its packets stop
// coming and the kernel answers again on the address and port. Closing again
// does nothing.
func (c *claim) Close() error {
	c.once.Do(func() { c.err = c.claims.release(c.holds) })
	return c.err
}

// A hold is one address and port that the kernel is silent on.
type hold struct {
	local netip.AddrPort // the address without a zone; unspecified: all of its family
	zone  uint32         // interface index of a link-local address, or 0
	refs  int
	guard io.Closer // nil under GuardNone
}

func (h *hold) covers(a netip.Addr) bool {
	own := h.local.Addr()
	return own == a || own.IsUnspecified() && own.Is4() == a.Is4()
}

// claims are the holds of a Conn.
type claims struct {
	c *Conn

	// making serialises what changes the table: making a guard takes longer
	// than the reader should wait for the table.
	making           sync.Mutex
	closed           bool
	guard            string // how the latest hold is guarded
	nft              *ownerTable
	filter4, filter6 filterState

	mu    sync.RWMutex
	table holdTable
}

// A holdTable finds the holds on a port, for every packet that comes: in pages of
// 256 ports, of which there are those that are needed.
type holdTable [256]*[256][]*hold

func (t *holdTable) at(port uint16) []*hold {
	if page := t[port>>8]; page != nil {
		return page[port&0xff]
	}
	return nil
}

func (t *holdTable) set(port uint16, holds []*hold) {
	page := t[port>>8]
	if page == nil {
		page = new([256][]*hold)
		t[port>>8] = page
	}
	page[port&0xff] = holds
}

// all goes over the holds of each port that has some.
func (t *holdTable) all(yield func([]*hold) bool) {
	for _, page := range t {
		if page == nil {
			continue
		}
		for _, holds := range page {
			if len(holds) > 0 && !yield(holds) {
				return
			}
		}
	}
}

// filterState is what the filter of one family lets through.
type filterState struct {
	ports  portSet
	counts map[uint16]int // holds of a port
	ranges []portRange    // of the program in force
}

func (cs *claims) init(c *Conn) {
	cs.c = c
	cs.filter4.counts = make(map[uint16]int)
	cs.filter6.counts = make(map[uint16]int)
}

// Claim makes the kernel silent on a local address and port and then lets their
// packets through to ReadBatch, until the claim is closed. The process's death
// closes it too.
//
// An unspecified address claims the port on every address of its family; [::]
// claims both families. Claims of one Conn that cover the same address and port
// share one guard, which goes with the last of them: who listens twice on a
// port has to be found out above. To errors.Is the error is
// syscall.EADDRINUSE for a port that a socket of the kernel holds (in TIME-WAIT
// too), EADDRNOTAVAIL for an address that is not of this host, EACCES for a
// port that this process may not bind, and EPERM if no way of the ladder is
// open to it; its text names the mend.
func (c *Conn) Claim(local netip.AddrPort) (io.Closer, error) {
	addrs, err := c.claimAddrs(local)
	if err != nil {
		return nil, claimError(local, err)
	}
	cs := &c.claims
	cl := &claim{claims: cs}
	cs.making.Lock()
	defer cs.making.Unlock()
	for _, a := range addrs {
		h, err := cs.acquire(a)
		if err != nil {
			return nil, claimError(local, errors.Join(err, cs.releaseLocked(cl.holds)))
		}
		cl.holds = append(cl.holds, h)
	}
	return cl, nil
}

// claimAddrs returns the addresses that a claim holds: one, or two for [::].
func (c *Conn) claimAddrs(local netip.AddrPort) ([]netip.AddrPort, error) {
	addr, port := local.Addr().Unmap(), local.Port()
	switch {
	case port == 0:
		return nil, fmt.Errorf("port 0 cannot be claimed: %w", unix.EINVAL)
	case !addr.IsValid():
		return nil, fmt.Errorf("no address to claim: %w", unix.EINVAL)
	case addr.IsMulticast():
		return nil, fmt.Errorf("a multicast address cannot be claimed: %w", unix.EINVAL)
	}
	var out []netip.AddrPort
	if c.socket(addr.Is6()) != nil {
		out = append(out, netip.AddrPortFrom(addr, port))
	}
	if addr == netip.IPv6Unspecified() && c.socket(false) != nil {
		out = append(out, netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the link was not opened for this family: %w", unix.EAFNOSUPPORT)
	}
	return out, nil
}

// acquire returns a hold that covers local, a new one if need be.
func (cs *claims) acquire(local netip.AddrPort) (*hold, error) {
	if cs.closed {
		return nil, net.ErrClosed
	}
	bare := netip.AddrPortFrom(local.Addr().WithZone(""), local.Port())
	if h := cs.find(bare); h != nil {
		h.refs++
		return h, nil
	}
	h := &hold{local: bare, refs: 1}
	if zone := local.Addr().Zone(); zone != "" {
		index, err := cs.c.zoneIndex(zone)
		if err != nil {
			return nil, err
		}
		h.zone = uint32(index)
	}
	// The guard comes first: from the moment packets can come through, the
	// kernel must not answer them.
	if err := cs.c.ns.do(func() error { return cs.suppress(h) }); err != nil {
		return nil, err
	}
	cs.insert(h)
	if err := cs.admit(bare, +1); err != nil {
		return nil, errors.Join(err, cs.releaseLocked([]*hold{h}))
	}
	return h, nil
}

func (cs *claims) release(holds []*hold) error {
	cs.making.Lock()
	defer cs.making.Unlock()
	return cs.releaseLocked(holds)
}

func (cs *claims) releaseLocked(holds []*hold) error {
	if cs.closed {
		return nil
	}
	var errs []error
	for _, h := range holds {
		if h.refs--; h.refs > 0 {
			continue
		}
		cs.remove(h)
		errs = append(errs, cs.admit(h.local, -1))
		if h.guard != nil {
			errs = append(errs, h.guard.Close())
		}
	}
	return errors.Join(errs...)
}

// closeAll ends every hold when the Conn closes.
func (cs *claims) closeAll() {
	cs.making.Lock()
	defer cs.making.Unlock()
	cs.closed = true
	for holds := range cs.table.all {
		for _, h := range holds {
			if h.guard != nil {
				h.guard.Close()
			}
		}
	}
	if cs.nft != nil {
		cs.nft.close()
	}
}

// admit counts a hold of a port in or out and renews the filter if that changes
// what it lets through.
func (cs *claims) admit(local netip.AddrPort, delta int) error {
	s, f := cs.c.ear(local.Addr().Is6()), cs.filterOf(local.Addr().Is6())
	port := local.Port()
	f.counts[port] += delta
	if f.counts[port] > 0 {
		f.ports.add(port)
	} else {
		f.ports.remove(port)
		delete(f.counts, port)
	}
	ranges := f.ports.ranges(maxRanges)
	if slices.Equal(ranges, f.ranges) {
		return nil
	}
	cs.c.mu.RLock()
	defer cs.c.mu.RUnlock()
	if cs.c.closed {
		return net.ErrClosed
	}
	if err := attachFilter(s.fd, filterProgram(s, ranges)); err != nil {
		return fmt.Errorf("SO_ATTACH_FILTER: %w", err)
	}
	f.ranges = ranges
	return nil
}

func (cs *claims) filterOf(v6 bool) *filterState {
	if v6 {
		return &cs.filter6
	}
	return &cs.filter4
}

// moveEar has the raw socket hear a family in place of the packet socket. The
// reader calls it, which keeps the descriptors open.
func (cs *claims) moveEar(v6 bool) {
	cs.making.Lock()
	defer cs.making.Unlock()
	ear, raw := cs.c.ear(v6), cs.c.socket(v6)
	// For a moment both hear, which TCP does not mind.
	if ear == raw || attachFilter(raw.fd, filterProgram(raw, cs.filterOf(v6).ranges)) != nil {
		return
	}
	cs.c.packet.ears[familyIndex(v6)] = nil
	_ = attachFilter(ear.fd, refuseAll)
}

func (cs *claims) insert(h *hold) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	port := h.local.Port()
	cs.table.set(port, append(cs.table.at(port), h))
}

func (cs *claims) remove(h *hold) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	port := h.local.Port()
	holds := cs.table.at(port)
	if i := slices.Index(holds, h); i >= 0 {
		holds = append(holds[:i:i], holds[i+1:]...)
	}
	if len(holds) == 0 {
		holds = nil
	}
	cs.table.set(port, holds)
}

// find returns the hold that covers an address and port, or nil.
func (cs *claims) find(local netip.AddrPort) *hold {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	return cs.findLocked(local)
}

func (cs *claims) findLocked(local netip.AddrPort) *hold {
	for _, h := range cs.table.at(local.Port()) {
		if h.covers(local.Addr()) {
			return h
		}
	}
	return nil
}

// zone returns the interface index of a claimed link-local address, or 0.
func (cs *claims) zone(a netip.Addr) uint32 {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	for holds := range cs.table.all {
		for _, h := range holds {
			if h.local.Addr() == a {
				return h.zone
			}
		}
	}
	return 0
}

// filter keeps the packets to claimed addresses and ports in front, in order,
// and returns how many they are. The BPF filter is coarser: it knows only ports,
// in ranges when they are many, and lets through what was queued before a claim
// was released. A stranger's packet answered by mistake would reset a
// connection of this host.
func (cs *claims) filter(bufs [][]byte, sizes []int, stamps []int64) int {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	kept := 0
	for i, buf := range bufs {
		size := min(sizes[i], len(buf))
		if !cs.admits(buf[:size]) {
			continue
		}
		if kept != i {
			copy(bufs[kept], buf[:size]) // rare, and buffers stay where they are
			size = min(size, len(bufs[kept]))
		}
		sizes[kept], stamps[kept] = size, stamps[i]
		kept++
	}
	return kept
}

// wants reports whether a packet is for a claimed address and port.
func (cs *claims) wants(pkt []byte) bool {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	return cs.admits(pkt)
}

// admits is wants with the lock held.
func (cs *claims) admits(pkt []byte) bool {
	_, dst, tcp, ok := split(pkt)
	if !ok || len(tcp) < 4 {
		return false
	}
	h := cs.findLocked(netip.AddrPortFrom(dst, binary.BigEndian.Uint16(tcp[2:])))
	return h != nil && (cs.c.packet == nil || !h.local.Addr().IsUnspecified() || cs.c.packet.locals.has(dst))
}

// sentBy reports whether a quoted packet is from a claimed address and port.
func (cs *claims) sentBy(quoted []byte) bool {
	src, _, tcp, ok := split(quoted)
	return ok && len(tcp) >= 4 && cs.find(netip.AddrPortFrom(src, binary.BigEndian.Uint16(tcp))) != nil
}
