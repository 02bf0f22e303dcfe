package capture

import (
	"encoding/binary"
	"math/bits"
)

// A LinkType says what a packet begins with (the registry of link-layer header
// types, draft-ietf-opsawg-pcaplinktype).
type LinkType uint16

// The link types that are understood.
const (
	LinkNull       LinkType = 0 // BSD loopback, in the byte order of the host
	LinkEthernet   LinkType = 1
	LinkRawBSD     LinkType = 12
	LinkRawOpen    LinkType = 14
	LinkRaw        LinkType = 101
	LinkLoop       LinkType = 108 // OpenBSD loopback, in network byte order
	LinkCooked     LinkType = 113 // Linux, "any" interface
	LinkIPv4       LinkType = 228
	LinkIPv6       LinkType = 229
	LinkCooked2    LinkType = 276
	etherIPv4               = 0x0800
	etherIPv6               = 0x86dd
	etherPPPoE              = 0x8864 // session stage, RFC 2516
	leastEther              = 0x600  // below it, the field is a length
	maxTags                 = 8
	packetOutgoing          = 4 // Linux, PACKET_OUTGOING
)

// IP returns the IP packet in p: what was kept of it, and how many octets it had
// with whatever padding follows. The direction is p's, or what a cooked header
// tells.
func (p *Packet) IP() (ip []byte, size int, err error) {
	var kind uint16
	b := p.Data
	switch p.Link {
	case LinkRaw, LinkRawBSD, LinkRawOpen, LinkIPv4, LinkIPv6:
		return b, p.Len, nil
	case LinkEthernet:
		if b, kind, err = ethernet(b); err != nil {
			return nil, 0, err
		}
	case LinkNull, LinkLoop:
		if b, kind, err = family(b); err != nil {
			return nil, 0, err
		}
	case LinkCooked, LinkCooked2:
		if b, kind, err = p.cooked(b); err != nil {
			return nil, 0, err
		}
	default:
		return nil, 0, ErrLinkType
	}
	if b, err = network(b, kind); err != nil {
		return nil, 0, err
	}
	return b, p.Len - (len(p.Data) - len(b)), nil
}

func ethernet(b []byte) (rest []byte, kind uint16, err error) {
	const header = 14
	if len(b) < header {
		return nil, 0, ErrSnapped
	}
	kind, rest = binary.BigEndian.Uint16(b[12:]), b[header:]
	if kind < leastEther { // IEEE 802.3: LLC, and behind it SNAP
		if len(rest) < 8 || rest[0] != 0xaa || rest[1] != 0xaa {
			return nil, 0, ErrNotIP
		}
		kind, rest = binary.BigEndian.Uint16(rest[6:]), rest[8:]
	}
	return rest, kind, nil
}

// family reads the address family that stands for a link layer on BSD. IPv6 has
// another number on each of them.
func family(b []byte) (rest []byte, kind uint16, err error) {
	if len(b) < 4 {
		return nil, 0, ErrSnapped
	}
	n := binary.BigEndian.Uint32(b)
	if n > 0xffff {
		n = bits.ReverseBytes32(n)
	}
	switch n {
	case 2:
		return b[4:], etherIPv4, nil
	case 10, 24, 28, 30:
		return b[4:], etherIPv6, nil
	}
	return nil, 0, ErrNotIP
}

// cooked reads the header of Linux's "any" interface, of either version.
func (p *Packet) cooked(b []byte) (rest []byte, kind uint16, err error) {
	header, kindAt, typeAt := 16, 14, 1
	if p.Link == LinkCooked2 {
		header, kindAt, typeAt = 20, 0, 10
	}
	if len(b) < header {
		return nil, 0, ErrSnapped
	}
	if p.Direction == Unknown {
		p.Direction = Inbound
		if b[typeAt] == packetOutgoing {
			p.Direction = Outbound
		}
	}
	return b[header:], binary.BigEndian.Uint16(b[kindAt:]), nil
}

// network passes over VLAN tags and PPPoE.
func network(b []byte, kind uint16) ([]byte, error) {
	for range maxTags {
		switch kind {
		case etherIPv4, etherIPv6:
			return b, nil
		case 0x8100, 0x88a8, 0x9100: // a tag of IEEE 802.1Q, of 802.1ad, of before 802.1ad
			if len(b) < 4 {
				return nil, ErrSnapped
			}
			kind, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		case etherPPPoE:
			if len(b) < 8 {
				return nil, ErrSnapped
			}
			switch binary.BigEndian.Uint16(b[6:]) {
			case 0x0021:
				kind = etherIPv4
			case 0x0057:
				kind = etherIPv6
			default:
				return nil, ErrNotIP
			}
			b = b[8:]
		default:
			return nil, ErrNotIP
		}
	}
	return nil, ErrNotIP
}
