package segment

import (
	"net/netip"
	"reflect"
	"testing"
)

var (
	v4a = netip.MustParseAddrPort("198.18.0.1:40000")
	v4b = netip.MustParseAddrPort("198.18.0.2:80")
	v6a = netip.MustParseAddrPort("[2001:db8::1]:40000")
	v6b = netip.MustParseAddrPort("[2001:db8::2]:80")
)

// families are the address pairs that every codec test runs over.
var families = []struct {
	name     string
	src, dst netip.AddrPort
	ipLen    int
}{
	{"IPv4", v4a, v4b, IPv4HeaderLen},
	{"IPv6", v6a, v6b, IPv6HeaderLen},
}

// optionSets are the combinations of options that a segment carries in practice.
var optionSets = []struct {
	name string
	o    Options
	text string
}{
	{"none", Options{}, ""},
	{"Linux SYN", Options{Set: HasMSS | HasSACKPermitted | HasTimestamps | HasWindowScale, MSS: 1460, TSVal: 1, WindowScale: 7},
		"mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7"},
	{"MSS", Options{Set: HasMSS, MSS: 536}, "mss 536"},
	{"no SACK", Options{Set: HasMSS | HasTimestamps | HasWindowScale, MSS: 1460, TSVal: 1, WindowScale: 14},
		"mss 1460,nop,nop,TS val 1 ecr 0,nop,wscale 14"},
	{"no timestamps", Options{Set: HasMSS | HasSACKPermitted | HasWindowScale, MSS: 1460, WindowScale: 0},
		"mss 1460,nop,nop,sackOK,nop,wscale 0"},
	{"timestamps", Options{Set: HasTimestamps, TSVal: 4294967295, TSEcr: 3}, "nop,nop,TS val 4294967295 ecr 3"},
	{"SACK", Options{Set: HasSACK, SACKCount: 1, SACK: [4]SACKBlock{{Seq{1001}, Seq{2001}}}}, "nop,nop,sack 1001:2001"},
	{"four SACK blocks", Options{Set: HasSACK, SACKCount: 4, SACK: fourBlocks}, "nop,nop,sack 1:2 3:4 5:6 7:8"},
	{"timestamps and three SACK blocks", Options{Set: HasTimestamps | HasSACK, TSVal: 7, TSEcr: 8, SACKCount: 3, SACK: [4]SACKBlock(append(fourBlocks[:3:3], SACKBlock{}))},
		"nop,nop,TS val 7 ecr 8,nop,nop,sack 1:2 3:4 5:6"},
	{"TFO request", Options{Set: HasMSS | HasFastOpen, MSS: 1460, FastOpen: []byte{}}, "mss 1460,tfo cookiereq,nop,nop"},
	{"TFO cookie", Options{Set: HasFastOpen, FastOpen: []byte{1, 2, 3, 4, 5, 6, 7, 8}}, "tfo cookie 0102030405060708,nop,nop"},
	{"everything", Options{Set: HasMSS | HasSACKPermitted | HasTimestamps | HasWindowScale | HasFastOpen, MSS: 1460, TSVal: 1, TSEcr: 2, WindowScale: 3,
		FastOpen: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
		"mss 1460,sackOK,TS val 1 ecr 2,nop,wscale 3,tfo cookie 0102030405060708090a0b0c0d0e0f10,nop,nop"},
}

var fourBlocks = [4]SACKBlock{{Seq{1}, Seq{2}}, {Seq{3}, Seq{4}}, {Seq{5}, Seq{6}}, {Seq{7}, Seq{8}}}

// sample returns a data segment between two addresses.
func sample(src, dst netip.AddrPort, payload string) Segment {
	return Segment{Src: src, Dst: dst, Seq: Seq{1000}, Ack: Seq{2000}, Flags: ACK | PSH, Window: 502, TTL: 64,
		Options: Options{Set: HasTimestamps, TSVal: 7, TSEcr: 3}, Payload: []byte(payload)}
}

// mustAppend builds a packet with spare room behind it, as a read buffer has.
func mustAppend(t testing.TB, s Segment) []byte {
	t.Helper()
	pkt, err := s.Append(make([]byte, 0, 100+len(s.Payload)))
	if err != nil {
		t.Fatalf("Append(%v): %v", &s, err)
	}
	return pkt
}

// mustParse reads a packet that must be good.
func mustParse(t testing.TB, pkt []byte) Segment {
	t.Helper()
	var s Segment
	if err := s.Parse(pkt); err != nil {
		t.Fatalf("Parse(%x): %v", pkt, err)
	}
	return s
}

// fixIPv4 gives a changed IPv4 header a right checksum.
func fixIPv4(pkt []byte) {
	h := pkt[:int(pkt[0]&15)*4]
	h[10], h[11] = 0, 0
	check := ^slowSum(h, 0)
	h[10], h[11] = byte(check>>8), byte(check)
}

// same compares what two segments mean: a nil Raw and an empty one are alike, and
// so are a nil payload and an empty one.
func same(a, b Segment) bool {
	for _, s := range []*Segment{&a, &b} {
		if len(s.Options.Raw) == 0 {
			s.Options.Raw = nil
		}
		if len(s.Options.FastOpen) == 0 {
			s.Options.FastOpen = nil
		}
		if len(s.Payload) == 0 {
			s.Payload = nil
		}
	}
	return reflect.DeepEqual(a, b)
}
