package segment

import (
	"encoding/binary"
	"math/bits"
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
	tcp, err := s.read(pkt)
	if err != nil {
		return err
	}
	if pkt[0] != 0x45 {
		if pkt[0]>>4 == 4 && Sum(pkt[:int(pkt[0]&0xf)*4], 0) != 0xffff {
			return ErrIPChecksum
		}
		s.Checksum = verify(tcp, pseudoWords(pkt, len(tcp)))
		return nil
	}
	// What both checksums need is loaded once.
	h := (*[IPv4HeaderLen]byte)(pkt)
	second, third := binary.LittleEndian.Uint64(h[8:]), uint64(binary.LittleEndian.Uint32(h[16:]))
	sum, c := bits.Add64(binary.LittleEndian.Uint64(h[0:]), second, 0)
	sum, c = bits.Add64(sum, third, c)
	if !foldsToOnes(sum + c) {
		return ErrIPChecksum
	}
	s.Checksum = verify(tcp, pseudoTail(len(tcp))+second>>32+third)
	return nil
}

// ParseUnverified is Parse without a look at either checksum, for packets whose
// checksums somebody else vouches for. It leaves ChecksumUnknown.
func (s *Segment) ParseUnverified(pkt []byte) error {
	_, err := s.read(pkt)
	return err
}

// read fills s from a packet and returns the TCP segment in it. It is one function
// for all of it, because calls in between would cost as much as the work they do.
func (s *Segment) read(pkt []byte) (tcp []byte, err error) {
	switch total := plainIPv4(pkt); {
	case total > 0:
		tcp = pkt[IPv4HeaderLen:total]
	case len(pkt) > 0 && pkt[0]>>4 == 6:
		tcp, err = tcpOfIPv6(pkt)
	default:
		tcp, err = tcpOf(pkt)
	}
	if err != nil {
		return nil, err
	}
	h := (*[TCPHeaderLen]byte)(tcp)
	end := int(h[12]>>4) * 4
	if end < TCPHeaderLen {
		return nil, ErrDataOffset
	}
	if end > len(tcp) {
		return nil, ErrOptionsShort
	}
	if pkt[0]>>4 == 4 {
		ip := (*[IPv4HeaderLen]byte)(pkt)
		s.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[12:16])), binary.BigEndian.Uint16(h[0:]))
		s.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[16:20])), binary.BigEndian.Uint16(h[2:]))
		s.TTL, s.TOS, s.IPID = ip[8], ip[1], binary.BigEndian.Uint16(ip[4:])
	} else {
		ip := (*[IPv6HeaderLen]byte)(pkt)
		s.Src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(ip[8:24])), binary.BigEndian.Uint16(h[0:]))
		s.Dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte(ip[24:40])), binary.BigEndian.Uint16(h[2:]))
		s.TTL, s.TOS, s.IPID = ip[7], uint8(binary.BigEndian.Uint16(ip[0:])>>4), 0
	}
	s.Seq = Seq{binary.BigEndian.Uint32(h[4:])}
	s.Ack = Seq{binary.BigEndian.Uint32(h[8:])}
	s.Flags = Flags(binary.BigEndian.Uint16(h[12:])) & allFlags
	s.Window = binary.BigEndian.Uint16(h[14:])
	s.Urgent = binary.BigEndian.Uint16(h[18:])
	s.Checksum, s.SegmentSize = ChecksumUnknown, 0
	raw := tcp[TCPHeaderLen:end]
	s.Options = Options{Raw: raw}
	if len(raw) == 12 && binary.BigEndian.Uint32(raw) == nopNopTimestamps {
		s.Options.Set = HasTimestamps
		s.Options.TSVal = binary.BigEndian.Uint32(raw[4:])
		s.Options.TSEcr = binary.BigEndian.Uint32(raw[8:])
	} else if len(raw) > 0 {
		s.Options.Set = s.Options.readWords(raw)
	}
	s.Payload = tcp[end:]
	return tcp, nil
}
