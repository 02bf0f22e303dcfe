package segment

import "strconv"

// Direction says who sent a segment, as the arrow before a line of text tells.
type Direction uint8

// The directions. A line may have no arrow.
const (
	NoDirection Direction = iota
	In                    // "<", from the peer
	Out                   // ">", to the peer
)

// String returns "", "<" or ">".
func (d Direction) String() string {
	switch d {
	case In:
		return "<"
	case Out:
		return ">"
	}
	return ""
}

// Relative holds the numbers that count as 0 in printed text: Seq for the
// sequence number, Ack for the acknowledgement and the SACK blocks. The zero
// value prints absolute numbers.
type Relative struct{ Seq, Ack Seq }

// AppendText appends the segment in the one-line notation that ParseText reads:
//
//	P. 1:1001(1000) ack 1 win 502 <nop,nop,TS val 7 ecr 3>
//
// Flags are tcpdump's letters; then the sequence range [start, end) and the
// payload's octets, without SYN and FIN; ack and urg if they are flagged or not
// zero; the window as on the wire; the options in wire order. Addresses, IP
// fields and the bytes of the payload are not shown. Numbers are counted from
// rel, modulo 2^32.
func (s *Segment) AppendText(dst []byte, rel Relative) []byte {
	dst = append(s.Flags.AppendText(dst), ' ')
	dst = appendSeq(dst, s.Seq, rel.Seq)
	dst = append(dst, ':')
	dst = appendSeq(dst, s.Seq.Add(len(s.Payload)), rel.Seq)
	dst = append(dst, '(')
	dst = strconv.AppendInt(dst, int64(len(s.Payload)), 10)
	dst = append(dst, ')')
	if s.Flags.Has(ACK) || s.Ack != (Seq{}) {
		dst = appendSeq(append(dst, " ack "...), s.Ack, rel.Ack)
	}
	dst = appendField(dst, " win ", uint64(s.Window))
	if s.Flags.Has(URG) || s.Urgent != 0 {
		dst = appendField(dst, " urg ", uint64(s.Urgent))
	}
	return s.Options.appendBracketed(dst, rel.Ack)
}

// String returns the segment in the one-line notation, with absolute numbers.
func (s *Segment) String() string { return string(s.AppendText(nil, Relative{})) }

// appendSeq appends a point's distance from base, modulo 2^32 as tcpdump does.
func appendSeq(dst []byte, s, base Seq) []byte {
	return strconv.AppendUint(dst, uint64(s.n-base.n), 10)
}

func appendField(dst []byte, name string, value uint64) []byte {
	return strconv.AppendUint(append(dst, name...), value, 10)
}
