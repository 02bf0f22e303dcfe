package segment

import (
	"encoding/binary"
	"math/bits"
)

// Verdict is what a received TCP checksum says.
type Verdict uint8

// The three verdicts. A packet that never left this machine (loopback, veth,
// a NIC with transmit offload) carries an unfinished checksum: exactly the
// folded pseudo-header sum. That is ChecksumPartial and not damage.
const (
	ChecksumUnknown Verdict = iota // not looked at
	ChecksumOK
	ChecksumPartial
	ChecksumBad
)

var verdictNames = [...]string{"unknown", "ok", "partial", "bad"}

// String returns "unknown", "ok", "partial" or "bad".
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "unknown"
}

// Sum returns the folded ones' complement sum of b and initial, which must be
// the sum of an even number of octets before b (RFC 1071). The Internet
// checksum of b is ^Sum(b, 0).
func Sum(b []byte, initial uint16) uint16 {
	if len(b) == 0 {
		return initial
	}
	return sum(b, initial)
}

// The sizes for which the vector code is used. Below, setting it up costs more
// than it saves; above, its 64-bit sums could overflow.
const (
	minVector = 128
	maxVector = 1 << 30
)

// sum is Sum out of line, so that an empty payload costs no call.
func sum(b []byte, initial uint16) uint16 {
	if haveVector && len(b) >= minVector && len(b) <= maxVector {
		return foldSwapped(addCarry(vectorSum(b), uint64(bits.ReverseBytes16(initial))))
	}
	return wordSum(b, initial)
}

// wordSum is sum in Go alone: for machines without vector code, for few octets,
// and as the twin that the vector code is held to.
func wordSum(b []byte, initial uint16) uint16 {
	if len(b) < 8 {
		return shortSum(b, initial)
	}
	return foldSwapped(addWords(b, uint64(bits.ReverseBytes16(initial))))
}

// addOctets adds the octets of b, at least 8, to a sum of little-endian words, and
// leaves it to the caller to fold what comes of it.
func addOctets(b []byte, acc uint64) uint64 {
	if haveVector && len(b) >= minVector && len(b) <= maxVector {
		return addCarry(vectorSum(b), acc)
	}
	return addWords(b, acc)
}

