package engine

import (
	"time"

	"rawtcp/segment"
)

// synOptions fills o with what our SYN or SYN-ACK offers. As an answer it
// offers only what the peer's SYN did (RFC 7323 sections 2.2 and 3.2, RFC 2018 section 2).
func (c *Conn) synOptions(now Time, o *segment.Options, answer bool) {
	if c.cfg.MSS >= 0 {
		o.Set |= segment.HasMSS
		o.MSS = uint16(c.ownMSS())
	}
	if c.cfg.WindowScale > 0 && (!answer || c.peer.scale >= 0) {
		o.Set |= segment.HasWindowScale
		o.WindowScale = uint8(c.cfg.WindowScale)
	}
	if c.cfg.SACK.or(true) && (!answer || c.peer.sack) {
		o.Set |= segment.HasSACKPermitted
	}
	if c.cfg.Timestamps.or(true) && (!answer || c.peer.stamps) {
		o.Set |= segment.HasTimestamps
		o.TSVal, o.TSEcr = c.tsNow(now), c.ts.recent
	}
	if c.cfg.UserTimeoutOption == On {
		o.SetUserTimeout(int(c.cfg.AdvertisedTimeout / time.Second))
	}
	if c.fast().kind != 0 {
		c.addFastOpen(o)
	}
	if o.Len() > segment.MaxOptionsLen { // beside a long cookie; the next segment says it
		o.Set &^= segment.HasUserTimeout
	}
	if c.cfg.SYNOptions != nil && o.Raw == nil { // else Append lays them out as Linux does
		o.Raw = segment.AppendLayout(c.stack.optionScratch[:0], o, c.cfg.SYNOptions)
	}
}

// ownMSS is the MSS we advertise: what fits our MTU, less the fixed headers
// (RFC 9293 section 3.7.1, MUST-67; RFC 6691).
func (c *Conn) ownMSS() int {
	fits := c.mtu - ipHeaderLen(c.local.Addr()) - segment.TCPHeaderLen
	if c.cfg.MSS > 0 {
		fits = c.cfg.MSS
	}
	return max(minMSS, min(fits, 0xffff))
}

// open starts an active open: the SYN is due (RFC 9293 section 3.10.1).
func (c *Conn) open(now Time) {
	c.synNow = true
	c.progressAt = now
	c.setState(SynSent, "active open")
	if c.cfg.ConnectTimeout > 0 {
		c.setTimer(TimerUser, now.Add(c.cfg.ConnectTimeout))
	}
	c.stack.wake(c)
}

// learn takes what the peer's SYN at irs said, tsVal with it if it had timestamps.
func (c *Conn) learn(now Time, irs segment.Seq, p PeerInfo, tsVal uint32) {
	c.peer = packed(p)
	c.rcv.irs = irs
	c.rcv.nxt = irs.Add(1)
	c.rcv.buf.nxt = c.rcv.nxt
	c.rcv.edge = c.rcv.nxt.Add(min(c.windowWanted(), 0xffff)) // as our SYN offers, or our SYN-ACK will
	if p.WindowScale >= 0 && c.cfg.WindowScale > 0 {
		c.snd.scale = uint8(min(p.WindowScale, maxScale))
		c.rcv.scale = uint8(c.cfg.WindowScale)
	}
	c.sack = p.SACKPermitted && c.cfg.SACK.or(true)
	if p.Timestamps && c.cfg.Timestamps.or(true) {
		c.ts.on = true
		c.ts.recent, c.ts.recentAt = tsVal, now
		c.ts.lastAck = c.rcv.nxt
	}
	c.setMSS()
}

// A peerOffer is a PeerInfo in less room, for every connection has one.
type peerOffer struct {
	timeout           int32 // of RFC 5482, seconds
	mss, window       uint16
	scale             int16
	sack, stamps, ecn bool
}

func packed(p PeerInfo) peerOffer {
	return peerOffer{timeout: int32(p.UserTimeout / time.Second), mss: uint16(p.MSS), window: uint16(p.Window), scale: int16(p.WindowScale),
		sack: p.SACKPermitted, stamps: p.Timestamps, ecn: p.ECN}
}

func (o *peerOffer) info() PeerInfo {
	return PeerInfo{MSS: int(o.mss), WindowScale: int(o.scale), SACKPermitted: o.sack, Timestamps: o.stamps, ECN: o.ecn,
		Window: int(o.window), UserTimeout: time.Duration(o.timeout) * time.Second}
}

func peerInfo(s *segment.Segment) PeerInfo {
	o := &s.Options
	p := PeerInfo{WindowScale: -1, SACKPermitted: o.Has(segment.HasSACKPermitted),
		Timestamps: o.Has(segment.HasTimestamps), Window: int(s.Window)}
	if o.Has(segment.HasMSS) {
		p.MSS = int(o.MSS)
	}
	if o.Has(segment.HasWindowScale) {
		p.WindowScale = int(o.WindowScale)
	}
	if seconds, ok := o.UserTimeout(); ok {
		p.UserTimeout = time.Duration(seconds) * time.Second
	}
	if s.Flags.Has(segment.ACK) {
		p.ECN = s.Flags&(segment.ECE|segment.CWR) == segment.ECE
	} else {
		p.ECN = s.Flags.Has(segment.ECE | segment.CWR)
	}
	return p
}

