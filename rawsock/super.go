package rawsock

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Flags of the TCP header's 14th octet (RFC 9293 section 3.1) that a
// super-segment has for one of its segments alone.
const (
	tcpFIN = 0x01
	tcpPSH = 0x08
	tcpCWR = 0x80
)

// superHeaders returns how long the IP header and all headers of a TCP packet
// are. ok is false if it is none, or not whole.
func superHeaders(pkt []byte) (ip, all int, ok bool) {
	switch {
	case ipVersion(pkt) == 4 && pkt[9] == unix.IPPROTO_TCP:
		ip = int(pkt[0]&0x0f) * 4
	case ipVersion(pkt) == 6 && pkt[6] == unix.IPPROTO_TCP:
		ip = ipv6HeaderLen
	}
	if ip < ipv4HeaderLen || len(pkt) < ip+tcpHeaderLen {
		return 0, 0, false
	}
	all = ip + int(pkt[ip+12]>>4)*4
	return ip, all, all >= ip+tcpHeaderLen && all <= len(pkt)
}

// tcpHeaderLen is the length of a TCP header without options, in octets.
const tcpHeaderLen = 20

// A cutter cuts super-segments where no packet socket does. Its buffers are used
// again and again.
type cutter struct {
	bufs [BatchSize][]byte
}

// cut returns the segments of a super-segment from octet from of its payload on,
// at most BatchSize of them, and where the next ones begin, if there are more.
// They live until the next call. As the kernel does it (tcp_gso_segment), FIN and PSH are in the last
// segment and CWR in the first.
func (k *cutter) cut(pkt []byte, size, from int) (segments [][]byte, next int, more bool) {
	ip, header, _ := superHeaders(pkt)
	payload := pkt[header:]
	n := 0
	for more = true; more && n < BatchSize; n++ {
		end := min(from+size, len(payload))
		seg := append(append(k.bufs[n][:0], pkt[:header]...), payload[from:end]...)
		if end < len(payload) {
			seg[ip+13] &^= tcpFIN | tcpPSH
		}
		if from > 0 {
			seg[ip+13] &^= tcpCWR
		}
		seq := seg[ip+4 : ip+8]
		binary.BigEndian.PutUint32(seq, binary.BigEndian.Uint32(seq)+uint32(from))
		finish(seg, ip, from/size)
		k.bufs[n] = seg
		from, more = end, end < len(payload)
	}
	return k.bufs[:n], from, more
}

// finish gives segment i of a super-segment its lengths, its identification and its
// checksums.
func finish(seg []byte, ip, i int) {
	tcp := seg[ip:]
	addrs := seg[8:40]
	if ipVersion(seg) == 4 {
		addrs = seg[12:20]
		id := seg[4:6]
		binary.BigEndian.PutUint16(id, binary.BigEndian.Uint16(id)+uint16(i))
		binary.BigEndian.PutUint16(seg[2:], uint16(len(seg)))
		clear(seg[10:12])
		binary.BigEndian.PutUint16(seg[10:], ^onesSum(seg[:ip], 0))
	} else {
		binary.BigEndian.PutUint16(seg[4:], uint16(len(tcp)))
	}
	clear(tcp[tcpChecksumAt : tcpChecksumAt+2])
	pseudo := onesSum(addrs, uint64(unix.IPPROTO_TCP)+uint64(len(tcp)))
	binary.BigEndian.PutUint16(tcp[tcpChecksumAt:], ^onesSum(tcp, uint64(pseudo)))
}

// onesSum is the folded ones' complement sum of b (RFC 1071) and initial.
func onesSum(b []byte, initial uint64) uint16 {
	sum := initial
	for ; len(b) >= 4; b = b[4:] {
		sum += uint64(binary.BigEndian.Uint32(b))
	}
	switch len(b) {
	case 3:
		sum += uint64(b[0])<<8 + uint64(b[1]) + uint64(b[2])<<8
	case 2:
		sum += uint64(b[0])<<8 + uint64(b[1])
	case 1:
		sum += uint64(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
