package ping

import (
	"crypto/rand"
	"encoding/binary"
)

// randomness gives numbers that nobody can foresee: an attacker who knew a probe's
// sequence number could answer in the peer's name.
type randomness struct {
	octets [512]byte
	left   int
}

// next returns the next number.
func (r *randomness) next() uint32 {
	if r.left == 0 {
		_, _ = rand.Read(r.octets[:]) // never fails: it ends the program rather
		r.left = len(r.octets)
	}
	r.left -= 4
	return binary.NativeEndian.Uint32(r.octets[r.left:])
}
