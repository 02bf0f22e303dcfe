package puppet

import (
	"encoding/binary"
	"time"

	"rawtcp/segment"
)

// Complain sends an ICMP error of our own, from our own address, about a packet
// that the peer has sent: of type and code as RFC 792 or RFC 4443 have them.
// quoted is the packet; of IPv4 the first 8 octets behind its header are told, of
// IPv6 all of it. It counts as a provocation, and is no part of the evidence.
func (p *Puppet) Complain(kind, code uint8, quoted []byte) (at time.Duration) {
	p.rest()
	if !p.stage.ok() || !p.reserve(1, provoking) {
		return 0
	}
	p.board.mu.Lock()
	p.cursor = len(p.inbox)
	at = p.board.Now()
	err := p.board.write([][]byte{p.complaint(kind, code, quoted)})
	p.board.mu.Unlock()
	p.board.pace.gone(1)
	if err != nil {
		p.stage.fail(err)
	}
	p.provoked = at
	return at
}

// complaint builds the packet.
func (p *Puppet) complaint(kind, code uint8, quoted []byte) []byte {
	const hops = 64
	if p.local.Addr().Is6() {
		message := append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, quoted...)
		pkt := make([]byte, segment.IPv6HeaderLen, segment.IPv6HeaderLen+len(message))
		const icmp6 = 58
		pkt[0], pkt[6], pkt[7] = 6<<4, icmp6, hops
		binary.BigEndian.PutUint16(pkt[4:], uint16(len(message)))
		copy(pkt[8:], p.local.Addr().AsSlice())
		copy(pkt[24:], p.remote.Addr().AsSlice())
		// The pseudo-header of RFC 8200 section 8.1.
		sum := segment.Sum(pkt[8:40], uint16(len(message)))
		sum = segment.Sum([]byte{0, icmp6}, sum)
		binary.BigEndian.PutUint16(message[2:], ^segment.Sum(message, sum))
		return append(pkt, message...)
	}
	quoted = quoted[:min(len(quoted), headerLen(quoted)+8)]
	message := append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, quoted...)
	binary.BigEndian.PutUint16(message[2:], ^segment.Sum(message, 0))
	pkt := make([]byte, segment.IPv4HeaderLen, segment.IPv4HeaderLen+len(message))
	pkt[0], pkt[8], pkt[9] = 4<<4|5, hops, 1
	binary.BigEndian.PutUint16(pkt[2:], uint16(segment.IPv4HeaderLen+len(message)))
	copy(pkt[12:], p.local.Addr().AsSlice())
	copy(pkt[16:], p.remote.Addr().AsSlice())
	binary.BigEndian.PutUint16(pkt[10:], ^segment.Sum(pkt, 0))
	return append(pkt, message...)
}
