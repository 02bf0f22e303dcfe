package model

import "rawtcp/segment"

// The flags by the names of section 3.10.7.
func (a *arrival) has(f segment.Flags) bool { return a.seg.Flags.Has(f) }

// arrive is RFC 9293 section 3.10.7, SEGMENT ARRIVES.
func (a *arrival) arrive() {
	switch a.After.State {
	case Closed:
		a.closed()
	case Listen:
		a.listen()
	case SynSent:
		a.synSent()
	default:
		a.otherwise()
	}
}

// closed is section 3.10.7.1, CLOSED STATE.
func (a *arrival) closed() {
	if a.has(segment.RST) {
		a.by(`9293 3.10.7.1 "An incoming segment containing a RST is discarded."`)
		return
	}
	a.by(`9293 3.10.7.1 "An incoming segment not containing a RST causes a RST to be sent in response."`)
	a.reset()
}

// reset answers with the RST of section 3.5.2: "If the incoming segment has the
// ACK bit set, the reset takes its sequence number from the ACK field of the
// segment; otherwise, the reset has sequence number zero and the ACK field is set
// to the sum of the sequence number and segment length of the incoming segment."
func (a *arrival) reset() {
	a.Replies = Reset
	if a.has(segment.ACK) {
		a.Reset = ResetForm{Seq: a.seg.Ack}
		return
	}
	a.Reset = ResetForm{Ack: a.seg.End(), HasAck: true}
}

// listen is section 3.10.7.2, LISTEN STATE.
func (a *arrival) listen() {
	if a.has(segment.RST) {
		a.by(`9293 3.10.7.2 first "An incoming RST should be ignored.  Return."`)
		return
	}
	if a.has(segment.ACK) {
		a.by(`9293 3.10.7.2 second "An acceptable reset segment should be formed for any arriving ACK-bearing segment."`)
		a.reset()
		return
	}
	if !a.has(segment.SYN) {
		a.by(`9293 3.10.7.2 fourth "This should not be reached.  Drop the segment and return."`)
		return
	}
	if a.has(segment.FIN) {
		a.by(`decision: a SYN with FIN is ignored in LISTEN`)
		return
	}
	a.by(`9293 3.10.7.2 third "Set RCV.NXT to SEG.SEQ+1, IRS is set to SEG.SEQ ... <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK> ... SYN-RECEIVED."`)
	t := &a.After
	t.State, t.Passive = SynReceived, true
	t.SndUna, t.SndNxt = t.ISS, t.ISS.Add(1)
	a.takeSyn()
	a.queueText()
	a.Replies = SynAck
}

// takeSyn takes the numbers and options of the peer's SYN.
func (a *arrival) takeSyn() {
	t, o := &a.After, &a.seg.Options
	t.IRS, t.RcvNxt = a.seg.Seq, a.seg.Seq.Add(1)
	t.RcvEdge = t.RcvNxt.Add(t.RcvWnd)
	t.SndWnd, t.SndWL1, t.SndWL2 = int(a.seg.Window), a.seg.Seq, a.seg.Ack
	t.MaxSndWnd = t.SndWnd
	if t.WSOffer && o.Has(segment.HasWindowScale) {
		a.by(`7323 2.2 "both sides MUST send Window Scale options in their <SYN> segments to enable window scaling in either direction."`)
		t.SndScale = min(o.WindowScale, 14)
	}
	if t.TSOffer && o.Has(segment.HasTimestamps) {
		a.by(`7323 D "if one is found, save SEG.TSval in the variable TS.Recent and turn on the Snd.TS.OK bit."`)
		t.TS, t.TSRecent = true, o.TSVal
	}
	t.SACK = t.SACKOffer && o.Has(segment.HasSACKPermitted)
	t.LastAck = t.RcvNxt
}

// queueText keeps the text of a SYN for later: "any other control or text should
// be queued for processing later", section 3.10.7.2. A FIN is not kept.
func (a *arrival) queueText() {
	text := a.text()
	if len(text.Data) == 0 {
		return
	}
	if !a.may("text on a SYN without ACK may be left to be sent again: the SYN,ACK does not acknowledge it") {
		a.After.Held = []Text{text}
	}
}

