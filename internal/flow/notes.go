package flow

import "math/bits"

// Notes are what is remarkable about one segment: a set.
type Notes uint32

// The notes. The order is that of their weight: the first of several is the
// one to name if only one can be named.
const (
	Duplicate              Notes = 1 << iota // the very same packet again: by the network, or by the capture
	OldSYN                                   // a SYN with another number on a connection that lives
	PAWS                                     // new octets with an old timestamp: its receiver refuses it (RFC 7323 section 5)
	PortsReused                              // a new connection between the same ports as one before
	SpuriousRetransmission                   // sent again though acknowledged
	FastRetransmission                       // sent again because of duplicate ACKs or SACK
	LossProbe                                // the last segment again, sooner than a timeout (RFC 8985 section 7)
	Retransmission                           // sent again after a timeout, or for a reason that does not show
	OutOfOrder                               // sent earlier than what was seen before it
	WindowProbe                              // asks whether the window is still closed
	WindowProbeAck                           // answers that
	KeepAlive                                // asks whether the peer is still there
	KeepAliveAck                             // answers that
	ChallengeAck                             // answers a SYN or an RST that was refused (RFC 5961)
	Gap                                      // something before it was not captured, or not yet
	AckOfUnseen                              // acknowledges what was not captured, or not yet
	ZeroWindow                               // closes the window
	WindowFull                               // fills the window to its last octet
	DupAck                                   // repeats an acknowledgement
	WindowUpdate                             // changes nothing but the window
	FastOpen                                 // a SYN with data (RFC 7413)
	endOfNotes
)

// NumNotes is how many notes there are.
var NumNotes = bits.TrailingZeros32(uint32(endOfNotes))

// The names are the words of the JSON field "note", where the engine has one
// too it is the same.
var noteNames = [...]string{
	"duplicate", "old_duplicate_syn", "paws", "ports_reused", "spurious_retransmission", "fast_retransmission", "loss_probe",
	"retransmission", "out_of_order", "zero_window_probe", "zero_window_probe_ack", "keep_alive", "keep_alive_ack",
	"challenge_ack", "gap", "ack_of_unseen", "zero_window", "window_full", "dup_ack", "window_update", "fast_open",
}

// Resent are the notes of what was sent before.
const Resent = SpuriousRetransmission | FastRetransmission | LossProbe | Retransmission

// Has reports whether at least one of the notes is in the set.
func (n Notes) Has(any Notes) bool { return n&any != 0 }

// First returns the note to name if only one can be named, 0 of an empty set.
func (n Notes) First() Notes { return n & -n }

// String returns the name of the first note, "" of an empty set.
func (n Notes) String() string {
	if n == 0 {
		return ""
	}
	return noteNames[bits.TrailingZeros32(uint32(n))]
}

// Names returns the names of all notes.
func (n Notes) Names() []string {
	var names []string
	for ; n != 0; n &= n - 1 {
		names = append(names, n.String())
	}
	return names
}
