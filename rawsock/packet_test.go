package rawsock

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/ipv4"
)

// A tcpPacket is what the tests say and hear: one TCP segment, built and read
// by hand so that nothing of the project vouches for itself.
type tcpPacket struct {
	src, dst netip.AddrPort
	seq, ack uint32
	flags    byte
	ttl      byte // default 64
	payload  []byte
	badSum   bool
	mayFrag  bool // no DF
}

const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

// bytes returns the packet with right checksums.
func (p tcpPacket) bytes() []byte {
	tcp := make([]byte, 20, 20+len(p.payload))
	binary.BigEndian.PutUint16(tcp[0:], p.src.Port())
	binary.BigEndian.PutUint16(tcp[2:], p.dst.Port())
	binary.BigEndian.PutUint32(tcp[4:], p.seq)
	binary.BigEndian.PutUint32(tcp[8:], p.ack)
	tcp[12], tcp[13] = 5<<4, p.flags
	binary.BigEndian.PutUint16(tcp[14:], 0xffff)
	tcp = append(tcp, p.payload...)
	sum := ^p.checksum(tcp)
	if p.badSum {
		sum ^= 0x0101
	}
	binary.BigEndian.PutUint16(tcp[16:], sum)
	return append(p.ipHeader(len(tcp)), tcp...)
}

func (p tcpPacket) ipHeader(size int) []byte {
	ttl := p.ttl
	if ttl == 0 {
		ttl = 64
	}
	if p.src.Addr().Is6() {
		h := []byte{0x60, 0, 0, 0, byte(size >> 8), byte(size), 6, ttl}
		h = append(h, p.src.Addr().AsSlice()...)
		return append(h, p.dst.Addr().AsSlice()...)
	}
	h := ipv4.Header{Version: 4, Len: 20, TotalLen: 20 + size, Flags: ipv4.DontFragment, TTL: int(ttl), Protocol: 6,
		Src: p.src.Addr().AsSlice(), Dst: p.dst.Addr().AsSlice()}
	if p.mayFrag {
		h.Flags = 0
	}
	b, err := h.Marshal()
	if err != nil {
		panic(err)
	}
	binary.BigEndian.PutUint16(b[10:], ^onesSum(b, 0))
	return b
}

// checksum returns the folded sum of the pseudo-header and the segment.
func (p tcpPacket) checksum(tcp []byte) uint16 {
	data := append(p.src.Addr().AsSlice(), p.dst.Addr().AsSlice()...)
	data = append(data, 0, 6, byte(len(tcp)>>8), byte(len(tcp)))
	data = append(data, tcp...)
	var sum uint32
	for i := 0; i < len(data); i += 2 {
		sum += uint32(data[i]) << 8
		if i+1 < len(data) {
			sum += uint32(data[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// parsePacket reads a whole IP packet; ok is false if it is no TCP segment.
func parsePacket(pkt []byte) (p tcpPacket, ok bool) {
	src, dst, tcp, ok := split(pkt)
	if !ok || len(tcp) < 20 {
		return p, false
	}
	p = parseTCP(src, dst, tcp)
	if p.ttl = pkt[8]; ipVersion(pkt) == 6 {
		p.ttl = pkt[7]
	}
	return p, true
}

func parseTCP(src, dst netip.Addr, tcp []byte) tcpPacket {
	return tcpPacket{
		src:     netip.AddrPortFrom(src, binary.BigEndian.Uint16(tcp[0:])),
		dst:     netip.AddrPortFrom(dst, binary.BigEndian.Uint16(tcp[2:])),
		seq:     binary.BigEndian.Uint32(tcp[4:]),
		ack:     binary.BigEndian.Uint32(tcp[8:]),
		flags:   tcp[13],
		payload: tcp[int(tcp[12]>>4)*4:],
	}
}
