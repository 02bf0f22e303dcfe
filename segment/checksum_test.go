package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestSumEqualsTheReferenceAtEveryLength(t *testing.T) {
	buf := randomOctets(9100)
	for n := range 9001 {
		start := n % 9 // every alignment
		b, initial := buf[start:start+n], uint16(n)
		want := slowSum(b, initial)
		if got := Sum(b, initial); got != want {
			t.Fatalf("Sum of %d octets = %#04x, want %#04x", n, got, want)
		}
		if got := wordSum(b, initial); got != want {
			t.Fatalf("wordSum of %d octets = %#04x, want %#04x", n, got, want)
		}
	}
}

// Every length that a segment or a merged one can have.
func TestVectorSumsEqualTheReferenceAtEveryLength(t *testing.T) {
	const longest, room = 70000, 64
	buf, dst := randomOctets(longest+2*room), make([]byte, longest+2*room)
	sums := prefixSums(buf)
	rng := rand.New(rand.NewPCG(11, 12))
	check := func(start, n, shift int) {
		initial := uint16(rng.Uint32())
		checkSums(t, dst[shift:], buf[start:start+n], initial, sums.of(start, n, initial))
	}
	for n := range longest + 1 {
		check(n%61, n, n%53)
	}
	for n := range 2 * (256 + 64) { // two rounds of the widest loop and every tail, at every alignment
		for start := range 64 {
			check(start, n, start*7%64)
		}
	}
}

// prefixSum has the sum of the first i octets at i, those at even places times
// 256: the sum of any part without another look at it.
type prefixSum []uint64

func prefixSums(b []byte) prefixSum {
	sums := make(prefixSum, len(b)+1)
	for i, octet := range b {
		sums[i+1] = sums[i] + uint64(octet)<<(8*(1-i%2))
	}
	return sums
}

// of is the sum of n octets from start on, and of initial.
func (p prefixSum) of(start, n int, initial uint16) uint16 {
	part := fold(p[start+n] - p[start])
	if start%2 == 1 {
		part = bits.ReverseBytes16(part)
	}
	return fold(uint64(part) + uint64(initial))
}

// checkSums holds Sum and copySum, and each kind of vector code that this machine
// has, to what the sum must be. dst is for the copy.
func checkSums(t *testing.T, dst, b []byte, initial, want uint16) {
	t.Helper()
	if got := Sum(b, initial); got != want {
		t.Fatalf("Sum of %d octets and %#04x = %#04x, want %#04x", len(b), initial, got, want)
	}
	if len(b) >= minVector {
		for _, v := range vectorSums() {
			if got := foldSwapped(addCarry(v.sum(b), uint64(bits.ReverseBytes16(initial)))); got != want {
				t.Fatalf("%s: sum of %d octets and %#04x = %#04x, want %#04x", v.name, len(b), initial, got, want)
			}
		}
	}
	const canary = 0xa5
	dst[len(b)] = canary
	if got := copySum(dst, b, initial); got != want {
		t.Fatalf("copySum of %d octets and %#04x = %#04x, want %#04x", len(b), initial, got, want)
	}
	// To compare all that is long takes the race detector minutes.
	some := 0
	if len(b) > 10000 && len(b)%127 != 0 {
		some = len(b) - 1000
	}
	if dst[len(b)] != canary || !bytes.Equal(dst[some:len(b)], b[some:]) {
		t.Fatalf("copySum of %d octets copied something else, or more", len(b))
	}
}

func randomOctets(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// Sums of parts make the sum of the whole; behind an odd number of octets a part
// counts with its octets swapped (RFC 1071 section 2 (A) and (B)).
func TestSumsJoin(t *testing.T) {
	buf := randomOctets(3000)
	whole := Sum(buf, 0x1234)
	for cut := range len(buf) + 1 {
		head, tail := Sum(buf[:cut], 0x1234), Sum(buf[cut:], 0)
		if cut%2 == 1 {
			tail = bits.ReverseBytes16(tail)
		}
		if got := fold(uint64(head) + uint64(tail)); got != whole {
			t.Fatalf("cut at %d: %#04x, want %#04x", cut, got, whole)
		}
	}
}

// Words of all ones and all zeros make the longest carries there are.
func TestSumCarriesThroughAllOnes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	words := []uint64{0, 1, ^uint64(0), ^uint64(0), ^uint64(0) - 1, 1 << 63}
	for range 5000 {
		var b []byte
		for range rng.IntN(120) {
			b = binary.LittleEndian.AppendUint64(b, words[rng.IntN(len(words))])
		}
		b = append(b, bytes.Repeat([]byte{0xff}, rng.IntN(9))...)
		initial := uint16(rng.IntN(2)) * 0xffff
		got, want := Sum(b, initial), slowSum(b, initial)
		if got%0xffff != want%0xffff { // 0 and 0xffff are the same number
			t.Fatalf("Sum(%x, %#x) = %#04x, want %#04x", b, initial, got, want)
		}
		checkSums(t, make([]byte, len(b)+1), b, initial, wordSum(b, initial))
	}
	checkSums(t, make([]byte, 1<<20+1), bytes.Repeat([]byte{0xff}, 1<<20), 0xffff, 0xffff)
}

