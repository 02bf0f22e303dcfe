package engine

import (
	"fmt"
	"math"
	"time"
)

// A Controller is a congestion control algorithm. It is told what happens and
// answers with a window; it sends nothing itself and reads no clock. The engine
// calls it with the stack's lock held, one call at a time, and it must not call
// back. Lengths are octets.
//
// During a fast recovery with SACK the engine spreads the reduction that OnLoss
// made over a round trip (RFC 6937); OnAck is not called until it is over.
type Controller interface {
	// OnAck is told of new data acknowledged outside recovery.
	OnAck(Ack)
	// OnLoss is told of one congestion event that a loss shows: the start of a
	// fast recovery, or a retransmission that was lost. inFlight is what was
	// outstanding when it began (FlightSize, RFC 5681 section 2).
	OnLoss(now Time, inFlight int)
	// OnECN is told of one congestion event that the peer's echo of a mark shows
	// (RFC 3168 section 6.1.2), at most once per round trip.
	OnECN(now Time, inFlight int)
	// OnRTO is told of the first retransmission timeout of a segment, not of its
	// repetitions: the window becomes one segment (RFC 5681 section 3.1).
	OnRTO(now Time, inFlight int)
	// OnSpurious is told that the latest call of OnLoss or OnRTO was needless:
	// what was held for lost had arrived. The algorithm goes back to what it was,
	// but its window, so that nothing bursts, to no more than most (RFC 4015
	// section 3.4, RFC 9438 section 4.9).
	OnSpurious(now Time, most int)
	// OnRestart is told that sending resumes after more than one timeout of
	// idleness (RFC 5681 section 4.1).
	OnRestart(now Time)
	// Window returns the congestion window, never below one segment.
	Window() int
	// Ssthresh returns the slow start threshold, never below one segment.
	Ssthresh() int
}

// An Ack is what a Controller learns from an acknowledgement of new data.
type Ack struct {
	Now      Time
	Acked    int           // octets that it acknowledges for the first time, at least 1
	InFlight int           // octets outstanding after it
	RTT      time.Duration // the round trip it measured, 0: none (RFC 6298 section 3)
	SRTT     time.Duration // the smoothed round-trip time, 0: none yet
	Round    int           // round trips since the connection began; one more when what was sent after the last step is acknowledged
}

// newController makes the algorithm that cfg names or brings. mss is the largest
// payload in octets, segments the initial window. old is one that nobody uses any
// more and whose memory may be taken, or nil.
func newController(cfg *ConnConfig, mss, segments int, old Controller) (Controller, error) {
	w := newWindow(mss, segments)
	w.limit = int16(min(max(cfg.ABCLimit, 0), math.MaxInt16))
	if cfg.ABCLimit == 0 && cfg.Pacing == On {
		w.limit = math.MaxInt16 // "L = infinity if paced" RFC 9406 section 4.3
	}
	w.hystart.on = cfg.HyStart.or(true)
	switch {
	case cfg.Controller != nil:
		return cfg.Controller(w.mss, w.initial), nil
	case cfg.Congestion == "cubic":
		c, ok := old.(*cubic)
		if !ok {
			c = new(cubic)
		}
		*c = cubic{cubicState: cubicState{window: w}}
		return c, nil
	case cfg.Congestion == "reno":
		r, ok := old.(*reno)
		if !ok {
			r = new(reno)
		}
		*r = reno{renoState: renoState{window: w}}
		return r, nil
	}
	return nil, fmt.Errorf("unknown congestion control %q: choose cubic or reno, or set Controller", cfg.Congestion)
}

// maxWindow is the largest window that TCP can advertise, about 2^30 octets
// (RFC 7323 section 2.3). A congestion window has no use for more.
const maxWindow = 65535 << 14

// abcLimit is the default of ABCLimit, L of RFC 3465 section 2.2: one ACK opens
// the window by no more than this many segments in slow start, however much it
// acknowledges. RFC 9406 section 4.3 has 8 for senders that do not pace, and so
// have we: peers that merge segments before they acknowledge them would else
// halve the growth (TestABCLimitAndMergedSegments has the figures).
const abcLimit = 8

// A window holds what every algorithm here shares: the congestion window, slow
// start, and whether the sender uses what it has.
type window struct {
	cwnd, ssthresh int   // octets
	mss, initial   int   // octets
	limit          int16 // L, segments; 0: abcLimit
	timedOut       bool  // nothing new was acknowledged since the last timeout
	recovering     bool  // slow start follows a timeout
	hystart        hystart
	meter          flightMeter
}

func newWindow(mss, initialSegments int) window {
	mss = min(max(mss, 1), 65535)
	initial := mss * min(max(initialSegments, 1), maxWindow/mss)
	return window{cwnd: initial, initial: initial, ssthresh: maxWindow, mss: mss}
}

