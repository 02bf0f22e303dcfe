package simnet

import "encoding/binary"

// What a super-segment has for one of its segments alone.
const (
	flagPSH = 8
	flagCWR = 128
)

// cut appends segment i of a super-segment to dst, and reports whether it is the
// last: size octets of payload each, FIN and PSH in the last and CWR in the first,
// the sequence number and the identification counted up, and the checksums right.
func cut(dst, pkt []byte, size, i int) (segment []byte, last bool) {
	at := tcpOffset(pkt)
	header := at + int(pkt[at+12]>>4)*4
	payload := pkt[header:]
	from := min(i*size, len(payload))
	to := min(from+size, len(payload))
	last = to == len(payload)
	segment = append(append(dst, pkt[:header]...), payload[from:to]...)
	tcp := segment[at:]
	binary.BigEndian.PutUint32(tcp[4:], binary.BigEndian.Uint32(tcp[4:])+uint32(from))
	if !last {
		tcp[13] &^= flagFIN | flagPSH
	}
	if i > 0 {
		tcp[13] &^= flagCWR
	}
	sign(segment, i)
	return segment, last
}

// sign gives segment i of a super-segment its lengths, identification and checksums.
func sign(pkt []byte, i int) {
	at := tcpOffset(pkt)
	addrs, length := pkt[8:40], len(pkt)-at
	if pkt[0]>>4 == 4 {
		addrs = pkt[12:20]
		binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)))
		binary.BigEndian.PutUint16(pkt[4:], binary.BigEndian.Uint16(pkt[4:])+uint16(i))
		binary.BigEndian.PutUint16(pkt[10:], 0)
		binary.BigEndian.PutUint16(pkt[10:], ^fold(sum(pkt[:at])))
	} else {
		binary.BigEndian.PutUint16(pkt[4:], uint16(length))
	}
	tcp := pkt[at:]
	binary.BigEndian.PutUint16(tcp[16:], 0)
	total := sum(addrs) + protocolTCP + uint32(length) + sum(tcp)
	if length%2 == 1 {
		total += uint32(tcp[length-1]) << 8
	}
	binary.BigEndian.PutUint16(tcp[16:], ^fold(total))
}