// synSent is section 3.10.7.3, SYN-SENT STATE.
func (a *arrival) synSent() {
	t := &a.After
	good := a.has(segment.ACK) && t.SndUna.Less(a.seg.Ack) && a.seg.Ack.LessEq(t.SndNxt)
	if a.has(segment.ACK) && !good {
		a.by(`9293 3.10.7.3 first "If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset (unless the RST bit is set, if so drop the segment and return)"`)
		if !a.has(segment.RST) {
			a.reset()
		}
		return
	}
	if a.has(segment.RST) {
		if !good {
			a.by(`9293 3.10.7.3 second "Otherwise (no ACK), drop the segment and return."`)
			return
		}
		// The RFC calls it "connection reset" here and "connection refused" in
		// SYN-RECEIVED; every socket interface says refused in both.
		a.by(`9293 3.10.7.3 second "If the ACK was acceptable, then signal to the user "error: connection reset", drop the segment, enter CLOSED state"`)
		a.end(Refused)
		return
	}
	if !a.has(segment.SYN) {
		a.by(`9293 3.10.7.3 fifth "if neither of the SYN or RST bits is set, then drop the segment and return."`)
		return
	}
	if a.has(segment.FIN) {
		a.by(`9293 3.10.7.4 eighth "Do not process the FIN if the state is CLOSED, LISTEN, or SYN-SENT since the SEG.SEQ cannot be validated; drop the segment and return."`)
		return
	}
	a.takeSyn()
	if good {
		a.synAcked()
		return
	}
	a.by(`9293 3.10.7.3 fourth "Otherwise, enter SYN-RECEIVED, form a SYN,ACK segment <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>"`)
	t.State = SynReceived
	a.Replies = SynAck
	a.queueText()
}

// synAcked is the end of an active open.
func (a *arrival) synAcked() {
	a.by(`9293 3.10.7.3 fourth "If SND.UNA > ISS (our SYN has been ACKed), change the connection state to ESTABLISHED, form an ACK segment <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK> and send it."`)
	a.After.SndUna, a.After.State = a.seg.Ack, Established
	a.Replies, a.MaySend = Ack, a.After.Unsent
	if len(a.seg.Payload) > 0 {
		a.by(`9293 3.10.7.3 fourth "If there are other controls or text in the segment, then continue processing at the sixth step under Section 3.10.7.4"`)
		a.textAndFin()
	}
}

// end closes the connection with one of these errors.
func (a *arrival) end(with Endings) {
	t := &a.After
	t.State, t.Held, t.FinHeld, t.Unsent = Closed, nil, false, false
	a.Ending, a.Replies, a.MaySend = with, Silence, false
}

// otherwise is section 3.10.7.4, Other States.
func (a *arrival) otherwise() {
	if a.After.State == TimeWait && a.reopened() {
		return
	}
	if a.synAgain() {
		return
	}
	if !a.timestampOK() {
		return
	}
	if a.has(segment.RST) {
		a.resetReceived()
		return
	}
	if a.crossedSynAck() {
		a.endOfCrossing()
		return
	}
	if !a.acceptable() {
		a.unacceptable()
		return
	}
	if a.has(segment.SYN) {
		a.synReceived()
		return
	}
	if !a.has(segment.ACK) {
		a.by(`9293 3.10.7.4 fifth "if the ACK bit is off, drop the segment and return"`)
		a.dropped()
		return
	}
	a.ackOnward()
}

// timestampOK is rule R1 of RFC 7323 section 5.3 and the demand of section 3.2.
func (a *arrival) timestampOK() bool {
	t, o := &a.After, &a.seg.Options
	if !t.TS || a.has(segment.RST) {
		return true
	}
	if !o.Has(segment.HasTimestamps) {
		a.by(`7323 3.2 "If a non-<RST> segment is received without a TSopt, a TCP SHOULD silently drop the segment."`)
		if a.has(segment.SYN) && (t.State.Synchronized() || !t.Passive) &&
			a.may(`5961 4.2 "If the SYN bit is set, irrespective of the sequence number, TCP MUST send an ACK"`) {
			a.challenge()
		}
		return false
	}
	if int32(o.TSVal-t.TSRecent) < 0 {
		if t.State == SynReceived && a.may(`7323 5.3 "the following processing MUST be performed on all incoming segments for a synchronized connection"`) {
			return true
		}
		a.by(`7323 5.3 R1 "SEG.TSval < TS.Recent ... Send an acknowledgment in reply ... and drop the segment."`)
		a.refuse()
		return false
	}
	if a.seg.Seq.LessEq(t.LastAck) {
		a.stamp, a.stamped = o.TSVal, true
	}
	return true
}

// recordTimestamp is rule R3: "If an arriving segment satisfies SEG.TSval >=
// TS.Recent and SEG.SEQ <= Last.ACK.sent, then record its timestamp in TS.Recent."
func (a *arrival) recordTimestamp() {
	if a.stamped {
		a.After.TSRecent, a.stamped = a.stamp, false
	}
}

