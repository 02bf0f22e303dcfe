package peers

import "rawtcp/segment"

// rawtcp is our own codec.
type rawtcp struct {
	out    segment.Segment
	in     segment.Segment
	buf    []byte
	pkt    []byte
	summed uint16
	err    error
}

func newRawtcp(s segment.Segment) *rawtcp {
	return &rawtcp{out: s, buf: make([]byte, 0, 10000)}
}

func (c *rawtcp) parse(pkt []byte)  { c.err = c.in.ParseUnverified(pkt) }
func (c *rawtcp) verify(pkt []byte) { c.err = c.in.Parse(pkt) }
func (c *rawtcp) build()            { c.pkt, c.err = c.out.Append(c.buf) }
func (c *rawtcp) sum(b []byte)      { c.summed = segment.Sum(b, 0) }

func (c *rawtcp) result() result {
	return result{
		seq: c.in.Seq.Uint32(), ack: c.in.Ack.Uint32(), srcPort: c.in.Src.Port(), dstPort: c.in.Dst.Port(),
		window: c.in.Window, payload: len(c.in.Payload),
		tsVal: c.in.Options.TSVal, tsEcr: c.in.Options.TSEcr, mss: c.in.Options.MSS, blocks: len(c.in.Options.Blocks()),
		ok: c.err == nil && c.in.Checksum == segment.ChecksumOK, pkt: c.pkt, sum: c.summed,
	}
}
