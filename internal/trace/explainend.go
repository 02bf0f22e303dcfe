package trace

import (
	"fmt"
	"strings"

	"rawtcp/engine"
	"rawtcp/segment"
)

// tellState explains a change of state that no segment has explained, and at
// the end how it ended.
func (t *tale) tellState(e *engine.Event) []string {
	told := t.covered > 0
	t.covered = max(0, t.covered-1)
	if e.To == engine.SynSent {
		t.active = true
	}
	if e.To == engine.Established {
		t.opened = true
	}
	if !gone(e.To) {
		return nil
	}
	var text []string
	if !told && !t.bye.reset {
		text = t.lastWord(e)
	}
	return append(text, t.epilogue(e)...)
}

// lastWord explains an end that no segment has brought.
func (t *tale) lastWord(e *engine.Event) []string {
	timer := t.fresh
	switch {
	case e.From == engine.TimeWait && timer:
		return []string{"The wait is over: no old segment of this connection can turn up any more, as far as we have waited. The pair of ports is free."}
	case e.From == engine.TimeWait && e.Reason == "TIME-WAIT is left early":
		return []string{"We leave TIME-WAIT early: both sides have closed and nothing is lost, but if our last ACK was, nobody is here to repeat it, and old segments of this connection may still turn up."}
	case e.From == engine.TimeWait:
		return []string{"A new SYN that is clearly younger ends TIME-WAIT early: old duplicates cannot be taken for the new connection."}
	case e.From == engine.SynReceived && e.To == engine.Listen:
		return []string{"The handshake is forgotten, and its place is free for another peer."}
	case e.At == t.icmpAt && e.From == engine.SynSent:
		return []string{"During the handshake such a message counts: there is no connection yet that somebody could want to kill. The attempt ends."}
	case timer && (e.From == engine.SynSent || e.From == engine.SynReceived):
		return []string{"Nobody has answered in time: the attempt ends. The peer does not exist, does not want to, or something on the path drops our SYNs or its answers."}
	case timer && t.fired == engine.TimerFinWait2:
		return []string{"Our direction is closed, our application is gone, and the peer has not closed its own in time: we do not wait for ever."}
	case e.From == engine.SynSent:
		return []string{"Our application has closed before the peer answered: there is nothing to take leave of, and nothing is sent."}
	}
	return []string{"We leave without a word: the peer still believes in the connection, and finds out when nobody answers."}
}

// epilogue says, after an orderly end, how many segments closed the connection
// and why the one side waits.
func (t *tale) epilogue(*engine.Event) []string {
	if !t.bye.finIn || !t.bye.finOut || t.bye.reset {
		return nil
	}
	var text []string
	switch {
	case t.bye.crossed:
		text = append(text, "Four segments closed it, two and two at the same time: each side sent a FIN before it saw the other's, and each FIN got an ACK of its own.")
	case t.bye.oursRode || t.bye.theirsRode:
		text = append(text, "Three segments closed it: FIN, then ACK and FIN in one, then ACK. Each direction needs a FIN and an ACK, but whoever is done when the FIN comes can put both answers into one segment.")
	default:
		text = append(text, "Four segments closed it: FIN and ACK for one direction, FIN and ACK for the other. The ACK could not wait for the second FIN, since the side that sent it was not done yet.")
	}
	return append(text, t.whoWaits())
}

func (t *tale) whoWaits() string {
	if !t.bye.timeWait {
		return "The peer closed first, so the peer sent the last ACK and waits in TIME-WAIT; we need not, for we know that all of ours arrived."
	}
	const ports = "; and old duplicates must die before the same pair of ports is used again."
	if t.bye.crossed {
		return "Since both closed first, both wait in TIME-WAIT, for two reasons: either last ACK could be lost, and a repeated FIN needs an answer" + ports
	}
	return "The side that closes first waits in TIME-WAIT, for two reasons: its last ACK could be lost, and the peer's repeated FIN needs an answer" + ports
}

