package engine

import (
	"time"

	"rawtcp/segment"
)

// A pathMTU is what is known of a path that did not take what its link does. The
// MTU in use is Conn.mtu, eff_pmtu of RFC 4821, and the largest datagram that is
// known to have arrived Conn.works: search_low, and maxsizeacked of RFC 5927.
// Lengths are octets of IP datagram.
type pathMTU struct {
	high  int  // search_high: none larger is tried before the MTU expires
	tryAt Time // when a larger one may be tried, 0: never
	probe mtuProbe
	hole  bool // what is outstanding was cut on suspicion of a black hole

	claimed   int // pending_message of RFC 5927: an MTU somebody claimed, 0: nobody did
	claimedAt segment.Seq
}

// An mtuProbe is one segment of new data that is larger than all others
// (RFC 4821 section 7.5).
type mtuProbe struct {
	size       int // 0: none is under way
	start, end segment.Seq
}

// The smallest MTU that is believed: a smaller one is an attack, or a path that
// nobody has (RFC 5927 section 7.3), and no IPv6 path is below 1280.
const (
	leastMTU4 = 552
	leastMTU6 = 1280
)

// baseMTU is where the search begins after a black hole: what every path with
// IPv6 takes, and nearly every tunnel. RFC 4821 section 7.2 calls 1024 "probably
// safe enough"; if this is not, half of it comes next.
const baseMTU = 1280

// mtuStep is when the search has converged: less is not worth a lost probe.
const mtuStep = 16

func (c *Conn) leastMTU() int {
	if c.remote.Addr().Is6() {
		return leastMTU6
	}
	return leastMTU4
}

// overhead is what a datagram has beside payload and options other than
// timestamps.
func (c *Conn) overhead() int {
	n := ipHeaderLen(c.local.Addr()) + segment.TCPHeaderLen
	if c.ts.on {
		n += timestampsLen
	}
	return n
}

// What becomes of a message that a datagram was too big, for the tracer.
const (
	mtuIgnored  = "ignored: nothing larger is in flight, RFC 5927 section 7.2"
	mtuKnown    = "ignored: no datagram of ours is that large any more"
	mtuProbed   = "believed: about a probe, RFC 4821 section 7.6.2"
	mtuHeld     = "held back until the segment times out: larger ones have arrived, RFC 5927 section 7.2"
	mtuBelieved = "believed: nothing larger has arrived yet, RFC 5927 section 7.2"
)

// judgeTooBig says what becomes of an ICMP message that the datagram with the
// octet at seq, which is in flight, was larger than mtu. Nobody knows who sent
// it: while larger datagrams have arrived, it has to wait until that octet is
// not acknowledged in time. An error of our own link needs no proof.
func (c *Conn) judgeTooBig(seq segment.Seq, mtu int, own bool) string {
	size := 0
	if r := c.outstanding(seq); r != nil {
		size = r.len() + c.overhead()
	}
	switch {
	case mtu >= size:
		return mtuIgnored
	case mtu >= c.mtu && c.cold != nil && c.cold.path.probe.size > mtu:
		return mtuProbed
	case mtu >= c.mtu:
		return mtuKnown
	case mtu < int(c.works) && !own:
		return mtuHeld
	}
	return mtuBelieved
}

// packetTooBig does what judgeTooBig has found.
func (c *Conn) packetTooBig(now Time, seq segment.Seq, mtu int, verdict string) {
	switch verdict {
	case mtuProbed:
		c.rare().path.high = mtu
		c.probeFailed(now, 0)
	case mtuHeld:
		p := &c.rare().path
		p.claimed, p.claimedAt = mtu, seq
	case mtuBelieved:
		c.setMTU(now, mtu)
	}
}

// setMTU lowers the MTU: what is outstanding and too large is sent again in
// smaller pieces, and the congestion window is left alone (RFC 1191 section
// 6.5, RFC 8201 section 5.4). After MTUExpiry a larger one is tried again.
func (c *Conn) setMTU(now Time, mtu int) {
	if mtu >= c.mtu {
		return
	}
	p := &c.rare().path
	c.mtu, c.works = mtu, min(c.works, int32(mtu))
	p.high, p.claimed, p.probe = mtu, 0, mtuProbe{}
	p.tryAt = now.Add(c.cfg.MTUExpiry)
	c.setMSS()
	c.cutOutstanding()
}

// cutOutstanding sends what is larger than a segment may be in smaller pieces.
func (c *Conn) cutOutstanding() {
	c.snd.sent.cut(c.payloadRoom(0), c.snd.buf.end())
	c.loss.urgently = c.snd.sent.lost > 0
	c.loss.tooBig = c.snd.sent.lost > 0
	c.stack.wake(c)
}

// outstanding returns the range that holds seq, nil if there is none.
func (c *Conn) outstanding(seq segment.Seq) *sentRange {
	n := c.snd.sent.find(seq)
	if n > c.snd.sent.last() || seq.Less(c.snd.sent.numbered(n).start) {
		return nil
	}
	return c.snd.sent.numbered(n)
}

// arrivedWhole learns from the payload of the largest datagram that an ACK
// reports, and drops a claim that is refuted: the very octet arrived.
func (c *Conn) arrivedWhole(now Time, payload int) {
	if size := min(payload+c.overhead(), c.mtu); size > c.leastMTU() {
		c.works = max(c.works, int32(size))
	}
	if c.cold == nil {
		return
	}
	p := &c.cold.path
	if p.claimed > 0 && p.claimedAt.Less(c.snd.una) {
		p.claimed = 0
	}
	p.hole = p.hole && c.snd.una.Less(c.loss.recover)
	if p.probe.size > 0 && p.probe.end.LessEq(c.snd.una) {
		c.probeArrived(now)
	}
}

