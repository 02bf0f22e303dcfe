package engine

import (
	"net/netip"

	"rawtcp/segment"
)

// timestampsLen is the timestamps option with its two NOPs, in octets.
const timestampsLen = 12

func ipHeaderLen(a netip.Addr) int {
	if a.Is4() {
		return segment.IPv4HeaderLen
	}
	return segment.IPv6HeaderLen
}

// Transmit fills s with the next segment to send and reports whether there is
// one. It is the only place where a segment of a live connection is decided.
// s.Payload and s.Options alias the engine until the next call into the stack.
func (c *Conn) Transmit(now Time, s *segment.Segment) bool {
	switch c.state {
	case Closed, Listen:
		return false
	case SynSent:
		return c.transmitSYN(now, s)
	case SynReceived: // an application that has data of the SYN may answer it
		return c.transmitSYN(now, s) || c.fast().early != nil && c.transmitNew(now, s) || c.transmitACK(now, s)
	}
	more := c.transmitLost(now, s) || c.transmitLossProbe(now, s) || c.transmitNew(now, s) || c.transmitProbe(now, s) ||
		c.transmitKeepAlive(now, s) || c.transmitACK(now, s)
	if !more {
		c.noteBusy(now)
		c.watchFlight(now)
	}
	return more
}

// transmitSYN sends our SYN, or in SYN-RECEIVED our SYN-ACK.
func (c *Conn) transmitSYN(now Time, s *segment.Segment) bool {
	if !c.synNow {
		return false
	}
	c.synNow = false
	answer := c.state == SynReceived
	flags, reason := segment.SYN, "opens the connection, RFC 9293 section 3.5"
	if answer {
		flags, reason = segment.SYN|segment.ACK, "answers the SYN, RFC 9293 section 3.5"
	}
	c.head(s, c.snd.iss, flags)
	opens := !answer && c.snd.sent.empty()
	if opens && c.cfg.FastOpen == On {
		c.askFastOpen(now)
	}
	c.synOptions(now, &s.Options, answer)
	switch {
	case answer && c.ecn.on:
		s.Flags |= segment.ECE
	case !answer && c.cfg.ECN == On && c.retries == 0: // a retransmitted SYN asks without, RFC 3168 section 6.1.1.1
		s.Flags |= segment.ECE | segment.CWR
	}
	s.Window = uint16(min(c.windowWanted(), 0xffff)) // never scaled in a SYN
	if answer {
		c.rcv.edge = segment.MaxSeq(c.rcv.edge, c.rcv.nxt.Add(int(s.Window)))
	}
	note := NoteNone
	switch first := answer && !c.answered; {
	case c.snd.sent.empty():
		c.snd.nxt = c.snd.iss.Add(1)
		c.track(sentRange{start: c.snd.iss, end: c.snd.nxt, at: now, flags: segment.SYN})
		if opens && c.fast().asked && c.loadSYN(now, s) {
			note, reason = NoteFastOpen, "opens the connection and carries data, RFC 7413 section 4.2.2"
		}
	default:
		if !first {
			note, reason = NoteRetransmission, "no answer to the SYN, RFC 6298 section 5"
		}
		c.snd.sent.update(c.snd.sent.first(), func(syn *sentRange) { syn.at, syn.everResent = now, true })
	}
	if c.cold != nil {
		c.cold.fast.kind = 0 // "retransmit a SYN packet without data and Fast Open options" RFC 7413 section 4.2.2
	}
	c.answered = c.answered || answer
	c.setTimer(TimerRTO, now.Add(c.rtt.rto()))
	c.sent(now, s, note, reason)
	return true
}

