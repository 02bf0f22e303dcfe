// Package differ holds the same conversations with several TCPs and compares
// what they answer. A [Plan], drawn from a seed, leads a [Subject] into a state
// and then sends it a few segments, likely and unlikely ones, between calls of
// its user. [Play] is the peer: it speaks to the subject in numbers relative to
// what the subject itself has said, so that the same plan makes the same
// conversation whatever initial sequence numbers, windows and clocks are.
//
// What is compared is what a subject answers at once, and in the end what its
// user has read. Neither is compared to the octet: how text is cut into
// segments, PSH, and the exact window are everybody's own affair (see [Reply]).
//
// Where two subjects differ, RFC 9293 and its companions often allow both. Those
// differences stand in docs/differences.md, each with the clause that allows
// it or the reason why the other side is wrong, and in [Known]. Whatever else
// differs fails the test.
//
//	internal/differ          plans, peer, comparison; our engine in virtual time;
//	                         the kernel in a namespace, over a raw link
//	internal/peers/differ    gVisor's netstack, in a module of its own
package differ