func (t *tale) tellTimer(e *engine.Event) []string {
	t.fired, t.fresh = e.Timer, true
	switch e.Timer {
	case engine.TimerRTO:
		if e.State == engine.SynSent || e.State == engine.SynReceived {
			return []string{fmt.Sprintf("No answer within %s.", timeText(t.wait[e.Timer]))}
		}
		return t.full("rto", fmt.Sprintf("No ACK of what we sent came within %s: it counts as lost.", timeText(t.wait[e.Timer])),
			"The time is measured from the round trips seen so far, with a margin, so that a slow network is not taken for a deaf one.")
	case engine.TimerProbe:
		return t.full("probe timer", "No ACK within "+timeText(t.wait[e.Timer])+": what we sent last may be lost, and nothing behind it would show that.",
			"A probe costs one segment, and its answer shows what is missing before a timeout makes us slow down.")
	case engine.TimerReorder:
		return t.full("reorder", "What was sent earlier than something that has arrived had time enough to arrive as well.",
			"So it counts as lost; a short wait before this judgement keeps segments that only took another way from being sent again.")
	case engine.TimerUser:
		if e.State == engine.SynSent || e.State == engine.SynReceived {
			return []string{"The time that was allowed for the handshake is over."}
		}
		return t.full("patience", "The time that the application gives the peer for an answer is over.",
			"This is the user timeout. It counts from the last time that something new was acknowledged, whatever the retransmission timer does.")
	case engine.TimerHold:
		return t.full("hold", "What was kept back may go now.",
			"A cork makes few large segments out of many small writes, and lets go after a fifth of a second so that nothing is kept for ever. A congestion mark at the smallest window also keeps new data back, for as long as the retransmission timer.")
	case engine.TimerFinWait2:
		return []string{"The peer has not closed within " + timeText(t.wait[e.Timer]) + "."}
	case engine.TimerKeepAlive:
		if quiet := e.At.Sub(t.heard); quiet < t.idle {
			return t.full("heard", "The peer was heard of "+timeText(quiet)+" ago, so there is no need to ask yet.", "")
		}
	}
	return nil // the segment or the state that follows says it
}

func (t *tale) tellICMP(e *engine.Event) []string {
	t.icmpAt = e.At
	m := e.ICMP
	v4 := m.From.Is4()
	sentence := "Somebody on the path says that a packet of ours could not be delivered."
	switch {
	case strings.HasPrefix(e.Reason, "held back"):
		return []string{sentence, "But larger ones have arrived, so it may be forged: we wait whether this one does, and believe the message only when its segment times out."}
	case strings.HasPrefix(e.Reason, "ignored") && !strings.HasPrefix(e.Reason, "ignored: about nothing"):
		return []string{sentence, "Nothing that large is under way: ignored."}
	case strings.HasPrefix(e.Reason, "ignored"):
		return []string{"It is about nothing that we have in flight, so anybody could have made it up: ignored."}
	case v4 && m.Type == 3 && m.Code == 4, !v4 && m.Type == 2:
		t.tooBig = true
		if m.MTU == 0 {
			return []string{sentence, "It was too large; how large it may be is not said, so we try smaller ones."}
		}
		return []string{sentence, fmt.Sprintf("It was too large: from now on our packets have at most %s, headers included.", octets(m.MTU))}
	case v4 && m.Type == 4:
		return []string{"Source quench is an old way to ask for less; a TCP must ignore it today."}
	case e.State == engine.SynSent && hardICMP(v4, m):
		return []string{"The host that we ask is there, but says that nothing takes our SYN: this is as good as a RST."}
	}
	return []string{sentence, "That may pass, and it may be forged: the connection goes on, and only if it times out will this be told as the reason."}
}

// hardICMP is an answer that will not change by asking again.
func hardICMP(v4 bool, m *engine.ICMP) bool {
	if v4 {
		return m.Type == 3 && (m.Code == 2 || m.Code == 3)
	}
	return m.Type == 1 && (m.Code == 1 || m.Code == 4)
}

func tellDrop(e *engine.Event) []string {
	switch {
	case e.Reason == engine.ErrBacklog.Error():
		return []string{"A SYN that gets no answer: as many connections wait to be accepted as the backlog holds. The peer will ask again, and perhaps there is room then."}
	case e.Reason == "bad checksum":
		return []string{"The checksum does not fit: the segment was damaged on its way, and not even its sender's address can be trusted. To the sender it is as good as lost."}
	case e.Segment != nil && e.Segment.Flags.Has(segment.RST):
		return []string{"A RST for a connection that does not exist: nothing to do, and a RST is never answered."}
	}
	if e.Reason == "no such connection" {
		return []string{"We have no such connection, and nothing listens there. It may belong to somebody else on this host, so we do not answer."}
	}
	return []string{"No honest peer sends this; we do not take it, and do not answer."}
}