// addWords is addOctets in Go alone.
func addWords(b []byte, acc uint64) uint64 {
	// Words are read as little-endian, because that is one load on most machines
	// and ones' complement sums do not mind: the result has its octets swapped
	// and nothing else (RFC 1071 section 2 (B)).
	//
	// A carry out of a chain of additions that began without a carry leaves room
	// for itself, for the sum is then at most 2^64-2: adding it back cannot
	// overflow. Every slice keeps at least one octet, so that the compiler need
	// not guard against a pointer past the end.
	last := binary.LittleEndian.Uint64(b[len(b)-8:])
	for len(b) > 64 {
		// The words of a block are summed apart from acc, so that one block
		// need not wait for the block before it.
		p := (*[64]byte)(b)
		part, c := bits.Add64(binary.LittleEndian.Uint64(p[0:]), binary.LittleEndian.Uint64(p[8:]), 0)
		part, c = bits.Add64(part, binary.LittleEndian.Uint64(p[16:]), c)
		part, c = bits.Add64(part, binary.LittleEndian.Uint64(p[24:]), c)
		part, c = bits.Add64(part, binary.LittleEndian.Uint64(p[32:]), c)
		part, c = bits.Add64(part, binary.LittleEndian.Uint64(p[40:]), c)
		part, c = bits.Add64(part, binary.LittleEndian.Uint64(p[48:]), c)
		part, c = bits.Add64(part, binary.LittleEndian.Uint64(p[56:]), c)
		acc, c = bits.Add64(acc, part, c)
		acc, _ = bits.Add64(acc, 0, c)
		b = b[64:]
	}
	if len(b) > 32 {
		p := (*[32]byte)(b)
		part, c := bits.Add64(binary.LittleEndian.Uint64(p[0:]), binary.LittleEndian.Uint64(p[8:]), 0)
		part, c = bits.Add64(part, binary.LittleEndian.Uint64(p[16:]), c)
		part, c = bits.Add64(part, binary.LittleEndian.Uint64(p[24:]), c)
		acc, c = bits.Add64(acc, part, c)
		acc, _ = bits.Add64(acc, 0, c)
		b = b[32:]
	}
	if len(b) > 16 {
		p := (*[16]byte)(b)
		part, c := bits.Add64(binary.LittleEndian.Uint64(p[0:]), binary.LittleEndian.Uint64(p[8:]), 0)
		acc, c = bits.Add64(acc, part, c)
		acc, _ = bits.Add64(acc, 0, c)
		b = b[16:]
	}
	if len(b) > 8 {
		acc = addCarry(acc, binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	// 1 to 8 octets are left: the top ones of the last full word.
	return addCarry(acc, last>>(64-8*uint(len(b))))
}

// copySum copies src to the front of dst, which is at least as long and does not
// overlap it, and returns Sum(src, initial). One pass over the octets costs less
// than two.
func copySum(dst, src []byte, initial uint16) uint16 {
	if haveVector && len(src) >= minVector && len(src) <= maxVector {
		return foldSwapped(addCarry(vectorCopySum(dst, src), uint64(bits.ReverseBytes16(initial))))
	}
	copy(dst, src)
	return Sum(src, initial)
}

// shortSum is Sum for fewer octets than a word.
func shortSum(b []byte, initial uint16) uint16 {
	acc := uint32(initial)
	for ; len(b) > 1; b = b[2:] {
		acc += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		acc += uint32(b[0]) << 8
	}
	acc = acc>>16 + acc&0xffff
	return uint16(acc>>16 + acc)
}

// addCarry is the ones' complement addition of 64-bit words.
func addCarry(a, b uint64) uint64 {
	sum, c := bits.Add64(a, b, 0)
	return sum + c
}

// fold reduces a ones' complement sum of 16-bit words to 16 bits. A number and the
// same with its halves exchanged add up to the sum of the halves in the upper half,
// with the carry out of the lower one.
func fold(acc uint64) uint16 {
	acc += bits.RotateLeft64(acc, 32)
	half := uint32(acc >> 32)
	half += bits.RotateLeft32(half, 16)
	return uint16(half >> 16)
}

// foldsToOnes reports whether fold of a sum, which is not 0, is 0xffff: 2^16 is
// congruent to 1 modulo 65535, so that folding changes no remainder.
func foldsToOnes(acc uint64) bool { return acc%0xffff == 0 }

// foldSwapped is fold for a sum of words that were read as little-endian.
func foldSwapped(acc uint64) uint16 { return bits.ReverseBytes16(fold(acc)) }

// pseudoWords is the sum of the little-endian words of the pseudo-header (RFC 9293
// section 3.1, RFC 8200 section 8.1) of an IP packet whose TCP part is length
// octets. pkt holds a whole IP header of version 4 or 6.
func pseudoWords(pkt []byte, length int) uint64 {
	if pkt[0]>>4 == 4 {
		return pseudoTail(length) + uint64(binary.LittleEndian.Uint32(pkt[12:])) + uint64(binary.LittleEndian.Uint32(pkt[16:]))
	}
	return addAddresses6((*[32]byte)(pkt[8:]), pseudoTail(length))
}

// pseudoTail is pseudoWords without the addresses: protocol and length are low
// octets of big-endian words.
func pseudoTail(length int) uint64 {
	return protocolTCP<<8 + uint64(bits.ReverseBytes32(uint32(length)))
}

// addAddresses6 adds the addresses of an IPv6 header to a sum of little-endian words.
func addAddresses6(p *[32]byte, acc uint64) uint64 {
	addrs, c := bits.Add64(binary.LittleEndian.Uint64(p[0:]), binary.LittleEndian.Uint64(p[8:]), 0)
	addrs, c = bits.Add64(addrs, binary.LittleEndian.Uint64(p[16:]), c)
	addrs, c = bits.Add64(addrs, binary.LittleEndian.Uint64(p[24:]), c)
	acc, c = bits.Add64(acc, addrs, c)
	return acc + c
}

// mergedLen is more than any network carries in one packet, in octets: a longer
// segment was merged, or never cut, by a host. If its field is the sum of the
// pseudo-header it is unfinished but for one case in 65,536, in which it is taken
// just the same, so that there is no need to sum up its 64 KiB.
const mergedLen = 16 << 10

// verify judges the checksum of a TCP segment of a packet that was found whole, with
// the sum of its pseudo-header.
func verify(tcp []byte, pseudo uint64) Verdict {
	if len(tcp) > mergedLen && unfinished(tcp, pseudo) {
		return ChecksumPartial
	}
	var sum uint64
	if len(tcp) < minVector {
		sum = addWords(tcp, pseudo)
	} else {
		sum = addOctets(tcp, pseudo)
	}
	switch {
	case foldsToOnes(sum):
		return ChecksumOK
	case unfinished(tcp, pseudo):
		return ChecksumPartial
	}
	return ChecksumBad
}

// unfinished reports whether the checksum of a TCP segment is the sum of its
// pseudo-header.
func unfinished(tcp []byte, pseudo uint64) bool {
	return binary.BigEndian.Uint16(tcp[16:]) == foldSwapped(pseudo)
}

// FinishChecksum completes an unfinished TCP checksum (ChecksumPartial) of a
// whole IP packet in place, as a network interface with transmit offload would.
// A checksum that is right or wrong already is left as it is, so that damage
// stays visible. The error says why the packet is not a whole TCP packet.
func FinishChecksum(pkt []byte) error {
	tcp, err := tcpOf(pkt)
	if err != nil {
		return err
	}
	if verify(tcp, pseudoWords(pkt, len(tcp))) == ChecksumPartial {
		// The field holds the pseudo-header sum, so the octets as they are sum
		// up to what the finished field complements.
		binary.BigEndian.PutUint16(tcp[16:], ^Sum(tcp, 0))
	}
	return nil
}
