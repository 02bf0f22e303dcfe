package rawsock

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A hop is the way of packets from one address to another: a device and the
// Ethernet address of the neighbour there, or the reason why the raw socket has to
// take them.
type hop struct {
	key     hopKey
	why     string // why not by frames, "" if by frames
	ifindex int
	mtu     int
	source  [6]byte
	next    netip.Addr // the neighbour
	mac     [6]byte
	state   int // of the neighbour, as netlink's NUD_*; 0 before it is known

	until  time.Time // when to ask again
	asked  bool      // somebody is asking
	nudged time.Time // when a packet last went to the kernel for the neighbour's sake
}

// A hopKey names a hop. A packet's mark is always the same.
type hopKey struct {
	src, dst netip.Addr
	zone     uint32 // interface index of a link-local destination, or 0
}

// The states of a neighbour (linux/neighbour.h) whose address may be used.
const nudUsable = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE | unix.NUD_PERMANENT

// How long an answer is good for if the kernel tells of no change (it does not tell
// of all: not of redirects), and the least time between two questions.
const (
	hopLife    = 30 * time.Second
	askAgain   = 20 * time.Millisecond
	nudgeEvery = time.Second
)

// maxHops bounds the table; a table that is full begins anew.
const maxHops = 4096

// hops finds the hop of a packet. What is not known is asked by a goroutine, and
// the packet goes to the raw socket meanwhile: it is the best question to the
// kernel, which resolves the neighbour for it as for any other. Nothing but
// packets to send makes the kernel do that, and no neighbour is asked by us.
type hops struct {
	c    *Conn
	asks chan *hop
	done chan struct{}
	busy sync.WaitGroup

	mu    sync.Mutex
	table map[hopKey]*hop
	last  *hop   // of the latest packet
	turn  uint64 // counts calls of expire
}

func (t *hops) init(c *Conn) {
	t.c = c
	t.table = make(map[hopKey]*hop)
	t.asks = make(chan *hop, 64)
	t.done = make(chan struct{})
	t.busy.Go(t.answer)
}

// stop ends the goroutine. Stopping again does nothing.
func (t *hops) stop() {
	select {
	case <-t.done:
	default:
		close(t.done)
	}
	t.busy.Wait()
}

// road returns the hop of a packet, or nil if the raw socket has to take it.
// size is its segment size. It is called with the lock held.
func (t *hops) road(c *Conn, pkt []byte, size int, now time.Time) *hop {
	if !plain(pkt) {
		return nil
	}
	h := t.find(keyOf(c, pkt))
	if now.After(h.until) && !h.asked {
		t.ask(h)
	}
	switch {
	case h.state&nudUsable == 0 || h.why != "":
		return nil
	case size == 0 && len(pkt) > h.mtu:
		return nil // the kernel says how large it may be
	case size > 0 && !cuttable(pkt, size, h.mtu):
		return nil
	case h.state == unix.NUD_STALE && now.Sub(h.nudged) > nudgeEvery:
		// "To confirm that the path to the neighbor is functioning", RFC 4861
		// section 7.3, somebody has to send by the kernel's own way.
		h.nudged = now
		return nil
	}
	return h
}

// plain reports whether a packet's IP header is one that the kernel would not
// mend for a raw socket.
func plain(pkt []byte) bool {
	switch ipVersion(pkt) {
	case 4:
		ihl := int(pkt[0]&0x0f) * 4
		id, df := binary.BigEndian.Uint16(pkt[4:]), pkt[6]&0x40 != 0
		return ihl >= ipv4HeaderLen && ihl <= len(pkt) && int(binary.BigEndian.Uint16(pkt[2:])) == len(pkt) && (id != 0 || df) &&
			binary.BigEndian.Uint32(pkt[12:]) != 0 && onesSum(pkt[:ihl], 0) == 0xffff
	case 6:
		return ipv6HeaderLen+int(binary.BigEndian.Uint16(pkt[4:])) == len(pkt)
	}
	return false
}

// cuttable reports whether the kernel can cut a super-segment so that its
// segments fit the MTU.
func cuttable(pkt []byte, size, mtu int) bool {
	_, header, ok := superHeaders(pkt)
	return ok && header+min(size, len(pkt)-header) <= mtu
}

func keyOf(c *Conn, pkt []byte) hopKey {
	if ipVersion(pkt) == 4 {
		return hopKey{src: netip.AddrFrom4([4]byte(pkt[12:])), dst: netip.AddrFrom4([4]byte(pkt[16:]))}
	}
	return hopKey{src: netip.AddrFrom16([16]byte(pkt[8:])), dst: netip.AddrFrom16([16]byte(pkt[24:])), zone: c.zone(pkt)}
}

// find returns the entry of a key, a new one if need be.
func (t *hops) find(key hopKey) *hop {
	if t.last != nil && t.last.key == key {
		return t.last
	}
	h := t.table[key]
	if h == nil {
		if len(t.table) >= maxHops {
			clear(t.table)
		}
		h = &hop{key: key}
		t.table[key] = h
	}
	t.last = h
	return h
}

// ask has the goroutine find out about h, now or, if it is busy, later.
func (t *hops) ask(h *hop) {
	select {
	case t.asks <- h:
		h.asked = true
	default:
	}
}

