package rawsock

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A packetLink is what a Conn has under PacketIO beside its raw sockets. They
// keep three duties: to be told of ICMP errors, to carry what the packet socket
// cannot, and to hear what comes in fragments, which the kernel puts together for
// them alone.
type packetLink struct {
	c      *Conn
	ears   [2]*socket // IPv4 and IPv6; nil: the raw socket hears
	frames frames
	hops   hops
	locals localAddrs
	watch  *routeWatch
}

// openPacketLink opens the packet sockets; if it fails, the raw sockets serve alone.
func (c *Conn) openPacketLink() error {
	p := &packetLink{c: c}
	p.hops.init(c)
	p.locals.init(c.routes)
	if err := p.open(); err != nil {
		p.close()
		return err
	}
	c.packet = p
	c.sockets = append(c.sockets, p.frames.s)
	for _, s := range p.ears {
		if s != nil {
			c.sockets = append(c.sockets, s)
		}
	}
	return nil
}

func (p *packetLink) open() error {
	if err := p.c.checkDevice(); err != nil {
		return err
	}
	if err := p.frames.open(p.c); err != nil {
		return err
	}
	for family, v6 := range []bool{false, true} {
		if p.c.socket(v6) == nil {
			continue
		}
		var err error
		if p.ears[family], err = p.c.openEar(v6); err != nil {
			return err
		}
	}
	var err error
	p.watch, err = openRouteWatch(p)
	return err
}

// checkDevice refuses an interface on which a packet socket hears nothing.
func (c *Conn) checkDevice() error {
	if c.ifindex == 0 {
		return nil
	}
	var link netlink.Link
	err := retry(func() (err error) {
		link, err = c.routes.handle.LinkByIndex(c.ifindex)
		return err
	})
	if err != nil {
		return err
	}
	return deafDevice(link)
}

// deafDevice says why a packet socket hears nothing on a device, if that is so:
// packets of a VRF come by the interfaces that are in it.
func deafDevice(link netlink.Link) error {
	if link.Type() == "vrf" {
		return fmt.Errorf("packet socket: %s is a VRF, which hears nothing by itself", link.Attrs().Name)
	}
	return nil
}

// close closes what openPacketLink has opened before it failed; later that is Conn.Close's.
func (p *packetLink) close() {
	for _, s := range append(p.ears[:], p.frames.s) {
		if s != nil {
			s.close()
		}
	}
	p.stop()
}

// stop ends the goroutines.
func (p *packetLink) stop() {
	if p.watch != nil {
		p.watch.close()
	}
	p.hops.stop()
}

// openEar opens a packet socket that will hear one family, from the IP header
// on. Bound to a protocol, it hears a packet where the kernel's IP does: once, with
// the VLAN tag gone and merged segments still together.
func (c *Conn) openEar(v6 bool) (*socket, error) {
	protocol := uint16(unix.ETH_P_IP)
	if v6 {
		protocol = unix.ETH_P_IPV6
	}
	fd, err := c.packetSocket(unix.SOCK_DGRAM)
	if err != nil {
		return nil, err
	}
	s := &socket{fd: fd, out: fd, v6: v6, packet: true}
	s.in.init(false) // with its header, whatever the family
	if s.ring, err = openRing(fd, c.cfg.ReceiveBuffer, !c.cfg.NoTimestamps); err != nil {
		c.note("the packet socket has no ring: %v", err)
	}
	err = attachFilter(fd, refuseAll)
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(protocol), Ifindex: c.ifindex}))
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	c.configureOptional(s)
	s.discard()
	return s, nil
}

// packetSocket opens a packet socket that hears nothing yet.
func (c *Conn) packetSocket(kind int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", needNetRaw(os.NewSyscallError("socket", err)))
	}
	return fd, nil
}

// ear returns the socket that receives a family, or nil.
func (c *Conn) ear(v6 bool) *socket {
	if c.packet != nil && c.packet.ears[familyIndex(v6)] != nil {
		return c.packet.ears[familyIndex(v6)]
	}
	return c.socket(v6)
}

func familyIndex(v6 bool) int {
	if v6 {
		return 1
	}
	return 0
}

// tidy makes what a packet socket heard like what a raw socket hears: without
// the padding of a short frame, without extension headers, and no fragments. It
// changes sizes to 0 for what is to be dropped.
func (p *packetLink) tidy(bufs [][]byte, sizes []int) {
	for i, buf := range bufs {
		pkt := buf[:min(sizes[i], len(buf))]
		switch ipVersion(pkt) {
		case 4:
			sizes[i] = p.tidyIPv4(pkt)
		case 6:
			sizes[i] = p.tidyIPv6(pkt)
		default:
			sizes[i] = 0
		}
	}
}

func (p *packetLink) tidyIPv4(pkt []byte) int {
	if binary.BigEndian.Uint16(pkt[6:])&0x3fff != 0 { // MF and the offset
		p.fragmented(pkt, false)
		return 0
	}
	// A merged segment of more than 65,535 octets has no total length.
	if total := int(binary.BigEndian.Uint16(pkt[2:])); total >= ipv4HeaderLen {
		return min(total, len(pkt))
	}
	return len(pkt)
}

func (p *packetLink) tidyIPv6(pkt []byte) int {
	if n := int(binary.BigEndian.Uint16(pkt[4:])); n > 0 {
		pkt = pkt[:min(ipv6HeaderLen+n, len(pkt))]
	}
	if pkt[6] == unix.IPPROTO_TCP {
		return len(pkt)
	}
	at, fragment, ok := skipExtensions(pkt)
	switch {
	case !ok:
		return 0
	case fragment:
		putNextHeader(pkt, at)
		p.fragmented(pkt, true)
		return 0
	}
	return putNextHeader(pkt, at)
}

// putNextHeader moves the TCP header at octet at to where the IPv6 header ends and
// returns the packet's length.
func putNextHeader(pkt []byte, at int) int {
	n := copy(pkt[ipv6HeaderLen:], pkt[at:])
	pkt[6] = unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(pkt[4:], uint16(n))
	return ipv6HeaderLen + n
}

// skipExtensions finds the TCP header behind extension headers (RFC 8200 section
// 4). ok is false if there is none, or if it is not in this fragment.
func skipExtensions(pkt []byte) (at int, fragment, ok bool) {
	next := pkt[6]
	at = ipv6HeaderLen
	for at+8 <= len(pkt) {
		switch next {
		case unix.IPPROTO_TCP:
			return at, fragment, true
		case unix.IPPROTO_FRAGMENT:
			if binary.BigEndian.Uint16(pkt[at+2:])&^7 != 0 {
				return 0, false, false
			}
			fragment = true
			next, at = pkt[at], at+8
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS:
			next, at = pkt[at], at+8*(1+int(pkt[at+1]))
		default:
			return 0, false, false
		}
	}
	return 0, false, false
}

// fragmented is called for the first fragment of a TCP packet. The kernel puts
// fragments together for the raw socket, so that one hears this family from now
// on. What is lost in between the peer sends again.
func (p *packetLink) fragmented(pkt []byte, v6 bool) {
	if p.c.claims.wants(pkt) {
		p.c.claims.moveEar(v6)
	}
}
