package simnet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The network reads no more of a packet than a router and a host's port filter
// do, and knows nothing of connections.

const protocolTCP = 6

// endpoints returns a packet's source and destination, invalid if it is not TCP.
func endpoints(pkt []byte) (src, dst netip.AddrPort) {
	tcp := tcpOffset(pkt)
	if tcp == 0 {
		return
	}
	var from, to netip.Addr
	if pkt[0]>>4 == 4 {
		from, to = netip.AddrFrom4([4]byte(pkt[12:16])), netip.AddrFrom4([4]byte(pkt[16:20]))
	} else {
		from, to = netip.AddrFrom16([16]byte(pkt[8:24])), netip.AddrFrom16([16]byte(pkt[24:40]))
	}
	return netip.AddrPortFrom(from, binary.BigEndian.Uint16(pkt[tcp:])),
		netip.AddrPortFrom(to, binary.BigEndian.Uint16(pkt[tcp+2:]))
}

// tcpOffset returns where the TCP header begins, 0 if there is no whole one.
func tcpOffset(pkt []byte) int {
	if len(pkt) < 40 {
		return 0
	}
	offset, protocol := 0, byte(0)
	switch pkt[0] >> 4 {
	case 4:
		offset, protocol = int(pkt[0]&15)*4, pkt[9]
	case 6:
		offset, protocol = 40, pkt[6]
	}
	if offset < 20 || protocol != protocolTCP || len(pkt) < offset+20 {
		return 0
	}
	return offset
}

// flipBit damages a packet behind its IP header: an IPv4 header with a wrong
// checksum never gets as far as a raw socket.
func flipBit(pkt []byte, bit uint64) {
	tcp := tcpOffset(pkt)
	if tcp == 0 {
		return
	}
	bit %= uint64(len(pkt)-tcp) * 8
	pkt[tcp+int(bit/8)] ^= 1 << (bit % 8)
}

// An ICMPError is the news that an ICMP or ICMPv6 error message came in. It has
// the method that engine.ICMPError asks for.
type ICMPError struct {
	From       netip.Addr
	Type, Code uint8
	MTU        int
	Quoted     []byte
}

// Error describes the message.
func (e *ICMPError) Error() string {
	return fmt.Sprintf("ICMP type %d code %d from %v", e.Type, e.Code, e.From)
}

// ICMP returns the parts of the message.
func (e *ICMPError) ICMP() (from netip.Addr, typ, code uint8, mtu int, quoted []byte) {
	return e.From, e.Type, e.Code, e.MTU, e.Quoted
}

// tooBig is a router's complaint about a packet. It quotes as much as the
// oldest routers do for IPv4: the IP header and eight octets (RFC 792).
func tooBig(pkt []byte, mtu int) *ICMPError {
	if pkt[0]>>4 == 6 {
		quoted := append([]byte(nil), pkt[:min(len(pkt), 1232)]...)
		return &ICMPError{From: netip.MustParseAddr("2001:db8:ffff::1"), Type: 2, MTU: mtu, Quoted: quoted}
	}
	quoted := append([]byte(nil), pkt[:min(len(pkt), int(pkt[0]&15)*4+8)]...)
	return &ICMPError{From: netip.MustParseAddr("198.19.255.1"), Type: 3, Code: 4, MTU: mtu, Quoted: quoted}
}

// Control bits of a TCP header.
const (
	flagFIN = 1
	flagSYN = 2
	flagRST = 4
	flagACK = 16
)

// resetFor returns the RST of a host without the connection (RFC 9293 section
// 3.10.7.1), nil in answer to a RST and to what is not TCP.
func resetFor(pkt []byte) []byte {
	at := tcpOffset(pkt)
	if at == 0 || pkt[at+13]&flagRST != 0 {
		return nil
	}
	in := pkt[at:]
	rst := make([]byte, at+20)
	copy(rst, pkt[:at])
	out := rst[at:]
	copy(out[0:2], in[2:4])
	copy(out[2:4], in[0:2])
	out[12], out[13] = 5<<4, flagRST
	if in[13]&flagACK != 0 {
		copy(out[4:8], in[8:12])
	} else {
		out[13] |= flagACK
		binary.BigEndian.PutUint32(out[8:], binary.BigEndian.Uint32(in[4:])+segmentLen(in))
	}
	swapIP(rst)
	return rst
}

// segmentLen counts the octets of a segment, SYN and FIN included.
func segmentLen(tcp []byte) uint32 {
	n := len(tcp) - int(tcp[12]>>4)*4
	if tcp[13]&flagSYN != 0 {
		n++
	}
	if tcp[13]&flagFIN != 0 {
		n++
	}
	return uint32(max(n, 0))
}

// swapIP turns the IP header of a bare TCP header around and sets its length
// and the checksums.
func swapIP(pkt []byte) {
	tcp := tcpOffset(pkt)
	size, addrs := 4, pkt[12:20]
	if pkt[0]>>4 == 6 {
		size, addrs = 16, pkt[8:40]
		binary.BigEndian.PutUint16(pkt[4:], 20)
	} else {
		binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)))
	}
	for i := range size {
		addrs[i], addrs[size+i] = addrs[size+i], addrs[i]
	}
	if size == 4 {
		binary.BigEndian.PutUint16(pkt[10:], 0)
		binary.BigEndian.PutUint16(pkt[10:], ^fold(sum(pkt[:tcp])))
	}
	pseudo := sum(addrs) + protocolTCP + 20
	binary.BigEndian.PutUint16(pkt[tcp+16:], ^fold(pseudo+sum(pkt[tcp:])))
}

// sum adds 16-bit words (RFC 1071); fold brings a sum back to 16 bits.
func sum(b []byte) (s uint32) {
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
