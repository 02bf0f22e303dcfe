package segment

import "encoding/binary"

// slowSum is the sum of RFC 1071 said word by word: the reference.
func slowSum(b []byte, initial uint16) uint16 {
	sum := uint32(initial)
	for i := 0; i < len(b); i += 2 {
		word := uint32(b[i]) << 8
		if i+1 < len(b) {
			word |= uint32(b[i+1])
		}
		if sum += word; sum > 0xffff {
			sum -= 0xffff
		}
	}
	return uint16(sum)
}

// slowTCPSum is the sum over pseudo-header and segment of a packet without
// extension headers.
func slowTCPSum(pkt []byte) uint16 {
	var pseudo []byte
	var tcp []byte
	if pkt[0]>>4 == 4 {
		tcp = pkt[int(pkt[0]&15)*4:]
		pseudo = append(pseudo, pkt[12:20]...)
		pseudo = append(pseudo, 0, 6)
		pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(tcp)))
	} else {
		tcp = pkt[40:]
		pseudo = append(pseudo, pkt[8:40]...)
		pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(tcp)))
		pseudo = append(pseudo, 0, 0, 0, 6)
	}
	return slowSum(tcp, slowSum(pseudo, 0))
}
