package rawsock

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
)

// accepts runs a filter on the machine of x/net.
func accepts(t *testing.T, v6 bool, ranges []portRange, pkt []byte) bool {
	t.Helper()
	return run(t, newVM(t, v6, ranges), pkt)
}

func newVM(t *testing.T, v6 bool, ranges []portRange) *bpf.VM {
	t.Helper()
	raw := refuseAll
	if len(ranges) > 0 { // the machine does not know how a packet came: TestBroadcastIsNotHeard does
		raw = mustAssemble(filterInstructions(&socket{v6: v6}, ranges))
	}
	prog, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the program does not disassemble")
	}
	vm, err := bpf.NewVM(prog)
	must(t, err)
	return vm
}

func run(t *testing.T, vm *bpf.VM, pkt []byte) bool {
	t.Helper()
	n, err := vm.Run(pkt)
	must(t, err)
	return n > 0
}

// filterPacket is a packet as a raw socket's filter sees it: on IPv6 without
// the IP header.
func filterPacket(v6 bool, port uint16) []byte {
	if v6 {
		a := netip.MustParseAddr("2001:db8::1")
		return tcpPacket{src: netip.AddrPortFrom(a, 80), dst: netip.AddrPortFrom(a, port)}.bytes()[ipv6HeaderLen:]
	}
	a := netip.MustParseAddr("198.18.0.1")
	return tcpPacket{src: netip.AddrPortFrom(a, 80), dst: netip.AddrPortFrom(a, port)}.bytes()
}

func TestFilterAcceptsThePorts(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, ranges := range [][]portRange{
			nil,
			{{80, 80}},
			{{1, 1}, {65535, 65535}},
			{{1, 65535}},
			{{22, 22}, {80, 90}, {443, 443}},
		} {
			for _, port := range []uint16{1, 2, 21, 22, 23, 79, 80, 85, 90, 91, 442, 443, 444, 32768, 65534, 65535} {
				want := slices.ContainsFunc(ranges, func(r portRange) bool { return r.first <= port && port <= r.last })
				if got := accepts(t, v6, ranges, filterPacket(v6, port)); got != want {
					t.Errorf("v6 %v, ports %v: port %d accepted: %v", v6, ranges, port, got)
				}
			}
		}
	}
}

func TestFilterOfAllSizes(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for n := 1; n <= maxRanges; n++ {
			var ranges []portRange
			for i := range uint16(n) {
				ranges = append(ranges, portRange{100 + 10*i, 103 + 10*i})
			}
			if size := len(filterProgram(&socket{v6: v6}, ranges)); size > 4096 {
				t.Fatalf("%d ranges make %d instructions", n, size)
			}
			vm, pkt := newVM(t, v6, ranges), filterPacket(v6, 0)
			at := len(pkt) - 20 + 2 // of the destination port
			for i := range uint16(n) {
				for offset, want := range []bool{true, true, true, true, false, false} {
					port := 100 + 10*i + uint16(offset)
					binary.BigEndian.PutUint16(pkt[at:], port)
					if run(t, vm, pkt) != want {
						t.Fatalf("v6 %v, %d ranges: port %d accepted: %v", v6, n, port, !want)
					}
				}
			}
		}
	}
}

func TestFilterFollowsIHL(t *testing.T) {
	pkt := filterPacket(false, 80)
	for words := 0; words <= 10; words++ {
		long := append(append(append([]byte(nil), pkt[:20]...), make([]byte, 4*words)...), pkt[20:]...)
		long[0] = 0x45 + byte(words)
		if !accepts(t, false, []portRange{{80, 80}}, long) {
			t.Errorf("%d words of options hide the port", words)
		}
		if accepts(t, false, []portRange{{81, 81}}, long) {
			t.Errorf("%d words of options let another port through", words)
		}
	}
}

