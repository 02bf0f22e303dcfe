package engine

// State is a connection state of RFC 9293 section 3.3.2.
type State uint8

// The states of RFC 9293 figure 5, in the order a connection can pass them.
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
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "UNKNOWN"
}

// Synchronized reports whether both sides know each other's sequence numbers:
// ESTABLISHED and every state after it (RFC 9293 section 3.5.3).
func (s State) Synchronized() bool { return s >= Established }
