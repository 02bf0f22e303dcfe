package segment

import (
	"encoding/binary"
	"net/netip"
)

// Header lengths in octets, without options and extension headers.
const (
	IPv4HeaderLen = 20
	IPv6HeaderLen = 40
	TCPHeaderLen  = 20
)

const (
	protocolTCP   = 6
	maxIPLen      = 65535
	maxExtensions = 8
	dontFragment  = 0x4000
	defaultTTL    = 64
)

// tcpOf returns the TCP segment inside a whole IP packet: header, options and
// payload, without what may follow the packet in the buffer. It holds at least
// a TCP header.
func tcpOf(pkt []byte) ([]byte, error) {
	if len(pkt) == 0 {
		return nil, ErrShortIP
	}
	switch pkt[0] >> 4 {
	case 4:
		return tcpOfIPv4(pkt)
	case 6:
		return tcpOfIPv6(pkt)
	}
	return nil, ErrVersion
}

// plainIPv4 knows at one look what nearly every packet is: IPv4 without options, no
// fragment, TCP, and all there. It returns the total length, and 0 for a packet that
// has to be looked at by tcpOf.
func plainIPv4(pkt []byte) (total int) {
	if len(pkt) < IPv4HeaderLen+TCPHeaderLen || pkt[0] != 0x45 {
		return 0
	}
	// Total length, identification, flags and offset, TTL, protocol.
	word := binary.BigEndian.Uint64(pkt[2:])
	total = int(word >> 48)
	if word&0x3fff_00ff != protocolTCP || total < IPv4HeaderLen+TCPHeaderLen || total > len(pkt) {
		return 0
	}
	return total
}

// tcpOfIPv4 is tcpOf for IPv4. IP options are skipped and never obeyed.
func tcpOfIPv4(pkt []byte) ([]byte, error) {
	if len(pkt) < IPv4HeaderLen {
		return nil, ErrShortIP
	}
	start := int(pkt[0]&0xf) * 4
	total := int(binary.BigEndian.Uint16(pkt[2:]))
	switch {
	case total == 0 && len(pkt) > maxIPLen:
		return nil, ErrJumbo
	case start < IPv4HeaderLen, start > total:
		return nil, ErrIPHeaderLen
	case total > len(pkt):
		return nil, ErrTruncated
	case binary.BigEndian.Uint16(pkt[6:])&0x3fff != 0: // more fragments, or an offset
		return nil, ErrFragment
	case pkt[9] != protocolTCP:
		return nil, ErrNotTCP
	case total-start < TCPHeaderLen:
		return nil, ErrShortTCP
	}
	return pkt[start:total], nil
}

// tcpOfIPv6 is tcpOf for IPv6.
func tcpOfIPv6(pkt []byte) ([]byte, error) {
	if len(pkt) < IPv6HeaderLen {
		return nil, ErrShortIP
	}
	size := int(binary.BigEndian.Uint16(pkt[4:]))
	next := pkt[6]
	rest := pkt[IPv6HeaderLen:]
	switch {
	// A jumbogram has payload length 0 and its length in a hop-by-hop option (RFC 2675).
	case size == 0 && (next == hopByHop || len(rest) > maxIPLen):
		return nil, ErrJumbo
	case size > len(rest):
		return nil, ErrTruncated
	case mapped(pkt[8:24]), mapped(pkt[24:40]):
		return nil, ErrMapped
	}
	rest = rest[:size]
	if next != protocolTCP {
		var err error
		if rest, err = skipExtensions(rest, next); err != nil {
			return nil, err
		}
	}
	if len(rest) < TCPHeaderLen {
		return nil, ErrShortTCP
	}
	return rest, nil
}

// The IPv6 extension headers that may stand before TCP (RFC 8200 section 4).
const (
	hopByHop    = 0
	routing     = 43
	fragment    = 44
	authHeader  = 51
	destOptions = 60
)

// skipExtensions walks at most 8 extension headers from b, whose first header
// is of type next, and returns what stands behind them. Their content is not
// obeyed; a routing header, RH0 too (RFC 5095), is passed over if its route is
// finished and refused if not, for then the packet is not at its destination.
func skipExtensions(b []byte, next uint8) ([]byte, error) {
	for i := range maxExtensions {
		unit, extra := 8, 1
		switch next {
		case protocolTCP:
			return b, nil
		case routing, destOptions:
		case hopByHop:
			// "... restricted to appear immediately after an IPv6 header only." RFC 8200 section 4.1
			if i > 0 {
				return nil, ErrExtension
			}
		case authHeader:
			unit, extra = 4, 2 // RFC 4302 section 2.2
		case fragment:
			return nil, ErrFragment
		default:
			return nil, ErrNotTCP
		}
		if len(b) < 8 {
			return nil, ErrExtension
		}
		n := (int(b[1]) + extra) * unit
		if n > len(b) || next == routing && b[3] != 0 {
			return nil, ErrExtension
		}
		next, b = b[0], b[n:]
	}
	if next != protocolTCP {
		return nil, ErrExtension
	}
	return b, nil
}

// mapped reports whether the 16 octets are an IPv4-mapped address, which has no
// place on a wire.
func mapped(b []byte) bool {
	return binary.BigEndian.Uint64(b) == 0 && binary.BigEndian.Uint32(b[8:]) == 0xffff
}

// addresses returns source and destination of a whole IP header.
func addresses(pkt []byte) (src, dst netip.Addr) {
	if pkt[0]>>4 == 4 {
		return netip.AddrFrom4([4]byte(pkt[12:16])), netip.AddrFrom4([4]byte(pkt[16:20]))
	}
	return netip.AddrFrom16([16]byte(pkt[8:24])), netip.AddrFrom16([16]byte(pkt[24:40]))
}
