package peers

import (
	"rawtcp/segment"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
)

// gvisor uses gVisor's header package the way its own TCP endpoint does, without
// the packet buffers around it.
type gvisor struct {
	out struct {
		v4       *header.IPv4Fields
		v6       *header.IPv6Fields
		tcp      header.TCPFields
		src, dst tcpip.Address
		syn      bool
		synOpts  header.TCPSynOptions
		ts       bool
		tsVal    uint32
		tsEcr    uint32
		blocks   []header.SACKBlock
		payload  []byte
	}
	in struct {
		src, dst         tcpip.Address
		srcPort, dstPort uint16
		seq, ack         uint32
		flags            header.TCPFlags
		window, urgent   uint16
		ttl, tos         uint8
		id               uint16
		synOpts          header.TCPSynOptions
		opts             header.TCPOptions
		payload          []byte
		ok               bool
	}
	buf    []byte
	pkt    []byte
	summed uint16
}

func newGvisor(s segment.Segment) *gvisor {
	c := &gvisor{buf: make([]byte, 10000)}
	o := &c.out
	o.src, o.dst = tcpip.AddrFromSlice(s.Src.Addr().AsSlice()), tcpip.AddrFromSlice(s.Dst.Addr().AsSlice())
	if s.Src.Addr().Is4() {
		o.v4 = &header.IPv4Fields{ID: s.IPID, Flags: header.IPv4FlagDontFragment, TTL: s.TTL, Protocol: uint8(header.TCPProtocolNumber), SrcAddr: o.src, DstAddr: o.dst}
	} else {
		o.v6 = &header.IPv6Fields{TransportProtocol: header.TCPProtocolNumber, HopLimit: s.TTL, SrcAddr: o.src, DstAddr: o.dst}
	}
	o.tcp = header.TCPFields{SrcPort: s.Src.Port(), DstPort: s.Dst.Port(), SeqNum: s.Seq.Uint32(), AckNum: s.Ack.Uint32(),
		Flags: header.TCPFlags(s.Flags), WindowSize: s.Window}
	o.syn = s.Flags.Has(segment.SYN)
	o.synOpts = header.TCPSynOptions{MSS: s.Options.MSS, WS: int(s.Options.WindowScale), TS: true, TSVal: s.Options.TSVal, TSEcr: s.Options.TSEcr, SACKPermitted: true}
	o.ts, o.tsVal, o.tsEcr = s.Options.Has(segment.HasTimestamps), s.Options.TSVal, s.Options.TSEcr
	for _, b := range s.Options.Blocks() {
		o.blocks = append(o.blocks, header.SACKBlock{Start: seqnum.Value(b.Start.Uint32()), End: seqnum.Value(b.End.Uint32())})
	}
	o.payload = s.Payload
	return c
}

func (c *gvisor) parse(pkt []byte)  { c.in.ok = c.read(pkt, false) }
func (c *gvisor) verify(pkt []byte) { c.in.ok = c.read(pkt, true) }
func (c *gvisor) sum(b []byte)      { c.summed = checksum.Checksum(b, 0) }

