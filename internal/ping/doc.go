// Package ping measures round trips with TCP's own SYN.
//
//	          SYN, stamped by the kernel as it leaves
//	us  ------------------------------------------------>  peer
//	    <------------------------------------------------
//	          SYN-ACK or RST, stamped as it arrives
//	    ------------------------------------------------>
//	          RST of ours: the peer is left with nothing
//
// Prober is the core: a table of probes that is told what time it is, which
// packets came, and when the kernel sent what; it opens no socket. Pinger runs it
// on a link. Full makes whole connections through an engine.Host instead and
// ends each with a FIN.
//
// A probe is one SYN, never sent twice, from a port that has no other probe
// under way, so an answer belongs to one SYN and its time is never ambiguous.
// An answer that comes after the wait is late: it is counted apart, and its time
// is not among the times of the replies.
//
// # Limitations
//
// A peer whose SYN-ACK was lost sends it again, after one second at the
// earliest (RFC 6298 section 2); with a wait above that, such a repetition is
// taken for a slow answer.
//
// SYNs to a host of the local network that does not answer ARP wait in the
// kernel for three seconds and fill the socket's send queue: some 280 of them,
// one every 10 ms, hold up those to the other targets.
package ping