// setMSS computes Eff.snd.MSS without options: the least of what the peer takes
// and what the path carries (RFC 9293 section 3.7.1, MUST-15 and MUST-16).
func (c *Conn) setMSS() {
	fits := c.mtu - ipHeaderLen(c.local.Addr()) - segment.TCPHeaderLen
	c.snd.mss = max(minMSS, min(c.peerMSS(), fits))
}

// peerMSS is what the peer takes, by its MSS option or without one.
func (c *Conn) peerMSS() int {
	switch {
	case c.peer.mss != 0:
		return int(c.peer.mss)
	case c.remote.Addr().Is6():
		return defaultMS6
	}
	return defaultMSS
}

// begin starts the data phase once the handshake is done.
func (c *Conn) begin(now Time, s *segment.Segment, why string) {
	if c.retries > 0 { // the SYN or SYN-ACK was retransmitted
		// "the RTO MUST be re-initialized to 3 seconds when data transmission
		// begins" RFC 6298 section 5.7, whatever a timestamp of the handshake told:
		// the next sample counts as the first.
		c.rtt.init(max(3*time.Second, c.cfg.InitialRTO), c.cfg.MinRTO, c.cfg.MaxRTO)
		// "the initial window used by a sender after a correctly transmitted SYN
		// MUST be one segment" RFC 5681 section 3.1
		c.newController(1)
	} else if c.cc == nil {
		c.newController(c.cfg.InitialWindow)
	}
	c.retries = 0
	c.confirmed(now, false)
	c.snd.wnd = int(s.Window)
	if !s.Flags.Has(segment.SYN) { // "The window field in a SYN is never scaled" RFC 7323 section 2.2
		c.snd.wnd <<= c.snd.scale
	}
	c.snd.maxWnd = max(c.snd.maxWnd, c.snd.wnd)
	c.snd.wl1 = s.Seq
	c.stopTimer(TimerUser)
	c.setState(Established, why)
	if c.snd.fin == finQueued { // closed while the handshake was under way
		c.setState(FinWait1, "the application closed")
	}
	c.adoptTimeout(now, c.peer.info().UserTimeout)
	c.tellTimeout()   // again "in the first packet that does not have the SYN flag set" RFC 5482 section 3
	c.restartRTO(now) // data may have left with the SYN
	c.touchKeepAlive(now)
	c.notify(Connected | Writable)
}

func (c *Conn) newController(segments int) {
	cc, err := newController(c.cfg, c.payloadRoom(0), segments, c.stack.spares.takeController())
	if err != nil { // the name was checked when the connection was made
		panic(err)
	}
	c.cc = cc
}

// tsNow is our timestamp clock: one tick a millisecond (RFC 7323 section 5.4).
func (c *Conn) tsNow(now Time) uint32 { return timestampAt(now, c.ts.offset) }

// tsUnit is a tick of it.
const tsUnit = time.Millisecond

func timestampAt(t Time, offset uint32) uint32 {
	return uint32(int64(t)/int64(tsUnit)) + offset
}

// receiveSynSent is RFC 9293 section 3.10.7.3.
func (c *Conn) receiveSynSent(now Time, s *segment.Segment) Note {
	ackOK := s.Flags.Has(segment.ACK) && c.snd.una.Less(s.Ack) && s.Ack.LessEq(c.snd.nxt)
	switch {
	case s.Flags.Has(segment.ACK) && !ackOK:
		if !s.Flags.Has(segment.RST) {
			c.stack.reset(s, "SYN-SENT: it acknowledges what was not sent, RFC 9293 section 3.10.7.3")
		}
		return NoteUnacceptable
	case s.Flags.Has(segment.RST):
		if !ackOK { // a RST without an ACK of our SYN could be anyone's
			return NoteUnacceptable
		}
		c.traffic.SegmentsIn++
		c.finish(ErrRefused, "RST answers our SYN")
		return NoteNone
	case !s.Flags.Has(segment.SYN), s.Flags.Has(segment.FIN):
		return NoteUnacceptable
	}
	c.learn(now, s.Seq, peerInfo(s), s.Options.TSVal)
	c.ecn.on = c.cfg.ECN == On && c.peer.ecn
	if !ackOK {
		c.simultaneousOpen(s)
		return NoteNone
	}
	c.answeredFastOpen(now, s)
	c.ackSYN(now, s)
	c.begin(now, s, "SYN-ACK received")
	c.ackDue("completes the handshake, RFC 9293 section 3.5")
	c.receiveText(now, s, s.Seq.Add(1))
	c.receiveFIN(now, s)
	return NoteNone
}

// ackSYN accounts for the acknowledgement of our SYN.
func (c *Conn) ackSYN(now Time, s *segment.Segment) {
	d := c.delivery(now, s)
	c.settle(s.Ack, &d)
	c.snd.una = s.Ack
	c.sampleRTT(now, s, &d, true)
	if c.fast().refused {
		c.resendSYNData()
	}
	c.stopTimer(TimerRTO)
	c.synNow = false
}

// simultaneousOpen: a SYN without ACK crossed ours (RFC 9293 section 3.5, MUST-10).
func (c *Conn) simultaneousOpen(s *segment.Segment) {
	c.snd.wnd = int(s.Window)
	c.snd.maxWnd = c.snd.wnd
	c.snd.wl1 = s.Seq
	c.synNow = true
	c.setState(SynReceived, "simultaneous open: SYN received")
}
