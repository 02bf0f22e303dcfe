package netlab

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Lengths of fixed headers in octets.
const (
	ethernetLen = 14
	ipv4Len     = 20
	ipv6Len     = 40
)

// impairable returns the IP packet inside an Ethernet frame without padding,
// or nil if the frame is not a whole IP packet or belongs to the upkeep of the
// link: ARP, neighbour discovery, IGMP, MLD.
func impairable(frame []byte) []byte {
	if len(frame) < ethernetLen {
		return nil
	}
	packet := frame[ethernetLen:]
	var size int
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_IP:
		if len(packet) < ipv4Len || packet[0]>>4 != 4 {
			return nil
		}
		size = int(binary.BigEndian.Uint16(packet[2:]))
	case unix.ETH_P_IPV6:
		if len(packet) < ipv6Len || packet[0]>>4 != 6 {
			return nil
		}
		size = ipv6Len + int(binary.BigEndian.Uint16(packet[4:]))
	}
	if size == 0 || size > len(packet) {
		return nil
	}
	packet = packet[:size]
	if protocol, payload := transport(packet); payload == nil || isUpkeep(protocol, payload) {
		return nil
	}
	return packet
}

// transport returns the protocol number and the bytes behind the IP header and
// behind IPv6 hop-by-hop and destination options; nil if they are cut short.
func transport(packet []byte) (protocol byte, payload []byte) {
	if packet[0]>>4 == 4 {
		header := int(packet[0]&0xf) * 4
		if header < ipv4Len || header > len(packet) {
			return 0, nil
		}
		return packet[9], packet[header:]
	}
	protocol, payload = packet[6], packet[ipv6Len:]
	for protocol == unix.IPPROTO_HOPOPTS || protocol == unix.IPPROTO_DSTOPTS {
		if len(payload) < 2 || len(payload) < (int(payload[1])+1)*8 {
			return 0, nil
		}
		protocol, payload = payload[0], payload[(int(payload[1])+1)*8:]
	}
	return protocol, payload
}

// isUpkeep reports whether a packet keeps the link itself going.
func isUpkeep(protocol byte, payload []byte) bool {
	switch protocol {
	case unix.IPPROTO_IGMP:
		return true
	case unix.IPPROTO_ICMPV6:
		if len(payload) == 0 {
			return false
		}
		typ := payload[0]
		return typ >= 130 && typ <= 137 || typ == 143 // MLD (RFC 2710, RFC 3810), ND (RFC 4861)
	}
	return false
}

// finishChecksum completes the checksum of a TCP segment or UDP datagram that
// the sender left to its hardware, which then holds exactly the folded sum of
// the pseudo-header, and reports whether there was something to complete.
// One valid checksum in 65,536 has that very value, and is its own completion.
func finishChecksum(packet []byte) bool {
	protocol, payload := transport(packet)
	var at int
	switch protocol {
	case unix.IPPROTO_TCP:
		at = 16
	case unix.IPPROTO_UDP:
		at = 6
	default:
		return false
	}
	if len(payload) < at+2 || isFragment(packet) {
		return false
	}
	pseudo := fold(pseudoSum(packet, protocol, len(payload)))
	field := payload[at : at+2]
	if binary.BigEndian.Uint16(field) != pseudo {
		return false
	}
	// The field already holds the pseudo-header's share.
	complete := ^fold(addSum(0, payload))
	if complete == 0 && protocol == unix.IPPROTO_UDP {
		complete = 0xffff // zero says that there is no checksum (RFC 768)
	}
	binary.BigEndian.PutUint16(field, complete)
	return complete != pseudo
}

// isFragment reports whether an IPv4 packet is a fragment. Those of IPv6 have a
// header that transport does not look behind.
func isFragment(packet []byte) bool {
	const moreFragments, offset = 0x2000, 0x1fff
	return packet[0]>>4 == 4 && binary.BigEndian.Uint16(packet[6:])&(moreFragments|offset) != 0
}

// pseudoSum adds up the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1).
func pseudoSum(packet []byte, protocol byte, length int) uint64 {
	addresses := packet[12:20]
	if packet[0]>>4 == 6 {
		addresses = packet[8:40]
	}
	return addSum(uint64(protocol)+uint64(length), addresses)
}

// addSum adds the 16-bit words of b to sum, the last octet padded with zero (RFC 1071).
func addSum(sum uint64, b []byte) uint64 {
	for len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// fold brings a sum down to 16 bits by end-around carry.
func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// flipBit turns over one bit behind the IP header, chosen by where in [0, 1);
// false if there is nothing.
func flipBit(packet []byte, where float64) bool {
	_, payload := transport(packet)
	if len(payload) == 0 {
		return false
	}
	bit := int(where * float64(len(payload)*8))
	payload[bit/8] ^= 1 << (bit % 8)
	return true
}
