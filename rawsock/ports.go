package rawsock

import "math/bits"

// A portSet is a set of port numbers.
type portSet [1 << 16 / 64]uint64

func (s *portSet) add(port uint16)    { s[port/64] |= 1 << (port % 64) }
func (s *portSet) remove(port uint16) { s[port/64] &^= 1 << (port % 64) }

// A portRange is the ports first to last, both included.
type portRange struct{ first, last uint16 }

// ranges returns the set as sorted ranges, at most limit of them. A set that
// needs more is widened: ports are rounded to blocks of 2, 4, 8 … until the
// blocks fit.
func (s *portSet) ranges(limit int) []portRange {
	for shift := 0; ; shift++ {
		if r, ok := s.blocks(shift, limit); ok {
			return r
		}
	}
}

// blocks returns the ranges of the set when ports are rounded to blocks of
// 1<<shift, unless there are more than limit.
func (s *portSet) blocks(shift, limit int) ([]portRange, bool) {
	var out []portRange
	for i, word := range s {
		for word != 0 {
			port := i*64 + bits.TrailingZeros64(word)
			word &= word - 1
			first := port >> shift << shift
			last := first + 1<<shift - 1
			if n := len(out); n > 0 && first <= int(out[n-1].last)+1 {
				out[n-1].last = uint16(last)
				continue
			}
			if len(out) == limit {
				return nil, false
			}
			out = append(out, portRange{uint16(first), uint16(last)})
		}
	}
	return out, true
}
