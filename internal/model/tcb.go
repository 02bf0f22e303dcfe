package model

import "rawtcp/segment"

// State is a connection state of RFC 9293 section 3.3.2.
type State uint8

// The states, by the names of figure 5.
const (
	Closed State = iota
	Listen
	SynSent
	SynReceived
	Established
	FinWait1
	FinWait2
	CloseWait
	Closing
	LastAck
	TimeWait
)

var stateNames = [...]string{"CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED",
	"FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"}

// String returns the state as RFC 9293 spells it.
func (s State) String() string { return stateNames[s] }

// Synchronized reports whether s is ESTABLISHED or later (RFC 9293 section 3.5.2).
func (s State) Synchronized() bool { return s >= Established }

// A TCB is what decides over an arriving segment. Lengths and windows are octets.
type TCB struct {
	State    State
	Passive  bool // SYN-RECEIVED was reached from LISTEN (MUST-11)
	Listener bool // somebody listens on our socket, so that a SYN can open a new connection

	ISS, SndUna, SndNxt segment.Seq
	SndWnd, MaxSndWnd   int   // the peer's window, and the largest it ever was
	WSOffer             bool  // our SYN had the window scale option, or our SYN,ACK would have it
	SndScale            uint8 // Snd.Wind.Shift
	SndWL1, SndWL2      segment.Seq
	FinSent             bool // our FIN is the octet before SndNxt
	Unsent              bool // text or a FIN waits for room in the peer's window
	ToClose             bool // SYN-RECEIVED: CLOSE was called, and its FIN waits for ESTABLISHED

	IRS, RcvNxt segment.Seq
	RcvEdge     segment.Seq // RCV.NXT + RCV.WND as advertised
	RcvWnd      int         // before the peer's SYN: the window in ours
	FinTaken    bool        // the peer's FIN is behind RCV.NXT
	Held        []Text      // received in the window and beyond RCV.NXT; disjoint, in order
	FinHeld     bool        // the peer's FIN is known to be at FinAt and not reached
	FinAt       segment.Seq

	TSOffer  bool // our SYN had the timestamps option, or our SYN,ACK would have it
	TS       bool // Snd.TS.OK
	TSRecent uint32
	LastAck  segment.Seq // Last.ACK.sent

	SACKOffer bool // our SYN had SACK-permitted, or our SYN,ACK would have it
	SACK      bool // both had it (RFC 2018 section 2)

	NoReader bool // the application closed for reading (MAY-1)
	Credit   bool // a challenge ACK may be sent now
}

// Text is a run of received octets.
type Text struct {
	Seq  segment.Seq
	Data []byte
}

// End returns the point after the last octet.
func (t Text) End() segment.Seq { return t.Seq.Add(len(t.Data)) }

// HoldsAll reports whether every octet of a block was received: "Each contiguous
// block of data queued at the data receiver is defined in the SACK option", RFC
// 2018 section 3. What was delivered may be told again (RFC 2883 section 4).
func (t *TCB) HoldsAll(b segment.SACKBlock) bool {
	if !b.Start.Less(b.End) {
		return false
	}
	at := b.Start
	if at.Less(t.RcvNxt) {
		at = segment.MinSeq(b.End, t.RcvNxt)
	}
	for _, h := range t.Held {
		if at.InWindow(h.Seq, len(h.Data)) {
			at = segment.MinSeq(b.End, h.End())
		}
	}
	return at == b.End
}

// window is RCV.WND.
func (t *TCB) window() int { return max(0, t.RcvEdge.Sub(t.RcvNxt)) }

// finAcked reports whether our FIN is acknowledged.
func (t *TCB) finAcked() bool { return t.FinSent && t.SndUna == t.SndNxt }
