package peers

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

// A ratio means something only if all contenders do the same.
func TestContendersAgree(t *testing.T) {
	for _, shape := range shapes {
		for _, size := range append([]int{1, 7}, shape.sizes...) {
			s := shape.seg
			s.Payload = filled(size)
			pkt, err := s.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			var ours result
			for i, c := range codecs(s) {
				c.verify(pkt)
				c.build()
				c.sum(s.Payload)
				got := c.result()
				if i == 0 {
					ours = got
				}
				if !got.ok || !bytes.Equal(got.pkt, pkt) {
					t.Errorf("%s%d, %s: ok %v, built\n%x, want\n%x", shape.name, size, Names[i], got.ok, got.pkt, pkt)
				}
				if got.sum%0xffff != ours.sum%0xffff {
					t.Errorf("%s%d, %s: sum %#x, ours %#x", shape.name, size, Names[i], got.sum, ours.sum)
				}
				got.sum, got.pkt = ours.sum, ours.pkt
				if !reflect.DeepEqual(got, ours) {
					t.Errorf("%s%d, %s: %+v, ours %+v", shape.name, size, Names[i], got, ours)
				}
				damaged := bytes.Clone(pkt)
				damaged[len(damaged)-1] ^= 1
				c.verify(damaged)
				if c.result().ok {
					t.Errorf("%s%d, %s does not see damage", shape.name, size, Names[i])
				}
			}
		}
	}
}

func TestOursAllocatesNothing(t *testing.T) {
	for _, job := range Jobs() {
		if n := testing.AllocsPerRun(20, job.Contenders[0].Do); n != 0 {
			t.Errorf("%s: %v allocations", job.Name, n)
		}
	}
}

func BenchmarkParse(b *testing.B)    { benchmark(b, "Parse/") }
func BenchmarkVerify(b *testing.B)   { benchmark(b, "Verify/") }
func BenchmarkAppend(b *testing.B)   { benchmark(b, "Append/") }
func BenchmarkChecksum(b *testing.B) { benchmark(b, "Checksum/") }

func benchmark(b *testing.B, prefix string) {
	for _, job := range Jobs() {
		name, ok := strings.CutPrefix(job.Name, prefix)
		if !ok {
			continue
		}
		for _, c := range job.Contenders {
			b.Run(name+"/"+c.Name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(job.Size))
				for b.Loop() {
					c.Do()
				}
			})
		}
	}
}
