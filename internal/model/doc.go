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
// # The product
//
// TestProduct holds the engine against the model in every cell of a product: the
// octets of one packet arrive at an engine in one state. A cell is
//
//   - a scene: one of the eleven states, by way of a conversation that leads there,
//     or one with more to it: a hole, a closed window, a FIN that waits, no
//     options, nobody who reads
//   - a place of the sequence space: in the middle, or where both sides' numbers wrap
//   - the flags: all 256
//   - SEG.SEQ: RCV.NXT and one to either side, the middle of the window, its right
//     edge and one to either side, 5000 before, 2^30 and 2^31 after RCV.NXT
//   - SEG.ACK, the ACK bit set or not: SND.NXT and one to either side (but never
//     below SND.UNA), SND.UNA and one before, SND.UNA - MAX.SND.WND and one before,
//     2^30 after SND.NXT
//   - the text: none, one octet, more than the window
//   - the timestamp: after TS.Recent, before it, none
//
// Where two numbers are the same in a state (with nothing outstanding SND.UNA is
// SND.NXT), they are one class and the cell is counted once; and there is one
// timestamp where the options are off. What is compared is what is sent, the
// state, the variables that show, the end the application is told of, and the text
// it reads after the peer has filled all holes. Each state is made once: its
// memory is kept and put back for the next cell.
//
// # Limits
//
// There is no time in the model: it tells what must be answered at once and what
// within the half second of MUST-40, and the rest is up to the caller. Security
// compartments and the precedence of RFC 793 are left out.
package model
