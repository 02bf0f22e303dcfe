package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func TestQuoteCutAnywhereBehindEightOctetsOfTCP(t *testing.T) {
	for _, fam := range families {
		pkt := mustAppend(t, sample(fam.src, fam.dst, "payload"))
		for n := range len(pkt) + 1 {
			src, dst, seq, err := ParseQuoted(pkt[:n])
			switch {
			case n < fam.ipLen && !errors.Is(err, ErrShortIP),
				n >= fam.ipLen && n < fam.ipLen+8 && !errors.Is(err, ErrShortTCP):
				t.Errorf("%s, %d octets: %v", fam.name, n, err)
			case n >= fam.ipLen+8 && (err != nil || src != fam.src || dst != fam.dst || seq != MakeSeq(1000)):
				t.Errorf("%s, %d octets: %v %v %v, %v", fam.name, n, src, dst, seq, err)
			}
		}
	}
}

func TestQuoteWithIPv4Options(t *testing.T) {
	plain := mustAppend(t, sample(v4a, v4b, ""))
	for words := range 11 {
		pkt := append(bytes.Clone(plain[:20]), bytes.Repeat([]byte{7, 0, 131, 255}, words)...)
		pkt = append(pkt, plain[20:28]...)
		pkt[0] = byte(0x45 + words)
		src, dst, seq, err := ParseQuoted(pkt)
		if err != nil || src != v4a || dst != v4b || seq != MakeSeq(1000) {
			t.Errorf("%d words of options: %v %v %v, %v", words, src, dst, seq, err)
		}
	}
}

func TestQuoteWithIPv6ExtensionHeaders(t *testing.T) {
	for n := 1; n <= 8; n++ {
		pkt := extended(t, destOptions, chain(n))
		src, dst, seq, err := ParseQuoted(pkt[:40+8*n+8])
		if err != nil || src != v6a || dst != v6b || seq != MakeSeq(1000) {
			t.Errorf("%d extension headers: %v %v %v, %v", n, src, dst, seq, err)
		}
	}
}

// What a router may have done to the packet before it quoted it.
func TestQuoteLengthsAndChecksumsAreNotBelieved(t *testing.T) {
	pkt := mustAppend(t, sample(v4a, v4b, ""))[:28]
	for _, change := range []func(p []byte){
		func(p []byte) { binary.BigEndian.PutUint16(p[2:], 0) },
		func(p []byte) { binary.BigEndian.PutUint16(p[2:], 65535) },
		func(p []byte) { p[8], p[10], p[11] = 0, 0xff, 0xff },
		func(p []byte) { p[6] = 0x20 }, // the first fragment has the TCP header
	} {
		p := bytes.Clone(pkt)
		change(p)
		if src, _, seq, err := ParseQuoted(p); err != nil || src != v4a || seq != MakeSeq(1000) {
			t.Errorf("%x: %v %v, %v", p, src, seq, err)
		}
	}
}

func TestQuoteRefusals(t *testing.T) {
	tests := []struct {
		name   string
		change func(p []byte) []byte
		v6     bool
		want   error
	}{
		{"nothing", func(p []byte) []byte { return nil }, false, ErrShortIP},
		{"version 7", func(p []byte) []byte { p[0] = 0x75; return p }, false, ErrVersion},
		{"header length below 5 words", func(p []byte) []byte { p[0] = 0x44; return p }, false, ErrIPHeaderLen},
		{"header length lies beyond the quote", func(p []byte) []byte { p[0] = 0x4f; return p[:28] }, false, ErrShortTCP},
		{"header length takes the TCP header away", func(p []byte) []byte { p[0] = 0x46; return p[:28] }, false, ErrShortTCP},
		{"later fragment", func(p []byte) []byte { p[7] = 1; return p }, false, ErrFragment},
		{"UDP", func(p []byte) []byte { p[9] = 17; return p }, false, ErrNotTCP},
		{"UDP over IPv6", func(p []byte) []byte { p[6] = 17; return p }, true, ErrNotTCP},
		{"fragment over IPv6", func(p []byte) []byte { p[6] = fragment; return p }, true, ErrFragment},
		{"IPv4-mapped", func(p []byte) []byte { clear(p[8:18]); p[18], p[19] = 0xff, 0xff; return p }, true, ErrMapped},
		{"extension header beyond the quote", func(p []byte) []byte { p[6] = destOptions; p[41] = 200; return p }, true, ErrExtension},
	}
	for _, tt := range tests {
		s := sample(v4a, v4b, "payload")
		if tt.v6 {
			s = sample(v6a, v6b, "payload")
		}
		if _, _, _, err := ParseQuoted(tt.change(mustAppend(t, s))); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func FuzzQuoted(f *testing.F) {
	for _, fam := range families {
		f.Add(mustAppend(f, sample(fam.src, fam.dst, ""))[:fam.ipLen+8])
	}
	f.Add(extended(f, destOptions, chain(3)))
	f.Add(bytes.Repeat([]byte{0x4f}, 60))
	f.Fuzz(func(t *testing.T, b []byte) {
		src, dst, seq, err := ParseQuoted(b)
		if err != nil {
			if Reason(err) == "other" {
				t.Errorf("%v has no name", err)
			}
			return
		}
		// A whole packet that Parse reads says the same of itself.
		var s Segment
		if s.Parse(b) == nil && (s.Src != src || s.Dst != dst || s.Seq != seq) {
			t.Errorf("quoted %v %v %v, parsed %v %v %v", src, dst, seq, s.Src, s.Dst, s.Seq)
		}
		if src.Addr().Is4() != dst.Addr().Is4() || src.Addr().Is4In6() || dst.Addr().Is4In6() {
			t.Errorf("families of %v and %v", src, dst)
		}
	})
}
