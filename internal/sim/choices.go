package sim

import "math/rand/v2"

// choices is a source of chance that is given as octets: a fuzzer changes one
// and so changes one decision of a run. When they are used up, a fixed
// generator goes on.
type choices struct {
	octets []byte
	rest   *rand.PCG
}

func newChoices(octets []byte) *choices {
	return &choices{octets: octets, rest: rand.NewPCG(uint64(len(octets)), 0)}
}

// Uint64 implements rand.Source. Two octets make one number: what is drawn from
// small ranges, as nearly all is, depends on the high bits.
func (c *choices) Uint64() uint64 {
	if len(c.octets) < 2 {
		c.octets = nil
		return c.rest.Uint64()
	}
	v := uint64(c.octets[0])<<8 | uint64(c.octets[1])
	c.octets = c.octets[2:]
	return v * 0x0001_0001_0001_0001
}

// DrawFrom makes a plan of octets: the first ones are its choices, and the rest
// decide what the faults do to each packet.
func DrawFrom(octets []byte) Plan {
	c := newChoices(octets)
	p := draw(0, c)
	p.Fates = c.octets
	p.Talks = p.Talks[:min(len(p.Talks), fewTalks)]
	for i := range p.Talks {
		for side := range p.Talks[i].Apps {
			a := &p.Talks[i].Apps[side]
			a.Send = min(a.Send, littleData)
		}
	}
	return p
}

// What bounds a plan of octets, for a fuzzer learns more from many short runs.
const (
	fewTalks   = 6
	littleData = 20_000
)
