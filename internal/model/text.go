package model

import (
	"slices"

	"rawtcp/segment"
)

// text is the segment's text with its place: a SYN stands before it.
func (a *arrival) text() Text {
	at := a.seg.Seq
	if a.has(segment.SYN) {
		at = at.Add(1)
	}
	return Text{at, a.seg.Payload}
}

// textAndFin are the seventh and eighth step of section 3.10.7.4. The sixth only
// tells the application of urgent data.
func (a *arrival) textAndFin() {
	t := &a.After
	switch t.State {
	case Established, FinWait1, FinWait2:
	default:
		a.by(`9293 3.10.7.4 seventh "This should not occur since a FIN has been received from the remote side.  Ignore the segment text."`)
		a.maybeAck()
		return
	}
	text := a.trim(a.text())
	fin := a.finInWindow()
	if len(text.Data) > 0 && t.NoReader {
		if text.Seq == t.RcvNxt || !a.may("out-of-order text may be held; what the application does not read is lost when RCV.NXT reaches it") {
			a.lost()
			return
		}
	}
	before := t.RcvNxt
	a.hold(text)
	a.deliver()
	if fin && a.occupied(a.finAt()) {
		a.by("decision: the first octet received at a number wins, also against a FIN")
		fin = false
	}
	if fin && t.FinHeld && t.FinAt != a.finAt() {
		fin = a.may(`another FIN before the first: 9293 3.10.7.4 first "further processing is done in SEG.SEQ order"`) && a.finAt().Less(t.FinAt)
	}
	if fin {
		t.FinHeld, t.FinAt = true, a.finAt()
	}
	a.finReached()
	a.answer(before, len(text.Data) > 0 || fin)
}

// trim cuts off what is not in the window: "trimming off any portions that lie
// outside the window", section 3.10.7.4, and what lies behind the peer's FIN.
func (a *arrival) trim(text Text) Text {
	t := &a.After
	edge := t.RcvEdge
	if t.FinHeld {
		edge = segment.MinSeq(edge, t.FinAt)
	}
	from := segment.MaxSeq(text.Seq, t.RcvNxt)
	to := segment.MinSeq(text.End(), edge)
	if !from.Less(to) {
		return Text{Seq: from}
	}
	return Text{from, text.Data[from.Sub(text.Seq):to.Sub(text.Seq)]}
}

// finAt is the sequence number of the segment's FIN: "the FIN is considered to
// occur after the last actual data octet", section 3.4.
func (a *arrival) finAt() segment.Seq { return a.seg.End().Add(-1) }

// finInWindow reports whether there is a FIN that is not trimmed off.
func (a *arrival) finInWindow() bool {
	t := &a.After
	return a.has(segment.FIN) && a.finAt().InWindow(t.RcvNxt, t.window())
}

// occupied reports whether an octet of text was received at seq.
func (a *arrival) occupied(seq segment.Seq) bool {
	return seq.Less(a.After.RcvNxt) || slices.ContainsFunc(a.After.Held, func(h Text) bool { return seq.InWindow(h.Seq, len(h.Data)) })
}

// hold puts the octets of text that are not there yet among those held: "first
// octet wins", and "segments with higher beginning sequence numbers SHOULD be held
// for later processing (SHLD-31)".
func (a *arrival) hold(text Text) {
	if len(text.Data) == 0 {
		return
	}
	t := &a.After
	parts := []Text{text}
	for _, h := range t.Held {
		parts = slices.Concat(outside(parts, h))
	}
	held := append(slices.Clone(t.Held), parts...)
	slices.SortFunc(held, func(x, y Text) int { return x.Seq.Sub(y.Seq) })
	t.Held = held
}

// outside is what of parts does not overlap h.
func outside(parts []Text, h Text) (rest []Text) {
	for _, p := range parts {
		if end := segment.MinSeq(p.End(), h.Seq); p.Seq.Less(end) {
			rest = append(rest, Text{p.Seq, p.Data[:end.Sub(p.Seq)]})
		}
		if from := segment.MaxSeq(p.Seq, h.End()); from.Less(p.End()) {
			rest = append(rest, Text{from, p.Data[from.Sub(p.Seq):]})
		}
	}
	return rest
}

// deliver hands the held octets at RCV.NXT to the application: "it advances
// RCV.NXT over the data accepted", section 3.10.7.4, seventh step.
func (a *arrival) deliver() {
	t := &a.After
	for len(t.Held) > 0 && t.Held[0].Seq == t.RcvNxt {
		a.Delivered = append(a.Delivered, t.Held[0])
		t.RcvNxt = t.Held[0].End()
		t.Held = t.Held[1:]
	}
}

// finReached is the eighth step, when all before the FIN has come.
func (a *arrival) finReached() {
	t := &a.After
	if !t.FinHeld || t.FinAt != t.RcvNxt {
		return
	}
	a.by(`9293 3.10.7.4 eighth "If the FIN bit is set, signal the user "connection closing" ... advance RCV.NXT over the FIN, and send an acknowledgment for the FIN."`)
	t.FinHeld, t.FinTaken, t.Held = false, true, nil
	t.RcvNxt = t.RcvNxt.Add(1)
	a.EOF = true
	switch {
	case t.State == Established:
		a.by(`9293 3.10.7.4 eighth "Enter the CLOSE-WAIT state."`)
		t.State = CloseWait
	case t.State == FinWait1:
		a.by(`9293 3.10.7.4 eighth "If our FIN has been ACKed (perhaps in this segment), then enter TIME-WAIT ...; otherwise, enter the CLOSING state."`)
		t.State = Closing
	case t.State == FinWait2:
		a.by(`9293 3.10.7.4 eighth "Enter the TIME-WAIT state."`)
		a.enterTimeWait()
	}
}

// answer acknowledges what was taken.
func (a *arrival) answer(before segment.Seq, took bool) {
	t := &a.After
	switch {
	case t.RcvNxt != before:
		a.by(`9293 3.10.7.4 seventh "When the TCP endpoint takes responsibility for delivering the data to the user, it must also acknowledge the receipt of the data." and 3.8.6.3 MUST-40`)
		a.Replies = Ack | AckSoon
	case took:
		a.by(`5681 4.2 "Out-of-order data segments SHOULD be acknowledged immediately"`)
		a.Replies = Ack
	default:
		a.maybeAck()
	}
}

// lost resets the connection of an application that does not read any more: "if
// new data is received after CLOSE is called, its TCP implementation SHOULD send a
// RST to show that data was lost (SHLD-3)", in the form of section 3.10.5.
func (a *arrival) lost() {
	a.by(`9293 3.6.1 "if new data is received after CLOSE is called, its TCP implementation SHOULD send a RST to show that data was lost (SHLD-3)."`)
	form := ResetForm{Seq: a.After.SndNxt, Ack: a.After.RcvNxt, MayAck: true}
	a.end(NoError | WasReset | Aborted)
	a.Replies, a.Reset = Reset, form
}
