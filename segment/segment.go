package segment

import "net/netip"

// A Segment is one TCP segment with what matters of its IP header.
//
// The same type is filled by Parse and written by Append. It may be reused:
// Parse overwrites every field.
type Segment struct {
	Src, Dst netip.AddrPort // both IPv4 or both IPv6; never IPv4-mapped
	Seq      Seq            // SEG.SEQ
	Ack      Seq            // SEG.ACK, significant if Flags has ACK
	Flags    Flags
	Window   uint16 // as on the wire, not scaled
	Urgent   uint16 // urgent pointer, significant if Flags has URG
	TTL      uint8  // TTL or hop limit; Append writes 64 for 0
	TOS      uint8  // DSCP and ECN: IPv4 TOS or IPv6 traffic class
	IPID     uint16 // IPv4 identification; Append always sets DF
	Checksum Verdict
	Options  Options
	Payload  []byte // Parse: aliases the packet

	// SegmentSize, if not 0, makes this a super-segment, that whoever sends it
	// cuts into segments of so many octets of payload each: Append leaves its
	// checksum unfinished (ChecksumPartial). Parse cannot tell, and writes 0.
	SegmentSize uint16
}

// Count returns into how many segments a super-segment is cut, 1 if it is none.
func (s *Segment) Count() int {
	if s.SegmentSize == 0 {
		return 1
	}
	size := int(s.SegmentSize)
	return max(1, (len(s.Payload)+size-1)/size)
}

// Len returns SEG.LEN: the payload's octets, counting SYN and FIN (RFC 9293 section 3.3.1).
func (s *Segment) Len() int {
	n := len(s.Payload)
	if s.Flags&SYN != 0 {
		n++
	}
	if s.Flags&FIN != 0 {
		n++
	}
	return n
}

// End returns the point after the last octet of the segment: SEG.SEQ + SEG.LEN.
func (s *Segment) End() Seq { return s.Seq.Add(s.Len()) }
