package engine

// reno is the congestion control of RFC 5681 with the byte counting of RFC
// 3465.
type reno struct {
	renoState
	before *renoBefore // nil: there was no reduction
}

type renoState struct {
	window
	counted int // octets acknowledged since the window last grew in congestion avoidance
}

// renoBefore is what OnSpurious goes back to.
type renoBefore struct {
	renoState
	flight int // octets outstanding then
}

// OnAck grows the window by one segment per window of data acknowledged
// (RFC 3465 section 2.1).
func (r *reno) OnAck(a Ack) {
	r.counted += r.acknowledged(a)
	if r.counted >= r.cwnd {
		r.counted = min(r.counted-r.cwnd, r.cwnd)
		r.set(r.cwnd + r.mss)
	}
}

// OnLoss halves: "ssthresh = max (FlightSize / 2, 2*SMSS)", RFC 5681 equation (4).
func (r *reno) OnLoss(_ Time, inFlight int) {
	r.remember(inFlight)
	r.reduce(inFlight/2, 2*r.mss)
}

// OnECN is OnLoss where nothing was lost: the window may shrink to one segment
// (RFC 3168 section 6.1.2).
func (r *reno) OnECN(_ Time, inFlight int) {
	r.remember(inFlight)
	r.reduce(inFlight/2, r.mss)
}

// OnRTO halves the threshold and starts again from one segment.
func (r *reno) OnRTO(_ Time, inFlight int) {
	r.remember(inFlight)
	r.timeout(inFlight / 2)
}

// OnSpurious takes the last of these back.
func (r *reno) OnSpurious(_ Time, most int) {
	if r.before != nil && r.cwnd < r.before.cwnd {
		r.restore(r.before.window, r.before.flight, most)
	}
}

func (r *reno) remember(inFlight int) {
	if r.before == nil {
		r.before = new(renoBefore)
	}
	*r.before = renoBefore{r.renoState, inFlight}
	r.counted = 0
}