// dropped leaves it open whether a segment that is refused after all still has
// its timestamp recorded: section 5.3 rejects first, appendix D records first.
func (a *arrival) dropped() {
	if a.stamped && a.stamp != a.After.TSRecent &&
		a.may(`7323 D "If SEG.TSval >= TS.Recent and SEG.SEQ <= Last.ACK.sent, then save SEG.TSval in variable TS.Recent." before acceptability`) {
		a.recordTimestamp()
	}
}

// acceptable is table 6 of section 3.10.7.4.
func (a *arrival) acceptable() bool {
	t, n, seq := &a.After, a.seg.Len(), a.seg.Seq
	wnd := t.window()
	switch {
	case n == 0 && wnd == 0:
		return seq == t.RcvNxt
	case n == 0:
		return seq.InWindow(t.RcvNxt, wnd)
	case wnd == 0:
		return false
	case seq.InWindow(t.RcvNxt, wnd), a.seg.End().Add(-1).InWindow(t.RcvNxt, wnd):
		return true
	}
	covers := t.RcvNxt.InWindow(seq, n) // and the end lies beyond the window
	return covers && a.may(`9293 3.4 (c) "Determining that an incoming segment contains sequence numbers that are expected (i.e., that the segment "overlaps" the receive window)."`)
}

// unacceptable answers a segment outside of the window.
func (a *arrival) unacceptable() {
	t := &a.After
	a.by(`9293 3.10.7.4 first "If an incoming segment is not acceptable, an acknowledgment should be sent in reply (unless the RST bit is set, if so drop the segment and return)"`)
	if t.window() == 0 && a.seg.Seq == t.RcvNxt && a.seg.Flags&(segment.ACK|segment.SYN) == segment.ACK &&
		a.may(`9293 3.10.7.4 first "If the RCV.WND is zero, no segments will be acceptable, but special allowance should be made to accept valid ACKs, URGs, and RSTs."`) {
		a.recordTimestamp()
		a.ackField()
		switch {
		case a.Replies != Silence || t.State == Closed:
		case t.FinTaken: // "Ignore the segment text", seventh step
			a.maybeAck()
		default:
			a.refuse()
		}
		return
	}
	if t.State == TimeWait && a.has(segment.FIN) {
		a.finAgain()
	}
	a.dropped()
	a.refuse()
}

// finAgain restarts the 2 MSL timer for the peer's FIN: our last ACK was lost. A
// FIN at another number cannot be his, but no harm is done.
func (a *arrival) finAgain() {
	a.by(`9293 3.10.7.4 fifth "The only thing that can arrive in this state is a retransmission of the remote FIN.  Acknowledge it, and restart the 2 MSL timeout."`)
	a.TimeWait = Restarted
	if a.finAt() != a.After.RcvNxt.Add(-1) {
		a.TimeWait |= Kept
	}
}

// synAgain reports whether seg is the SYN that led to SYN-RECEIVED, once more. It
// lies before the window, with or without text behind it, so the plain text asks
// for an ACK; that our SYN,ACK is sent again says the same and more (figure 7).
// The SYN,ACK that ends a simultaneous open is another matter.
func (a *arrival) synAgain() bool {
	t := &a.After
	if t.State != SynReceived || a.seg.Flags&(segment.SYN|segment.RST) != segment.SYN || a.seg.Seq != t.IRS || a.crossedSynAck() {
		return false
	}
	a.by(`9293 3.10.7.4 first "trimming off any portions that lie outside the window (including SYN and FIN)" and "If an incoming segment is not acceptable, an acknowledgment should be sent in reply"`)
	a.refuse()
	a.Replies |= SynAck
	if t.TS && !a.seg.Options.Has(segment.HasTimestamps) {
		a.by(`7323 3.2 "If a non-<RST> segment is received without a TSopt, a TCP SHOULD silently drop the segment."`)
		a.Replies |= Silence
	}
	return true
}

// crossedSynAck reports whether seg is the SYN,ACK of figure 7 line 6.
func (a *arrival) crossedSynAck() bool {
	t := &a.After
	return t.State == SynReceived && !t.Passive && a.seg.Flags&(segment.SYN|segment.ACK|segment.RST) == segment.SYN|segment.ACK &&
		(!t.TS || a.seg.Options.Has(segment.HasTimestamps)) && a.seg.Seq == t.IRS && t.SndUna.Less(a.seg.Ack) && a.seg.Ack.LessEq(t.SndNxt)
}

