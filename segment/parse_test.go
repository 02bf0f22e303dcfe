package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/ipv4"
)

// cut is pkt with the length field of its IP header telling n octets of TCP.
func cut(pkt []byte, ipLen, n int) []byte {
	if ipLen == IPv4HeaderLen {
		binary.BigEndian.PutUint16(pkt[2:], uint16(ipLen+n))
		fixIPv4(pkt)
	} else {
		binary.BigEndian.PutUint16(pkt[4:], uint16(n))
	}
	return pkt[:ipLen+n]
}

func TestEveryPrefixIsRefused(t *testing.T) {
	for _, fam := range families {
		pkt := mustAppend(t, sample(fam.src, fam.dst, "payload"))
		for n := range len(pkt) {
			var s Segment
			if err := s.Parse(pkt[:n]); Reason(err) == "none" || Reason(err) == "other" {
				t.Errorf("%s: the first %d of %d octets: %v", fam.name, n, len(pkt), err)
			}
		}
	}
}

func TestIPv4Refusals(t *testing.T) {
	set16 := func(at int, v uint16) func([]byte) []byte {
		return func(p []byte) []byte { binary.BigEndian.PutUint16(p[at:], v); return p }
	}
	set := func(at int, v byte) func([]byte) []byte {
		return func(p []byte) []byte { p[at] = v; return p }
	}
	tests := []struct {
		name   string
		change func(pkt []byte) []byte
		want   error
	}{
		{"empty read", func(p []byte) []byte { return nil }, ErrShortIP},
		{"shorter than an IP header", func(p []byte) []byte { return p[:19] }, ErrShortIP},
		{"version 0", set(0, 0x05), ErrVersion},
		{"version 5", set(0, 0x55), ErrVersion},
		{"version 15", set(0, 0xf5), ErrVersion},
		{"header length below 5 words", set(0, 0x44), ErrIPHeaderLen},
		{"header length 0", set(0, 0x40), ErrIPHeaderLen},
		{"header length beyond the total length", func(p []byte) []byte { p[0] = 0x4f; return set16(2, 59)(p) }, ErrIPHeaderLen},
		{"header length beyond the read", func(p []byte) []byte { p[0] = 0x4f; return p[:24] }, ErrTruncated},
		{"total length below the IP header", set16(2, 19), ErrIPHeaderLen},
		{"total length 0", set16(2, 0), ErrIPHeaderLen},
		{"total length holds no TCP header", set16(2, 39), ErrShortTCP},
		{"total length is the IP header", set16(2, 20), ErrShortTCP},
		{"total length one beyond the octets read", func(p []byte) []byte { return p[:len(p)-1] }, ErrTruncated},
		{"total length 65535", set16(2, 65535), ErrTruncated},
		{"total length 0 on more than 64 KiB", func(p []byte) []byte {
			return set16(2, 0)(append(p, make([]byte, 65536-len(p))...))
		}, ErrJumbo},
		{"first fragment", set(6, 0x20), ErrFragment},
		{"middle fragment", set16(6, 0x2001), ErrFragment},
		{"last fragment", set16(6, 0x1000), ErrFragment},
		{"UDP", set(9, 17), ErrNotTCP},
		{"protocol 0", set(9, 0), ErrNotTCP},
		{"header checksum wrong", set(11, 0x99), ErrIPChecksum},
		{"TTL changed and checksum not", set(8, 63), ErrIPChecksum},
		{"data offset 0", set(20+12, 0x00), ErrDataOffset},
		{"data offset 4", set(20+12, 0x40), ErrDataOffset},
		{"data offset beyond the segment", func(p []byte) []byte { p[20+12] = 0xf0; return cut(p, 20, 56) }, ErrOptionsShort},
	}
	for _, tt := range tests {
		pkt := mustAppend(t, sample(v4a, v4b, "a payload of some octets, more than options"))
		var s Segment
		if err := s.Parse(tt.change(pkt)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestIPv6Refusals(t *testing.T) {
	tests := []struct {
		name   string
		change func(pkt []byte) []byte
		want   error
	}{
		{"shorter than an IP header", func(p []byte) []byte { return p[:39] }, ErrShortIP},
		{"payload length beyond the octets read", func(p []byte) []byte { return p[:len(p)-1] }, ErrTruncated},
		{"payload length 0", func(p []byte) []byte { p[4], p[5] = 0, 0; return p }, ErrShortTCP},
		{"payload length 0 before hop-by-hop options", func(p []byte) []byte { p[4], p[5], p[6] = 0, 0, 0; return p }, ErrJumbo},
		{"payload length 0 on more than 64 KiB", func(p []byte) []byte {
			p[4], p[5] = 0, 0
			return append(p, make([]byte, 65576-len(p))...)
		}, ErrJumbo},
		{"payload length holds no TCP header", func(p []byte) []byte { p[4], p[5] = 0, 19; return p }, ErrShortTCP},
		{"no next header", func(p []byte) []byte { p[6] = 59; return p }, ErrNotTCP},
		{"UDP", func(p []byte) []byte { p[6] = 17; return p }, ErrNotTCP},
		{"source is IPv4-mapped", func(p []byte) []byte { copy(p[8:], netip.MustParseAddr("::ffff:198.18.0.1").AsSlice()); return p }, ErrMapped},
		{"destination is IPv4-mapped", func(p []byte) []byte { copy(p[24:], netip.MustParseAddr("::ffff:198.18.0.1").AsSlice()); return p }, ErrMapped},
		{"data offset 4", func(p []byte) []byte { p[40+12] = 0x40; return p }, ErrDataOffset},
		{"data offset beyond the segment", func(p []byte) []byte { p[40+12] = 0xf0; return cut(p, 40, 56) }, ErrOptionsShort},
	}
	for _, tt := range tests {
		pkt := mustAppend(t, sample(v6a, v6b, "a payload of some octets, more than options"))
		var s Segment
		if err := s.Parse(tt.change(pkt)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestTrailingPaddingIsTrimmed(t *testing.T) {
	for _, fam := range families {
		for _, padding := range []int{1, 6, 46, 1000} {
			want := sample(fam.src, fam.dst, "hi")
			pkt := append(mustAppend(t, want), bytes.Repeat([]byte{0xaa}, padding)...)
			got := mustParse(t, pkt)
			if string(got.Payload) != "hi" || got.Checksum != ChecksumOK {
				t.Errorf("%s with %d octets of padding: payload %q, checksum %v", fam.name, padding, got.Payload, got.Checksum)
			}
		}
	}
}

func TestIPv4OptionsAreSkippedWhateverTheySay(t *testing.T) {
	tests := map[string][]byte{
		"record route":              {7, 7, 4, 0, 0, 0, 0, 0},
		"timestamp":                 {68, 8, 5, 0, 0, 0, 0, 0},
		"loose source route":        {131, 7, 4, 198, 18, 0, 9, 0},
		"strict source route":       {137, 7, 8, 198, 18, 0, 9, 0},
		"option length 0":           {131, 0, 0, 0},
		"option length 1":           {131, 1, 0, 0},
		"option length past end":    {131, 255, 0, 0},
		"forty octets of NOP":       bytes.Repeat([]byte{1}, 40),
		"forty octets of length 0s": bytes.Repeat([]byte{131, 0}, 20),
	}
	for name, options := range tests {
		want := sample(v4a, v4b, "payload")
		plain := mustAppend(t, want)
		pkt := append(bytes.Clone(plain[:20]), options...)
		pkt = append(pkt, plain[20:]...)
		pkt[0] = byte(0x45 + len(options)/4)
		binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)))
		fixIPv4(pkt)
		for _, padding := range []int{0, 6} {
			got := mustParse(t, append(bytes.Clone(pkt), make([]byte, padding)...))
			if got.Checksum != ChecksumOK || got.Dst != want.Dst || string(got.Payload) != "payload" {
				t.Errorf("%s: parsed %v to %v, checksum %v", name, &got, got.Dst, got.Checksum)
			}
		}
		var s Segment
		if pkt[len(pkt)-len(plain)+19]++; !errors.Is(s.Parse(pkt), ErrIPChecksum) {
			t.Errorf("%s: another last octet of the header than its checksum says, and no error", name)
		}
	}
}

// extended puts extension headers before the TCP header of an IPv6 packet.
func extended(t testing.TB, first uint8, headers []byte) []byte {
	plain := mustAppend(t, sample(v6a, v6b, "payload"))
	pkt := append(bytes.Clone(plain[:40]), headers...)
	pkt = append(pkt, plain[40:]...)
	pkt[6] = first
	binary.BigEndian.PutUint16(pkt[4:], uint16(len(pkt)-40))
	return pkt
}

// chain is n destination options headers, the last of which leads to TCP.
func chain(n int) []byte {
	var b []byte
	for range n - 1 {
		b = append(b, destOptions, 0, 1, 4, 0, 0, 0, 0)
	}
	return append(b, protocolTCP, 0, 1, 4, 0, 0, 0, 0)
}

func TestIPv6ExtensionHeaders(t *testing.T) {
	rh0 := func(left byte) []byte {
		return append([]byte{protocolTCP, 2, 0, left, 0, 0, 0, 0}, v6b.Addr().AsSlice()...)
	}
	tests := []struct {
		name    string
		first   uint8
		headers []byte
		want    error
	}{
		{"hop-by-hop options", hopByHop, []byte{protocolTCP, 0, 1, 4, 0, 0, 0, 0}, nil},
		{"destination options", destOptions, chain(1), nil},
		{"long destination options", destOptions, append([]byte{protocolTCP, 1, 1, 12}, make([]byte, 12)...), nil},
		{"authentication header", authHeader, append([]byte{protocolTCP, 4}, make([]byte, 22)...), nil},
		{"finished RH0", routing, rh0(0), nil},
		{"unfinished RH0", routing, rh0(1), ErrExtension},
		{"fragment", fragment, []byte{protocolTCP, 0, 0, 1, 0, 0, 0, 1}, ErrFragment},
		{"atomic fragment", fragment, []byte{protocolTCP, 0, 0, 0, 0, 0, 0, 1}, ErrFragment},
		{"eight headers", destOptions, chain(8), nil},
		{"nine headers", destOptions, chain(9), ErrExtension},
		{"255 headers", destOptions, chain(255), ErrExtension},
		{"hop-by-hop options not first", destOptions, append([]byte{hopByHop, 0, 1, 4, 0, 0, 0, 0}, chain(1)...), ErrExtension},
		{"length beyond the packet", destOptions, []byte{protocolTCP, 255, 1, 4, 0, 0, 0, 0}, ErrExtension},
		{"ESP", 50, make([]byte, 8), ErrNotTCP},
		{"ends in no next header", destOptions, []byte{59, 0, 1, 4, 0, 0, 0, 0}, ErrNotTCP},
	}
	for _, tt := range tests {
		var s Segment
		err := s.Parse(extended(t, tt.first, tt.headers))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		} else if err == nil && (string(s.Payload) != "payload" || s.Checksum != ChecksumOK || s.Src != v6a) {
			t.Errorf("%s: parsed as %v, checksum %v", tt.name, &s, s.Checksum)
		}
	}
}

func TestIPv6ExtensionHeaderCutShort(t *testing.T) {
	pkt := extended(t, destOptions, chain(1))
	for n := range 8 {
		short := bytes.Clone(pkt[:40+n])
		binary.BigEndian.PutUint16(short[4:], uint16(n))
		var s Segment
		if err := s.Parse(short); !errors.Is(err, ErrExtension) {
			t.Errorf("%d octets of an extension header: %v", n, err)
		}
	}
}

func TestIPv6ExtensionHeaderOfEveryLength(t *testing.T) {
	for first, unit := range map[uint8]int{destOptions: 8, hopByHop: 8, authHeader: 4} {
		for length := range 256 {
			pkt := extended(t, first, append([]byte{protocolTCP, byte(length)}, make([]byte, 6)...))
			size := (length + 8/unit) * unit // all the header types begin at 8 octets
			left := len(pkt) - IPv6HeaderLen - size
			var s Segment
			err := s.Parse(pkt)
			if left < 0 && !errors.Is(err, ErrExtension) || left >= 0 && left < TCPHeaderLen && !errors.Is(err, ErrShortTCP) {
				t.Errorf("type %d, length %d: %v with %d octets left", first, length, err, left)
			}
		}
	}
}

func TestIPv4HeaderReadsAsXNetReadsIt(t *testing.T) {
	s := sample(v4a, v4b, "payload")
	s.TTL, s.TOS, s.IPID = 37, 0xb9, 0xbeef
	pkt := mustAppend(t, s)
	h, err := ipv4.ParseHeader(pkt)
	if err != nil {
		t.Fatal(err)
	}
	if h.Version != 4 || h.Len != 20 || h.TOS != 0xb9 || h.TotalLen != len(pkt) || h.ID != 0xbeef ||
		h.Flags != ipv4.DontFragment || h.FragOff != 0 || h.TTL != 37 || h.Protocol != 6 ||
		h.Src.String() != "198.18.0.1" || h.Dst.String() != "198.18.0.2" {
		t.Errorf("x/net reads %v", h)
	}
	if sum := slowSum(pkt[:20], 0); sum != 0xffff {
		t.Errorf("header sums up to %#x, not to all ones", sum)
	}
}

func TestIPv4HeaderOfXNetIsRead(t *testing.T) {
	plain := mustAppend(t, sample(v4a, v4b, "payload"))
	h := ipv4.Header{Version: 4, Len: 24, TOS: 0x1c, TotalLen: 24 + len(plain) - 20, ID: 0x1234, Flags: ipv4.DontFragment,
		TTL: 3, Protocol: 6, Src: v4a.Addr().AsSlice(), Dst: v4b.Addr().AsSlice(), Options: []byte{1, 1, 1, 1}}
	head, err := h.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	pkt := append(head, plain[20:]...)
	fixIPv4(pkt) // x/net leaves the checksum to the kernel
	got := mustParse(t, pkt)
	if got.TTL != 3 || got.TOS != 0x1c || got.IPID != 0x1234 || got.Src != v4a || got.Dst != v4b || got.Checksum != ChecksumOK {
		t.Errorf("parsed %+v", got)
	}
}

func TestIPFieldsAreCaptured(t *testing.T) {
	for _, fam := range families {
		for _, ttl := range []uint8{1, 64, 255} {
			for _, tos := range []uint8{0, 1, 2, 3, 0xfc, 0xff} {
				s := sample(fam.src, fam.dst, "")
				s.TTL, s.TOS = ttl, tos
				got := mustParse(t, mustAppend(t, s))
				if got.TTL != ttl || got.TOS != tos {
					t.Errorf("%s: TTL %d TOS %#x came back as %d, %#x", fam.name, ttl, tos, got.TTL, got.TOS)
				}
			}
		}
	}
}

func TestHopLimitZeroIsAccepted(t *testing.T) {
	for _, fam := range families {
		pkt := mustAppend(t, sample(fam.src, fam.dst, ""))
		if fam.ipLen == IPv4HeaderLen {
			pkt[8] = 0
			fixIPv4(pkt)
		} else {
			pkt[7] = 0
		}
		if got := mustParse(t, pkt); got.TTL != 0 || got.Checksum != ChecksumOK {
			t.Errorf("%s: TTL %d, checksum %v", fam.name, got.TTL, got.Checksum)
		}
	}
}

func TestReservedBitsAreIgnored(t *testing.T) {
	for _, fam := range families {
		pkt := mustAppend(t, sample(fam.src, fam.dst, ""))
		pkt[fam.ipLen+12] |= 0x0e
		if got := mustParse(t, pkt); got.Flags != ACK|PSH {
			t.Errorf("%s: flags %v", fam.name, got.Flags)
		}
	}
}

func TestAllFlagsGoThere(t *testing.T) {
	for flags := range allFlags + 1 {
		s := sample(v4a, v4b, "")
		s.Flags = flags
		if got := mustParse(t, mustAppend(t, s)); got.Flags != flags {
			t.Errorf("flags %v came back as %v", flags, got.Flags)
		}
	}
}

// A pointer beyond the data, at it, or 0 is the engine's to judge.
func TestUrgentPointerIsTakenAsItStands(t *testing.T) {
	for _, urgent := range []uint16{0, 1, 7, 8, 65535} {
		s := sample(v4a, v4b, "payload")
		s.Flags, s.Urgent, s.Seq = ACK|URG, urgent, MakeSeq(0xffffffff)
		got := mustParse(t, mustAppend(t, s))
		if got.Urgent != urgent || string(got.Payload) != "payload" {
			t.Errorf("urgent %d came back as %d with %q", urgent, got.Urgent, got.Payload)
		}
	}
}

func TestDataOnRST(t *testing.T) {
	s := sample(v4a, v4b, "go away")
	s.Flags = RST
	if got := mustParse(t, mustAppend(t, s)); got.Flags != RST || string(got.Payload) != "go away" {
		t.Errorf("parsed %v with %q", &got, got.Payload)
	}
}

func TestSuperSegments(t *testing.T) {
	for _, fam := range families {
		for _, size := range []int{7300, 65495 - 32, 65535 - 20 - 32} {
			want := sample(fam.src, fam.dst, string(bytes.Repeat([]byte("abc"), 21846)[:size-fam.ipLen+20]))
			got := mustParse(t, mustAppend(t, want))
			if !bytes.Equal(got.Payload, want.Payload) || got.Checksum != ChecksumOK {
				t.Errorf("%s: %d octets came back as %d, checksum %v", fam.name, len(want.Payload), len(got.Payload), got.Checksum)
			}
		}
	}
}

func TestParseOverwritesEveryField(t *testing.T) {
	plain := Segment{Src: v6a, Dst: v6b, Flags: RST, TTL: 1}
	pkt := mustAppend(t, plain)
	full := sample(v4a, v4b, "payload")
	full.Options = optionSets[len(optionSets)-1].o
	full.TOS, full.IPID, full.Urgent = 1, 2, 3
	s := mustParse(t, mustAppend(t, full))
	if err := s.Parse(pkt); err != nil {
		t.Fatal(err)
	}
	if fresh := mustParse(t, pkt); !same(s, fresh) {
		t.Errorf("reused: %+v\nfresh:  %+v", s, fresh)
	}
}

func TestParseUnverifiedLooksAtNoChecksum(t *testing.T) {
	for _, fam := range families {
		pkt := mustAppend(t, sample(fam.src, fam.dst, "payload"))
		want := mustParse(t, pkt)
		want.Checksum = ChecksumUnknown
		pkt[fam.ipLen+16] ^= 0xff
		if fam.ipLen == IPv4HeaderLen {
			pkt[10] ^= 0xff
		}
		got := Segment{Checksum: ChecksumBad} // of the packet before
		if err := got.ParseUnverified(pkt); err != nil || !same(got, want) {
			t.Errorf("%s: %+v (%v), want %+v", fam.name, got, err, want)
		}
		if err := got.ParseUnverified(pkt[:30]); err == nil {
			t.Errorf("%s: a short packet was read", fam.name)
		}
	}
}

func TestReason(t *testing.T) {
	all := []error{ErrShortIP, ErrVersion, ErrIPHeaderLen, ErrTruncated, ErrJumbo, ErrIPChecksum, ErrFragment, ErrExtension,
		ErrMapped, ErrNotTCP, ErrShortTCP, ErrDataOffset, ErrOptionsShort, ErrAddress, ErrTooLarge, ErrOptionsTooLong}
	names := map[string]bool{Reason(nil): true, Reason(errors.New("of someone else")): true}
	if !names["none"] || !names["other"] {
		t.Errorf("names of nil and of a strange error: %v", names)
	}
	for _, err := range all {
		name := Reason(errors.Join(err)) // wrapped
		if text := err.Error(); text == "" || strings.HasSuffix(text, ".") {
			t.Errorf("%s says %q", name, text)
		}
		if names[name] {
			t.Errorf("%v: name %q is not its own", err, name)
		}
		names[name] = true
	}
}
