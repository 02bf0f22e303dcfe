package engine

import (
	"fmt"
	"time"
)

// A Controller is a congestion control algorithm. It is told what happens and
// answers with a window; it sends nothing itself. Lengths are octets, inFlight
// counts what is outstanding after the event.
type Controller interface {
	// OnAck is told of acked octets of new data acknowledged outside recovery.
	OnAck(now Time, acked, inFlight int, srtt time.Duration)
	// OnLoss is told of one congestion event: the start of a fast recovery, or
	// an ECN echo.
	OnLoss(now Time, inFlight int)
	// OnRTO is told of a retransmission timeout.
	OnRTO(now Time, inFlight int)
	// OnRestart is told that sending resumes after more than one timeout of idleness.
	OnRestart(now Time)
	// Window returns the congestion window, never below one MSS.
	Window() int
	// Ssthresh returns the slow start threshold, never below one MSS.
	Ssthresh() int
}

// newController makes the named algorithm, "cubic" or "reno". mss is the send
// MSS in octets, initialSegments the initial window in segments.
func newController(name string, mss, initialSegments int) (Controller, error) {
	w := newWindow(mss, initialSegments)
	switch name {
	case "cubic":
		return &cubic{window: w}, nil
	case "reno":
		return &reno{window: w}, nil
	}
	return nil, fmt.Errorf("unknown congestion control %q: choose cubic or reno", name)
}

// maxWindow is the largest window that TCP can advertise, about 2^30 octets
// (RFC 7323 section 2.3). A congestion window has no use for more.
const maxWindow = 65535 << 14

// abcLimit is L of RFC 3465 section 2.2: one ACK opens the window by no more
// than this many segments in slow start, however much it acknowledges.
const abcLimit = 2

// A window holds what every algorithm here shares: the congestion window, slow
// start, and whether the sender uses what it has.
type window struct {
	cwnd, ssthresh int  // octets
	mss, initial   int  // octets
	timedOut       bool // nothing new was acknowledged since the last timeout
	recovering     bool // slow start follows a timeout
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

func (w *window) set(cwnd int) { w.cwnd = min(max(cwnd, w.mss), maxWindow) }

// acknowledged does what every ACK of new data asks for and reports how many
// octets are left to the algorithm's own congestion avoidance: none in slow
// start, and none while the sender does not fill its window.
func (w *window) acknowledged(now Time, acked, inFlight int, srtt time.Duration) int {
	if acked <= 0 {
		return 0
	}
	acked = min(acked, maxWindow)
	w.timedOut = false
	w.meter.observe(now, min(max(inFlight, 0), maxWindow)+acked, w.cwnd-w.mss, srtt)
	if w.cwnd >= w.ssthresh {
		w.recovering = false
		if !w.meter.limited() {
			return 0
		}
		return acked
	}
	// Doubling each round trip makes the window up to twice the flight.
	if w.cwnd < 2*w.meter.largest() {
		w.slowStart(acked)
	}
	return 0
}

// slowStart opens the window by the octets acknowledged, at most L segments
// (RFC 3465 section 2.2), and not beyond the threshold.
func (w *window) slowStart(acked int) {
	limit := abcLimit
	if w.recovering {
		limit = 1 // after a timeout one ACK may cover data sent long before: RFC 3465 section 2.3
	}
	w.set(min(w.cwnd+min(acked, limit*w.mss), w.ssthresh))
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
	peak    int  // the largest flight, octets
	limited bool // the window left no room for another segment
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
	m.now.peak = max(m.now.peak, flight)
	m.now.limited = m.now.limited || flight > limit
}

func (m *flightMeter) limited() bool { return m.now.limited || m.before.limited }
func (m *flightMeter) largest() int  { return max(m.now.peak, m.before.peak) }
