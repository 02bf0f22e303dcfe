package segment

import "strconv"

// Seq is a point in TCP's sequence space, a number modulo 2^32 (RFC 9293 section 3.4).
//
// It is a struct so that the compiler refuses a < b: order in a circular space
// exists only between points less than half the circle apart, and the methods
// say which comparison is meant. Equality with == is exact. The zero value is
// sequence number 0.
type Seq struct{ n uint32 }

// MakeSeq returns the point with the wire value n.
func MakeSeq(n uint32) Seq { return Seq{n} }

// Uint32 returns the wire value.
func (s Seq) Uint32() uint32 { return s.n }

// Add returns the point n octets after s, or before it if n is negative.
func (s Seq) Add(n int) Seq { return Seq{s.n + uint32(n)} }

// Sub returns the signed distance from t to s in octets, in [-2^31, 2^31).
func (s Seq) Sub(t Seq) int { return int(int32(s.n - t.n)) }

// Less reports whether s lies before t: up to 2^31 octets before it.
func (s Seq) Less(t Seq) bool { return int32(s.n-t.n) < 0 }

// LessEq reports whether s lies before t or at t.
func (s Seq) LessEq(t Seq) bool { return int32(s.n-t.n) <= 0 }

// InWindow reports whether s lies in the half-open range [start, start+size).
// size is in octets, from 0 to 2^32-1; a negative size holds nothing.
func (s Seq) InWindow(start Seq, size int) bool {
	return size > 0 && uint64(s.n-start.n) < uint64(size)
}

// String returns the wire value in decimal.
func (s Seq) String() string { return strconv.FormatUint(uint64(s.n), 10) }

// MaxSeq returns the later of two points less than 2^31 octets apart.
func MaxSeq(a, b Seq) Seq {
	if a.Less(b) {
		return b
	}
	return a
}

// MinSeq returns the earlier of two points less than 2^31 octets apart.
func MinSeq(a, b Seq) Seq {
	if b.Less(a) {
		return b
	}
	return a
}
