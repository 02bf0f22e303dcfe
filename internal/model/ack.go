package model

import "rawtcp/segment"

// ackField is the fifth step of section 3.10.7.4; false: the segment is done with.
func (a *arrival) ackField() bool {
	t := &a.After
	if t.State == SynReceived {
		return a.ackOfSyn()
	}
	// The range says what is acceptable "only if", and may be narrower: the peer's
	// first ACK was ISS+1, and whatever says less is from before the connection.
	oldest := t.SndUna.Add(-min(t.MaxSndWnd, t.SndUna.Sub(t.ISS.Add(1))))
	if a.seg.Ack.Less(oldest) || t.SndNxt.Less(a.seg.Ack) {
		a.by(`5961 5.2 "((SND.UNA - MAX.SND.WND) <= SEG.ACK <= SND.NXT). All incoming segments whose ACK value doesn't satisfy the above condition MUST be discarded and an ACK sent back."`)
		a.dropped()
		a.challenge()
		return false
	}
	a.recordTimestamp()
	a.acknowledge()
	return a.afterAck()
}

// ackOfSyn is the fifth step in SYN-RECEIVED.
func (a *arrival) ackOfSyn() bool {
	t := &a.After
	if !t.SndUna.Less(a.seg.Ack) || t.SndNxt.Less(a.seg.Ack) {
		a.by(`9293 3.10.7.4 fifth "If the segment acknowledgment is not acceptable, form a reset segment <SEQ=SEG.ACK><CTL=RST> and send it." and 3.5.2 "The connection remains in the same state."`)
		a.dropped()
		a.reset()
		return false
	}
	a.by(`9293 3.10.7.4 fifth "If SND.UNA < SEG.ACK =< SND.NXT, then enter ESTABLISHED state and continue processing with the variables below set to"`)
	a.recordTimestamp()
	t.State, t.SndUna = Established, a.seg.Ack
	if t.ToClose {
		a.by(`9293 3.10.4 SYN-RECEIVED "queue for processing after entering ESTABLISHED state"`)
		t.State, t.ToClose = FinWait1, false
	}
	a.setWindow()
	a.MaySend = t.Unsent
	return true
}

// acknowledge is the processing for ESTABLISHED, which all later states share.
func (a *arrival) acknowledge() {
	t := &a.After
	advances := t.SndUna.Less(a.seg.Ack)
	if advances {
		a.by(`9293 3.10.7.4 fifth "If SND.UNA < SEG.ACK =< SND.NXT, then set SND.UNA <- SEG.ACK."`)
		t.SndUna = a.seg.Ack
	}
	if a.seg.Ack.Less(t.SndUna) {
		a.by(`9293 3.10.7.4 fifth "If the ACK is a duplicate (SEG.ACK =< SND.UNA), it can be ignored."`)
		return
	}
	if t.SndWL1.Less(a.seg.Seq) || t.SndWL1 == a.seg.Seq && t.SndWL2.LessEq(a.seg.Ack) {
		a.by(`9293 3.10.7.4 fifth "If (SND.WL1 < SEG.SEQ or (SND.WL1 = SEG.SEQ and SND.WL2 =< SEG.ACK)), set SND.WND <- SEG.WND"`)
		a.setWindow()
	} else if advances {
		a.by(`decision: a segment that acknowledges new octets brings its window too, whatever its number: with SND.UNA moved and the window of before, the right edge would pass the peer's offer`)
		a.setWindow()
	}
	a.MaySend = t.Unsent
}

// setWindow is SND.WND <- SEG.WND and what goes with it. "TrueWindow = SEG.WND <<
// Snd.Wind.Shift", RFC 7323 appendix D, but for a SYN, whose "window field ...
// MUST NOT be scaled", section 2.2.
func (a *arrival) setWindow() {
	t := &a.After
	t.SndWnd = int(a.seg.Window) << t.SndScale
	if a.has(segment.SYN) {
		t.SndWnd = int(a.seg.Window)
	}
	t.SndWL1, t.SndWL2 = a.seg.Seq, a.seg.Ack
	t.MaxSndWnd = max(t.MaxSndWnd, t.SndWnd)
}

// afterAck is what the later states do in addition.
func (a *arrival) afterAck() bool {
	t := &a.After
	switch t.State {
	case FinWait1:
		if t.finAcked() {
			a.by(`9293 3.10.7.4 fifth "if the FIN segment is now acknowledged, then enter FIN-WAIT-2 and continue processing in that state."`)
			t.State = FinWait2
		}
	case Closing:
		if !t.finAcked() {
			a.by(`9293 3.10.7.4 fifth "otherwise, ignore the segment."`)
			a.maybeAck()
			return false
		}
		a.by(`9293 3.10.7.4 fifth "if the ACK acknowledges our FIN, then enter the TIME-WAIT state"`)
		a.enterTimeWait()
	case LastAck:
		if t.finAcked() {
			a.by(`9293 3.10.7.4 fifth "If our FIN is now acknowledged, delete the TCB, enter the CLOSED state, and return."`)
			a.end(NoError)
			return false
		}
	case TimeWait:
		a.by(`9293 3.10.7.4 fifth "The only thing that can arrive in this state is a retransmission of the remote FIN.  Acknowledge it, and restart the 2 MSL timeout."`)
		a.Replies |= Ack
		a.TimeWait |= Restarted
	}
	return true
}

// enterTimeWait: "start the time-wait timer, turn off the other timers", eighth step.
func (a *arrival) enterTimeWait() { a.After.State, a.TimeWait = TimeWait, Restarted }

// maybeAck allows an ACK, now or soon, for a segment of which nothing is taken:
// one that occupies sequence space, or that is in the window but not at its left
// edge (MAY-13).
func (a *arrival) maybeAck() {
	if a.seg.Len() > 0 || a.seg.Seq != a.After.RcvNxt {
		a.by(`9293 3.10.7.4 seventh "A TCP implementation MAY send an ACK segment acknowledging RCV.NXT when a valid segment arrives that is in the window but not at the left window edge (MAY-13)."`)
		a.Replies |= Ack | AckSoon
	}
}
