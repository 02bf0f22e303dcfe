package engine

import (
	"math/bits"
	"time"
)

// cubic is the congestion control of RFC 9438 in integers: windows in octets,
// time in milliseconds, beta 7/10 and C 2/5.
//
//	W_cubic(t) = C*(t-K)^3 + W_max, in segments and seconds
type cubic struct {
	window
	lastAck    Time
	*avoidance // nil as long as the connection knows slow start alone, as most idle ones do
}

// avoidance is what congestion avoidance needs.
type avoidance struct {
	cubicCurve
	before *cubicBefore // nil: there was no reduction
}

// cubicCurve is what a congestion event changes beside the window (RFC 9438 section 4.9.2).
type cubicCurve struct {
	wMax  int // W_max: the window before the last reduction
	prior int // cwnd_prior: as wMax, but without fast convergence

	running  bool          // a congestion avoidance stage has begun
	elapsed  time.Duration // t: how long it has been limited by the window
	k        int64         // K: milliseconds from the start of the stage to wMax
	est      int           // W_est: the window Reno would have
	estPart  int64         // remainders of the divisions that grow est and cwnd
	cwndPart int64
}

// cubicBefore is what OnSpurious goes back to.
type cubicBefore struct {
	window
	cubicCurve
	flight int // octets outstanding then
}

// OnAck grows the window along the cubic function, or as Reno would where that
// is faster.
func (c *cubic) OnAck(a Ack) {
	acked := c.acknowledged(a)
	if acked == 0 {
		c.lastAck = a.Now // time spent in slow start or unlimited does not count: RFC 9438 section 5.8
		return
	}
	c.avoid()
	if !c.running {
		c.begin(a.Now)
	}
	c.elapsed += min(max(a.Now.Sub(c.lastAck), 0), maxRTTSample)
	c.lastAck = a.Now
	c.growEstimate(acked)
	if c.at(c.elapsed) < c.est {
		c.set(max(c.cwnd, c.est)) // Reno-friendly region: RFC 9438 section 4.3
		return
	}
	// The window moves towards where the curve is one round trip ahead, by at
	// most half of itself: RFC 9438 section 4.2.
	target := c.at(c.elapsed + min(max(a.SRTT, 0), maxRTTSample))
	target = min(max(target, c.cwnd), c.cwnd+c.cwnd/2)
	c.cwndPart += int64(target-c.cwnd) * int64(acked)
	grow := c.cwndPart / int64(c.cwnd)
	c.cwndPart %= int64(c.cwnd)
	c.set(min(c.cwnd+int(grow), target))
}

// OnLoss reduces the window to 7/10 of the flight.
func (c *cubic) OnLoss(_ Time, inFlight int) {
	c.remember(inFlight)
	c.stepBack()
	c.reduce(timesBeta(inFlight), 2*c.mss)
}

// OnECN is OnLoss where nothing was lost: the window may shrink to one segment
// (RFC 9438 section 4.6).
func (c *cubic) OnECN(_ Time, inFlight int) {
	c.remember(inFlight)
	c.stepBack()
	c.reduce(timesBeta(inFlight), c.mss)
}

// OnRTO starts again from one segment. The first stage afterwards takes the
// window it begins with for wMax, so that K is 0: RFC 9438 section 4.8.
func (c *cubic) OnRTO(_ Time, inFlight int) {
	c.remember(inFlight)
	if !c.timedOut { // a second timeout in a row says nothing new about the path
		c.stepBack()
		c.wMax = 0
	}
	c.timeout(timesBeta(inFlight))
}

// OnSpurious takes the last of these back, with the stage that it ended; the
// time since does not count as time on the curve: RFC 9438 section 4.9.
func (c *cubic) OnSpurious(now Time, most int) {
	if c.avoidance == nil || c.before == nil || c.cwnd >= c.before.cwnd {
		return
	}
	c.cubicCurve = c.before.cubicCurve
	c.restore(c.before.window, c.before.flight, most)
	c.lastAck = now
}

func (c *cubic) remember(inFlight int) {
	c.avoid()
	if c.before == nil {
		c.before = new(cubicBefore)
	}
	*c.before = cubicBefore{c.window, c.cubicCurve, inFlight}
}

// avoid makes room for congestion avoidance, once.
func (c *cubic) avoid() {
	if c.avoidance == nil {
		c.avoidance = new(avoidance)
	}
}

// OnRestart begins a new stage when growth resumes: the idle time must not
// count as time on the curve.
func (c *cubic) OnRestart(now Time) {
	c.window.OnRestart(now)
	if c.avoidance != nil {
		c.running = false
	}
}

// stepBack remembers the window before a reduction. Fast convergence gives way to
// newcomers: a flow that did not regain its last maximum aims lower than where
// it is. RFC 9438 section 4.7.
func (c *cubic) stepBack() {
	c.prior = c.cwnd
	if c.cwnd < c.wMax {
		c.wMax = c.cwnd / 20 * 17 // (1+beta)/2
	} else {
		c.wMax = c.cwnd
	}
	c.running = false
}

// begin starts a congestion avoidance stage: RFC 9438 section 4.2.
func (c *cubic) begin(now Time) {
	c.running, c.elapsed, c.lastAck = true, 0, now
	c.est, c.estPart, c.cwndPart = c.cwnd, 0, 0
	c.wMax = max(c.wMax, c.cwnd)
	// K = cubic_root((W_max - cwnd_epoch)/C), here in milliseconds. A window
	// has at most 30 bits and the factor 32: no overflow.
	c.k = int64(cubeRoot(uint64(c.wMax-c.cwnd) * 2_500_000_000 / uint64(c.mss)))
}

// growEstimate moves W_est by alpha segments per window acknowledged. alpha is
// 3*(1-beta)/(1+beta) = 9/17, and 1 once it has reached the window of the last
// reduction: RFC 9438 section 4.3.
func (c *cubic) growEstimate(acked int) {
	num, den := int64(9), int64(17)
	if c.est >= c.prior {
		num, den = 1, 1
	}
	den *= int64(c.cwnd)
	c.estPart += num * int64(c.mss) * int64(acked)
	c.est = int(min(int64(c.est)+c.estPart/den, maxWindow))
	c.estPart %= den
}

// at returns W_cubic(t) in octets, at least 0 and at most maxWindow.
func (c *cubic) at(t time.Duration) int {
	ms := t.Milliseconds() - c.k
	if ms < 0 {
		return max(c.wMax-c.curve(-ms), 0)
	}
	return min(c.wMax+c.curve(ms), maxWindow)
}

// curve returns C*t^3 in octets for t in milliseconds, at most maxWindow.
func (c *cubic) curve(ms int64) int {
	t := uint64(min(ms, 1<<21)) // 35 minutes: beyond every window, and its cube fits 64 bits
	hi, lo := bits.Mul64(t*t*t, 2*uint64(c.mss))
	octets, _ := bits.Div64(hi, lo, 5_000_000_000) // hi is below 2^17
	return int(min(octets, maxWindow))
}

// timesBeta multiplies by 7/10 (RFC 9438 section 4.6).
func timesBeta(n int) int { return min(max(n, 0), maxWindow) * 7 / 10 }

// cubeRoot returns the largest r with r*r*r <= n, one bit of r at a time.
func cubeRoot(n uint64) uint64 {
	var r uint64
	for shift := 63; shift >= 0; shift -= 3 {
		r *= 2
		step := 3*r*(r+1) + 1 // (r+1)^3 - r^3
		if n>>shift >= step {
			n -= step << shift
			r++
		}
	}
	return r
}
