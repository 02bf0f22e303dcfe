package sim

import (
	"fmt"
	"time"
)

// FaultKind names what can go wrong.
type FaultKind uint8

// The faults. P is in thousandths; Dir is the sending side, or both.
const (
	Loss        FaultKind = iota // each packet with P
	Burst                        // Gilbert-Elliott: into the bad state with P, out of it with N; all is lost there
	AckLoss                      // segments without payload, with P
	Duplicate                    // with P, N copies more
	Jitter                       // up to D later, in order
	Reorder                      // with P, up to D later, and overtaken
	Detour                       // all is D later, and what comes when it ends may overtake
	Corrupt                      // with P: a bit, a run of octets, or the tail
	Mangle                       // with P: header or payload is changed, and the checksum is right
	Partition                    // nothing passes
	Police                       // no more than N octets in each D
	BlackHole                    // nothing longer than N passes, and nobody says so
	SmallMTU                     // nothing longer than N passes, and ICMP says so
	Unreachable                  // with P: lost, and ICMP says that code N of "unreachable" is why
	Merge                        // neighbours become one segment if they come within D
	Split                        // payloads are cut to pieces of N
	Overlap                      // with P: octets of two neighbours come once more, in one segment
	Strip                        // SYNs lose the options in the set N, all the time
	Clamp                        // the MSS in SYNs becomes N at most
	Shift                        // sequence numbers are shifted by ID, all the time
	Bleach                       // the congestion bits of the IP header are cleared
	MarkCE                       // congestion marks with P on ECN packets
	Forge                        // every D somebody who knows the four-tuple guesses a segment or an ICMP message
	Flood                        // every D strangers send a segment to the hosts beyond
	Drift                        // the host's clock is off by N parts in a million, all the time
	Leap                         // the host's clock is D ahead at once, as after a sleep
	Refuse                       // the host cannot send
	Pause                        // the host's process stands still
	Crash                        // the host's process dies and its kernel answers
	Quit                         // the host's process closes all listeners and connections (N odd: aborts them)
	numFaults
)

var faultNames = [numFaults]string{"loss", "burst", "ack loss", "duplicate", "jitter", "reorder", "detour", "corrupt", "mangle",
	"partition", "police", "black hole", "small MTU", "unreachable", "merge", "split", "overlap", "strip", "clamp", "shift", "bleach",
	"mark CE", "forge", "flood", "drift", "leap", "refuse", "pause", "crash", "quit"}

// String returns the fault's name.
func (k FaultKind) String() string { return faultNames[k] }

// bothWays is a Dir.
const bothWays = 2

// A Fault is one thing that goes wrong for a while.
type Fault struct {
	Kind     FaultKind
	ID       uint64 // seeds its dice, so that other faults can be left out
	Dir      int
	P, N     int
	D        time.Duration
	From, To time.Duration
}

// String tells the fault to a person.
func (f Fault) String() string {
	who := "both ways"
	if f.Dir != bothWays {
		who = fmt.Sprintf("from side %d", f.Dir)
	}
	return fmt.Sprintf("%v %s, %v to %v: p %d, n %d, d %v", f.Kind, who, f.From, f.To, f.P, f.N, f.D)
}

func (f *Fault) on(dir int, at time.Duration) bool {
	return (f.Dir == dir || f.Dir == bothWays) && f.From <= at && at < f.To
}
