package probe

import (
	"time"

	"rawtcp/engine"
	"rawtcp/internal/puppet"
	"rawtcp/segment"
)

// A Rung is one hop limit of a ladder: what was sent with it and what came back.
type Rung struct {
	Hops   int             // the TTL or hop limit it left with
	Sent   puppet.Sent     // the last try
	ICMP   *engine.ICMP    // "time exceeded" of a router, with the segment as it arrived there; nil: none came
	At     time.Duration   // when the answer came
	Answer *puppet.Arrival // of the host: the ladder ends here
}

// maxHops is the longest ladder.
const maxHops = 32

// Ladder sends a segment with a growing hop limit, each up to twice, until the
// host answers it with a segment that matches, or four routers in a row are
// silent, or there are too many.
func (t *T) Ladder(p *puppet.Puppet, match puppet.Match, send func(hops puppet.Mod) puppet.Sent) []Rung {
	var rungs []Rung
	for hops, silent := 1, 0; hops <= maxHops && silent < 4; hops++ {
		r := t.rung(p, match, hops, send)
		rungs = append(rungs, r)
		if r.Answer != nil {
			break
		}
		if silent++; r.ICMP != nil {
			silent = 0
		}
	}
	return rungs
}

func (t *T) rung(p *puppet.Puppet, match puppet.Match, hops int, send func(puppet.Mod) puppet.Sent) Rung {
	r := Rung{Hops: hops}
	for range 2 {
		r.Sent = send(puppet.TTL(uint8(hops)))
		for deadline := t.Now() + t.Patience(); t.Now() < deadline; {
			a := p.AwaitOrICMP(deadline-t.Now(), match)
			switch {
			case a == nil:
			case a.ICMP == nil:
				r.Answer, r.At = a, a.At
				return r
			case exceeded(a.ICMP):
				r.ICMP, r.At = a.ICMP, a.At
				return r
			}
		}
	}
	return r
}

// exceeded reports whether a router says that the hop limit was used up.
func exceeded(m *engine.ICMP) bool {
	if m.From.Is4() || m.From.Is4In6() {
		return m.Type == 11 && m.Code == 0 // RFC 792
	}
	return m.Type == 3 && m.Code == 0 // RFC 4443 section 3.3
}

// quotedOptions returns the options of the segment that an ICMP error quotes, as
// far as they are whole. ok is false if the quote ends before they do.
func quotedOptions(quoted []byte) (o segment.Options, ok bool) {
	at := segment.IPv6HeaderLen
	if len(quoted) > 0 && quoted[0]>>4 == 4 {
		at = int(quoted[0]&15) * 4
	}
	if len(quoted) < at+segment.TCPHeaderLen {
		return o, false
	}
	end := at + int(quoted[at+12]>>4)*4
	if end < at+segment.TCPHeaderLen || len(quoted) < end {
		return o, false
	}
	o.Raw = quoted[at+segment.TCPHeaderLen : end]
	return o, true
}