// endOfCrossing takes the SYN,ACK of figure 7 line 6. By table 6 it lies outside
// of the window; but "one could ... [trim] off any portions that lie outside the
// window (including SYN and FIN)", section 3.10.7.4, and MUST-10 wants it taken.
// Appendix A.2 tells of stacks that take only its ACK, or that wait for the ACK
// which a refusal draws.
func (a *arrival) endOfCrossing() {
	switch {
	case a.may("9293 A.2: of a segment outside of the window only the ACK is processed"):
		a.stamped = false
		a.ackOfSyn()
		a.Replies = Ack
	case a.may("9293 A.2: sequence number validation keeps the ACK from being processed"):
		a.refuse()
	default:
		a.ackOnward()
	}
}

// refuse answers with an ACK; the limiter may hold it back.
func (a *arrival) refuse() {
	a.Replies, a.Challenge = Ack, true
	if !a.After.Credit {
		a.by(`5961 7 "An implementation SHOULD include an ACK throttling mechanism to be conservative."`)
		a.Replies |= Silence
		return
	}
	a.Challenge = a.may("5961 7: the limiter may count every ACK that refuses a segment")
}

// challenge answers with a challenge ACK, if the limiter lets it.
func (a *arrival) challenge() {
	a.Replies, a.Challenge = Ack, true
	if !a.After.Credit {
		a.by(`5961 7 "In order to alleviate multiple RSTs/SYNs from triggering multiple challenge ACKs, an ACK throttling mechanism is suggested"`)
		a.Replies = Silence
	}
}

// resetReceived is the second step, with the three checks of RFC 5961 section 3.
// "In all states except SYN-SENT, all reset (RST) segments are validated by
// checking their SEQ fields", section 3.5.3, so the segment's length is nothing
// to it; and a RST counts when the window is zero (MUST-66).
func (a *arrival) resetReceived() {
	t := &a.After
	exact := a.seg.Seq == t.RcvNxt
	inside := exact || a.seg.Seq.InWindow(t.RcvNxt, t.window())
	switch {
	case t.State == TimeWait:
		a.by(`1337 3 F1 "Ignore RST segments in TIME-WAIT state."`)
		if inside && !exact {
			a.challenge()
			a.Replies |= Silence
		}
	case !inside:
		a.by(`9293 3.10.7.4 second 1) "If the RST bit is set and the sequence number is outside the current receive window, silently drop the segment."`)
	case !exact:
		a.by(`9293 3.10.7.4 second 3) "... yet is within the current receive window, TCP endpoints MUST send an acknowledgment (challenge ACK)"`)
		a.challenge()
	default:
		a.by(`9293 3.10.7.4 second 2) "exactly matches the next expected sequence number (RCV.NXT), then TCP endpoints MUST reset the connection"`)
		a.resetTaken()
	}
}

func (a *arrival) resetTaken() {
	t := &a.After
	switch t.State {
	case SynReceived:
		if t.Passive {
			a.by(`9293 3.10.7.4 second "then return this connection to LISTEN state and return.  The user need not be informed."`)
			a.relisten()
			return
		}
		a.by(`9293 3.10.7.4 second "then the connection was refused; signal the user "connection refused"."`)
		a.end(Refused)
	case Closing, LastAck:
		// The text lets the user go without a signal here; MUST-12 wants him
		// to know whether it ended in order. Both are kept.
		a.by(`9293 3.10.7.4 second "If the RST bit is set, then enter the CLOSED state, delete the TCB, and return."`)
		a.end(NoError | WasReset)
	default:
		a.by(`9293 3.10.7.4 second "Users should also receive an unsolicited general "connection reset" signal.  Enter the CLOSED state, delete the TCB, and return."`)
		a.end(WasReset)
	}
}

// relisten takes a passive open back to where it came from.
func (a *arrival) relisten() {
	t := &a.After
	t.State, t.Held, t.FinHeld = Listen, nil, false
}

// synReceived is the fourth step: a SYN in the window.
func (a *arrival) synReceived() {
	t := &a.After
	if t.State == SynReceived && t.Passive {
		a.by(`9293 3.10.7.4 fourth "If the connection was initiated with a passive OPEN, then return this connection to the LISTEN state and return."`)
		a.relisten()
		return
	}
	a.by(`9293 3.10.7.4 fourth "if the SYN bit is set, irrespective of the sequence number, TCP endpoints MUST send a "challenge ACK""`)
	a.dropped()
	a.challenge()
}

// ackOnward is what remains from the fifth step on.
func (a *arrival) ackOnward() {
	if !a.ackField() {
		return
	}
	a.textAndFin()
}
