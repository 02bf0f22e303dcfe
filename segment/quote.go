package segment

import (
	"encoding/binary"
	"net/netip"
)

// quotedTCPLen is what an ICMP error must quote of a TCP header: the ports and
// the sequence number (RFC 792; RFC 5927 section 4.1).
const quotedTCPLen = 8

// ParseQuoted reads which segment an ICMP or ICMPv6 error message quotes. b
// starts at the quoted IP header and may be cut anywhere behind the first 8
// octets of TCP; its lengths and checksums are not believed. A quote of a later
// fragment has no TCP header and is refused with ErrFragment.
func ParseQuoted(b []byte) (src, dst netip.AddrPort, seq Seq, err error) {
	tcp, err := quotedTCP(b)
	if err != nil {
		return netip.AddrPort{}, netip.AddrPort{}, Seq{}, err
	}
	from, to := addresses(b)
	src = netip.AddrPortFrom(from, binary.BigEndian.Uint16(tcp))
	dst = netip.AddrPortFrom(to, binary.BigEndian.Uint16(tcp[2:]))
	return src, dst, Seq{binary.BigEndian.Uint32(tcp[4:])}, nil
}

// quotedTCP returns what is quoted of the TCP header, at least 8 octets.
func quotedTCP(b []byte) (tcp []byte, err error) {
	if len(b) == 0 {
		return nil, ErrShortIP
	}
	switch b[0] >> 4 {
	case 4:
		tcp, err = quotedIPv4(b)
	case 6:
		tcp, err = quotedIPv6(b)
	default:
		err = ErrVersion
	}
	if err == nil && len(tcp) < quotedTCPLen {
		err = ErrShortTCP
	}
	return tcp, err
}

func quotedIPv4(b []byte) ([]byte, error) {
	if len(b) < IPv4HeaderLen {
		return nil, ErrShortIP
	}
	start := int(b[0]&0xf) * 4
	switch {
	case start < IPv4HeaderLen:
		return nil, ErrIPHeaderLen
	case binary.BigEndian.Uint16(b[6:])&0x1fff != 0:
		return nil, ErrFragment
	case b[9] != protocolTCP:
		return nil, ErrNotTCP
	case start > len(b):
		return nil, ErrShortTCP
	}
	return b[start:], nil
}

func quotedIPv6(b []byte) ([]byte, error) {
	if len(b) < IPv6HeaderLen {
		return nil, ErrShortIP
	}
	if mapped(b[8:24]) || mapped(b[24:40]) {
		return nil, ErrMapped
	}
	return skipExtensions(b[IPv6HeaderLen:], b[6])
}