func FuzzChecksum(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add([]byte{1}, uint16(0xffff))
	f.Add([]byte("an odd number of octets"), uint16(1))
	f.Add(bytes.Repeat([]byte{0xff}, 203), uint16(0xffff))
	f.Fuzz(func(t *testing.T, b []byte, initial uint16) {
		if got, want := Sum(b, initial), slowSum(b, initial); got%0xffff != want%0xffff {
			t.Errorf("Sum(%x, %#x) = %#04x, want %#04x", b, initial, got, want)
		}
		checkSums(t, make([]byte, len(b)+1), b, initial, wordSum(b, initial))
		// Fuzzers like short inputs; the vector code likes long ones.
		long := bytes.Repeat(b, 1+minVector/max(1, len(b)))
		checkSums(t, make([]byte, len(long)+1), long, initial, wordSum(long, initial))
	})
}

// fold must be right where a carry makes another.
func TestFold(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	check := func(x uint64) {
		if got := fold(x); uint64(got)%0xffff != x%0xffff || got == 0 && x != 0 {
			t.Errorf("fold(%#x) = %#x", x, got)
		}
	}
	check(0xfffffffffffe0002) // every step carries
	for range 50000 {
		x := rng.Uint64() | rng.Uint64()
		check(x)
		check(x | 0xffff)
		check(x | 0xffffffff)
		check(x | 0xffff0000ffff)
	}
}

// vectorCode is one kind of vector code, for its sum of at least minVector octets.
type vectorCode struct {
	name string
	sum  func([]byte) uint64
}

func TestSumOfNothing(t *testing.T) {
	if got := Sum(nil, 0x1234); got != 0x1234 {
		t.Errorf("Sum(nil, 0x1234) = %#x", got)
	}
}

func TestVerdict(t *testing.T) {
	swapWords := func(tcp []byte) {
		for i := 20; i+3 < len(tcp); i += 4 {
			tcp[i], tcp[i+1], tcp[i+2], tcp[i+3] = tcp[i+2], tcp[i+3], tcp[i], tcp[i+1]
		}
	}
	for _, fam := range families {
		pkt := mustAppend(t, sample(fam.src, fam.dst, "some payload"))
		pseudo := pseudoField(pkt, fam.ipLen)
		tests := []struct {
			name   string
			change func(tcp []byte)
			want   Verdict
		}{
			{"as sent", func([]byte) {}, ChecksumOK},
			{"one bit of payload", func(tcp []byte) { tcp[len(tcp)-1] ^= 1 }, ChecksumBad},
			{"one bit of the sequence number", func(tcp []byte) { tcp[4] ^= 0x80 }, ChecksumBad},
			{"field is zero", func(tcp []byte) { tcp[16], tcp[17] = 0, 0 }, ChecksumBad},
			{"field is all ones", func(tcp []byte) { tcp[16], tcp[17] = 0xff, 0xff }, ChecksumBad},
			{"field is the pseudo-header sum", func(tcp []byte) { copy(tcp[16:], pseudo) }, ChecksumPartial},
			{"field is the complement of the pseudo-header sum", func(tcp []byte) { tcp[16], tcp[17] = ^pseudo[0], ^pseudo[1] }, ChecksumBad},
			{"field is one more than the pseudo-header sum", func(tcp []byte) { copy(tcp[16:], pseudo); tcp[17]++ }, ChecksumBad},
			// A sum cannot see this; it is what the upper layers' own checks are for.
			{"words swapped", swapWords, ChecksumOK},
		}
		for _, tt := range tests {
			changed := bytes.Clone(pkt)
			tt.change(changed[fam.ipLen:])
			if got := mustParse(t, changed).Checksum; got != tt.want {
				t.Errorf("%s, %s: verdict %v, want %v", fam.name, tt.name, got, tt.want)
			}
		}
	}
}

