package puppet

import (
	"bytes"
	"encoding/binary"

	"rawtcp/segment"
)

// A Shot is a segment about to leave. What a Mod may not say in fields of a
// segment it does to the finished packet.
type Shot struct {
	segment.Segment
	mangle []func(packet []byte) []byte
}

// A Mod changes a Shot. Numbers in it are relative to what an obedient peer
// would send.
type Mod func(*Shot)

// Seq moves the sequence number by d.
func Seq(d int) Mod { return func(s *Shot) { s.Seq = s.Seq.Add(d) } }

// SeqAt sets the sequence number.
func SeqAt(n segment.Seq) Mod { return func(s *Shot) { s.Seq = n } }

// Ack moves the acknowledgement by d.
func Ack(d int) Mod { return func(s *Shot) { s.Ack = s.Ack.Add(d) } }

// AckAt sets the acknowledgement.
func AckAt(n segment.Seq) Mod { return func(s *Shot) { s.Ack = n } }

// Win sets the window as it is on the wire.
func Win(n uint16) Mod { return func(s *Shot) { s.Window = n } }

// Text adds a payload.
func Text(b []byte) Mod { return func(s *Shot) { s.Payload = b } }

// Urgent sets the urgent pointer; the flag is the caller's.
func Urgent(n uint16) Mod { return func(s *Shot) { s.Segment.Urgent = n } }

// TTL sets the TTL or hop limit.
func TTL(n uint8) Mod { return func(s *Shot) { s.Segment.TTL = n } }

// TOS sets DSCP and ECN.
func TOS(n uint8) Mod { return func(s *Shot) { s.Segment.TOS = n } }

// TSVal moves the timestamp value by d; it adds the option where there is none.
func TSVal(d int) Mod {
	return func(s *Shot) {
		s.Options.Set |= segment.HasTimestamps
		s.Options.Raw = nil
		s.Options.TSVal += uint32(d)
	}
}

// Stamps sets both timestamps.
func Stamps(val, ecr uint32) Mod {
	return func(s *Shot) {
		s.Options.Set |= segment.HasTimestamps
		s.Options.Raw = nil
		s.Options.TSVal, s.Options.TSEcr = val, ecr
	}
}

// NoStamps leaves the timestamps option out.
func NoStamps() Mod {
	return func(s *Shot) {
		s.Options.Set &^= segment.HasTimestamps
		s.Options.Raw = nil
	}
}

// SACK adds blocks, which are absolute.
func SACK(blocks ...segment.SACKBlock) Mod {
	return func(s *Shot) {
		s.Options.Set |= segment.HasSACK
		s.Options.Raw = nil
		s.Options.SACKCount = uint8(copy(s.Options.SACK[:], blocks))
	}
}

// RawOptions makes b the whole option area; it is padded with zeros.
func RawOptions(b []byte) Mod {
	return func(s *Shot) { s.Options = segment.Options{Raw: b} }
}

// MoreOptions puts b behind the options that the segment has.
func MoreOptions(b []byte) Mod {
	return func(s *Shot) {
		raw := s.Options.Raw
		if raw == nil {
			raw = segment.AppendLayout(nil, &s.Options, []segment.Kind{
				segment.KindNOP, segment.KindNOP, segment.KindTimestamps, segment.KindSACK})
			if s.Options.Set == 0 {
				raw = nil
			}
		}
		s.Options = segment.Options{Raw: append(raw[:len(raw):len(raw)], b...)}
	}
}

// Packet changes the finished packet; checksums are mended after it, except by a
// later Packet or BadChecksum.
func Packet(change func(packet []byte) []byte) Mod {
	return func(s *Shot) {
		s.mangle = append(s.mangle, func(pkt []byte) []byte {
			pkt = change(pkt)
			mend(pkt)
			return pkt
		})
	}
}

// Reserved sets the three reserved bits of the TCP header (RFC 9293 section 3.1).
func Reserved(bits uint8) Mod {
	return Packet(func(pkt []byte) []byte {
		pkt[headerLen(pkt)+12] |= bits & 7 << 1
		return pkt
	})
}

// EvilBit sets the reserved bit of the IPv4 header; IPv6 has none.
func EvilBit() Mod {
	return Packet(func(pkt []byte) []byte {
		if pkt[0]>>4 == 4 {
			pkt[6] |= 0x80
		}
		return pkt
	})
}

// IPOptions adds options to the IPv4 header, padded to a multiple of 4 octets,
// 40 at most. IPv6 has none.
func IPOptions(b []byte) Mod {
	return Packet(func(pkt []byte) []byte {
		if pkt[0]>>4 != 4 {
			return pkt
		}
		b = append(b[:len(b):len(b)], make([]byte, -len(b)&3)...)
		at := headerLen(pkt)
		out := append(append(append(make([]byte, 0, len(pkt)+len(b)), pkt[:at]...), b...), pkt[at:]...)
		out[0] = 4<<4 | uint8((at+len(b))/4)
		binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
		return out
	})
}

// Checksum changes the finished TCP checksum: nothing mends it afterwards. It
// stands last.
func Checksum(change func(right uint16) uint16) Mod {
	return func(s *Shot) {
		s.mangle = append(s.mangle, func(pkt []byte) []byte {
			field := pkt[headerLen(pkt)+16:]
			binary.BigEndian.PutUint16(field, change(binary.BigEndian.Uint16(field)))
			return pkt
		})
	}
}

// LookLike makes a SYN one of the same kind as another packet: its TOS, reserved
// bits, flags, window, options and payload. Addresses, ports, numbers and the TTL
// stay.
func LookLike(model []byte) Mod {
	var s segment.Segment
	if s.Parse(bytes.Clone(model)) != nil {
		return func(*Shot) {}
	}
	reserved := Reserved(model[headerLen(model)+12] >> 1)
	return func(shot *Shot) {
		shot.TOS, shot.Flags, shot.Window = s.TOS, s.Flags, s.Window
		shot.Options, shot.Payload = segment.Options{Raw: s.Options.Raw}, s.Payload
		reserved(shot)
	}
}

// headerLen is that of the IP header of a packet we have built.
func headerLen(pkt []byte) int {
	if pkt[0]>>4 == 6 {
		return segment.IPv6HeaderLen
	}
	return int(pkt[0]&15) * 4
}

// mend writes both checksums of a packet we have built.
func mend(pkt []byte) {
	at := headerLen(pkt)
	addrs := pkt[8:at]
	if pkt[0]>>4 == 4 {
		pkt[10], pkt[11] = 0, 0
		binary.BigEndian.PutUint16(pkt[10:], ^segment.Sum(pkt[:at], 0))
		addrs = pkt[12:20]
	}
	tcp := pkt[at:]
	tcp[16], tcp[17] = 0, 0
	pseudo := segment.Sum(addrs, 0)
	pseudo = segment.Sum([]byte{0, 6, byte(len(tcp) >> 8), byte(len(tcp))}, pseudo)
	binary.BigEndian.PutUint16(tcp[16:], ^segment.Sum(tcp, pseudo))
}

// append builds the packet.
func (s *Shot) append() ([]byte, error) {
	pkt, err := s.Append(nil)
	if err != nil {
		return nil, err
	}
	for _, f := range s.mangle {
		pkt = f(pkt)
	}
	return pkt, nil
}