// mtuTimedOut is a retransmission timeout's news about the MTU: a claim that
// was held back is believed (RFC 5927 section 7.2), a probe has failed, and
// when the timeouts of a large segment reach R1, the path may be swallowing
// large segments in silence (RFC 4821 section 7.7, RFC 2923 section 2.1).
func (c *Conn) mtuTimedOut(now Time) {
	if c.cold != nil && c.cold.path.probe.size > 0 {
		c.probeFailed(now, 5) // "five times the non-timeout failure case" RFC 4821 section 7.6.3
	}
	if c.cold != nil && c.cold.path.claimed > 0 {
		c.setMTU(now, c.cold.path.claimed)
		return
	}
	if int(c.retries) < c.cfg.R1 || !c.cfg.PathMTU.or(true) {
		return
	}
	first := c.outstanding(c.snd.una)
	low := c.searchLow()
	if first == nil || first.len()+c.overhead() <= low {
		return
	}
	before := c.mtu
	c.setMTU(now, low)
	c.works = 0
	p := &c.rare().path
	p.high, p.tryAt, p.hole = before, now, true
}

// searchLow is what is tried next when nothing larger arrives: the largest that
// is known to have worked, then the base, then half of it each time.
func (c *Conn) searchLow() int {
	switch {
	case int(c.works) > baseMTU && int(c.works) < c.mtu:
		return int(c.works)
	case baseMTU < c.mtu:
		return baseMTU
	}
	return max(c.mtu/2, c.leastMTU())
}

// probeSize is the size of the datagram to try now, 0 for none (RFC 4821
// sections 7.3 and 7.4). The first probe of a search tries all that could be:
// it ends the search at once if a whole path was silent and not only large
// segments on it. wait says that the congestion window has room for a segment
// and not yet for the probe, so that nothing should leave until an ACK comes.
func (c *Conn) probeSize(now Time, unsent int) (size int, wait bool) {
	if c.cold == nil {
		return 0, false
	}
	p := &c.cold.path
	if p.tryAt == 0 || now < p.tryAt || !c.cfg.PathMTU.or(true) || !c.sack || p.probe.size > 0 {
		return 0, false
	}
	if most := c.largestMTU(); p.high-c.mtu < mtuStep {
		p.high = most // the old search has converged and its time is over
	}
	if size = p.high; size < c.largestMTU() {
		size = (c.mtu + p.high + 1) / 2
	}
	if size-c.mtu < mtuStep {
		p.tryAt = 0
		return 0, false
	}
	// "the sender SHOULD have enough data queued and sufficient receiver window
	// to send the probe plus at least Tcprexmtthresh additional segments"
	need := size - c.overhead() + dupThresh*c.snd.mss
	offered := c.snd.una.Add(c.snd.wnd).Sub(c.snd.nxt)
	if c.loss.recovery || c.loss.timeout || c.snd.sent.lost > 0 || c.snd.sent.sacked > 0 ||
		unsent < need || offered < need || c.cc.Window() < need {
		return 0, false
	}
	return size, c.inFlight()+size-c.overhead() > c.cc.Window()
}

// largestMTU is what neither the route nor the peer would let us exceed.
func (c *Conn) largestMTU() int {
	most := int(c.link)
	if c.peer.mss > 0 {
		most = min(most, int(c.peer.mss)+ipHeaderLen(c.local.Addr())+segment.TCPHeaderLen)
	}
	return most
}

// probeSent notes that [start, end) left as a probe.
func (c *Conn) probeSent(size int, start, end segment.Seq) {
	c.rare().path.probe = mtuProbe{size: size, start: start, end: end}
	c.incidents().MTUProbes++
}

// probeArrived raises the MTU (RFC 4821 section 7.6.1). The congestion window
// counts octets, and stays.
func (c *Conn) probeArrived(now Time) {
	p := &c.cold.path
	size := p.probe.size
	p.probe = mtuProbe{}
	if size <= c.mtu {
		return
	}
	c.mtu, c.works, p.tryAt = size, int32(size), now
	if p.high = max(p.high, size); p.high-c.mtu < mtuStep {
		p.tryAt = now.Add(c.cfg.MTUExpiry)
		if c.mtu+mtuStep > c.largestMTU() {
			p.tryAt = 0 // there is nothing above
		}
	}
	c.setMSS()
}

// probeFailed ends a probe that was lost, and waits before the next one as long
// as an ordinary loss would be away: "the same number of round trips as the
// current congestion window in packets" RFC 4821 section 7.6.2, times as often
// as said; 0 means that the next probe is sure and need not wait.
func (c *Conn) probeFailed(now Time, times int) {
	p := &c.cold.path
	if times > 0 {
		p.high = min(p.high, p.probe.size-1)
	}
	p.probe = mtuProbe{}
	wait := c.rtt.srtt * time.Duration(times*max(1, c.cc.Window()/c.snd.mss))
	if p.tryAt = now.Add(wait); p.high-c.mtu < mtuStep {
		p.tryAt = now.Add(c.cfg.MTUExpiry) // "When probing has converged, a timer SHOULD be set" section 7.3
	}
	c.cutOutstanding()
}

// probeLost reports whether a probe is all that is missing, and has it sent
// again in pieces: "when only an isolated probe packet is detected as lost. In
// this case alone, the normal congestion reduction SHOULD be suppressed"
// RFC 4821 section 4.
func (c *Conn) probeLost(now Time) bool {
	if c.cold == nil || c.cold.path.probe.size == 0 {
		return false
	}
	p := &c.cold.path.probe
	r := c.outstanding(p.start)
	if r == nil || !r.lost || r.resent || r.len() != c.snd.sent.lost {
		return false
	}
	c.probeFailed(now, 1)
	return true
}