// transmitLost sends the next range that is held for lost.
func (c *Conn) transmitLost(now Time, s *segment.Segment) bool {
	n := c.snd.sent.nextLost()
	if n == 0 {
		c.loss.tooBig = false
		return false
	}
	if c.frto() == frtoSecond {
		return false // new data goes first: what it draws tells whether anything is lost
	}
	r := c.snd.sent.numbered(n)
	if r.start != c.snd.una && !r.start.Less(c.snd.una.Add(c.snd.wnd)) {
		return false // the window shrank (RFC 9293 section 3.8.6, SHLD-16)
	}
	if c.inFlight()+r.len() > c.window() && c.inFlight() > 0 && !c.loss.urgently {
		return false
	}
	if !c.loss.urgently && !c.mayLeave(now) {
		c.delayRTO(n)
		return false
	}
	note, reason := NoteFastRetransmit, "counts as lost: what was sent later has arrived, RFC 8985 section 6.2"
	switch {
	case c.cold != nil && c.cold.path.hole:
		note, reason = NoteRetransmission, "the path may swallow large segments in silence: smaller pieces, RFC 4821 section 7.7"
	case c.loss.timeout:
		note, reason = NoteRetransmission, "the retransmission timer expired, RFC 6298 section 5"
	case c.loss.tooBig:
		note, reason = NoteRetransmission, "too large for the path, in smaller pieces, RFC 9293 section 3.7.2"
	case c.fast().refused:
		note, reason = NoteRetransmission, "the SYN-ACK did not take the data of our SYN, RFC 7413 section 4.2.2"
	case !c.sack:
		reason = "counts as lost: three duplicate ACKs, RFC 5681 section 3.2"
	}
	c.loss.urgently = false
	c.resend(now, s, n, note, reason)
	return true
}

// resend repeats a range.
func (c *Conn) resend(now Time, s *segment.Segment, n int32, note Note, reason string) {
	r := c.snd.sent.numbered(n)
	c.head(s, r.start, segment.ACK)
	c.addOptions(now, s, false)
	c.load(s, r.start, r.end)
	c.snd.sent.resend(n, now)
	c.charge(r.len())
	if note != NoteLossProbe {
		c.noteSent(now, r.start, r.end, true)
	}
	c.incidents().Retransmits++
	if n == c.snd.sent.first() || c.timers[TimerRTO] == 0 {
		// "a segment is never retransmitted too early, i.e., less than one RTO after
		// the previous transmission of that segment" RFC 6298 section 5
		c.restartRTO(now)
	}
	due, again := c.acksDue, c.rcv.again
	owed := due > 0 && c.hasReports()
	c.sent(now, s, note, reason)
	if owed { // it has no room for them: the ACK that an arrival drew is still due (RFC 2018 section 4)
		c.acksDue, c.rcv.again = due, again
	}
}

// load puts the octets [from, to) of sequence space into s: payload and FIN.
func (c *Conn) load(s *segment.Segment, from, to segment.Seq) {
	end := c.snd.buf.end()
	if end.Less(to) {
		s.Flags |= segment.FIN
		to = end
	}
	if from.Less(to) {
		s.Payload = c.snd.buf.slice(from, to.Sub(from))
		c.push(s, to == end)
	}
	if c.snd.urgent && from.Less(c.snd.up) {
		s.Flags |= segment.URG
		s.Urgent = uint16(min(c.snd.up.Sub(from), 0xffff))
	}
}

// transmitNew sends data that was never sent, and the FIN behind it.
func (c *Conn) transmitNew(now Time, s *segment.Segment) bool {
	unsent := c.snd.buf.end().Sub(c.snd.nxt)
	fin := c.snd.fin == finQueued && c.state.Synchronized()
	if unsent <= 0 && !fin {
		return false
	}
	c.restartAfterIdle(now)
	c.head(s, c.snd.nxt, segment.ACK)
	room := c.addOptions(now, s, true)
	probe, wait := c.probeSize(now, unsent)
	if wait {
		return false
	}
	if probe > 0 {
		room += probe - c.mtu
	}
	n, ok := c.allowance(now, unsent, room, fin)
	if !ok {
		c.armPersist(now)
		return false
	}
	c.probeNow = false
	note, reason := NoteNone, "data the window allows, RFC 9293 section 3.8.6"
	if probe > 0 && n == room {
		note, reason = NoteMTUProbe, "tries whether the path takes larger segments, RFC 4821 section 7.5"
		c.probeSent(probe, c.snd.nxt, c.snd.nxt.Add(n))
	}
	start := c.snd.nxt
	c.advance(now, n)
	if probe == 0 && n == room {
		c.extend(now, s, start, room)
	}
	if c.snd.fin == finSent {
		reason = "the application closed, RFC 9293 section 3.10.4"
	}
	c.load(s, start, c.snd.nxt)
	c.markECN(s, n > 0)
	c.snd.lastData = now
	if c.timers[TimerRTO] == 0 {
		c.progressAt = now
		c.restartRTO(now)
		c.watchPatience(now)
	}
	c.stopTimer(TimerPersist)
	c.armProbe(now)
	c.sent(now, s, note, reason)
	return true
}

