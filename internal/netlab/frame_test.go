package netlab

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// datagram builds an Ethernet frame with an IP packet that carries payload.
func datagram(src, dst netip.Addr, protocol byte, payload []byte) []byte {
	frame := make([]byte, ethernetLen)
	if src.Is4() {
		binary.BigEndian.PutUint16(frame[12:], unix.ETH_P_IP)
		header := make([]byte, ipv4Len)
		header[0] = 0x45
		binary.BigEndian.PutUint16(header[2:], uint16(ipv4Len+len(payload)))
		header[8], header[9] = 64, protocol
		copy(header[12:], src.AsSlice())
		copy(header[16:], dst.AsSlice())
		return append(append(frame, header...), payload...)
	}
	binary.BigEndian.PutUint16(frame[12:], unix.ETH_P_IPV6)
	header := make([]byte, ipv6Len)
	header[0] = 0x60
	binary.BigEndian.PutUint16(header[4:], uint16(len(payload)))
	header[6], header[7] = protocol, 64
	copy(header[8:], src.AsSlice())
	copy(header[24:], dst.AsSlice())
	return append(append(frame, header...), payload...)
}

var (
	v4a, v4b = netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2")
	v6a, v6b = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// slowSum is the Internet checksum with a carry after every octet pair, over a
// pseudo-header written out: a second opinion on finishChecksum.
func slowSum(src, dst netip.Addr, protocol byte, payload []byte) uint16 {
	var b []byte
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(append(b, 0, 0, 0, protocol), payload...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
		if sum > 0xffff {
			sum -= 0xffff
		}
	}
	return uint16(sum)
}

func TestFinishChecksum(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, ends := range [][2]netip.Addr{{v4a, v4b}, {v6a, v6b}} {
		for protocol, at := range map[byte]int{unix.IPPROTO_TCP: 16, unix.IPPROTO_UDP: 6} {
			for _, n := range []int{20, 21, 1460, 1461, 40_001} {
				payload := make([]byte, n)
				for i := range payload {
					payload[i] = byte(random.Uint32())
				}
				pseudo := slowSum(ends[0], ends[1], protocol, make([]byte, n))
				binary.BigEndian.PutUint16(payload[at:], pseudo)
				packet := datagram(ends[0], ends[1], protocol, payload)[ethernetLen:]
				if !finishChecksum(packet) {
					t.Errorf("protocol %d, %d octets: not recognised as unfinished", protocol, n)
				}
				_, finished := transport(packet)
				if got := slowSum(ends[0], ends[1], protocol, finished); got != 0xffff {
					t.Errorf("protocol %d, %d octets: the sum over the finished segment is %#04x", protocol, n, got)
				}
				whole := bytes.Clone(packet)
				if finishChecksum(packet) || !bytes.Equal(packet, whole) {
					t.Errorf("protocol %d, %d octets: a valid checksum was changed", protocol, n)
				}
			}
		}
	}
}

func TestFinishChecksumLeavesOthersAlone(t *testing.T) {
	tcp := make([]byte, 20)
	binary.BigEndian.PutUint16(tcp[16:], slowSum(v4a, v4b, unix.IPPROTO_TCP, tcp))
	for name, change := range map[string]func(packet []byte){
		"icmp":           func(p []byte) { p[9] = unix.IPPROTO_ICMP },
		"first fragment": func(p []byte) { p[6] = 0x20 },
		"later fragment": func(p []byte) { p[7] = 1 },
		"damaged":        func(p []byte) { p[ipv4Len+17] ^= 1 },
	} {
		packet := datagram(v4a, v4b, unix.IPPROTO_TCP, bytes.Clone(tcp))[ethernetLen:]
		change(packet)
		before := bytes.Clone(packet)
		if finishChecksum(packet) || !bytes.Equal(packet, before) {
			t.Errorf("%s: changed", name)
		}
	}
	if !finishChecksum(datagram(v4a, v4b, unix.IPPROTO_TCP, tcp)[ethernetLen:]) {
		t.Error("the packet the others were made of is not unfinished itself")
	}
}

// TestValidChecksumThatLooksUnfinished builds the segment whose checksum is
// both valid and the sum of the pseudo-header.
func TestValidChecksumThatLooksUnfinished(t *testing.T) {
	payload := make([]byte, 22)
	pseudo := slowSum(v4a, v4b, unix.IPPROTO_TCP, payload)
	binary.BigEndian.PutUint16(payload[16:], pseudo)
	binary.BigEndian.PutUint16(payload[20:], ^fold(2*uint64(pseudo)))
	if got := slowSum(v4a, v4b, unix.IPPROTO_TCP, payload); got != 0xffff {
		t.Fatalf("the sum over the segment is %#04x: it is not valid", got)
	}
	packet := datagram(v4a, v4b, unix.IPPROTO_TCP, bytes.Clone(payload))[ethernetLen:]
	if finishChecksum(packet) || !bytes.Equal(packet[ipv4Len:], payload) {
		t.Error("taken for unfinished, or changed")
	}
}

// TestFinishedUDPChecksumIsNotZero builds the datagram whose sum comes out as zero.
func TestFinishedUDPChecksumIsNotZero(t *testing.T) {
	payload := make([]byte, 10)
	pseudo := slowSum(v4a, v4b, unix.IPPROTO_UDP, payload)
	binary.BigEndian.PutUint16(payload[6:], pseudo)
	binary.BigEndian.PutUint16(payload[8:], ^pseudo)
	packet := datagram(v4a, v4b, unix.IPPROTO_UDP, payload)[ethernetLen:]
	if !finishChecksum(packet) {
		t.Fatal("not recognised as unfinished")
	}
	if got := binary.BigEndian.Uint16(packet[ipv4Len+6:]); got != 0xffff {
		t.Errorf("checksum %#04x, want 0xffff: zero says that there is none", got)
	}
}

func TestImpairable(t *testing.T) {
	tcp := datagram(v4a, v4b, unix.IPPROTO_TCP, make([]byte, 20))
	tcp6 := datagram(v6a, v6b, unix.IPPROTO_TCP, make([]byte, 20))
	arp := make([]byte, 42)
	binary.BigEndian.PutUint16(arp[12:], unix.ETH_P_ARP)
	mld := datagram(v6a, v6b, unix.IPPROTO_HOPOPTS, []byte{unix.IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0, 143})
	short := bytes.Clone(tcp)
	binary.BigEndian.PutUint16(short[ethernetLen+2:], uint16(len(tcp)))
	icmp6 := func(typ byte) []byte { return datagram(v6a, v6b, unix.IPPROTO_ICMPV6, []byte{typ, 0, 0, 0}) }
	for _, tc := range []struct {
		name  string
		frame []byte
		want  bool
	}{
		{"tcp", tcp, true},
		{"tcp6", tcp6, true},
		{"udp", datagram(v4a, v4b, unix.IPPROTO_UDP, make([]byte, 8)), true},
		{"ping", datagram(v4a, v4b, unix.IPPROTO_ICMP, make([]byte, 8)), true},
		{"ping6", icmp6(128), true},
		{"packet too big", icmp6(2), true},
		{"neighbour solicitation", icmp6(135), false},
		{"neighbour advertisement", icmp6(136), false},
		{"router solicitation", icmp6(133), false},
		{"mld", mld, false},
		{"igmp", datagram(v4a, v4b, unix.IPPROTO_IGMP, make([]byte, 8)), false},
		{"arp", arp, false},
		{"cut short", short, false},
		{"no ethernet header", tcp[:13], false},
		{"no ip header", tcp[:20], false},
	} {
		if got := impairable(tc.frame) != nil; got != tc.want {
			t.Errorf("%s: impairable is %t, want %t", tc.name, got, tc.want)
		}
	}
	if got := impairable(append(bytes.Clone(tcp), 0, 0, 0, 0, 0, 0)); len(got) != 40 {
		t.Errorf("%d octets of a padded frame, want 40: padding is not part of the packet", len(got))
	}
}

func TestFlipBitTurnsOneBitBehindTheHeader(t *testing.T) {
	for _, where := range []float64{0, 0.25, 0.5, 0.9999999} {
		for _, frame := range [][]byte{datagram(v4a, v4b, 6, make([]byte, 100)), datagram(v6a, v6b, 6, make([]byte, 100))} {
			packet := frame[ethernetLen:]
			before := bytes.Clone(packet)
			if !flipBit(packet, where) {
				t.Fatal("nothing turned over")
			}
			flipped := 0
			for i := range packet {
				flipped += bits.OnesCount8(packet[i] ^ before[i])
			}
			header := len(packet) - 100
			if flipped != 1 || !bytes.Equal(packet[:header], before[:header]) {
				t.Errorf("at %v: %d bits turned over, header unharmed: %t", where, flipped, bytes.Equal(packet[:header], before[:header]))
			}
		}
	}
}

// FuzzFrame feeds a lane whatever a host may put on the wire.
func FuzzFrame(f *testing.F) {
	f.Add(datagram(v4a, v4b, unix.IPPROTO_TCP, make([]byte, 20)))
	f.Add(datagram(v6a, v6b, unix.IPPROTO_HOPOPTS, []byte{unix.IPPROTO_DSTOPTS, 0, 5, 2, 0, 0, 1, 0, 6, 255}))
	f.Fuzz(func(t *testing.T, frame []byte) {
		l := testLane(t, 1, Impairment{Corrupt: 1, Duplicate: 1})
		l.admit(start, bytes.Clone(frame))
		n := 0
		for got, ok := l.pop(start); ok; got, ok = l.pop(start) {
			n++
			if len(got) != len(frame) {
				t.Fatalf("%d octets became %d", len(frame), len(got))
			}
		}
		if n != 1 && n != 2 {
			t.Fatalf("one frame became %d", n)
		}
	})
}
