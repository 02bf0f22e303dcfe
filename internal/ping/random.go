package ping

import (
	"crypto/rand"
	"encoding/binary"
)

// random is a number that nobody can foresee: an attacker who knew a probe's
// sequence number could answer in the peer's name.
func random() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program rather
	return binary.NativeEndian.Uint32(b[:])
}
