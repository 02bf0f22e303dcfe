package engine

import "errors"

// How a connection ended, for errors.Is. A peer's orderly close is io.EOF from
// Read and none of these (RFC 9293 section 3.6, MUST-12).
var (
	ErrRefused     = errors.New("connection refused")                  // RST or ICMP port unreachable in answer to our SYN
	ErrReset       = errors.New("connection reset by peer")            // RST after the handshake
	ErrTimeout     = errors.New("connection timed out")                // R2, user timeout, connect timeout or keep-alive
	ErrUnreachable = errors.New("destination unreachable")             // a hard ICMP error while connecting
	ErrAborted     = errors.New("connection aborted")                  // by our own Abort
	ErrClosing     = errors.New("connection closing")                  // Write after Close or CloseWrite
	ErrBacklog     = errors.New("listen backlog full")                 // counted, never returned to a peer
	ErrInUse       = errors.New("address and port pair is in use")     // a second OPEN of one 4-tuple
	ErrTooMany     = errors.New("too many connections")                // as many as Limits.Conns allows
	ErrBadConfig   = errors.New("bad setting")                         // out of its range, or at odds with another
	ErrBadAddress  = errors.New("address cannot be a TCP destination") // multicast, broadcast, unspecified, port 0
)
