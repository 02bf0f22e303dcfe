package trace

import (
	"rawtcp/engine"
	"rawtcp/segment"
)

// tellECN adds what a segment says about congestion marks (RFC 3168): who can
// read them, who has seen one, and who has slowed down.
func (t *tale) tellECN(e *engine.Event) []string {
	s, ours := e.Segment, e.Kind == engine.EventSegmentOut
	ece, cwr := s.Flags.Has(segment.ECE), s.Flags.Has(segment.CWR)
	switch {
	case s.Flags.Has(segment.RST):
		return nil
	case s.Flags.Has(segment.SYN) && !s.Flags.Has(segment.ACK):
		if ece && cwr {
			return []string{"ECE and CWR in a SYN ask for ECN: routers may mark packets instead of dropping them."}
		}
	case s.Flags.Has(segment.SYN):
		if t.ecn = ece && !cwr; t.ecn {
			return []string{"ECE in a SYN-ACK says yes to ECN."}
		}
	case !t.ecn:
	case ours:
		return t.outECN(ece, cwr)
	default:
		return t.inECN(s, ece, cwr)
	}
	return nil
}

func (t *tale) outECN(ece, cwr bool) []string {
	var text []string
	if ece && t.once("ece out") {
		text = append(text, "ECE tells the peer of the mark, and goes on telling until the peer says CWR.")
	}
	if cwr {
		text = append(text, "CWR tells the peer that we have slowed down.")
	}
	return text
}

func (t *tale) inECN(s *segment.Segment, ece, cwr bool) []string {
	const congestionExperienced = 3 // RFC 3168 section 5
	var text []string
	if s.TOS&congestionExperienced == congestionExperienced && len(s.Payload) > 0 {
		text = append(text, "A router has marked it (CE): the path is congested, though nothing was lost.")
	}
	if cwr {
		text = append(text, "CWR: the peer has slowed down, so that we need not tell it of the mark any longer.")
	}
	if ece && t.once("ece in") {
		text = append(text, "ECE: a packet of ours was marked on its way. We send more slowly, as if it had been lost, and need not send it again.")
	}
	return text
}