// advance sends n octets of new data as one segment, as far as SND.NXT and the
// scoreboard go: with the FIN, if they are the last.
func (c *Conn) advance(now Time, n int) {
	r := sentRange{start: c.snd.nxt, end: c.snd.nxt.Add(n), at: now}
	if c.snd.fin == finQueued && c.state.Synchronized() && r.end == c.snd.buf.end() {
		r.end, r.flags = r.end.Add(1), segment.FIN
		c.snd.fin = finSent
	}
	c.track(r)
	c.noteSent(now, r.start, r.end, false)
	c.charge(n)
	if c.snd.sent.sacked > 0 || c.loss.dup > 0 {
		c.loss.limited += int32(r.len())
	}
	c.snd.nxt = r.end
	c.corkAgain()
}

// allowance decides how much of unsent octets may leave now: the peer's window,
// the congestion window, Nagle, the sender's part against silly windows (RFC 9293
// sections 3.7.4 and 3.8.6.2.1), and the pacer.
func (c *Conn) allowance(now Time, unsent, room int, fin bool) (n int, ok bool) {
	if c.ecn.held {
		return 0, false
	}
	window := c.snd.una.Add(c.snd.wnd).Sub(c.snd.nxt)
	n = min(unsent, room, max(0, window))
	if n < unsent && n < room && !c.probeNow && n < c.snd.maxWnd/2 {
		return 0, false // the window is all that holds it back, and it is silly
	}
	if n == 0 {
		return 0, fin && unsent == 0 && window > 0
	}
	if c.frto() == frtoSecond {
		return n, c.loss.episode.undo.unsent > 0 // whatever the window and Nagle say: RFC 5682 section 2.1, step 2b
	}
	if flight := c.inFlight(); flight > 0 && flight+n > c.window() && !c.loss.probe.due {
		return 0, false
	}
	last := n == unsent
	if n < room && last && !fin && !c.cfg.NoDelay && c.dataOutstanding() {
		return 0, false // "If there is unacknowledged data … buffer all user data" RFC 9293 section 3.7.4
	}
	if last && !fin && c.corked(now, n, room) {
		return 0, false
	}
	if !c.probeNow && !c.loss.probe.due && !c.mayLeave(now) {
		return 0, false
	}
	return n, true
}

// dataOutstanding: a SYN that waits for its ACK is none.
func (c *Conn) dataOutstanding() bool {
	return !c.snd.sent.empty() && (c.state.Synchronized() || c.snd.nxt != c.snd.iss.Add(1))
}

// restartAfterIdle: the old congestion window says nothing after a pause longer
// than one RTO (RFC 5681 section 4.1).
func (c *Conn) restartAfterIdle(now Time) {
	if c.snd.sent.empty() && c.snd.lastData != 0 && now.Sub(c.snd.lastData) > c.rtt.rto() {
		c.disarmUndo()
		c.cc.OnRestart(now)
		c.snd.lastData = now
	}
}

// transmitProbe asks a peer whose window is closed for its window. The probe is
// empty and lies one octet before SND.UNA, as Linux sends it: RFC 9293 section
// 3.8.6.1 has one octet of new data instead, which would put data beyond the
// window; both draw an ACK from any host.
func (c *Conn) transmitProbe(now Time, s *segment.Segment) bool {
	if !c.probeNow {
		return false
	}
	c.probeNow = false
	c.incidents().WindowProbes++
	c.transmitEmpty(now, s, c.snd.una.Add(-1), NoteWindowProbe, "probes a closed window, RFC 9293 section 3.8.6.1")
	return true
}

// transmitKeepAlive sends SEG.SEQ = SND.NXT-1 without data (RFC 9293 section 3.8.4, SHLD-12).
func (c *Conn) transmitKeepAlive(now Time, s *segment.Segment) bool {
	if !c.keepNow {
		return false
	}
	c.keepNow = false
	c.incidents().KeepAlives++
	c.transmitEmpty(now, s, c.snd.nxt.Add(-1), NoteKeepAlive, "asks whether the peer is alive, RFC 9293 section 3.8.4")
	return true
}