func (c *gvisor) read(pkt []byte, verify bool) bool {
	var tcp header.TCP
	in := &c.in
	if header.IPVersion(pkt) == header.IPv4Version {
		ip := header.IPv4(pkt)
		if !ip.IsValid(len(pkt)) || ip.More() || ip.FragmentOffset() != 0 || ip.Protocol() != uint8(header.TCPProtocolNumber) {
			return false
		}
		if verify && !ip.IsChecksumValid() {
			return false
		}
		in.src, in.dst = ip.SourceAddress(), ip.DestinationAddress()
		in.tos, _ = ip.TOS()
		in.ttl, in.id = ip.TTL(), ip.ID()
		tcp = header.TCP(ip.Payload())
	} else {
		ip := header.IPv6(pkt)
		if !ip.IsValid(len(pkt)) || ip.NextHeader() != uint8(header.TCPProtocolNumber) {
			return false
		}
		in.src, in.dst = ip.SourceAddress(), ip.DestinationAddress()
		in.tos, _ = ip.TOS()
		in.ttl = ip.HopLimit()
		tcp = header.TCP(ip.Payload())
	}
	if len(tcp) < header.TCPMinimumSize {
		return false
	}
	if off := int(tcp.DataOffset()); off < header.TCPMinimumSize || off > len(tcp) {
		return false
	}
	in.payload = tcp.Payload()
	if verify && !tcp.IsChecksumValid(in.src, in.dst, checksum.Checksum(in.payload, 0), uint16(len(in.payload))) {
		return false
	}
	in.srcPort, in.dstPort = tcp.SourcePort(), tcp.DestinationPort()
	in.seq, in.ack = tcp.SequenceNumber(), tcp.AckNumber()
	in.flags, in.window, in.urgent = tcp.Flags(), tcp.WindowSize(), tcp.UrgentPointer()
	if in.flags.Contains(header.TCPFlagSyn) {
		in.synOpts = header.ParseSynOptions(tcp.Options(), in.flags.Contains(header.TCPFlagAck))
	} else {
		in.opts = tcp.ParsedOptions()
	}
	return true
}

func (c *gvisor) build() {
	o := &c.out
	ipLen := header.IPv4MinimumSize
	if o.v6 != nil {
		ipLen = header.IPv6MinimumSize
	}
	options := c.buf[ipLen+header.TCPMinimumSize:]
	optLen := c.options(options[:40])
	tcpLen := header.TCPMinimumSize + optLen + len(o.payload)
	pkt := c.buf[:ipLen+tcpLen]
	tcp := header.TCP(pkt[ipLen:])
	o.tcp.DataOffset = uint8(header.TCPMinimumSize + optLen)
	tcp.Encode(&o.tcp)
	copy(tcp.Payload(), o.payload)
	xsum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, o.src, o.dst, uint16(tcpLen))
	xsum = checksum.Combine(xsum, checksum.Checksum(tcp.Payload(), 0))
	tcp.SetChecksum(^tcp.CalculateChecksum(xsum))
	if o.v4 != nil {
		ip := header.IPv4(pkt)
		o.v4.TotalLength = uint16(len(pkt))
		ip.Encode(o.v4)
		ip.SetChecksum(^ip.CalculateChecksum())
	} else {
		o.v6.PayloadLength = uint16(tcpLen)
		header.IPv6(pkt).Encode(o.v6)
	}
	c.pkt = pkt
}

// options writes them as gVisor's endpoint lays them out, which is Linux's way.
func (c *gvisor) options(b []byte) (n int) {
	o := &c.out
	if o.syn {
		n += header.EncodeMSSOption(uint32(o.synOpts.MSS), b)
		n += header.EncodeSACKPermittedOption(b[n:])
		n += header.EncodeTSOption(o.synOpts.TSVal, o.synOpts.TSEcr, b[n:])
		n += header.EncodeNOP(b[n:])
		return n + header.EncodeWSOption(o.synOpts.WS, b[n:])
	}
	if o.ts {
		n += header.EncodeNOP(b[n:])
		n += header.EncodeNOP(b[n:])
		n += header.EncodeTSOption(o.tsVal, o.tsEcr, b[n:])
	}
	if len(o.blocks) > 0 {
		n += header.EncodeNOP(b[n:])
		n += header.EncodeNOP(b[n:])
		n += header.EncodeSACKBlocks(o.blocks, b[n:])
	}
	return n
}

func (c *gvisor) result() result {
	r := result{seq: c.in.seq, ack: c.in.ack, srcPort: c.in.srcPort, dstPort: c.in.dstPort, window: c.in.window, payload: len(c.in.payload),
		ok: c.in.ok, pkt: c.pkt, sum: c.summed}
	if c.in.flags.Contains(header.TCPFlagSyn) {
		r.tsVal, r.tsEcr, r.mss = c.in.synOpts.TSVal, c.in.synOpts.TSEcr, c.in.synOpts.MSS
	} else {
		r.tsVal, r.tsEcr, r.blocks = c.in.opts.TSVal, c.in.opts.TSEcr, len(c.in.opts.SACKBlocks)
	}
	return r
}
