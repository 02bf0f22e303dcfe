package trace

import (
	"fmt"
	"strings"

	"rawtcp/engine"
	"rawtcp/segment"
)

// tellOut explains a segment of ours.
func (t *tale) tellOut(e *engine.Event) []string {
	s := e.Segment
	text := t.outText(e)
	if s.Flags.Has(segment.ACK) && !s.Flags.Has(segment.RST) {
		t.acks = relative(s.Ack, e.Vars.IRS)
		t.owed = oweNothing
	}
	return text
}

func (t *tale) outText(e *engine.Event) []string {
	s := e.Segment
	again := e.Note.Resent()
	switch {
	case s.Flags.Has(segment.RST):
		return t.outRST(e)
	case s.Flags.Has(segment.SYN):
		return t.outSYN(e, again)
	case again:
		return t.outAgain(e)
	case s.Flags.Has(segment.FIN):
		return t.outFIN(e)
	case len(s.Payload) > 0:
		return t.outData(e)
	}
	return t.outACK(e)
}

func (t *tale) outSYN(e *engine.Event, again bool) []string {
	answer := e.Segment.Flags.Has(segment.ACK)
	owed := t.owed
	t.active = t.active || !answer
	rto := timeText(t.wait[engine.TimerRTO])
	switch {
	case e.Note == engine.NoteFastOpen:
		t.early = len(e.Segment.Payload)
		return []string{
			fmt.Sprintf("Our SYN carries %s of data already (TCP Fast Open): the cookie in its options is one that this server gave us, and shows that we are where we say.", octets(t.early)),
			"If nothing comes back in " + rto + ", we ask again without either, for some boxes on the way drop such SYNs.",
		}
	case e.Note == engine.NoteSYNCookie:
		return []string{
			"We accept without remembering anything: our first sequence number is a SYN cookie, from which only we can tell that this peer asked, when, and for which MSS.",
			"Who sends SYNs with false addresses never sees it, and costs us no memory; a real peer sends it back in its ACK.",
		}
	case answer && e.State == engine.SynReceived && t.crossed && !again:
		return []string{"The peer's SYN has crossed ours: both sides asked at once, a simultaneous open. We say our SYN again, now with the ACK of the peer's, and the two requests become one connection."}
	case answer && !again:
		return []string{
			"We accept: this SYN-ACK acknowledges the peer's SYN (a SYN counts as one octet, so ack 1) and names our own first sequence number.",
			"If it is lost, the peer asks again or our timer repeats it; until its ACK comes the connection is only half open.",
		}
	case answer && owed == oweSYN:
		return []string{"The peer has asked again, so our SYN-ACK did not get through: here it is once more, with the same sequence number."}
	case answer:
		return []string{"No ACK of our SYN-ACK has come: it was lost, or the ACK was. We repeat it; the wait doubles each time, and after a few tries we forget the peer."}
	case again:
		return []string{"No answer yet: our SYN or the answer to it was lost, or nobody is there. We ask again, with the same sequence number, and now wait twice as long (" + rto + ")."}
	}
	return []string{
		fmt.Sprintf("Our SYN asks the peer to open a connection and names our first sequence number, %d; its options say what we can do.", e.Segment.Seq.Uint32()),
		"If it is lost, no answer comes and our timer sends it again in " + rto + ".",
	}
}

func (t *tale) outData(e *engine.Event) []string {
	n := len(e.Segment.Payload)
	first := relative(e.Segment.Seq, e.Vars.ISS)
	if e.Note == engine.NoteMTUProbe {
		return t.full("mtu probe", "We send "+span(first, n)+", more than in the segments before: if they arrive, the path takes larger segments again.",
			"If only this one is lost, it was too large; that says nothing about congestion, and we do not slow down.")
	}
	return t.full("data out",
		fmt.Sprintf("We send %s; the peer is to answer with ack %d.", span(first, n), first+n),
		"A copy stays with us until then: if the segment is lost, our timer ("+timeText(t.wait[engine.TimerRTO])+") or three duplicate ACKs make us send it again.")
}

func (t *tale) outFIN(e *engine.Event) []string {
	t.bye.finOut = true
	carried := ""
	if n := len(e.Segment.Payload); n > 0 {
		carried = " The last " + octets(n) + " of data ride along."
	}
	switch e.State {
	case engine.LastAck:
		t.bye.theirsRode = !t.bye.acknowledgedPeers
		text := "Our application is done too: this is our FIN, and nothing of ours comes after it." + carried
		if t.bye.theirsRode {
			text += " It acknowledges the peer's FIN as well, so one segment does the work of two."
		}
		return []string{text, "Only the ACK of our FIN is missing now, hence LAST-ACK; if the FIN is lost, our timer repeats it."}
	case engine.Closing: // the FIN had to wait, and the peer's overtook it
		t.bye.theirsRode = !t.bye.acknowledgedPeers
		return []string{"Our FIN leaves at last; the peer's was here before it." + carried}
	}
	if t.bye.first == "" {
		t.bye.first = "we"
	}
	return []string{
		"Our application has closed: FIN says that nothing more comes from us, and counts as one octet." + carried + " The peer may still send; we wait in FIN-WAIT-1 for the ACK of our FIN.",
		"If the FIN is lost, our timer repeats it in " + timeText(t.wait[engine.TimerRTO]) + ".",
	}
}

