package engine

import "time"

// reno is the congestion control of RFC 5681 with the byte counting of RFC
// 3465.
type reno struct {
	window
	counted int // octets acknowledged since the window last grew in congestion avoidance
}

// OnAck grows the window by one segment per window of data acknowledged
// (RFC 3465 section 2.1).
func (r *reno) OnAck(now Time, acked, inFlight int, srtt time.Duration) {
	r.counted += r.acknowledged(now, acked, inFlight, srtt)
	if r.counted >= r.cwnd {
		r.counted = min(r.counted-r.cwnd, r.cwnd)
		r.set(r.cwnd + r.mss)
	}
}

// OnLoss halves: "ssthresh = max (FlightSize / 2, 2*SMSS)", RFC 5681 equation (4).
func (r *reno) OnLoss(_ Time, inFlight int) {
	r.setThreshold(inFlight / 2)
	r.counted = 0
	r.set(r.ssthresh)
}

// OnRTO halves the threshold and starts again from one segment.
func (r *reno) OnRTO(_ Time, inFlight int) {
	r.counted = 0
	r.timeout(inFlight / 2)
}
