package segment

import (
	"os"
	"regexp"
	"testing"
)

func vectorSums() (kinds []vectorCode) {
	if haveAVX2 {
		kinds = append(kinds, vectorCode{"AVX2", anySumAVX2})
	}
	if haveAVX512 {
		kinds = append(kinds, vectorCode{"AVX-512", func(b []byte) uint64 { return sumAVX512(&b[0], len(b)) }})
	}
	return kinds
}

// What we find must be what the kernel lets a program use.
func TestVectorUnitsAreThoseOfTheKernel(t *testing.T) {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	has := func(flag string) bool { return regexp.MustCompile(`(?m)^flags\s*:.*\b` + flag + `\b`).Match(text) }
	if want := has("avx2"); haveAVX2 != want {
		t.Errorf("AVX2: found %v, the kernel says %v", haveAVX2, want)
	}
	if want := has("avx2") && has("avx512f") && has("avx512bw") && has("avx512_vpopcntdq"); haveAVX512 != want {
		t.Errorf("AVX-512: found %v, the kernel says %v", haveAVX512, want)
	}
}
