package segment

import (
	"encoding/binary"
	"errors"
	"testing"
)

// Each bit of the offset alone makes a later fragment, which has no TCP header.
func TestEveryOffsetIsAFragment(t *testing.T) {
	for bit := range 13 {
		pkt := mustAppend(t, sample(v4a, v4b, "text"))
		binary.BigEndian.PutUint16(pkt[6:], 1<<bit)
		var s Segment
		if err := s.Parse(pkt); !errors.Is(err, ErrFragment) {
			t.Errorf("offset %d: %v", 1<<bit, err)
		}
		if _, _, _, err := ParseQuoted(pkt); !errors.Is(err, ErrFragment) {
			t.Errorf("offset %d, quoted: %v", 1<<bit, err)
		}
	}
}