// outAgain explains a retransmission.
func (t *tale) outAgain(e *engine.Event) []string {
	s := e.Segment
	what := "the FIN"
	if n := len(s.Payload); n > 0 {
		what = span(relative(s.Seq, e.Vars.ISS), n)
		if s.Flags.Has(segment.FIN) {
			what += " and the FIN"
		}
	}
	if t.tooBig {
		return t.full("pieces", "What was too large for the path goes again in pieces that fit: "+what+".", "This is no sign of congestion, so we do not slow down.")
	}
	if strings.Contains(e.Reason, "RFC 4821 section 7.7") {
		return t.full("hole", "Large segments were sent several times in vain, and nobody said why: perhaps something on the path throws them away in silence. We try again with smaller pieces: "+what+".",
			"Such a black hole is often a tunnel whose ICMP messages are filtered. Once small pieces get through, we search for the largest size that does.")
	}
	if e.Note == engine.NoteLossProbe {
		return t.full("probe", "We send "+what+" again as a probe, the last of what is under way.",
			"Its ACK shows what has arrived, so that only what is missing goes again; if none comes, the retransmission timer ("+timeText(t.wait[engine.TimerRTO])+") is next.")
	}
	if e.Note == engine.NoteFastRetransmit {
		return t.full("fast", "We send "+what+" again without waiting for the timer: the ACKs show that what was sent later has arrived, and this has not.",
			"Loss is a sign of congestion, so we also send more slowly for a while.")
	}
	if t.fresh {
		return t.full("timeout", "We send "+what+" again, since no ACK came in time; if this is lost too, we wait twice as long ("+timeText(t.wait[engine.TimerRTO])+").",
			"A timeout means that perhaps nothing gets through any more, so we begin again with one segment at a time.")
	}
	return []string{"We send " + what + " again: all that was sent before the timeout counts as lost."}
}

func (t *tale) outRST(e *engine.Event) []string {
	switch {
	case e.Conn == 0:
		return []string{"The segment speaks of a connection that we do not have: our RST, with the very number it acknowledged, tells its sender to forget that one. We stay in LISTEN for the others."}
	case e.State == engine.SynReceived && e.Segment.Flags.Has(segment.ACK):
		return []string{"We do not listen any more: RST tells the peer that this handshake leads nowhere."}
	case e.State != engine.Closed:
		return []string{"The segment speaks of a connection that we do not have: our RST, with the very number it acknowledged, tells its sender to forget that one. Our own state stays as it is."}
	}
	t.bye.reset = true
	why := "We break the connection off."
	switch {
	case t.fresh:
		why = "We give up: the peer has not answered for too long."
	case strings.HasPrefix(e.Reason, "closed with data unread"):
		why = "Our application has closed without reading all that came: a FIN would claim that all is well, so we break the connection off."
	case strings.HasPrefix(e.Reason, "data after"):
		why = "Nobody reads what the peer still sends, so we break the connection off."
	}
	return []string{why + " RST tells the peer to forget it at once; what was on its way in either direction is lost.",
		"Nobody acknowledges a RST and we do not repeat it: if it is lost, the peer finds out only by a timer of its own."}
}

// outACK explains a segment of ours that carries nothing.
func (t *tale) outACK(e *engine.Event) []string {
	s := e.Segment
	ack := relative(s.Ack, e.Vars.IRS)
	window := int(s.Window) << e.Vars.RcvScale
	switch e.Note {
	case engine.NoteDupAck:
		sack := ""
		if s.Options.Has(segment.HasSACK) {
			sack = "; the SACK option names what is here already"
		}
		return t.full("dup ack out", fmt.Sprintf("A duplicate ACK, sent at once: we still wait for octet %d%s.", ack, sack),
			"Three of these in a row tell the peer to send it again without waiting for its timer.")
	case engine.NoteWindowUpdate:
		if ack > t.acks {
			return []string{fmt.Sprintf("We acknowledge all octets before %d, and at once, since our application has read: the peer may send up to %s.", ack, octets(window)),
				"If it is lost, a later ACK says the same and more."}
		}
		return []string{fmt.Sprintf("Our application has read, so that there is room again: this ACK acknowledges nothing new, it tells the peer that it may send up to %s.", octets(window)),
			"If it is lost, the peer's next window probe gets the same news."}
	case engine.NoteKeepAliveAck:
		return t.full("alive", "We are still here: the ACK proves it, and says how much room we have.", "If it is lost, the peer asks again.")
	case engine.NoteChallengeAck:
		return t.outChallenge()
	case engine.NoteWindowProbe:
		t.probing = true
		return t.full("probe", "A window probe: the peer has closed its window, and the ACK that opens it may get lost, so we ask now and then.",
			"The probe carries a number that the peer has acknowledged already, which makes it answer with its window; an unanswered probe is repeated, ever more rarely.")
	case engine.NoteKeepAlive:
		t.probing = true
		return t.full("keep-alive", "A keep-alive: nothing was heard for a while, so we send a number that the peer has acknowledged already, which makes it answer if it is still there.",
			"A single one that is not answered proves nothing, for it may be lost; several do.")
	}
	return t.outPlain(e, ack, window)
}

