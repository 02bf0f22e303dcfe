package segment

// What this processor has and the kernel keeps across a switch of threads.
var (
	haveAVX2   bool
	haveAVX512 bool // F and BW, on a processor that does not slow down for them
	haveVector bool // any of them
)

func init() {
	haveAVX2, haveAVX512 = vectorUnits()
	haveVector = haveAVX2
}

// vectorUnits asks as Intel's manual (volume 1, sections 14.7.1 and 15.4) has it:
// a kernel that does not save the wider registers says so in XCR0.
func vectorUnits() (avx2, avx512 bool) {
	const (
		osxsave, avx             = 1 << 27, 1 << 28 // leaf 1, ECX
		avx2Bit, fBit, bwBit     = 1 << 5, 1 << 16, 1 << 30
		popcnt                   = 1 << 14 // leaf 7, ECX: AVX512_VPOPCNTDQ
		avxState, avx512AndState = 0x06, 0xe6
	)
	if leaves, _, _, _ := cpuid(0, 0); leaves < 7 {
		return false, false
	}
	if _, _, cx, _ := cpuid(1, 0); cx&osxsave == 0 || cx&avx == 0 {
		return false, false
	}
	kept := xgetbv()
	_, bx, cx, _ := cpuid(7, 0)
	avx2 = kept&avxState == avxState && bx&avx2Bit != 0
	// The first processors with AVX-512 lower their clock for it; those that count
	// bits in it came later and do not.
	avx512 = avx2 && kept&avx512AndState == avx512AndState && bx&fBit != 0 && bx&bwBit != 0 && cx&popcnt != 0
	return avx2, avx512
}

// vectorSum is a sum of the little-endian words of b, of minVector to maxVector
// octets, for foldSwapped.
func vectorSum(b []byte) uint64 {
	if haveAVX512 {
		return sumAVX512(&b[0], len(b))
	}
	return anySumAVX2(b)
}

// vectorCopySum is vectorSum(src) and a copy of src to the front of dst, which is
// at least as long and does not overlap it.
func vectorCopySum(dst, src []byte) uint64 {
	last := len(src) - 1
	_ = dst[last]
	if len(src)&1 == 0 {
		return copySumAVX2(&dst[0], &src[0], len(src))
	}
	dst[last] = src[last]
	return copySumAVX2(&dst[0], &src[0], last) + uint64(src[last])
}

// anySumAVX2 is sumAVX2 for any length from 33 on.
func anySumAVX2(b []byte) uint64 {
	last := len(b) - 1
	if len(b)&1 == 0 {
		return sumAVX2(&b[0], len(b))
	}
	return sumAVX2(&b[0], last) + uint64(b[last])
}

// sumAVX2 wants an even n of at least 32 and below 2^33.
//
//go:noescape
func sumAVX2(p *byte, n int) uint64

// sumAVX512 wants n below 2^33.
//
//go:noescape
func sumAVX512(p *byte, n int) uint64

// copySumAVX2 wants an even n of at least 32 and below 2^33.
//
//go:noescape
func copySumAVX2(dst, src *byte, n int) uint64

//go:noescape
func cpuid(leaf, subleaf uint32) (ax, bx, cx, dx uint32)

//go:noescape
func xgetbv() uint32
