// Package sim is a deterministic world for the engine: two hosts, a bad road
// between them, and applications of every temper, in virtual time and in one
// goroutine. A seed picks everything, so that a seed replays a run to the octet.
//
// Draw makes a Plan from a seed, Run plays it and judges every event, Shrink
// makes a failing plan small. The first half of a run is chaos; then the road
// heals, and all that was promised has to arrive.
package sim