func TestFilterRefusesFragmentsAndOthers(t *testing.T) {
	want := []portRange{{1, 65535}}
	for name, spoil := range map[string]func([]byte) []byte{
		"first fragment": func(p []byte) []byte { binary.BigEndian.PutUint16(p[6:], 0x2000); return p },
		"later fragment": func(p []byte) []byte { binary.BigEndian.PutUint16(p[6:], 0x0001); return p },
		"last fragment":  func(p []byte) []byte { binary.BigEndian.PutUint16(p[6:], 0x1fff); return p },
		"UDP":            func(p []byte) []byte { p[9] = 17; return p },
		"no ports":       func(p []byte) []byte { return p[:22] },
		"half a header":  func(p []byte) []byte { return p[:10] },
		"nothing":        func(p []byte) []byte { return nil },
		"IHL beyond":     func(p []byte) []byte { p[0] = 0x4f; return p },
	} {
		if accepts(t, false, want, spoil(filterPacket(false, 80))) {
			t.Errorf("%s is accepted", name)
		}
	}
	df := filterPacket(false, 80)
	binary.BigEndian.PutUint16(df[6:], 0xc000) // DF and the reserved bit say nothing about fragments
	if !accepts(t, false, want, df) {
		t.Error("DF is taken for a fragment")
	}
	if accepts(t, true, want, filterPacket(true, 80)[:3]) {
		t.Error("an IPv6 packet without ports is accepted")
	}
}

func TestPortSetRanges(t *testing.T) {
	for _, c := range []struct {
		ports []uint16
		limit int
		want  []portRange
	}{
		{nil, 4, nil},
		{[]uint16{80}, 4, []portRange{{80, 80}}},
		{[]uint16{81, 80, 82}, 4, []portRange{{80, 82}}},
		{[]uint16{63, 64, 127, 128}, 4, []portRange{{63, 64}, {127, 128}}},
		{[]uint16{1, 65535}, 2, []portRange{{1, 1}, {65535, 65535}}},
		{[]uint16{0, 65535}, 1, []portRange{{0, 65535}}},
		{[]uint16{10, 12, 14, 100}, 2, []portRange{{10, 15}, {100, 101}}},
		{[]uint16{10, 14, 100, 300}, 2, []portRange{{0, 127}, {256, 319}}},
	} {
		var s portSet
		for _, p := range c.ports {
			s.add(p)
		}
		if got := s.ranges(c.limit); !slices.Equal(got, c.want) {
			t.Errorf("%v in %d ranges: %v, want %v", c.ports, c.limit, got, c.want)
		}
	}
}

// TestPortSetNeverLosesAPort puts random sets into few ranges: they may widen,
// stay sorted and apart, and hold every port.
func TestPortSetNeverLosesAPort(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var s portSet
		var ports []uint16
		for range rng.IntN(500) {
			p := uint16(rng.IntN(1 << 16))
			s.add(p)
			ports = append(ports, p)
		}
		limit := 1 + rng.IntN(64)
		ranges := s.ranges(limit)
		if len(ranges) > limit {
			t.Fatalf("%d ranges, limit %d", len(ranges), limit)
		}
		for i, r := range ranges {
			if r.first > r.last || i > 0 && int(r.first) <= int(ranges[i-1].last)+1 {
				t.Fatalf("ranges %v", ranges)
			}
		}
		for _, p := range ports {
			if !slices.ContainsFunc(ranges, func(r portRange) bool { return r.first <= p && p <= r.last }) {
				t.Fatalf("port %d is in none of %v", p, ranges)
			}
			s.remove(p)
		}
		if len(s.ranges(limit)) != 0 {
			t.Fatal("ports are left after all were removed")
		}
	}
}

// FuzzSplit walks headers of any bytes: nothing may panic or reach beyond them.
func FuzzSplit(f *testing.F) {
	f.Add(filterPacket(false, 80))
	f.Add(append(make([]byte, ipv6HeaderLen), filterPacket(true, 80)...))
	f.Fuzz(func(t *testing.T, pkt []byte) {
		src, dst, tcp, ok := split(pkt)
		if ok && (!src.IsValid() || !dst.IsValid() || len(tcp) > len(pkt)-ipv4HeaderLen) {
			t.Errorf("split(%x) = %v, %v, %x", pkt, src, dst, tcp)
		}
		describe(pkt)
		_ = (&ICMPError{Quoted: pkt}).Error()
		var e errorEntry
		e.parse(pkt)
		var info controlInfo
		info.parse(pkt)
	})
}

