// Package sim is a deterministic world for the engine: clients and a server, a
// bad road between them, and applications of every temper, in virtual time and
// in one goroutine. A seed picks everything, so that a seed replays a run to the
// octet.
//
// Draw makes a Plan from a seed, Run plays it and judges every event, Shrink
// makes a failing plan small, and a Campaign plays many. The first half of a run
// is chaos; then the road heals, and all that was promised has to arrive.
//
// # What is drawn
//
// One seed in ten has no fault, two have one, one has a storm (up to 60 % loss,
// 30 % corruption, 50 % reordering, ten copies), the others a swarm. A third of
// the seeds are crowds: many short talks, at a few listeners or one, some with
// the addresses of one before. Applications send all at once, by driblets or in
// turns, read slowly or late, half-close and go on, close with data unread,
// abort, and accept late. Settings of each end are drawn too.
//
// FaultKind lists what goes wrong on the road, in boxes on it, on hosts and by
// strangers. A crash or an orderly end of a process, a box that forgets a
// connection, and changes with a right checksum (Mangle) end connections; all
// else has to be survived.
//
// Not played are queues that drop before they are full, proxies that answer
// SYNs themselves, and hosts whose address or route changes.
//
// # What is judged, and how often
//
// What a segment, a timer or a state shows is judged at that event; timers and
// sums when a host has nothing left to say at a moment. Coarser are, for their
// cost: the recount of queues (I8, I10) of more than 32 ranges, once in as many
// events as keeps the cost of an event the same; the work for a segment (I24),
// as an average over a connection; that runs repeat (L6), for one seed in 512; and
// the use of a road (L7), in tests of its own. Changes with a right checksum
// suspend what speaks of the peer's octets (I2 against the peer's offer, I6, I7,
// I25).
package sim
