package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"

	"rawtcp/segment"
)

// secrets derives what an off-path attacker must not guess from one key.
type secrets struct{ key [32]byte }

func newSecrets(key [32]byte) *secrets { return &secrets{key} }

// What a hash is for; each purpose has a function of its own.
const (
	purposeISN = iota + 1
	purposePort
	purposeTimestamp
	purposeTable
	purposeCookie
	purposeCookieTag
	purposeFastOpen
)

// isn returns an initial sequence number: M + F(connection-id, secret) of RFC
// 6528 section 3. M advances by one every 64 ns as on Linux, faster than the
// 4 us of RFC 9293, so that a new incarnation also starts above a fast old one.
func (s *secrets) isn(now Time, local, remote netip.AddrPort) segment.Seq {
	return segment.MakeSeq(uint32(now>>6) + s.hash(purposeISN, local, remote))
}

// portOffset returns F of RFC 6056 section 3.3.3 (algorithm 3).
func (s *secrets) portOffset(local netip.Addr, remote netip.AddrPort) uint32 {
	return s.hash(purposePort, netip.AddrPortFrom(local, 0), remote)
}

// tsOffset returns what is added to the clock to make timestamp values, so
// that they do not tell how long the host has been up (RFC 7323 section 7.1).
func (s *secrets) tsOffset(local, remote netip.AddrPort) uint32 {
	return s.hash(purposeTimestamp, local, remote)
}

// tableKey returns where the SYN cache keeps a pair; who does not know it cannot
// make two pairs fall together.
func (s *secrets) tableKey(local, remote netip.AddrPort) uint64 {
	sum := s.sum(purposeTable, local, remote)
	return binary.BigEndian.Uint64(sum[:])
}

// hash is sum cut to 32 bits.
func (s *secrets) hash(purpose byte, local, remote netip.AddrPort, more ...uint32) uint32 {
	sum := s.sum(purpose, local, remote, more...)
	return binary.BigEndian.Uint32(sum[:])
}

// sum is SHA-256 over key and message, of which no more than 64 bits get out;
// up to two more words may be in the message. All messages of a purpose have
// the same length and the output is cut, so that nothing can be appended to one;
// plain hashing is therefore as good as HMAC here, and allocates nothing.
func (s *secrets) sum(purpose byte, local, remote netip.AddrPort, more ...uint32) [sha256.Size]byte {
	var msg [32 + 1 + 18 + 18 + 8]byte
	copy(msg[:], s.key[:])
	msg[32] = purpose
	putAddrPort(msg[33:], local)
	putAddrPort(msg[51:], remote)
	for i, word := range more {
		binary.BigEndian.PutUint32(msg[69+4*i:], word)
	}
	return sha256.Sum256(msg[:69+4*len(more)])
}

func putAddrPort(dst []byte, a netip.AddrPort) {
	ip := a.Addr().As16()
	copy(dst, ip[:])
	binary.BigEndian.PutUint16(dst[16:], a.Port())
}
