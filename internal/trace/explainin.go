package trace

import (
	"fmt"

	"rawtcp/engine"
	"rawtcp/segment"
)

// tellIn explains a segment of the peer's.
func (t *tale) tellIn(e *engine.Event) []string {
	s := e.Segment
	text := t.inText(e)
	t.tooBig = false
	if s.Checksum == segment.ChecksumPartial && t.once("partial") {
		text = append(text, "Its checksum is only begun, since it has not left this machine: the sending kernel leaves the rest to the network card.")
	}
	t.opened = t.opened || e.State >= engine.Established
	return text
}

func (t *tale) inText(e *engine.Event) []string {
	s := e.Segment
	switch {
	case e.Conn == 0:
		return inListen(e)
	case s.Flags.Has(segment.RST):
		return t.inRST(e)
	case s.Flags.Has(segment.SYN):
		return t.inSYN(e)
	}
	from, to := t.change(e)
	switch e.Note {
	case engine.NoteKeepAlive:
		return t.inKeepAlive()
	case engine.NotePAWS:
		t.owed = oweStranger
		return []string{"The timestamp is older than one we have seen: an old duplicate that wandered about in the network. It is not believed (PAWS)."}
	case engine.NoteUnacceptable:
		return t.inStranger(e)
	case engine.NoteDuplicate:
		return t.inOld(e)
	}
	text := t.inOpening(e, from, to)
	if len(s.Payload) > 0 {
		text = append(text, t.inData(e)...)
	}
	if fin := t.inFIN(e, from, to); fin != "" {
		return append(text, fin)
	}
	if len(text) > 0 && !t.newlyAcked(e) {
		return append(text, t.inWindow(e)...)
	}
	return append(text, t.inACK(e, from, to)...)
}

func inListen(e *engine.Event) []string {
	switch {
	case e.Note == engine.NoteSYNCookie:
		return []string{"A peer wants to connect, but we do not remember it: too many handshakes are under way, or the listener never does. All that we would have to keep goes into the number of our answer."}
	case e.Segment.Flags.Has(segment.SYN):
		return []string{"A SYN for a listener that is mute: it gets no answer, as if a firewall had dropped it. The peer will try again a few times, then time out."}
	}
	return []string{"It acknowledges something, but in LISTEN nothing was sent yet: it belongs to an old connection that only its sender remembers."}
}

func (t *tale) inSYN(e *engine.Event) []string {
	s := e.Segment
	from, to := t.change(e)
	switch {
	case e.Note == engine.NoteFastOpen:
		t.taken = true
		return []string{
			fmt.Sprintf("A SYN with %s of data, and with a cookie that we gave this peer: it is where it says, so our application gets the data at once and may answer before the handshake is complete (TCP Fast Open).", octets(len(s.Payload))),
			"If the network doubles such a SYN, the application may see the data twice.",
		}
	case s.Flags.Has(segment.ACK) && from == engine.SynSent && to != engine.SynSent && t.early > 0:
		t.owed = oweSYNACK
		took := "and the data that came with it"
		if relative(s.Ack, e.Vars.ISS) <= t.early {
			took = "but not the data that came with it, which has to go again"
		}
		return []string{fmt.Sprintf("The peer accepts: it acknowledges our SYN, %s, and names its own first sequence number, %d. ESTABLISHED.", took, s.Seq.Uint32())}
	case e.Note == engine.NoteUnacceptable && e.State == engine.SynSent:
		return []string{"This SYN-ACK acknowledges a number we never sent: it answers an old SYN of ours, not this one."}
	case from == engine.SynSent && to == engine.SynReceived:
		t.crossed, t.owed = true, oweSYN
		return []string{"A SYN instead of a SYN-ACK: the peer is opening a connection to us just as we are to it. Neither side listens, and yet this is legal: we go to SYN-RECEIVED."}
	case from == engine.SynReceived && to == engine.Established:
		t.owed = oweSYNACK
		return []string{"The peer's SYN again, now with the ACK of ours: both sides know each other's first sequence number. The simultaneous open is ESTABLISHED."}
	case from == engine.SynSent && to != engine.SynSent:
		t.owed = oweSYNACK
		return []string{fmt.Sprintf("The peer accepts: it acknowledges our SYN (ack 1) and names its own first sequence number, %d. Both sides know each other's numbers: ESTABLISHED.", s.Seq.Uint32())}
	case from == engine.Listen:
		return []string{fmt.Sprintf("A peer wants to connect: its SYN names its first sequence number, %d. We remember it in SYN-RECEIVED until it has proved that it gets our answers.", s.Seq.Uint32())}
	case to == engine.Listen:
		return []string{"A second, different SYN inside the window: this handshake makes no sense any more, and we return to LISTEN."}
	case e.State == engine.SynReceived && e.Note == engine.NoteUnacceptable:
		t.owed = oweStranger
		return []string{"A different SYN while this handshake is under way: one of the two is an old duplicate, and we cannot know which."}
	case e.State == engine.SynReceived:
		t.owed = oweSYN
		return []string{"The same SYN again: our SYN-ACK has not reached the peer, or not in time."}
	case s.Flags.Has(segment.ACK) && s.Seq == e.Vars.IRS:
		t.owed = oweOldSYNACK
		return []string{"The SYN-ACK again, although we have answered it: our ACK was lost, or the peer could not take it yet."}
	}
	t.owed = oweStranger
	return []string{"A SYN inside of a connection that is open already: the peer has restarted, or somebody guesses. A SYN alone must not end a connection."}
}

