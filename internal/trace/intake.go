package trace

// An intake holds the packets that an engine has put in line since the capture
// last asked, in the engine's order. It is filled by the engine's goroutine and
// emptied by the capture's, which change it for an empty one: so the two share
// a lock for a moment and not for as long as the work takes. The packets lie one
// after the other in one piece of memory, which goes back and forth between two
// processors cheaper than a thousand pieces.
type intake struct {
	octets  []byte
	records []record
	left    int // records that are not written yet, since it was handed over
}

// add appends a copy of a packet and returns its record to fill. The record is
// good until the next add.
func (in *intake) add(packet []byte) *record {
	start := len(in.octets)
	in.octets = append(in.octets, packet...) // should it move, older records keep the old place
	n := len(in.records)
	if n < cap(in.records) {
		in.records = in.records[:n+1]
	} else {
		in.records = append(in.records, record{})
	}
	r := &in.records[n]
	*r = record{packet: in.octets[start:len(in.octets):len(in.octets)], remarks: r.remarks[:0]}
	return r
}

// An intake that is used again keeps its memory; one that a burst has blown up
// is let go.
const (
	maxIdleIntakes = 4
	maxIntake      = 2 << 20
)

// recycle takes back an intake whose records are all written.
func (p *Pcap) recycle(in *intake) {
	if len(p.idle) < maxIdleIntakes && cap(in.octets) <= maxIntake {
		in.octets, in.records = in.octets[:0], in.records[:0]
		p.idle = append(p.idle, in)
	}
}

// exchange gives the engine an empty intake for the one that it has filled.
func (p *Pcap) exchange() (full *intake) {
	full, p.in = p.in, nil
	if n := len(p.idle); n > 0 {
		p.in, p.idle = p.idle[n-1], p.idle[:n-1]
	} else {
		p.in = new(intake)
	}
	full.left = len(full.records)
	return full
}
