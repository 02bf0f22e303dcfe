package segment

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Append appends the segment to dst as a whole IP packet, version by its
// addresses, with right checksums (but see SegmentSize), DF set on IPv4 and flow label 0 on IPv6, and
// returns the extended slice. TTL 0 is sent as 64. Nothing is allocated if dst
// has room. s is only read; its payload and options must not lie in that room.
//
// ErrAddress, ErrTooLarge and ErrOptionsTooLong say what cannot be built; dst
// is then returned as it was.
func (s *Segment) Append(dst []byte) ([]byte, error) {
	ipLen := IPv4HeaderLen
	if !s.Src.Addr().Is4() || !s.Dst.Addr().Is4() {
		if ipLen = IPv6HeaderLen; !onWire6(s.Src.Addr()) || !onWire6(s.Dst.Addr()) {
			return dst, ErrAddress
		}
	}
	optLen := s.Options.Len()
	if optLen > MaxOptionsLen {
		return dst, ErrOptionsTooLong
	}
	tcpLen := TCPHeaderLen + optLen + len(s.Payload)
	// IPv4 counts its own header, IPv6 does not.
	if tcpLen > maxIPLen || ipLen == IPv4HeaderLen && ipLen+tcpLen > maxIPLen {
		return dst, ErrTooLarge
	}
	start := len(dst)
	dst = slices.Grow(dst, ipLen+tcpLen)[:start+ipLen+tcpLen]
	ip, tcp := dst[start:], dst[start+ipLen:]
	if ipLen == IPv4HeaderLen {
		s.putTCP(tcp, optLen, s.putIPv4(ip, tcpLen))
	} else {
		s.putTCP(tcp, optLen, s.putIPv6(ip, tcpLen))
	}
	return dst, nil
}

// onWire6 reports whether an address can stand in an IPv6 header.
func onWire6(a netip.Addr) bool { return a.Is6() && !a.Is4In6() }

func (s *Segment) ttl() uint8 {
	if s.TTL == 0 {
		return defaultTTL
	}
	return s.TTL
}

// The put functions write each header in words as wide as they come and take
// the checksum from the words in hand: reading them back from memory, wider
// than they were just written, would stall the processor.

// putIPv4 writes the IP header and returns the sum of the pseudo-header.
func (s *Segment) putIPv4(ip []byte, tcpLen int) (pseudo uint64) {
	h := (*[IPv4HeaderLen]byte)(ip)
	src4, dst4 := s.Src.Addr().As4(), s.Dst.Addr().As4()
	src, dst := uint64(binary.BigEndian.Uint32(src4[:])), uint64(binary.BigEndian.Uint32(dst4[:]))
	first := 0x45<<24 | uint64(s.TOS)<<16 | uint64(IPv4HeaderLen+tcpLen)
	second := uint64(s.IPID)<<16 | dontFragment
	third := uint64(s.ttl())<<24 | protocolTCP<<16
	third |= uint64(^fold(first + second + third + src + dst))
	binary.BigEndian.PutUint64(h[0:], first<<32|second)
	binary.BigEndian.PutUint64(h[8:], third<<32|src)
	binary.BigEndian.PutUint32(h[16:], uint32(dst))
	return src + dst + protocolTCP + uint64(tcpLen)
}

// putIPv6 writes the IP header and returns the sum of the pseudo-header.
func (s *Segment) putIPv6(ip []byte, tcpLen int) (pseudo uint64) {
	h := (*[IPv6HeaderLen]byte)(ip)
	src, dst := s.Src.Addr().As16(), s.Dst.Addr().As16()
	first := 6<<28 | uint64(s.TOS)<<20
	second := uint64(tcpLen)<<16 | protocolTCP<<8 | uint64(s.ttl())
	binary.BigEndian.PutUint64(h[0:], first<<32|second)
	pseudo = protocolTCP + uint64(tcpLen)
	for i := 0; i < 16; i += 8 {
		srcWords, dstWords := binary.BigEndian.Uint64(src[i:]), binary.BigEndian.Uint64(dst[i:])
		binary.BigEndian.PutUint64(h[8+i:], srcWords)
		binary.BigEndian.PutUint64(h[24+i:], dstWords)
		pseudo += srcWords>>32 + srcWords&0xffffffff + dstWords>>32 + dstWords&0xffffffff
	}
	return pseudo
}

// putTCP writes the TCP header, the options and the payload behind them.
func (s *Segment) putTCP(tcp []byte, optLen int, pseudo uint64) {
	if s.SegmentSize > 0 {
		s.putUnfinished(tcp, optLen, pseudo)
		return
	}
	h := (*[TCPHeaderLen]byte)(tcp)
	options := s.Options.put(tcp[TCPHeaderLen : TCPHeaderLen+optLen])
	ports := uint64(s.Src.Port())<<16 | uint64(s.Dst.Port())
	control := uint64(TCPHeaderLen+optLen)/4<<28 | uint64(s.Flags&allFlags)<<16 | uint64(s.Window)
	check := fold(pseudo + ports + uint64(s.Seq.n) + uint64(s.Ack.n) + control + uint64(s.Urgent) + options)
	if len(s.Payload) > 0 {
		check = copySum(tcp[TCPHeaderLen+optLen:], s.Payload, check)
	}
	binary.BigEndian.PutUint64(h[0:], ports<<32|uint64(s.Seq.n))
	binary.BigEndian.PutUint64(h[8:], uint64(s.Ack.n)<<32|control)
	binary.BigEndian.PutUint32(h[16:], uint32(^check)<<16|uint32(s.Urgent))
}

// putUnfinished is putTCP for what has its checksum finished later: the field
// holds the sum of the pseudo-header.
func (s *Segment) putUnfinished(tcp []byte, optLen int, pseudo uint64) {
	h := (*[TCPHeaderLen]byte)(tcp)
	s.Options.put(tcp[TCPHeaderLen : TCPHeaderLen+optLen])
	control := uint64(TCPHeaderLen+optLen)/4<<28 | uint64(s.Flags&allFlags)<<16 | uint64(s.Window)
	binary.BigEndian.PutUint64(h[0:], uint64(s.Src.Port())<<48|uint64(s.Dst.Port())<<32|uint64(s.Seq.n))
	binary.BigEndian.PutUint64(h[8:], uint64(s.Ack.n)<<32|control)
	binary.BigEndian.PutUint32(h[16:], uint32(fold(pseudo))<<16|uint32(s.Urgent))
	copy(tcp[TCPHeaderLen+optLen:], s.Payload)
}