func (t *tale) inRST(e *engine.Event) []string {
	from, to := t.change(e)
	switch {
	case from == to && e.State == engine.TimeWait:
		return []string{"A RST in TIME-WAIT: we ignore it, or old duplicates could cut the wait short that protects the next connection (RFC 1337)."}
	case from == to && e.State == engine.SynSent:
		return []string{"A RST that does not acknowledge our SYN: anybody could have sent it, so we ignore it."}
	case from == to:
		t.owed = oweStranger
		return []string{"A RST that does not hit the exact number we wait for: it may be a guess from outside, so it does not end the connection."}
	}
	t.bye.reset = true
	switch {
	case from == engine.SynSent:
		return []string{"Refused: a RST that acknowledges our SYN says that nobody listens on that port, or that somebody does not want us to reach it. The state goes back to CLOSED."}
	case to == engine.Listen:
		return []string{"The peer takes its SYN back: it was an old one, or it has changed its mind. We return to LISTEN as if nothing had been."}
	case from == engine.SynReceived:
		return []string{"The peer refuses after all: the handshake ends in CLOSED."}
	case from == engine.LastAck || from == engine.Closing || from == engine.TimeWait:
		return []string{"The peer answers our FIN with a RST: the connection is gone there, and nothing is left to wait for."}
	}
	return []string{"The peer has reset the connection: it is gone at once, in both directions, without a goodbye. What was not read or not acknowledged is lost."}
}

func (t *tale) inKeepAlive() []string {
	return t.full("asked", "The peer sends a number that we have acknowledged already: a keep-alive or a window probe, to find out whether we are there and have room.", "")
}

func (t *tale) inStranger(e *engine.Event) []string {
	s := e.Segment
	t.owed = oweStranger
	switch {
	case e.State == engine.SynSent && s.Flags.Has(segment.ACK):
		return []string{"It acknowledges a number we never sent: the peer still has an old connection with us in mind."}
	case e.State == engine.SynSent:
		return []string{"Before the peer has answered our SYN, this means nothing: ignored."}
	case !s.Flags.Has(segment.ACK):
		return []string{"Without an ACK a segment of an open connection means nothing: ignored."}
	case e.State == engine.SynReceived && s.Ack == e.Vars.ISS.Add(1):
		return []string{"The ACK would complete the handshake, but too many connections already wait to be accepted, so we act as if it were lost.",
			"Our SYN-ACK goes again later, and its ACK gets another chance."}
	case e.Vars.SndNxt.Less(s.Ack):
		return []string{"It acknowledges what we have not sent yet: a guess, or a peer that is confused. It is not believed."}
	case s.Ack.Less(e.Vars.SndUna):
		return []string{"It acknowledges what was acknowledged long ago: too old to be believed."}
	}
	return []string{"Its numbers lie outside of our window: it is not taken."}
}