// answer answers questions until stop.
func (t *hops) answer() {
	for {
		select {
		case <-t.done:
			return
		case h := <-t.asks:
			t.lookup(h)
		}
	}
}

// lookup asks the kernel for the route, the device and the neighbour of h.
func (t *hops) lookup(h *hop) {
	t.mu.Lock()
	turn := t.turn
	t.mu.Unlock()
	way, err := t.c.routes.hopTo(h.key, t.c.ifindex, t.c.cfg.Mark)
	if err != nil {
		way.why = err.Error()
	}
	t.mu.Lock()
	h.turnTo(way)
	t.mu.Unlock()
	// What the kernel tells of the neighbour from here on reaches h; the list is
	// for what it has told before.
	var neighbour netlink.Neigh
	if way.why == "" {
		neighbour = t.c.routes.neighbour(way.ifindex, way.next)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.state == 0 {
		h.meet(neighbour)
	}
	h.asked, h.until = false, time.Now().Add(askAgain)
	if turn == t.turn && (h.state&nudUsable != 0 || h.why != "") {
		h.until = time.Now().Add(hopLife)
	}
}

// turnTo takes the way that a lookup has found; a new neighbour has yet to be met.
func (h *hop) turnTo(way hop) {
	if way.ifindex != h.ifindex || way.next != h.next {
		h.state = 0
	}
	h.why, h.ifindex, h.mtu, h.source, h.next = way.why, way.ifindex, way.mtu, way.source, way.next
}

// meet takes what the kernel says of the neighbour.
func (h *hop) meet(n netlink.Neigh) {
	if len(n.HardwareAddr) != len(h.mac) {
		h.state = 0
		return
	}
	h.mac, h.state = [6]byte(n.HardwareAddr), n.State
}

// met tells every hop over a neighbour about it.
func (t *hops) met(n netlink.Neigh) {
	addr, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.table {
		if h.ifindex == n.LinkIndex && h.next == addr.Unmap() {
			h.meet(n)
		}
	}
}

// expire has everything asked anew. Until the answer is there, packets go the
// way they went.
func (t *hops) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turn++
	for _, h := range t.table {
		h.until = time.Time{}
	}
}

// hopTo returns the hop of a key without its neighbour's Ethernet address.
func (r *router) hopTo(key hopKey, oif int, mark uint32) (hop, error) {
	if key.zone != 0 {
		oif = int(key.zone)
	}
	route, link, err := r.resolve(key.dst, key.src, oif, mark)
	if err != nil {
		return hop{}, err
	}
	attrs := link.Attrs()
	h := hop{why: noFrames(route, link), ifindex: attrs.Index, mtu: attrs.MTU, next: key.dst}
	copy(h.source[:], attrs.HardwareAddr)
	if gw, ok := netip.AddrFromSlice(route.Gw); ok {
		h.next = gw.Unmap()
	}
	return h, nil
}

// noFrames returns why packets by a route cannot go as Ethernet frames, or "".
func noFrames(route netlink.Route, link netlink.Link) string {
	attrs := link.Attrs()
	switch {
	case route.Type == unix.RTN_LOCAL:
		return "it is an address of this host"
	case route.Type != unix.RTN_UNICAST:
		return "it is not the address of one host"
	case route.Encap != nil || route.MPLSDst != nil:
		return "the route there encapsulates (ip route get)"
	case route.Via != nil:
		return "the next hop is of the other family (ip route get)"
	case attrs.EncapType != "ether" || len(attrs.HardwareAddr) != 6:
		return fmt.Sprintf("%s is no Ethernet device", attrs.Name)
	case attrs.RawFlags&unix.IFF_NOARP != 0:
		return fmt.Sprintf("%s knows no neighbours", attrs.Name)
	}
	return ""
}

// neighbour returns what the kernel knows of a neighbour, the zero Neigh if that
// is nothing.
func (r *router) neighbour(ifindex int, addr netip.Addr) netlink.Neigh {
	family := netlink.FAMILY_V4
	if addr.Is6() {
		family = netlink.FAMILY_V6
	}
	var list []netlink.Neigh
	err := retry(func() (err error) {
		list, err = r.handle.NeighList(ifindex, family)
		return err
	})
	ip := net.IP(addr.AsSlice())
	i := slices.IndexFunc(list, func(n netlink.Neigh) bool { return n.IP.Equal(ip) })
	if err != nil || i < 0 {
		return netlink.Neigh{}
	}
	return list[i]
}

// localAddrs knows which addresses are of this host: a packet socket hears what
// is only passing through it, too.
type localAddrs struct {
	routes *router
	mu     sync.Mutex
	known  map[netip.Addr]bool
}

// maxLocals bounds what is remembered; then it begins anew.
const maxLocals = 1024

func (l *localAddrs) init(r *router) {
	l.routes, l.known = r, make(map[netip.Addr]bool)
}

// has reports whether an address is of this host. If the kernel does not say, it is not.
func (l *localAddrs) has(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	is, known := l.known[a]
	if known {
		return is
	}
	is, err := l.routes.isLocal(a)
	if err != nil {
		return false
	}
	if len(l.known) >= maxLocals {
		clear(l.known)
	}
	l.known[a] = is
	return is
}

// forget has every address asked anew.
func (l *localAddrs) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.known)
}