// What the filter of a packet socket lets through, beside what that of a raw
// socket does: first fragments and extension headers, to be looked at.
func TestFrameFilter(t *testing.T) {
	extended := func(p []byte, next byte) []byte { p[6] = next; return p }
	same := func(p []byte) []byte { return p }
	for _, tt := range []struct {
		name  string
		v6    bool
		port  uint16
		spoil func([]byte) []byte
		want  bool
	}{
		{"the port", false, 80, same, true},
		{"another port", false, 81, same, false},
		{"behind options", false, 80, func(p []byte) []byte {
			p[0] = 0x46
			return append(append(append([]byte(nil), p[:20]...), 1, 1, 1, 0), p[20:]...)
		}, true},
		{"a first fragment", false, 80, func(p []byte) []byte { p[6] = 0x20; return p }, true},
		{"a first fragment to another port", false, 81, func(p []byte) []byte { p[6] = 0x20; return p }, false},
		{"a later fragment", false, 80, func(p []byte) []byte { p[7] = 1; return p }, false},
		{"UDP", false, 80, func(p []byte) []byte { p[9] = 17; return p }, false},
		{"half a header", false, 80, func(p []byte) []byte { return p[:21] }, false},
		{"the port", true, 80, same, true},
		{"another port", true, 81, same, false},
		{"UDP", true, 80, func(p []byte) []byte { return extended(p, 17) }, false},
		{"hop-by-hop options", true, 81, func(p []byte) []byte { return extended(p, 0) }, true},
		{"routing", true, 81, func(p []byte) []byte { return extended(p, 43) }, true},
		{"a fragment", true, 81, func(p []byte) []byte { return extended(p, 44) }, true},
		{"destination options", true, 81, func(p []byte) []byte { return extended(p, 60) }, true},
		{"ESP", true, 80, func(p []byte) []byte { return extended(p, 50) }, false},
		{"half a header", true, 80, func(p []byte) []byte { return p[:42] }, false},
	} {
		src, dst := netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2")
		if tt.v6 {
			src, dst = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
		}
		pkt := tcpPacket{src: netip.AddrPortFrom(src, 9), dst: netip.AddrPortFrom(dst, tt.port)}.bytes()
		prog, ok := bpf.Disassemble(mustAssemble(filterInstructions(&socket{v6: tt.v6, packet: true}, []portRange{{80, 80}})))
		if !ok {
			t.Fatal("the program does not disassemble")
		}
		vm, err := bpf.NewVM(prog)
		must(t, err)
		if got := run(t, vm, tt.spoil(pkt)); got != tt.want {
			t.Errorf("IPv6 %v, %s: let through: %v", tt.v6, tt.name, got)
		}
	}
}

// Whatever comes behind an IPv6 header is looked through without harm.
func FuzzSkipExtensions(f *testing.F) {
	pkt := tcpPacket{src: netip.MustParseAddrPort("[2001:db8::1]:1"), dst: netip.MustParseAddrPort("[2001:db8::2]:2"), payload: []byte("payload")}.bytes()
	for _, next := range []byte{0, 6, 43, 44, 50, 60} {
		long := append(append(append([]byte(nil), pkt[:40]...), 6, 0, 0, 0, 0, 0, 0, 0), pkt[40:]...)
		long[6] = next
		f.Add(long)
	}
	f.Fuzz(func(t *testing.T, pkt []byte) {
		if ipVersion(pkt) != 6 {
			return
		}
		size := len(pkt)
		at, _, ok := skipExtensions(pkt)
		if !ok {
			return
		}
		if at < ipv6HeaderLen || at+8 > size || at%8 != 0 {
			t.Fatalf("the TCP header is at %d of %d octets", at, size)
		}
		if n := putNextHeader(pkt, at); n != size-at+ipv6HeaderLen || pkt[6] != 6 {
			t.Errorf("%d octets of %d, next header %d", n, size, pkt[6])
		}
	})
}