func (c *Conn) transmitACK(now Time, s *segment.Segment) bool {
	if c.acksDue == 0 {
		return false
	}
	left := c.acksDue - 1
	c.transmitEmpty(now, s, c.snd.nxt, c.ackNote, c.ackReason)
	c.acksDue = left
	return true
}

func (c *Conn) transmitEmpty(now Time, s *segment.Segment, seq segment.Seq, note Note, reason string) {
	c.head(s, seq, segment.ACK)
	c.addOptions(now, s, true)
	c.markECN(s, false)
	c.sent(now, s, note, reason)
}

// head starts a segment of this connection; it empties s.
func (c *Conn) head(s *segment.Segment, seq segment.Seq, flags segment.Flags) {
	*s = segment.Segment{Src: c.local, Dst: c.remote, Seq: seq, Flags: flags, TTL: c.cfg.TTL, TOS: c.cfg.TOS}
	if flags.Has(segment.ACK) {
		s.Ack = c.rcv.nxt
	}
}

// addOptions adds timestamps and, where sack asks for it, SACK blocks. It
// returns how many octets of payload fit beside them.
func (c *Conn) addOptions(now Time, s *segment.Segment, sack bool) int {
	o := &s.Options
	used := 0
	if c.ts.on {
		o.Set |= segment.HasTimestamps
		o.TSVal, o.TSEcr = c.tsNow(now), c.ts.recent
		used += timestampsLen
	}
	if sack { // a retransmission must not become larger than it was
		used += c.addTimeout(o)
	}
	if sack && c.hasReports() {
		most := (segment.MaxOptionsLen - used - 4) / 8
		o.SACKCount = uint8(c.sackBlocks(o.SACK[:most]))
		o.Set |= segment.HasSACK
		used += 4 + 8*int(o.SACKCount)
	}
	return max(1, c.snd.mss-used)
}

// hasReports reports whether an ACK would have SACK blocks.
func (c *Conn) hasReports() bool {
	return c.sack && (len(c.rcv.buf.spans()) > 0 || c.rcv.again.Start != c.rcv.again.End)
}

// sackBlocks fills dst: first what arrived a second time, if anything did since
// the last ACK (RFC 2883 section 4), then what lies beyond holes.
func (c *Conn) sackBlocks(dst []segment.SACKBlock) int {
	n := 0
	if c.rcv.again.Start != c.rcv.again.End {
		dst[0] = c.rcv.again
		n = 1
	}
	return n + c.rcv.buf.blocks(dst[n:])
}

// payloadRoom is the largest payload beside timestamps and n SACK blocks.
func (c *Conn) payloadRoom(n int) int {
	used := 8 * n
	if c.ts.on {
		used += timestampsLen
	}
	return max(1, c.snd.mss-used)
}

// sent completes a segment that is about to leave: window, counters, and what
// its acknowledgement settles.
func (c *Conn) sent(now Time, s *segment.Segment, note Note, reason string) {
	c.traffic.SegmentsOut += uint64(s.Count())
	c.traffic.BytesOut += uint64(len(s.Payload))
	again := note.Resent()
	c.noteOut(now, s, again)
	if s.Flags.Has(segment.ACK) {
		if !s.Flags.Has(segment.SYN) {
			s.Window = c.advertise()
		}
		c.rcv.unacked, c.acksDue = 0, 0
		c.rcv.again = segment.SACKBlock{}
		c.ts.lastAck = c.rcv.nxt
		c.stopTimer(TimerDelayedAck)
	}
	if c.tellUTO && !s.Flags.Has(segment.SYN) {
		c.tellUTO = false
	}
	if note == NoteNone && c.state >= Established && s.Window == 0 && !s.Flags.Has(segment.SYN) {
		note = NoteZeroWindow
	}
	if c.stack.countsOnly(s.Flags) {
		c.tallyOut(s, again)
	} else if c.tracing(EventSegmentOut) {
		c.traceOut(now, s, note, reason)
	}
}
