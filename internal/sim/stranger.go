package sim

import (
	"net/netip"

	"rawtcp/segment"
)

// A stranger is somebody who floods: what it sent, and what it drew.
type stranger struct {
	packets, octets int  // sent
	opens           bool // it sent a SYN
	drawn, answers  int  // octets and packets drawn
}

// optionCost is what an answer may have more than what it answers: a SYN-ACK
// names our MSS to a SYN that has no options (MUST-14).
const optionCost = 8

func (w *world) stranger(a netip.AddrPort) *stranger {
	if w.strangers == nil {
		w.strangers = map[netip.AddrPort]*stranger{}
	}
	if w.strangers[a] == nil {
		w.strangers[a] = new(stranger)
	}
	return w.strangers[a]
}

// judgeStranger holds what a stranger draws against what it sent (I21). Only a
// cached SYN draws more: the SYN-ACK's retransmissions.
func (w *world) judgeStranger(h *host, pkt []byte) {
	var s segment.Segment
	if err := s.Parse(pkt); err != nil {
		w.fail("I16: host %d sends what reads back as %v", h.id, err)
		return
	}
	defer func() { w.free = append(w.free, pkt) }()
	w.limit++ // floods are judged here, and not as a livelock
	a := w.stranger(s.Dst)
	a.answers++
	a.drawn += len(pkt)
	packets, octets := a.packets, a.octets
	if a.opens { // each of them may be a SYN that is cached
		packets, octets = (1+synRetries)*packets, (1+synRetries)*octets
	}
	if a.answers > packets || a.drawn > octets+optionCost*packets {
		w.fail("I21: %d packets of %d octets drew %d of %d from host %d", a.packets, a.octets, a.answers, a.drawn, h.id)
	}
}
