package trace

import "encoding/binary"

// An intake holds the packets that an engine has put in line since the capture
// last asked, in the engine's order, each as the block that will be written. It
// is filled by the engine's goroutine and emptied by the capture's, which gives
// an empty one for it: so the two share a lock for a moment and not for as long
// as the work takes. The capture only reads it, and it is one piece of memory:
// from one processor to another that goes much faster than a thousand pieces
// that both write to.
type intake struct {
	blocks []byte
	left   int // blocks that are not written yet, since it was handed over
}

// next returns the first block of blocks, and what follows.
func next(blocks []byte) (block, rest []byte) {
	n := binary.LittleEndian.Uint32(blocks[blockLengthAt:])
	return blocks[:n:n], blocks[n:]
}

// The size of an intake, and how many empty ones are kept: as many as may be on
// their way.
const (
	intakeSize     = 256 << 10
	maxIdleIntakes = tooMany / intakeSize
)

// emptyIntake returns an intake to fill.
func (p *Pcap) emptyIntake() (in *intake) {
	if n := len(p.idle); n > 0 {
		in, p.idle = p.idle[n-1], p.idle[:n-1]
		return in
	}
	return &intake{blocks: make([]byte, 0, intakeSize)}
}

// giveBack takes back an intake whose blocks are all written. One that a large
// packet has blown up is let go.
func (p *Pcap) giveBack(in *intake) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) < maxIdleIntakes && cap(in.blocks) == intakeSize {
		in.blocks = in.blocks[:0]
		p.idle = append(p.idle, in)
	}
}

// exchange appends the intakes that the engine has filled to dst, in order, and
// gives it an empty one.
func (p *Pcap) exchange(dst []*intake) []*intake {
	dst = append(dst, p.filled...)
	p.filled = p.filled[:0]
	if len(p.in.blocks) > 0 {
		dst = append(dst, p.in)
		p.in = p.emptyIntake()
	}
	return dst
}
