// Package handshakes opens and closes many TCP connections: each is a whole
// handshake of the engine's own state machine, and an orderly close.
//
//	us                                peer
//	   -------- SYN ------------------>
//	   <------- SYN-ACK --------------
//	   -------- ACK ------------------>    reached ESTABLISHED
//	   -------- FIN ------------------>
//	   <------- ACK -------------------
//	   <------- FIN -------------------    what the peer sent before it is thrown away
//	   -------- ACK ------------------>    TIME-WAIT; its port rests
//
// A Driver does that without a socket, a goroutine or an allocation for each:
// all connections share one link, the memory of those that are done is used
// again, and so are the source ports, which are claimed once and go round. A
// port does not meet the same peer again before our TIME-WAIT of their last
// connection is over.
//
// It has no limit of rate: whoever uses it against a host that is not his own has
// to set one.
package handshakes
