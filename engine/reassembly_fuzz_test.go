package engine

import "testing"

// FuzzReassembly gives a receive buffer segments in any order and of any
// overlap, and holds it against a map of octets. Each step is three octets: where
// a segment stands, from 28 octets below RCV.NXT on, how long it is, and how much
// is read then. No two segments have the same octets.
func FuzzReassembly(f *testing.F) {
	f.Add(uint32(1<<32-20), []byte{28, 10, 5, 48, 10, 0, 38, 10, 200})
	f.Add(uint32(0), []byte{30, 1, 0, 32, 1, 0, 34, 1, 0, 29, 9, 0, 28, 1, 20})
	f.Add(uint32(1<<31-3), []byte{128, 99, 0, 0, 255, 255, 20, 30, 1, 28, 255, 255})
	f.Fuzz(func(t *testing.T, isn uint32, steps []byte) {
		m := newOctetMap(t, isn)
		p := make([]byte, 255)
		for i := 0; len(steps) >= 3 && i < 500; i++ {
			for j := range p {
				p[j] = byte(i + j)
			}
			m.insert(m.nxt-28+int(steps[0]), p[:steps[1]])
			m.take(int(steps[2]))
			steps = steps[3:]
		}
	})
}
