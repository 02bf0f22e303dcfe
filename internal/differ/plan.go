package differ

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"rawtcp/segment"
)

// A Plan is one conversation. The seed says all of it.
type Plan struct {
	Seed   uint64
	V6     bool
	Offer  segment.OptionSet // options of the peer's SYN, besides MSS
	Target Target
	Steps  []Step
}

// A Target is where the random part begins: a state and the way to it.
type Target int

// The targets.
const (
	Listen Target = iota
	SynSent
	SynReceived
	Passive // ESTABLISHED by a passive open
	Active  // ESTABLISHED by an active open
	FinWait1
	FinWait2
	CloseWait
	Closing
	LastAck
	TimeWait
	numTargets
)

var targetNames = [numTargets]string{"LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED passive", "ESTABLISHED active",
	"FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"}

// String returns the state's name.
func (t Target) String() string { return targetNames[t] }

// opens reports whether the subject opens actively.
func (t Target) opens() bool { return t == SynSent || t == Active }

// A Call is what the subject's user does.
type Call int

// The calls. NoCall marks a step that sends a segment.
const (
	NoCall Call = iota
	CallWrite
	CallCloseWrite
)

// A Step is one stimulus: a call of the subject's user, or a segment with
// numbers in classes relative to what the subject has said.
type Step struct {
	Call   Call
	Size   int // octets of CallWrite, or of the segment's text
	Flags  segment.Flags
	Seq    SeqClass
	Ack    AckClass
	Stamp  StampClass
	Window uint16
}

// SeqClass places SEG.SEQ against the receive window that the subject has told.
type SeqClass int

// The classes of SEG.SEQ.
const (
	SeqNext     SeqClass = iota // RCV.NXT
	SeqPrevious                 // RCV.NXT-1
	SeqOld                      // far below
	SeqBeyond                   // in the window, beyond a hole
	SeqLast                     // last in the window
	SeqEdge                     // first beyond it
	SeqFar                      // far beyond
	SeqOpposite                 // at the other end of sequence space
	numSeqs
)

var seqNames = [numSeqs]string{"RCV.NXT", "RCV.NXT-1", "RCV.NXT-5000", "RCV.NXT+700", "EDGE-1", "EDGE", "RCV.NXT+2^30", "RCV.NXT+2^31"}

// AckClass places SEG.ACK against what the subject has sent.
type AckClass int

// The classes of SEG.ACK.
const (
	AckNext   AckClass = iota // SND.NXT
	AckUna                    // SND.UNA
	AckBelow                  // SND.UNA-1
	AckOld                    // far below any window
	AckFuture                 // SND.NXT+1
	AckFar                    // far beyond
	numAcks
)

var ackNames = [numAcks]string{"SND.NXT", "SND.UNA", "SND.UNA-1", "SND.UNA-2^25", "SND.NXT+1", "SND.NXT+2^30"}

// StampClass says what timestamp a segment has, if they were negotiated.
type StampClass int

// The classes of timestamps.
const (
	StampNew StampClass = iota
	StampOld
	StampNone
	numStamps
)

var stampNames = [numStamps]string{"", " old timestamp", " no timestamp"}

// String is the step in words.
func (s Step) String() string {
	switch s.Call {
	case CallWrite:
		return fmt.Sprintf("write %d", s.Size)
	case CallCloseWrite:
		return "close for writing"
	}
	ack := ""
	if s.Flags.Has(segment.ACK) {
		ack = " ack " + ackNames[s.Ack]
	}
	return fmt.Sprintf("< %v %s(%d)%s win %d%s", s.Flags, seqNames[s.Seq], s.Size, ack, s.Window, stampNames[s.Stamp])
}

// String is the plan in words.
func (p *Plan) String() string {
	var b strings.Builder
	family := "IPv4"
	if p.V6 {
		family = "IPv6"
	}
	fmt.Fprintf(&b, "seed %d: %v, %s, options %v\n", p.Seed, p.Target, family, optionNames(p.Offer))
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "  %d  %v\n", i, s)
	}
	return b.String()
}

func optionNames(set segment.OptionSet) []string {
	names := []string{}
	for _, o := range []struct {
		bit  segment.OptionSet
		name string
	}{{segment.HasTimestamps, "TS"}, {segment.HasSACKPermitted, "SACK"}, {segment.HasWindowScale, "WS"}} {
		if set&o.bit != 0 {
			names = append(names, o.name)
		}
	}
	return names
}

// Draw makes the plan of a seed.
func Draw(seed uint64) Plan {
	rng := rand.New(rand.NewPCG(seed, 0x64696666))
	p := Plan{Seed: seed, V6: rng.IntN(2) == 1, Target: Target(rng.IntN(int(numTargets)))}
	for _, o := range []segment.OptionSet{segment.HasTimestamps, segment.HasSACKPermitted, segment.HasWindowScale} {
		if rng.IntN(3) > 0 {
			p.Offer |= o
		}
	}
	for range 1 + rng.IntN(5) {
		p.Steps = append(p.Steps, drawStep(rng))
	}
	return p
}

// likely returns 0 more often than not, and else one of n classes.
func likely[C ~int](rng *rand.Rand, n C) C {
	if rng.IntN(10) < 6 {
		return 0
	}
	return C(rng.IntN(int(n)))
}

const (
	ack = segment.ACK
	syn = segment.SYN
	fin = segment.FIN
	rst = segment.RST
	psh = segment.PSH
)

var someFlags = []segment.Flags{ack, ack, ack, ack, ack | psh, ack | psh, ack | psh, ack | fin, ack | fin, ack | fin | psh,
	syn, syn, syn | ack, syn | ack, rst, rst, rst | ack, 0, fin, syn | fin, syn | rst, syn | ack | fin, rst | fin | ack, psh}

func drawStep(rng *rand.Rand) Step {
	switch rng.IntN(8) {
	case 0:
		return Step{Call: CallWrite, Size: 1 + rng.IntN(2500)}
	case 1:
		if rng.IntN(3) == 0 {
			return Step{Call: CallCloseWrite}
		}
	}
	s := Step{Flags: someFlags[rng.IntN(len(someFlags))], Seq: likely(rng, numSeqs), Ack: likely(rng, numAcks),
		Stamp: likely(rng, numStamps), Window: []uint16{8000, 8000, 8000, 0, 20000}[rng.IntN(5)]}
	if s.Flags.Has(psh) || rng.IntN(6) == 0 {
		s.Size = []int{1, 10, 700, 1000}[rng.IntN(4)]
	}
	if s.Flags.Has(syn) && rng.IntN(4) > 0 {
		s.Size = 0
	}
	return s
}
