// Package model is a second opinion on TCP: what the standards allow when one
// segment arrives at one connection, written from their text alone and without
// a look at the engine, so that the two can be held against each other.
//
// It is slow and plain. [Outcomes] walks through RFC 9293 section 3.10.7 in the
// order of that section, with the checks of RFC 5961 and RFC 7323 where those
// put them, and quotes the sentence at each step. Where the standards leave
// freedom it yields one [Outcome] for each thing that is allowed; where this
// project has decided, only what was decided. The decisions are:
//
//   - a RST in TIME-WAIT is ignored (RFC 1337 section 3, F1)
//   - a segment without timestamps, once they are negotiated, is dropped without
//     a word (RFC 7323 section 3.2, SHOULD)
//   - an ACK from below SND.UNA - MAX.SND.WND is refused (RFC 5961 section 5.2, MAY),
//     and so is one from below ISS+1, the first that the peer can have sent
//   - challenge ACKs are limited (RFC 5961 section 7), for each connection
//   - of overlapping text the first octet received wins, also against a FIN at its
//     number, and text beyond the advertised window is cut off
//   - a SYN with FIN is ignored in LISTEN and in SYN-SENT
//   - a SYN in TIME-WAIT that opens nothing new is challenged, as in the other
//     synchronized states
//   - text that arrives after the application closed for reading resets the
//     connection (RFC 9293 section 3.6.1, SHLD-3)
//
// There is no time in it: it tells what must be answered at once and what within
// the half second of MUST-40, and the rest is up to the caller. Security
// compartments and the precedence of RFC 793 are left out.
package model
