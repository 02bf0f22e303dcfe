package differ

import "net/netip"

// A Subject is a TCP under test. Its methods are called from one goroutine.
// What they cause at once must be over when they return.
type Subject interface {
	// Begin makes an endpoint. A passive one listens, an active one has its SYN
	// sent to peer. It returns the endpoint's own address.
	Begin(active bool, peer netip.AddrPort) (netip.AddrPort, error)

	// Deliver gives the subject a packet from the peer.
	Deliver(pkt []byte) error

	// Sent returns what left since the last call. The packets stay valid.
	Sent() ([][]byte, error)

	// Write and CloseWrite are calls of the user; they have no effect without a
	// connection or after an error of it.
	Write(p []byte)
	CloseWrite()

	// Read returns all that the user can read now, and how reading ended.
	Read() ([]byte, End)

	// Finish forgets the endpoint.
	Finish() error
}

// An End is how a connection came to its end for its reader.
type End string

// The ends.
const (
	Open   End = "open"
	EOF    End = "end of data"
	Failed End = "error" // reset, refused, aborted
	None   End = "no connection"
)
