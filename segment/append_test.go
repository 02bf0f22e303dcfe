package segment

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestParseReadsWhatAppendWrote(t *testing.T) {
	for _, fam := range families {
		for _, set := range optionSets {
			for _, payload := range []string{"", "x", "a longer payload"} {
				want := sample(fam.src, fam.dst, payload)
				want.Options = set.o
				if fam.ipLen == IPv4HeaderLen {
					want.IPID = 0xabcd
				}
				pkt := mustAppend(t, want)
				got := mustParse(t, pkt)
				if sum := slowTCPSum(pkt); sum != 0xffff {
					t.Errorf("%s, %s: TCP sums up to %#x", fam.name, set.name, sum)
				}
				want.Checksum = ChecksumOK
				want.Options.Raw = got.Options.Raw
				if !same(got, want) {
					t.Errorf("%s, %s:\ngot  %+v\nwant %+v", fam.name, set.name, got, want)
				}
			}
		}
	}
}

func TestEveryValueOfAFieldComesBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range 5000 {
		fam := families[rng.IntN(len(families))]
		want := Segment{
			Src: netip.AddrPortFrom(fam.src.Addr(), uint16(rng.Uint32())), Dst: netip.AddrPortFrom(fam.dst.Addr(), uint16(rng.Uint32())),
			Seq: MakeSeq(rng.Uint32()), Ack: MakeSeq(rng.Uint32()), Flags: Flags(rng.Uint32()) & allFlags, Window: uint16(rng.Uint32()),
			Urgent: uint16(rng.Uint32()), TTL: uint8(1 + rng.IntN(255)), TOS: uint8(rng.Uint32()), Checksum: ChecksumOK,
			Payload: make([]byte, rng.IntN(100)),
		}
		if fam.ipLen == IPv4HeaderLen {
			want.IPID = uint16(rng.Uint32())
		}
		if got := mustParse(t, mustAppend(t, want)); !same(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestFieldsAreLaidOutAsLinuxDoes(t *testing.T) {
	for _, set := range optionSets {
		s := sample(v4a, v4b, "")
		s.Options = set.o
		o := mustParse(t, mustAppend(t, s)).Options
		if got := o.String(); got != set.text {
			t.Errorf("%s: laid out as %q, want %q", set.name, got, set.text)
		}
		if len(o.Raw) != set.o.Len() || len(o.Raw)%4 != 0 {
			t.Errorf("%s: %d octets, Len says %d", set.name, len(o.Raw), set.o.Len())
		}
	}
}

func TestSACKIsTrimmedAndTimestampsStay(t *testing.T) {
	tests := []struct {
		name  string
		set   OptionSet
		count uint8
		want  int
	}{
		{"four blocks alone", HasSACK, 4, 4},
		{"four blocks beside timestamps", HasSACK | HasTimestamps, 4, 3},
		{"three blocks beside timestamps", HasSACK | HasTimestamps, 3, 3},
		{"beside timestamps, MSS and scale", HasSACK | HasTimestamps | HasMSS | HasWindowScale, 4, 2},
		{"beside MSS and scale", HasSACK | HasMSS | HasWindowScale, 4, 3},
		{"a count that lies", HasSACK, 200, 4},
		{"no blocks", HasSACK, 0, 0},
		{"beside everything and a cookie", HasSACK | HasTimestamps | HasMSS | HasWindowScale | HasFastOpen, 4, 0},
	}
	for _, tt := range tests {
		s := sample(v4a, v4b, "")
		s.Options = Options{Set: tt.set, SACKCount: tt.count, SACK: fourBlocks, TSVal: 9, FastOpen: make([]byte, 16)}
		o := mustParse(t, mustAppend(t, s)).Options
		if int(o.SACKCount) != tt.want || len(o.Raw) > MaxOptionsLen || o.Has(HasTimestamps) != (tt.set&HasTimestamps != 0) {
			t.Errorf("%s: %d blocks in %d octets: %v", tt.name, o.SACKCount, len(o.Raw), &o)
		}
		if !bytes.Equal(blockBytes(o.Blocks()), blockBytes(fourBlocks[:tt.want])) {
			t.Errorf("%s: blocks %v", tt.name, o.Blocks())
		}
	}
}

func blockBytes(blocks []SACKBlock) (b []byte) {
	for _, block := range blocks {
		b = append(b, block.Start.String()+":"+block.End.String()+" "...)
	}
	return b
}

func TestRawIsWrittenVerbatimAndPadded(t *testing.T) {
	for n := range MaxOptionsLen + 1 {
		raw := make([]byte, n)
		for i := range raw {
			raw[i] = byte(200 + i)
		}
		s := sample(v4a, v4b, "payload")
		s.Options.Raw = raw
		got := mustParse(t, mustAppend(t, s))
		want := append(raw, make([]byte, (4-n%4)%4)...)
		if !bytes.Equal(got.Options.Raw, want) || string(got.Payload) != "payload" || got.Checksum != ChecksumOK {
			t.Errorf("%d octets: Raw %x, want %x", n, got.Options.Raw, want)
		}
	}
}

func TestPaddingIsZeroInAUsedBuffer(t *testing.T) {
	s := sample(v4a, v4b, "")
	s.Options.Raw = []byte{1}
	dirty := bytes.Repeat([]byte{0xff}, 100)
	pkt, err := s.Append(dirty[:0])
	if err != nil {
		t.Fatal(err)
	}
	if got := mustParse(t, pkt).Options.Raw; !bytes.Equal(got, []byte{1, 0, 0, 0}) {
		t.Errorf("options are %x", got)
	}
}

func TestAppendKeepsWhatIsBefore(t *testing.T) {
	s := sample(v4a, v4b, "payload")
	alone := mustAppend(t, s)
	both, err := s.Append([]byte("before"))
	if err != nil || string(both[:6]) != "before" || !bytes.Equal(both[6:], alone) {
		t.Errorf("appended %x (%v)", both, err)
	}
}

func TestAppendDefaults(t *testing.T) {
	for _, fam := range families {
		s := Segment{Src: fam.src, Dst: fam.dst}
		got := mustParse(t, mustAppend(t, s))
		if got.TTL != 64 || got.TOS != 0 || got.IPID != 0 || got.Flags != 0 {
			t.Errorf("%s: %+v", fam.name, got)
		}
	}
}

func TestFlagsBeyondTheHeaderAreNotSent(t *testing.T) {
	s := sample(v4a, v4b, "")
	s.Flags = 0xffff
	pkt := mustAppend(t, s)
	if pkt[20+12]&0x0e != 0 {
		t.Errorf("reserved bits were sent: %#x", pkt[20+12])
	}
	if got := mustParse(t, pkt).Flags; got != allFlags {
		t.Errorf("flags %v", got)
	}
}

func TestAppendRefusesWhatCannotBe(t *testing.T) {
	mappedAddr := netip.MustParseAddrPort("[::ffff:198.18.0.1]:1")
	tests := []struct {
		name string
		s    Segment
		want error
	}{
		{"no addresses", Segment{}, ErrAddress},
		{"no destination", Segment{Src: v4a}, ErrAddress},
		{"mixed families", Segment{Src: v4a, Dst: v6b}, ErrAddress},
		{"mixed families the other way", Segment{Src: v6a, Dst: v4b}, ErrAddress},
		{"IPv4-mapped source", Segment{Src: mappedAddr, Dst: v6b}, ErrAddress},
		{"IPv4-mapped destination", Segment{Src: v6a, Dst: mappedAddr}, ErrAddress},
		{"IPv4-mapped pair", Segment{Src: mappedAddr, Dst: mappedAddr}, ErrAddress},
		{"41 octets of options", Segment{Src: v4a, Dst: v4b, Options: Options{Raw: make([]byte, 41)}}, ErrOptionsTooLong},
		{"a cookie of 40", Segment{Src: v4a, Dst: v4b, Options: Options{Set: HasFastOpen, FastOpen: make([]byte, 40)}}, ErrOptionsTooLong},
		{"IPv4 packet of 65536", Segment{Src: v4a, Dst: v4b, Payload: make([]byte, 65536-40)}, ErrTooLarge},
		{"IPv6 payload of 65536", Segment{Src: v6a, Dst: v6b, Payload: make([]byte, 65536-20)}, ErrTooLarge},
		{"options make it too large", Segment{Src: v4a, Dst: v4b, Options: Options{Set: HasMSS}, Payload: make([]byte, 65535-40)}, ErrTooLarge},
	}
	for _, tt := range tests {
		dst, err := tt.s.Append([]byte("before"))
		if !errors.Is(err, tt.want) || string(dst) != "before" {
			t.Errorf("%s: %v, %d octets; want %v", tt.name, err, len(dst), tt.want)
		}
	}
}

func TestLargestPackets(t *testing.T) {
	for _, s := range []Segment{
		{Src: v4a, Dst: v4b, Payload: make([]byte, 65535-40)},
		{Src: v6a, Dst: v6b, Payload: make([]byte, 65535-20)},
	} {
		if got := mustParse(t, mustAppend(t, s)); got.Checksum != ChecksumOK || len(got.Payload) != len(s.Payload) {
			t.Errorf("%v: %d octets, checksum %v", s.Src, len(got.Payload), got.Checksum)
		}
	}
}

func TestAppendLayout(t *testing.T) {
	all := Options{Set: HasMSS | HasSACKPermitted | HasTimestamps | HasWindowScale | HasSACK | HasFastOpen, MSS: 1400, WindowScale: 8,
		TSVal: 1, TSEcr: 2, SACKCount: 4, SACK: fourBlocks, FastOpen: []byte{1, 2, 3, 4}}
	tests := []struct {
		name  string
		order []Kind
		want  string
	}{
		{"nothing", nil, ""},
		{"Windows", []Kind{KindMSS, KindNOP, KindWindowScale, KindNOP, KindNOP, KindSACKPermitted}, "mss 1400,nop,wscale 8,nop,nop,sackOK"},
		{"macOS", []Kind{KindMSS, KindNOP, KindWindowScale, KindNOP, KindNOP, KindTimestamps, KindSACKPermitted, KindEOL, KindEOL},
			"mss 1400,nop,wscale 8,nop,nop,TS val 1 ecr 2,sackOK,eol,eol"},
		{"twice", []Kind{KindMSS, KindMSS}, "mss 1400,mss 1400"},
		{"a kind without a field", []Kind{77, KindMSS, KindMPTCP}, "mss 1400"},
		{"no room for SACK", []Kind{KindTimestamps, KindTimestamps, KindTimestamps, KindNOP, KindSACK},
			"TS val 1 ecr 2,TS val 1 ecr 2,TS val 1 ecr 2,nop"},
		{"cookie", []Kind{KindFastOpen, KindNOP, KindNOP}, "tfo cookie 01020304,nop,nop"},
		{"SACK is cut", []Kind{KindMSS, KindSACK, KindTimestamps}, "mss 1400,sack 1:2 3:4 5:6 7:8"},
		{"SACK is cut behind timestamps", []Kind{KindTimestamps, KindMSS, KindSACK}, "TS val 1 ecr 2,mss 1400,sack 1:2 3:4 5:6"},
		{"SACK is cut behind more", []Kind{KindTimestamps, KindMSS, KindNOP, KindNOP, KindSACK}, "TS val 1 ecr 2,mss 1400,nop,nop,sack 1:2 3:4"},
		{"what does not fit is left out", []Kind{KindTimestamps, KindTimestamps, KindTimestamps, KindMSS, KindTimestamps, KindWindowScale},
			"TS val 1 ecr 2,TS val 1 ecr 2,TS val 1 ecr 2,mss 1400,wscale 8"},
	}
	for _, tt := range tests {
		got := AppendLayout([]byte("before"), &all, tt.order)
		if string(got[:6]) != "before" || len(got) > 6+MaxOptionsLen {
			t.Fatalf("%s: %x", tt.name, got)
		}
		o := Options{Raw: got[6:]}
		if o.String() != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, o.String(), tt.want)
		}
	}
	if got := AppendLayout(nil, &Options{Set: HasMSS, MSS: 7}, []Kind{KindSACKPermitted, KindMSS, KindTimestamps, KindSACK, KindFastOpen, KindWindowScale}); !bytes.Equal(got, []byte{2, 4, 0, 7}) {
		t.Errorf("kinds that are not set: %x", got)
	}
	if got := AppendLayout(nil, &Options{Set: HasFastOpen, FastOpen: make([]byte, 300)}, []Kind{KindFastOpen, KindNOP}); !bytes.Equal(got, []byte{1}) {
		t.Errorf("an endless cookie: %x", got)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	for _, fam := range families {
		for _, set := range optionSets {
			s := sample(fam.src, fam.dst, string(make([]byte, 1460)))
			s.Options = set.o
			buf := make([]byte, 0, 2000)
			var pkt []byte
			if n := testing.AllocsPerRun(100, func() { pkt, _ = s.Append(buf) }); n != 0 {
				t.Errorf("%s, %s: Append allocates %v times", fam.name, set.name, n)
			}
			var got Segment
			if n := testing.AllocsPerRun(100, func() { _ = got.Parse(pkt) }); n != 0 {
				t.Errorf("%s, %s: Parse allocates %v times", fam.name, set.name, n)
			}
			text := make([]byte, 0, 300)
			if n := testing.AllocsPerRun(100, func() { text = got.AppendText(text[:0], Relative{}) }); n != 0 {
				t.Errorf("%s, %s: AppendText allocates %v times", fam.name, set.name, n)
			}
			walk := func() {
				for kind := range got.Options.All() {
					_ = kind
				}
				got.Options.Malformed()
				got.Options.Duplicates()
			}
			if n := testing.AllocsPerRun(100, walk); n != 0 {
				t.Errorf("%s, %s: a walk over the options allocates %v times", fam.name, set.name, n)
			}
			if n := testing.AllocsPerRun(100, func() { _, _, _, _ = ParseQuoted(pkt) }); n != 0 {
				t.Errorf("%s, %s: ParseQuoted allocates %v times", fam.name, set.name, n)
			}
		}
	}
}

// A super-segment is written as any segment but for its checksum, which is the sum
// of the pseudo-header, with the length of the whole.
func TestAppendLeavesTheChecksumOfASuperSegment(t *testing.T) {
	for _, fam := range families {
		for _, size := range []int{1, 1448, 2000, 2897, 65_000} {
			whole := sample(fam.src, fam.dst, string(make([]byte, size)))
			super := whole
			super.SegmentSize = 1448
			want, got := mustAppend(t, whole), mustAppend(t, super)
			if s := mustParse(t, got); s.Checksum != ChecksumPartial || s.SegmentSize != 0 {
				t.Errorf("%s, %d octets: checksum %v, segment size %d", fam.name, size, s.Checksum, s.SegmentSize)
			}
			if err := FinishChecksum(got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %d octets: finished it is not the segment that it would have been: %v", fam.name, size, err)
			}
			if n, want := super.Count(), (size+1447)/1448; n != want || whole.Count() != 1 {
				t.Errorf("%d octets: %d segments, want %d; and %d for what is no super-segment", size, n, want, whole.Count())
			}
		}
	}
}