// inOld explains what was here already.
func (t *tale) inOld(e *engine.Event) []string {
	if e.Segment.Flags.Has(segment.FIN) {
		t.owed = oweOldFIN
		if e.State == engine.TimeWait {
			return []string{"The peer's FIN again: it has not got our last ACK. The wait begins anew."}
		}
		return []string{"The peer's FIN again: our ACK of it was lost."}
	}
	t.owed = oweOld
	if len(e.Segment.Payload) == 0 {
		return []string{"It carries nothing, and its number is one that we have acknowledged already: it was sent before our ACK arrived, or it is an old one."}
	}
	return t.full("old", "These octets are here already: the peer has sent them again, or the network has doubled them.", "Our application gets them once only.")
}

// inOpening explains the ACK that ends a passive or a simultaneous open.
func (t *tale) inOpening(e *engine.Event, from, to engine.State) []string {
	if from == engine.Listen && to >= engine.Established {
		return []string{"The number it acknowledges is a SYN cookie of ours, made for this very peer not long ago: so it gets what we send, and the handshake that we had forgotten is complete, ESTABLISHED."}
	}
	if from != engine.SynReceived || e.State < engine.Established || t.opened {
		return nil
	}
	if t.crossed {
		return []string{"The peer acknowledges our SYN: both sides know each other's first sequence number. The simultaneous open is ESTABLISHED."}
	}
	if t.taken {
		return []string{"The peer acknowledges our SYN: the handshake is complete, ESTABLISHED. Our application has had the data of its SYN since that came."}
	}
	return []string{"The peer acknowledges our SYN, so it gets what we send and is where it says: the handshake is complete, ESTABLISHED, and the connection waits to be accepted."}
}

func (t *tale) inData(e *engine.Event) []string {
	n := len(e.Segment.Payload)
	first := relative(e.Segment.Seq, e.Vars.IRS)
	if e.Note == engine.NoteOutOfOrder {
		return t.full("gap", fmt.Sprintf("The peer sends %s, but octet %d is missing before them.", span(first, n), relative(e.Vars.RcvNxt, e.Vars.IRS)),
			"We keep them; our application gets nothing until the hole is filled, since a stream has an order.")
	}
	for i := range e.Follows {
		if f := &e.Follows[i]; f.Kind == engine.EventDataIn && f.Size > n {
			t.owed = oweGap
			return []string{fmt.Sprintf("The peer sends %s: what was missing. Our application gets %s at once.", span(first, n), octets(f.Size))}
		}
	}
	if e.State == engine.Closed {
		return []string{"The peer sends data, but our application has closed and nobody will read it: that must be said, or the peer would think that it arrived."}
	}
	t.owed = oweData
	text := fmt.Sprintf("The peer sends %s.", span(first, n))
	if s := e.Segment; s.Flags.Has(segment.URG) {
		text += fmt.Sprintf(" It calls what comes before octet %d urgent (URG); our application gets it in its place in the stream all the same.", first+int(s.Urgent))
	}
	if d := arming(e, engine.TimerDelayedAck); d > 0 {
		return t.full("delayed", text+fmt.Sprintf(" The ACK may wait up to %s for something to ride on.", timeText(d)), "")
	}
	return []string{text}
}