// twice tells of a D-SACK: a first block that names what is acknowledged (RFC
// 2883 section 4).
func twice(s *segment.Segment) string {
	if !isDSACK(s) {
		return ""
	}
	return " The SACK option names what came twice (D-SACK), so that the peer learns that it need not have sent it again."
}

func isDSACK(s *segment.Segment) bool {
	return s.Options.Has(segment.HasSACK) && s.Options.SACKCount > 0 && s.Options.SACK[0].Start.Less(s.Ack)
}

func (t *tale) outChallenge() []string {
	switch t.owed {
	case oweOld:
		return []string{"What came is old, so we only say where we are."}
	case oweOldSYNACK:
		return []string{"So we say once more what our last ACK said; it completes the peer's side of the handshake."}
	}
	return t.full("challenge", "A challenge ACK: what came could be forged, so we do not act on it, but say where we are.",
		"A real peer that has lost the connection answers with a RST that fits exactly; a forger does not see this ACK. If it is lost, nothing changes.")
}

func (t *tale) outPlain(e *engine.Event, ack, window int) []string {
	owed, late := t.owed, t.fresh && t.fired == engine.TimerDelayedAck
	if owed == oweFIN || owed == oweOldFIN {
		return t.outLastACK(e, owed)
	}
	full := ""
	if e.Note == engine.NoteZeroWindow && window == 0 {
		full = " Our buffer is full: window 0 stops the peer until our application has read."
	}
	switch owed {
	case oweSYNACK:
		lost := "If it is lost, our next segment carries the same ack, or the peer repeats its SYN-ACK."
		if t.crossed {
			lost = "The other side did the same; either ACK may get lost, for each SYN-ACK had the ACK in it."
		}
		return []string{"This ACK completes the handshake: now the peer knows too that both sides have each other's first number.", lost}
	case oweOldSYNACK:
		return []string{"So we say once more what our last ACK said; it completes the peer's side of the handshake."}
	case oweGap:
		return []string{fmt.Sprintf("The hole is filled: all octets before %d are here, and we say so at once.", ack) + full}
	case oweOld:
		return []string{fmt.Sprintf("The peer has repeated what is here already, perhaps because our ACK was lost; we say again that we wait for octet %d.", ack) + twice(e.Segment) + full}
	case oweStranger:
		return []string{fmt.Sprintf("What came lies outside of our window, so we only say where we are: we wait for octet %d.", ack)}
	}
	always := fmt.Sprintf("We acknowledge all octets before %d.", ack)
	if late {
		always = fmt.Sprintf("Nothing that the ACK could ride on came up within %s, so it goes alone: all octets before %d are here.", timeText(t.wait[engine.TimerDelayedAck]), ack)
	}
	return t.full("ack out", always+full, "An ACK is not acknowledged itself: if it is lost, a later one says the same and more.")
}

// outLastACK acknowledges the peer's FIN.
func (t *tale) outLastACK(e *engine.Event, owed debt) []string {
	t.bye.acknowledgedPeers = true
	switch {
	case owed == oweOldFIN:
		return []string{"The peer repeats its FIN, so our last ACK was lost: this is what TIME-WAIT is for. We send the ACK again and wait once more."}
	case e.State == engine.TimeWait:
		return []string{fmt.Sprintf("We acknowledge the peer's FIN: the last segment of this connection. Nothing tells us whether it arrives, so we stay in TIME-WAIT for %s;", timeText(t.wait[engine.TimerTimeWait])) +
			" if it is lost, the peer repeats its FIN and somebody must be here to answer."}
	case e.State == engine.Closing:
		return []string{"We acknowledge the peer's FIN; the ACK of our own is still on its way.", "If this one is lost, the peer repeats its FIN."}
	}
	return []string{"We acknowledge the peer's FIN at once. That closes one direction only: our application has not closed yet and may go on sending.",
		"If this ACK is lost, the peer repeats its FIN."}
}
