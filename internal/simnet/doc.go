// Package simnet is a virtual IP network for tests: ports with addresses, joined
// by paths that delay, lose, reorder, duplicate and damage packets as a seed
// says.
//
//	port A  --- path A to B: queue, bandwidth, delay, faults --->  port B
//	        <-- path B to A: its own settings and its own luck ---
//
// A *Port has the methods of the engine's Link. It is built from a mutex, a
// sync.Cond and timers of package time, so that inside a testing/synctest bubble
// virtual time passes and nothing is slept through.
//
// All chance comes from the seed of the Network. Each direction of each pair of
// ports draws from a stream of its own, a fixed number of draws per packet, so
// that the fate of the n-th packet of a path depends on the seed and on n alone.
package simnet