// inFIN explains the peer's FIN, and what else the segment brings.
func (t *tale) inFIN(e *engine.Event, from, to engine.State) string {
	if !e.Segment.Flags.Has(segment.FIN) && (from == to || to < engine.CloseWait || to == engine.LastAck || t.bye.finIn || from == engine.Closing) {
		return ""
	}
	if from == to || to == engine.Closed && from != engine.LastAck {
		if e.Note == engine.NoteOutOfOrder || !t.bye.finIn && relative(e.Segment.End(), e.Vars.RcvNxt) != 0 {
			return "Its FIN waits until the octets before it are here."
		}
		return ""
	}
	t.owed, t.bye.finIn = oweFIN, true
	if t.bye.first == "" {
		t.bye.first = "the peer"
	}
	switch to {
	case engine.CloseWait:
		return "The peer has nothing more to send: FIN. We go to CLOSE-WAIT: our application learns of the end, and may still send before it closes."
	case engine.Closing:
		t.bye.crossed = true
		return "The peer's FIN has crossed ours: it does not acknowledge our FIN, so both sides closed at the same time. We go to CLOSING until the ACK of our FIN comes."
	}
	t.bye.timeWait = true
	if from == engine.FinWait1 {
		t.bye.oursRode = true
		return "The peer acknowledges our FIN and sends its own in the same segment: from FIN-WAIT-1 through FIN-WAIT-2 to TIME-WAIT in one step."
	}
	return "Now the peer has closed too: its FIN ends the other direction. All is said, and as the side that closed first we go to TIME-WAIT."
}

func (t *tale) newlyAcked(e *engine.Event) bool {
	return t.una.Less(e.Vars.SndUna) && t.una != e.Vars.ISS
}

// inACK explains an ACK that brings nothing else.
func (t *tale) inACK(e *engine.Event, from, to engine.State) []string {
	switch {
	case from == engine.FinWait1 && to == engine.FinWait2:
		return []string{"The peer acknowledges our FIN: our direction is closed. In FIN-WAIT-2 we wait for the peer to close its own; until then it may go on sending."}
	case from == engine.Closing && to == engine.TimeWait:
		t.bye.timeWait = true
		return []string{fmt.Sprintf("The peer acknowledges our FIN: both directions are closed. We do not know whether our own last ACK arrives, so we stay in TIME-WAIT for %s.", timeText(arming(e, engine.TimerTimeWait)))}
	case from == engine.LastAck && to == engine.Closed:
		return []string{"The ACK of our FIN: nothing of ours is outstanding any more, and this side is done at once."}
	case e.Note == engine.NoteDupAck:
		return t.full("dup ack in", fmt.Sprintf("A duplicate ACK: something we sent later has arrived, but the peer still waits for octet %d.", relative(e.Segment.Ack, e.Vars.ISS)),
			"One or two may only mean a different order; the third makes us send it again.")
	}
	if t.newlyAcked(e) {
		left := ""
		if e.Vars.Flight == 0 {
			left = "; nothing is outstanding"
		}
		text := t.full("ack in", fmt.Sprintf("The peer has all octets before %d%s.", relative(e.Vars.SndUna, e.Vars.ISS), left), "Our copies of them can go, and so can the timer that would have sent them again.")
		if isDSACK(e.Segment) {
			text = append(text, "The SACK option names what the peer had already (D-SACK): one of the copies we sent was needless.")
		}
		return append(text, t.inWindow(e)...)
	}
	if text := t.inWindow(e); text != nil {
		return text
	}
	if t.probing {
		t.probing = false
		return []string{"The peer answers: it is alive."}
	}
	switch {
	case e.Segment.Options.Has(segment.HasSACK):
		return []string{fmt.Sprintf("The peer still waits for octet %d, but the SACK option says what has arrived beyond it.", relative(e.Segment.Ack, e.Vars.ISS))}
	case t.opened:
		return []string{"An ACK without news: it only says where the peer is."}
	}
	return nil
}

// inWindow tells when the peer's window closes or opens.
func (t *tale) inWindow(e *engine.Event) []string {
	was, is := t.wnd, e.Vars.SndWnd
	switch {
	case !t.opened, e.Segment.Flags.Has(segment.FIN):
		return nil
	case was != 0 && is == 0:
		t.probing = false
		return []string{"The peer's window is 0: its application does not read, its buffer is full, and we must stop. The persist timer will see to it that we ask again."}
	case was == 0 && is > 0:
		t.probing = false
		return []string{fmt.Sprintf("The peer's window is open again, for %s: we may go on.", octets(is))}
	case is == 0 && t.probing:
		t.probing = false
		return []string{"The peer answers: it is alive, and its window is still 0."}
	}
	return nil
}
