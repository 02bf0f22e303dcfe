package flow

import (
	"encoding/binary"

	"rawtcp/internal/capture"
	"rawtcp/segment"
)

// A copies remembers the packets that were seen last, to know one that is in the
// capture twice: because the network has doubled it, or because the capture was
// made at several places. Packets of several interfaces stand in a file by the
// lot, so that the copy of one may come hundreds of packets later, and bear an
// earlier time.
type copies [1 << 14]sighting

// A sighting is what is remembered of a packet. The zero value is none.
type sighting struct {
	mark  uint64
	at    int64
	place uint64
}

// How far apart in time two copies of a packet may be, in ns. By the IPID, or by
// the places where they were seen, they are known for certain; without either
// they must come sooner than anybody could have sent again.
const (
	copiesForCertain = 1e9
	copiesPerhaps    = 500e3
)

// seen reports whether a packet is one that was seen a moment ago, and remembers
// it. rtt is that of the connection, in ns; 0: not known.
func (c *copies) seen(k *key, s *segment.Segment, d *capture.Detail, at, rtt int64) bool {
	mark := markOf(k, s)
	was := &c[mark>>50]
	apart := at - was.at
	if was.mark == mark && was.at != 0 {
		if was.place != d.Place {
			if max(apart, -apart) < copiesForCertain {
				return true
			}
		} else if apart >= 0 && apart < limitOf(s, rtt) && (s.IPID != 0 || len(s.Payload) > 0) {
			return true
		}
	}
	*was = sighting{mark, at, d.Place}
	return false
}

// limitOf is how much later a copy of s may come at the same place.
func limitOf(s *segment.Segment, rtt int64) int64 {
	switch {
	case s.IPID != 0:
		return copiesForCertain
	case rtt > 0:
		return min(copiesPerhaps, rtt/2)
	}
	return copiesPerhaps
}

// markOf makes a number of what is the same in two copies of one packet: of
// everything but the time to live.
func markOf(k *key, s *segment.Segment) uint64 {
	const prime = 0x9e3779b97f4a7c15
	h := uint64(s.Src.Port())<<16 | uint64(s.Dst.Port())
	for i := 0; i < 32; i += 8 {
		h = (h ^ h>>29 ^ binary.LittleEndian.Uint64(k[i:])) * prime
	}
	h ^= uint64(s.IPID)<<48 | uint64(s.Flags)<<32 | uint64(s.Seq.Uint32())
	h = (h ^ h>>29) * prime
	h ^= uint64(s.Ack.Uint32())<<32 | uint64(s.Window)<<16 | uint64(len(s.Payload))&0xffff
	h = (h ^ h>>31) * prime
	h ^= uint64(s.Options.TSVal)<<32 | uint64(s.Options.TSEcr)
	h = (h ^ h>>30) * prime
	for _, b := range s.Options.Blocks() {
		h ^= uint64(b.Start.Uint32())<<32 | uint64(b.End.Uint32())
		h = (h ^ h>>29) * prime
	}
	return h
}
