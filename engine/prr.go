package engine

// A prr is Proportional Rate Reduction (RFC 6937): in fast recovery it lets so
// much be sent for what arrives that the flight shrinks to the new congestion
// window over a round trip, without a silence and without a burst; and where
// losses took it below, it grows again as slow start would (PRR-SSRB).
//
// It needs to know what each ACK delivered, and so it needs SACK. Without, the
// window inflates by duplicate ACKs (RFC 6582 section 3.2).
type prr struct {
	delivered int // prr_delivered: octets that arrived since recovery began
	out       int // prr_out: octets sent since then
	flight    int // RecoverFS: octets that were in flight when it began
	window    int // octets that may be in the network until the next ACK: pipe + sndcnt
}

// begin starts a recovery that found flight octets in the network, what had
// been reported before not among them.
func (p *prr) begin(flight int) { *p = prr{flight: max(1, flight)} }

// ack computes sndcnt for an ACK that delivered so many octets and left pipe
// octets in the network (RFC 6937 section 3). ssthresh is the target. Where the
// RFC rounds up, it is to a whole segment.
func (p *prr) ack(delivered, pipe, ssthresh, mss int) {
	p.delivered += delivered
	sndcnt := 0
	if pipe > ssthresh {
		unit := p.flight * mss
		sndcnt = (p.delivered*ssthresh+unit-1)/unit*mss - p.out
	} else {
		limit := max(p.delivered-p.out, delivered) + mss
		sndcnt = min(ssthresh-pipe, limit)
	}
	p.window = pipe + max(0, sndcnt)
}
