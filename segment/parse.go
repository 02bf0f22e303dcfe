package segment

import (
	"encoding/binary"
	"net/netip"
)

// Parse reads a whole IPv4 or IPv6 packet that carries TCP into s and
// overwrites every field. Octets behind the packet are left out.
//
// s.Payload, s.Options.Raw and s.Options.FastOpen alias pkt; nothing is
// allocated. A packet with an IPv4 header checksum that is wrong is refused; the
// TCP checksum is judged and left to the caller in s.Checksum. On an error,
// which Reason names, s holds nothing to rely on.
func (s *Segment) Parse(pkt []byte) error {
	tcp, err := tcpOf(pkt)
	if err != nil {
		return err
	}
	if pkt[0]>>4 == 4 && fold(accumulate(pkt[:int(pkt[0]&0xf)*4], 0)) != 0xffff {
		return ErrIPChecksum
	}
	if err := s.read(pkt, tcp); err != nil {
		return err
	}
	s.Checksum = verify(pkt, tcp)
	return nil
}

// ParseUnverified is Parse without a look at either checksum, for packets whose
// checksums somebody else vouches for. It leaves ChecksumUnknown.
func (s *Segment) ParseUnverified(pkt []byte) error {
	tcp, err := tcpOf(pkt)
	if err != nil {
		return err
	}
	return s.read(pkt, tcp)
}

// read fills s from a packet and the TCP segment in it, as tcpOf finds it.
func (s *Segment) read(pkt, tcp []byte) error {
	h := (*[TCPHeaderLen]byte)(tcp)
	end := int(h[12]>>4) * 4
	if end < TCPHeaderLen {
		return ErrDataOffset
	}
	if end > len(tcp) {
		return ErrOptionsShort
	}
	src, dst := addresses(pkt)
	s.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(h[0:]))
	s.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(h[2:]))
	s.Seq = Seq{binary.BigEndian.Uint32(h[4:])}
	s.Ack = Seq{binary.BigEndian.Uint32(h[8:])}
	s.Flags = Flags(binary.BigEndian.Uint16(h[12:])) & allFlags
	s.Window = binary.BigEndian.Uint16(h[14:])
	s.Urgent = binary.BigEndian.Uint16(h[18:])
	if pkt[0]>>4 == 4 {
		s.TTL, s.TOS, s.IPID = pkt[8], pkt[1], binary.BigEndian.Uint16(pkt[4:])
	} else {
		s.TTL, s.TOS, s.IPID = pkt[7], uint8(binary.BigEndian.Uint16(pkt)>>4), 0
	}
	s.Checksum = ChecksumUnknown
	s.Options.parse(tcp[TCPHeaderLen:end])
	s.Payload = tcp[end:]
	return nil
}
