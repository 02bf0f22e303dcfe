package netlab

import (
	"fmt"
	"time"
)

// An Impairment is what a relay does to the IP packets of one direction. The
// zero value forwards everything at once. Probabilities are from 0 to 1 and
// apply to each packet on its own. ARP, neighbour discovery and multicast
// housekeeping (IGMP, MLD) are never harmed, delayed or counted among the packets.
//
// A packet meets the fields in this order: Drop, Loss, Duplicate, Corrupt,
// Rate, Delay and Reorder.
type Impairment struct {
	// Drop, if not nil, is shown each IP packet and loses those it returns
	// true for. It runs on the relay's goroutine and must neither keep nor
	// change the packet.
	Drop func(packet []byte) bool

	Loss      float64 // probability that the packet is lost
	Duplicate float64 // probability that it is sent twice, both copies equal
	Corrupt   float64 // probability that one bit behind the IP header is turned over

	// Rate is the speed of the line in bits of IP packet per second, 0 for no
	// limit. Queue is how many octets may wait for the line before the next
	// packet is lost; 0 stands for a tenth of a second, 15,000 octets at least.
	Rate  int64
	Queue int

	// Delay is the time on the way, and Jitter the largest deviation from it,
	// evenly distributed. Packets stay in order, so a late one holds up those
	// behind it. The relay is late by some 0.2 ms, more on a busy machine.
	Delay, Jitter time.Duration

	// Reorder is the probability that a packet takes ReorderDelay longer (0
	// stands for 5 ms) while those behind it may overtake.
	Reorder      float64
	ReorderDelay time.Duration
}

const (
	leastQueue          = 15_000 // octets
	defaultReorderDelay = 5 * time.Millisecond
)

// validate refuses what cannot be done and fills in what was left out.
func (i *Impairment) validate() error {
	for name, p := range map[string]float64{
		"loss": i.Loss, "duplicate": i.Duplicate, "corrupt": i.Corrupt, "reorder": i.Reorder,
	} {
		if !(p >= 0 && p <= 1) { // also refuses NaN
			return fmt.Errorf("impairment: %s is %v, want a probability from 0 to 1", name, p)
		}
	}
	if i.Rate < 0 || i.Queue < 0 || i.Delay < 0 || i.Jitter < 0 || i.ReorderDelay < 0 {
		return fmt.Errorf("impairment: rate %d, queue %d, delay %v, jitter %v and reorder delay %v must not be negative",
			i.Rate, i.Queue, i.Delay, i.Jitter, i.ReorderDelay)
	}
	if i.Queue == 0 {
		i.Queue = max(leastQueue, int(i.Rate/8/10))
	}
	if i.ReorderDelay == 0 {
		i.ReorderDelay = defaultReorderDelay
	}
	return nil
}

// Counters are what a relay did in one direction so far.
type Counters struct {
	Packets    uint64 // IP packets that arrived and may be harmed
	Octets     uint64 // in them, IP headers included
	Largest    int    // octets of the largest of them
	Partial    uint64 // of them, those whose unfinished checksum the relay finished
	Dropped    uint64 // by Impairment.Drop
	Lost       uint64 // by Impairment.Loss
	Overflowed uint64 // copies that found the queue full
	Duplicated uint64
	Corrupted  uint64
	Reordered  uint64
	Sent       uint64 // frames that went out, second copies and the unharmed among them
	Refused    uint64 // frames the kernel would not take: link down or larger than its MTU
	Unharmed   uint64 // frames of ARP, neighbour discovery and the like
	Overrun    uint64 // frames lost before the relay saw them: it was too slow
}