// pseudoField is the checksum field as a kernel leaves it for the card to finish.
func pseudoField(pkt []byte, ipLen int) []byte {
	cleared := bytes.Clone(pkt)
	clear(cleared[ipLen+16 : ipLen+18])
	sum := slowSum(cleared[ipLen:], 0)
	return binary.BigEndian.AppendUint16(nil, slowSum([]byte{byte(^sum >> 8), byte(^sum)}, slowTCPSum(cleared)))
}

// Addresses that make the pseudo-header's sum carry.
func TestChecksumOfEveryAddress(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	octets := []byte{0, 1, 0xfe, 0xff, 0xff, 0xff}
	for range 5000 {
		var a, b [16]byte
		for i := range a {
			a[i], b[i] = octets[rng.IntN(len(octets))], octets[rng.IntN(len(octets))]
		}
		src, dst := netip.AddrFrom16(a), netip.AddrFrom16(b)
		if rng.IntN(2) == 0 {
			src, dst = netip.AddrFrom4([4]byte(a[:4])), netip.AddrFrom4([4]byte(b[:4]))
		}
		s := sample(netip.AddrPortFrom(src, 0xffff), netip.AddrPortFrom(dst, 0xffff), "payload")
		pkt := mustAppend(t, s)
		if sum := slowTCPSum(pkt); sum != 0xffff {
			t.Fatalf("%v > %v: written with a sum of %#x", src, dst, sum)
		}
		if got := mustParse(t, pkt); got.Checksum != ChecksumOK {
			t.Fatalf("%v > %v: verdict %v", src, dst, got.Checksum)
		}
	}
}

func TestEveryFlippedBitIsSeen(t *testing.T) {
	for _, fam := range families {
		pkt := mustAppend(t, sample(fam.src, fam.dst, "odd"))
		for bit := range 8 * (len(pkt) - fam.ipLen) {
			changed := bytes.Clone(pkt)
			changed[fam.ipLen+bit/8] ^= 1 << (bit % 8)
			var s Segment
			if err := s.Parse(changed); err == nil && s.Checksum == ChecksumOK {
				t.Errorf("%s: TCP bit %d flipped: verdict %v", fam.name, bit, s.Checksum)
			}
		}
	}
}

func TestFinishChecksum(t *testing.T) {
	for _, fam := range families {
		for _, payload := range []string{"", "x", "some payload", string(make([]byte, 65000))} {
			good := mustAppend(t, sample(fam.src, fam.dst, payload))
			pkt := bytes.Clone(good)
			copy(pkt[fam.ipLen+16:], pseudoField(pkt, fam.ipLen))
			if err := FinishChecksum(pkt); err != nil || !bytes.Equal(pkt, good) {
				t.Errorf("%s, %d octets: finished to %x (%v), want %x", fam.name, len(payload), pkt[:80], err, good[:80])
			}
			if err := FinishChecksum(pkt); err != nil || !bytes.Equal(pkt, good) {
				t.Errorf("%s, %d octets: a right checksum was changed (%v)", fam.name, len(payload), err)
			}
		}
	}
}

func TestFinishChecksumKeepsDamage(t *testing.T) {
	pkt := mustAppend(t, sample(v4a, v4b, "payload"))
	pkt[len(pkt)-1] ^= 1
	damaged := bytes.Clone(pkt)
	if err := FinishChecksum(pkt); err != nil || !bytes.Equal(pkt, damaged) {
		t.Errorf("a damaged packet became %x (%v)", pkt, err)
	}
}

func TestFinishChecksumRefusesWhatIsNotTCP(t *testing.T) {
	pkt := mustAppend(t, sample(v4a, v4b, ""))
	pkt[9] = 17
	for want, pkt := range map[error][]byte{ErrNotTCP: pkt, ErrShortIP: nil, ErrVersion: make([]byte, 60)} {
		if err := FinishChecksum(pkt); !errors.Is(err, want) {
			t.Errorf("FinishChecksum(%x): %v, want %v", pkt, err, want)
		}
	}
}

func TestVerdictString(t *testing.T) {
	for v, want := range map[Verdict]string{ChecksumUnknown: "unknown", ChecksumOK: "ok", ChecksumPartial: "partial", ChecksumBad: "bad", 99: "unknown"} {
		if got := v.String(); got != want {
			t.Errorf("Verdict(%d) = %q, want %q", v, got, want)
		}
	}
}
