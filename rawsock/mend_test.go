package rawsock

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestMendHeader: what the kernel has written into an option of a header makes its
// checksum wrong, and nothing else is touched.
func TestMendHeader(t *testing.T) {
	header := func(octets int) []byte {
		packet := make([]byte, octets+20)
		packet[0] = 4<<4 | byte(octets/4)
		for i := range octets {
			if i > 0 && i != 10 && i != 11 {
				packet[i] = byte(37 * i)
			}
		}
		packet[10], packet[11] = 0xab, 0xcd
		return packet
	}
	for _, octets := range []int{24, 40, 60} {
		packet := header(octets)
		mendHeader(packet)
		sum := uint32(0)
		for i := 0; i < octets; i += 2 {
			if sum += uint32(binary.BigEndian.Uint16(packet[i:])); sum > 0xffff {
				sum -= 0xffff
			}
		}
		if sum != 0xffff {
			t.Errorf("%d octets: the header sums up to %#x", octets, sum)
		}
		packet[10], packet[11] = 0xab, 0xcd
		if !bytes.Equal(packet, header(octets)) {
			t.Errorf("%d octets: more than the checksum has changed", octets)
		}
	}
	long := header(60)[:40]
	for name, packet := range map[string][]byte{"plain": header(20), "cut": long, "IPv6": append([]byte{0x60}, make([]byte, 39)...), "empty": nil} {
		before := bytes.Clone(packet)
		if mendHeader(packet); !bytes.Equal(packet, before) {
			t.Errorf("%s: changed", name)
		}
	}
}
