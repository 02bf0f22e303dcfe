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
	tcp, err := s.read(pkt)
	if err != nil {
		return err
	}
	if pkt[0]>>4 == 4 && !ipv4ChecksumOK(pkt) {
		return ErrIPChecksum
	}
	s.Checksum = verify(pkt, tcp)
	return nil
}

// ParseUnverified is Parse without a look at either checksum, for packets whose
// checksums somebody else vouches for. It leaves ChecksumUnknown.
func (s *Segment) ParseUnverified(pkt []byte) error {
	_, err := s.read(pkt)
	return err
}

// read fills s from a packet and returns the TCP segment in it.
func (s *Segment) read(pkt []byte) (tcp []byte, err error) {
	if tcp, err = tcpOf(pkt); err != nil {
		return nil, err
	}
	if pkt[0]>>4 == 4 {
		s.readIPv4((*[IPv4HeaderLen]byte)(pkt), (*[TCPHeaderLen]byte)(tcp))
	} else {
		s.readIPv6((*[IPv6HeaderLen]byte)(pkt), (*[TCPHeaderLen]byte)(tcp))
	}
	return tcp, s.readTCP(tcp)
}

func (s *Segment) readIPv4(ip *[IPv4HeaderLen]byte, tcp *[TCPHeaderLen]byte) {
	s.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[12:16])), binary.BigEndian.Uint16(tcp[0:]))
	s.Dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[16:20])), binary.BigEndian.Uint16(tcp[2:]))
	s.TTL, s.TOS, s.IPID = ip[8], ip[1], binary.BigEndian.Uint16(ip[4:])
}

func (s *Segment) readIPv6(ip *[IPv6HeaderLen]byte, tcp *[TCPHeaderLen]byte) {
	s.Src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(ip[8:24])), binary.BigEndian.Uint16(tcp[0:]))
	s.Dst = netip.AddrPortFrom(netip.AddrFrom16([16]byte(ip[24:40])), binary.BigEndian.Uint16(tcp[2:]))
	s.TTL, s.TOS, s.IPID = ip[7], uint8(binary.BigEndian.Uint16(ip[0:])>>4), 0
}

// readTCP takes everything of the TCP segment but its ports.
func (s *Segment) readTCP(tcp []byte) error {
	h := (*[TCPHeaderLen]byte)(tcp)
	end := int(h[12]>>4) * 4
	if end < TCPHeaderLen {
		return ErrDataOffset
	}
	if end > len(tcp) {
		return ErrOptionsShort
	}
	s.Seq = Seq{binary.BigEndian.Uint32(h[4:])}
	s.Ack = Seq{binary.BigEndian.Uint32(h[8:])}
	s.Flags = Flags(binary.BigEndian.Uint16(h[12:])) & allFlags
	s.Window = binary.BigEndian.Uint16(h[14:])
	s.Urgent = binary.BigEndian.Uint16(h[18:])
	s.Checksum, s.SegmentSize = ChecksumUnknown, 0
	s.Options.parse(tcp[TCPHeaderLen:end])
	s.Payload = tcp[end:]
	return nil
}
