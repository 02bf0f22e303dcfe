package capture

import (
	"encoding/binary"
	"errors"

	"rawtcp/segment"
)

// A Decoder turns packets into segments. The zero value is ready.
type Decoder struct {
	scratch [segment.IPv6HeaderLen + 60]byte // the headers of a packet that is not whole
}

// A Detail is what a capture says of a packet beside its segment.
type Detail struct {
	Kept  int  // octets of Payload that are in the file; the others read as 0
	IPLen int  // octets of the IP packet
	TSO   bool // the IP header had no length: it was to be cut by the network card

	OptionsCut bool   // not all TCP options are in the file
	Place      uint64 // where the packet was captured: another number is another interface
}

// maxPayload is the most that one segment of a capture can hold: what offloads
// make, and more.
const maxPayload = 1 << 20

// unseen stands for octets that were not kept. Nobody writes to it.
var unseen [maxPayload]byte

// Segment reads the TCP segment of p into s. It aliases p.Data and d: both stay
// until p or d is used again. A packet whose payload was cut by the snap length
// is read with zeros for what is missing; its checksum is ChecksumUnknown. One
// that was cut within its options has those that are whole. An IPv4 header whose
// checksum was left to the network card is mended, in p.Data.
//
// The error, which Reason names, says why there is no segment.
func (d *Decoder) Segment(p *Packet, s *segment.Segment) (Detail, error) {
	ip, size, err := p.IP()
	if err != nil {
		return Detail{}, err
	}
	if len(ip) == 0 {
		return Detail{}, ErrSnapped
	}
	var l layout
	switch ip[0] >> 4 {
	case 4:
		l, err = layoutOf4(ip, size)
	case 6:
		l, err = layoutOf6(ip, size)
	default:
		return Detail{}, ErrNotIP
	}
	if err != nil {
		return Detail{}, err
	}
	if l.size > len(ip) || l.tso {
		detail, err := d.rebuild(ip, l, s)
		detail.Place = p.place()
		return detail, err
	}
	err = s.Parse(ip[:l.size])
	if errors.Is(err, segment.ErrIPChecksum) {
		finishHeader(ip[:l.tcp])
		err = s.Parse(ip[:l.size])
	}
	return Detail{Kept: len(s.Payload), IPLen: l.size, Place: p.place()}, err
}

// place tells the interfaces of a file apart, and those of "any" where the link
// layer has their index.
func (p *Packet) place() uint64 {
	place := uint64(p.Interface)
	if p.Link == LinkCooked2 && len(p.Data) >= 8 {
		place |= uint64(binary.BigEndian.Uint32(p.Data[4:])) << 32
	}
	return place
}

// A layout is where things are in an IP packet.
type layout struct {
	tcp  int // where TCP begins
	size int // octets of the packet
	tso  bool
}

func layoutOf4(ip []byte, size int) (layout, error) {
	if len(ip) < segment.IPv4HeaderLen {
		return layout{}, ErrSnapped
	}
	l := layout{tcp: int(ip[0]&15) * 4, size: int(binary.BigEndian.Uint16(ip[2:]))}
	if l.size == 0 {
		l.size, l.tso = size, true
	}
	switch {
	case ip[9] != 6:
		return l, segment.ErrNotTCP
	case binary.BigEndian.Uint16(ip[6:])&0x3fff != 0:
		return l, ErrFragment
	case l.tcp < segment.IPv4HeaderLen:
		return l, segment.ErrIPHeaderLen
	case l.size > size:
		return l, ErrLength
	}
	return l, nil
}

func layoutOf6(ip []byte, size int) (layout, error) {
	if len(ip) < segment.IPv6HeaderLen {
		return layout{}, ErrSnapped
	}
	l := layout{tcp: segment.IPv6HeaderLen, size: int(binary.BigEndian.Uint16(ip[4:])) + segment.IPv6HeaderLen}
	if l.size == segment.IPv6HeaderLen {
		l.size, l.tso = size, true
	}
	if l.size > size {
		return l, ErrLength
	}
	next := ip[6]
	for range 8 { // extension headers, RFC 8200 section 4
		unit, extra := 8, 1
		switch next {
		case 6:
			return l, nil
		case 44:
			return l, ErrFragment
		case 51:
			unit, extra = 4, 2 // RFC 4302 section 2.2
		case 0, 43, 60:
		default:
			return l, segment.ErrNotTCP
		}
		if len(ip) < l.tcp+8 {
			return l, ErrSnapped
		}
		next = ip[l.tcp]
		l.tcp += (int(ip[l.tcp+1]) + extra) * unit
	}
	return l, segment.ErrExtension
}

// rebuild reads a packet that is not whole, or has no length, through headers
// that say what is there.
func (d *Decoder) rebuild(ip []byte, l layout, s *segment.Segment) (Detail, error) {
	if len(ip) < l.tcp+segment.TCPHeaderLen {
		return Detail{}, ErrSnapped
	}
	header := int(ip[l.tcp+12]>>4) * 4
	switch {
	case header < segment.TCPHeaderLen:
		return Detail{}, segment.ErrDataOffset
	case l.tcp+header > l.size:
		return Detail{}, segment.ErrOptionsShort
	case l.size-l.tcp-header > maxPayload:
		return Detail{}, ErrLength
	}
	if err := s.ParseUnverified(d.headers(ip, l.tcp, header)); err != nil {
		return Detail{}, err
	}
	kept := ip[min(l.tcp+header, len(ip)):min(l.size, len(ip))]
	s.Payload = kept
	if n := l.size - l.tcp - header; n > len(kept) {
		s.Payload = unseen[:n]
	}
	return Detail{Kept: len(kept), IPLen: l.size, TSO: l.tso, OptionsCut: l.tcp+header > len(ip)}, nil
}

// headers are those of ip, without IP options and extensions, as of a packet
// without payload.
func (d *Decoder) headers(ip []byte, at, size int) []byte {
	b := d.scratch[:0]
	if ip[0]>>4 == 4 {
		b = append(b, ip[:segment.IPv4HeaderLen]...)
		b[0] = 0x45
		binary.BigEndian.PutUint16(b[2:], uint16(segment.IPv4HeaderLen+size))
	} else {
		b = append(b, ip[:segment.IPv6HeaderLen]...)
		binary.BigEndian.PutUint16(b[4:], uint16(size))
		b[6] = 6
	}
	options := len(b) + segment.TCPHeaderLen
	b = append(b, ip[at:min(at+size, len(ip))]...)
	if missing := at + size - len(ip); missing > 0 {
		b = finishOptions(b, options, missing)
	}
	return b
}

// finishOptions ends the options of b, which begin at an offset, where the
// capture has cut them, missing octets before their end. What is there of the
// last one is taken out with what is not.
func finishOptions(b []byte, at, missing int) []byte {
	for at < len(b) && b[at] != 0 {
		size := 1
		if b[at] != 1 { // not the one octet of "no operation", RFC 9293 section 3.1
			if at+1 >= len(b) {
				break
			}
			if size = int(b[at+1]); size < 2 || at+size > len(b) {
				break
			}
		}
		at += size
	}
	for i := at; i < len(b); i++ {
		b[i] = 0
	}
	return append(b, make([]byte, missing)...)
}

// finishHeader gives an IPv4 header the checksum that it lacks.
func finishHeader(header []byte) {
	header[10], header[11] = 0, 0
	binary.BigEndian.PutUint16(header[10:], ^segment.Sum(header, 0))
}