func (w *window) Window() int   { return w.cwnd }
func (w *window) Ssthresh() int { return w.ssthresh }

// OnRestart: "a TCP SHOULD set cwnd to no more than RW before beginning
// transmission" with RW = min(IW,cwnd). RFC 5681 section 4.1.
func (w *window) OnRestart(Time) { w.set(min(w.initial, w.cwnd)) }

// set changes the window. None of those who ask has less than a segment: the
// least of what they choose from is the window, the threshold or a segment.
func (w *window) set(cwnd int) { w.cwnd = min(cwnd, maxWindow) }

// acknowledged does what every ACK of new data asks for and reports how many
// octets are left to the algorithm's own congestion avoidance: none in slow
// start, and none while the sender does not fill its window.
func (w *window) acknowledged(a Ack) int {
	if a.Acked <= 0 {
		return 0
	}
	a.Acked = min(a.Acked, maxWindow)
	w.timedOut = false
	w.meter.observe(a.Now, min(max(a.InFlight, 0), maxWindow)+a.Acked, w.cwnd-w.mss, a.SRTT)
	if w.cwnd >= w.ssthresh {
		w.recovering = false
		if !w.meter.limited() {
			return 0
		}
		return a.Acked
	}
	w.slowStart(a)
	return 0
}

// slowStart opens the window by the octets acknowledged, at most L segments
// (RFC 3465 section 2.2), and not beyond the threshold. The first slow start
// looks for its end by itself (RFC 9406).
func (w *window) slowStart(a Ack) {
	limit := int(w.limit)
	if limit <= 0 {
		limit = abcLimit
	}
	if w.recovering {
		limit = 1 // after a timeout one ACK may cover data sent long before: RFC 3465 section 2.3
	}
	grow := min(a.Acked, min(limit, maxWindow/w.mss)*w.mss)
	if w.ssthresh == maxWindow {
		grow = w.hystart.grow(a.Round, a.RTT, grow)
	}
	// Doubling each round trip makes the window up to twice the flight.
	if w.cwnd < 2*w.meter.largest() {
		w.set(min(w.cwnd+grow, w.ssthresh))
	}
	if w.hystart.over() {
		w.hystart = hystart{on: true}
		w.setThreshold(w.cwnd)
	}
}

// reduce answers a congestion event: the window becomes the threshold, but may
// be as small as least where no loss stopped the flow of ACKs.
func (w *window) reduce(ssthresh, least int) {
	w.setThreshold(ssthresh)
	w.set(min(max(ssthresh, least), maxWindow))
}

// timeout shrinks the window to one segment. "cwnd MUST be set to no more than
// the loss window, LW, which equals 1 full-sized segment" RFC 5681 section 3.1.
// ssthresh is the algorithm's new threshold; it stays as it is when the same
// segment times out again.
func (w *window) timeout(ssthresh int) {
	if !w.timedOut {
		w.setThreshold(ssthresh)
	}
	w.timedOut, w.recovering = true, true
	w.set(w.mss)
}

// restore makes w what it was before a needless reduction, when flight octets
// were outstanding: slow start leads back from most to where the sender was
// ("pipe_prev <- max (FlightSize, ssthresh)", RFC 4015 section 3.1).
func (w *window) restore(before window, flight, most int) {
	cwnd := w.cwnd
	*w = before
	w.set(max(cwnd, min(before.cwnd, most)))
	if before.ssthresh < maxWindow {
		w.setThreshold(max(before.ssthresh, min(flight, before.cwnd)))
	}
}

// setThreshold obeys the floor of RFC 5681 equation (4).
func (w *window) setThreshold(ssthresh int) {
	w.ssthresh = min(max(ssthresh, 2*w.mss), maxWindow)
}

// A flightMeter remembers the flights of this round trip and the one before it.
// ACKs arrive in batches, so the flight at one ACK says little about whether the
// sender had filled its window when it last could.
type flightMeter struct {
	now, before round
	end         Time
}

// A round is what is known of the flights of one round trip.
type round struct {
	peak    int32 // the largest flight, octets; no more than twice maxWindow
	limited bool  // the window left no room for another segment
}

// observe takes one flight; one above limit had no room left in its window.
func (m *flightMeter) observe(now Time, flight, limit int, srtt time.Duration) {
	rtt := min(max(srtt, rttGranularity), maxRTTSample)
	if now >= m.end {
		if m.before = m.now; now.Sub(m.end) >= rtt {
			m.before = round{} // a whole round trip passed in silence
		}
		m.now, m.end = round{}, now.Add(rtt)
	}
	m.now.peak = max(m.now.peak, int32(min(flight, math.MaxInt32)))
	m.now.limited = m.now.limited || flight > limit
}

func (m *flightMeter) limited() bool { return m.now.limited || m.before.limited }
func (m *flightMeter) largest() int  { return int(max(m.now.peak, m.before.peak)) }
