package sim

import (
	"math/rand/v2"
	"testing"
)

// FuzzMachine lets the fuzzer choose the world, the applications, the faults
// and the fate of each packet, and holds the run to every invariant.
func FuzzMachine(f *testing.F) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 7))
		octets := make([]byte, 32<<(seed%6))
		for i := range octets {
			octets[i] = byte(r.Uint32())
		}
		f.Add(octets)
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		p := DrawFrom(octets)
		if r := Run(&p, nil); r.Violation != "" {
			t.Errorf("%s\n%v", r.Violation, &p)
		}
	})
}

// The octets make the run, and later ones only what happens later.
func TestChoicesMakeTheRun(t *testing.T) {
	octets := make([]byte, 4000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range octets {
		octets[i] = byte(r.Uint32())
	}
	trace := func(octets []byte) [32]byte {
		rec, err := NewRecorder(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := DrawFrom(octets)
		if r := Run(&p, rec); r.Violation != "" {
			t.Error(r.Violation)
		}
		return rec.Sum()
	}
	one := trace(octets)
	if two := trace(octets); one != two {
		t.Error("the same octets make two runs")
	}
	a, b := DrawFrom(octets), DrawFrom(octets[:3000])
	if a.String() != b.String() {
		t.Error("the last octets change the plan")
	}
	for i := range 64 {
		octets[i] ^= 0xff
	}
	if two := trace(octets); one == two {
		t.Error("the first octets change nothing")
	}
}
