package engine

import "time"

// An rttEstimator computes the retransmission timeout from round-trip samples
// (RFC 6298). Call init before anything else.
type rttEstimator struct {
	srtt   time.Duration // smoothed round-trip time, 0 before the first sample
	rttvar time.Duration // its variation

	initial, min, max time.Duration
	doublings         int // back-offs since the last sample
}

// rttGranularity is G of RFC 6298 section 4: the least weight of the variation.
const rttGranularity = time.Millisecond

// maxRTTSample keeps the arithmetic far from overflow whatever a peer echoes.
const maxRTTSample = time.Hour

// init forgets all samples. initial is the timeout before the first sample (1 s
// if not positive), min and max bound every timeout.
func (r *rttEstimator) init(initial, min, max time.Duration) {
	if initial <= 0 {
		initial = time.Second // "the sender SHOULD set RTO <- 1 second" RFC 6298 section 2.1
	}
	if min < rttGranularity {
		min = rttGranularity
	}
	if max < min {
		max = min
	}
	*r = rttEstimator{initial: initial, min: min, max: max}
}

// sample takes one measurement that obeys Karn's algorithm and ends the
// back-off. Measurements that are not positive are ignored.
func (r *rttEstimator) sample(rtt time.Duration) {
	if rtt <= 0 {
		return
	}
	rtt = min(rtt, maxRTTSample)
	r.doublings = 0
	if r.srtt == 0 {
		r.srtt, r.rttvar = rtt, rtt/2 // RFC 6298 section 2.2
		return
	}
	// "RTTVAR MUST be computed" from the old SRTT, so it comes first: RFC 6298 section 2.3.
	r.rttvar += ((r.srtt - rtt).Abs() - r.rttvar) / 4
	r.srtt = max(r.srtt+(rtt-r.srtt)/8, 1)
}

// revive takes the first sample after a spurious timeout, with what srtt and
// rttvar were before it: the timeout may have come because they were too small
// (RFC 4015 section 3.1, step 11).
func (r *rttEstimator) revive(rtt, srtt, rttvar time.Duration) {
	if rtt <= 0 {
		return
	}
	rtt = min(rtt, maxRTTSample)
	r.doublings = 0
	r.srtt, r.rttvar = max(srtt, rtt), max(rttvar, rtt/2)
}

// backoff doubles the timeout, up to the maximum (RFC 6298 section 5.5).
func (r *rttEstimator) backoff() {
	if r.rto() < r.max {
		r.doublings++
	}
}

// rto returns the timeout now, back-off included.
func (r *rttEstimator) rto() time.Duration {
	d := r.initial
	if r.srtt > 0 {
		d = r.srtt + max(rttGranularity, 4*r.rttvar)
	}
	d = max(d, r.min)
	for range r.doublings {
		if d > r.max/2 {
			return r.max
		}
		d *= 2
	}
	return min(d, r.max)
}
