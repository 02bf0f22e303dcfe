package peers

import (
	"encoding/binary"

	"rawtcp/segment"

	gp "github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// gopacket decodes into layers that are kept and serializes into one buffer: the
// fastest that its package offers. It leaves the values of options as octets, which
// read takes from there as a caller would.
type gopacket struct {
	out struct {
		v4      *layers.IPv4
		v6      *layers.IPv6
		tcp     layers.TCP
		payload gp.Payload
	}
	in struct {
		v4      layers.IPv4
		v6      layers.IPv6
		tcp     layers.TCP
		options segment.Options // what a caller takes from tcp.Options
		ok      bool
	}
	buf    gp.SerializeBuffer
	pkt    []byte
	summed uint16
}

func newGopacket(s segment.Segment) *gopacket {
	c := &gopacket{buf: gp.NewSerializeBufferExpectedSize(100, 10000)}
	o := &c.out
	if s.Src.Addr().Is4() {
		o.v4 = &layers.IPv4{Version: 4, Id: s.IPID, Flags: layers.IPv4DontFragment, TTL: s.TTL, Protocol: layers.IPProtocolTCP,
			SrcIP: s.Src.Addr().AsSlice(), DstIP: s.Dst.Addr().AsSlice()}
		check(o.tcp.SetNetworkLayerForChecksum(o.v4))
	} else {
		o.v6 = &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolTCP, HopLimit: s.TTL,
			SrcIP: s.Src.Addr().AsSlice(), DstIP: s.Dst.Addr().AsSlice()}
		check(o.tcp.SetNetworkLayerForChecksum(o.v6))
	}
	o.tcp.SrcPort, o.tcp.DstPort = layers.TCPPort(s.Src.Port()), layers.TCPPort(s.Dst.Port())
	o.tcp.Seq, o.tcp.Ack, o.tcp.Window = s.Seq.Uint32(), s.Ack.Uint32(), s.Window
	o.tcp.SYN, o.tcp.ACK, o.tcp.PSH = s.Flags.Has(segment.SYN), s.Flags.Has(segment.ACK), s.Flags.Has(segment.PSH)
	s.Options.Raw = laidOut(s)
	for kind, data := range s.Options.All() {
		o.tcp.Options = append(o.tcp.Options, layers.TCPOption{OptionType: layers.TCPOptionKind(kind), OptionData: data})
	}
	o.payload = s.Payload
	return c
}

// laidOut is the option area of a segment.
func laidOut(s segment.Segment) []byte {
	pkt, err := s.Append(nil)
	check(err)
	var read segment.Segment
	check(read.Parse(pkt))
	return read.Options.Raw
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func (c *gopacket) parse(pkt []byte) { c.in.ok = c.read(pkt) }

func (c *gopacket) read(pkt []byte) bool {
	if !c.decode(pkt) {
		return false
	}
	c.takeOptions()
	return true
}

// takeOptions reads the values of the options, which gopacket leaves as octets and
// the others have in fields.
func (c *gopacket) takeOptions() {
	o := &c.in.options
	o.Set, o.SACKCount = 0, 0
	for i := range c.in.tcp.Options {
		switch option := &c.in.tcp.Options[i]; {
		case option.OptionType == layers.TCPOptionKindTimestamps && len(option.OptionData) == 8:
			o.Set |= segment.HasTimestamps
			o.TSVal, o.TSEcr = binary.BigEndian.Uint32(option.OptionData), binary.BigEndian.Uint32(option.OptionData[4:])
		case option.OptionType == layers.TCPOptionKindSACK && len(option.OptionData)%8 == 0:
			o.Set |= segment.HasSACK
			o.SACKCount = uint8(min(len(option.OptionData)/8, len(o.SACK)))
			for j := range o.SACK[:o.SACKCount] {
				o.SACK[j] = block(binary.BigEndian.Uint32(option.OptionData[8*j:]), binary.BigEndian.Uint32(option.OptionData[8*j+4:]))
			}
		case option.OptionType == layers.TCPOptionKindMSS && len(option.OptionData) == 2:
			o.Set |= segment.HasMSS
			o.MSS = binary.BigEndian.Uint16(option.OptionData)
		case option.OptionType == layers.TCPOptionKindWindowScale && len(option.OptionData) == 1:
			o.Set |= segment.HasWindowScale
			o.WindowScale = option.OptionData[0]
		case option.OptionType == layers.TCPOptionKindSACKPermitted:
			o.Set |= segment.HasSACKPermitted
		}
	}
}

func (c *gopacket) decode(pkt []byte) bool {
	if pkt[0]>>4 == 4 {
		return c.in.v4.DecodeFromBytes(pkt, gp.NilDecodeFeedback) == nil && c.in.v4.Protocol == layers.IPProtocolTCP &&
			c.in.v4.Flags&layers.IPv4MoreFragments == 0 && c.in.v4.FragOffset == 0 &&
			c.in.tcp.DecodeFromBytes(c.in.v4.Payload, gp.NilDecodeFeedback) == nil
	}
	return c.in.v6.DecodeFromBytes(pkt, gp.NilDecodeFeedback) == nil && c.in.v6.NextHeader == layers.IPProtocolTCP &&
		c.in.tcp.DecodeFromBytes(c.in.v6.Payload, gp.NilDecodeFeedback) == nil
}

func (c *gopacket) verify(pkt []byte) {
	c.in.ok = c.read(pkt) && c.verified(pkt[0]>>4 == 4)
}

func (c *gopacket) verified(v4 bool) bool {
	if v4 {
		if err, r := c.in.v4.VerifyChecksum(); err != nil || !r.Valid {
			return false
		}
		check(c.in.tcp.SetNetworkLayerForChecksum(&c.in.v4))
	} else {
		check(c.in.tcp.SetNetworkLayerForChecksum(&c.in.v6))
	}
	err, r := c.in.tcp.VerifyChecksum()
	return err == nil && r.Valid
}

func (c *gopacket) build() {
	opts := gp.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	o := &c.out
	if o.v4 != nil {
		check(gp.SerializeLayers(c.buf, opts, o.v4, &o.tcp, o.payload))
	} else {
		check(gp.SerializeLayers(c.buf, opts, o.v6, &o.tcp, o.payload))
	}
	c.pkt = c.buf.Bytes()
}

func (c *gopacket) sum(b []byte) { c.summed = ^gp.FoldChecksum(gp.ComputeChecksum(b, 0)) }

func (c *gopacket) result() result {
	tcp := &c.in.tcp
	r := result{seq: tcp.Seq, ack: tcp.Ack, srcPort: uint16(tcp.SrcPort), dstPort: uint16(tcp.DstPort), window: tcp.Window,
		payload: len(tcp.Payload), ok: c.in.ok, pkt: c.pkt, sum: c.summed}
	o := &c.in.options
	r.tsVal, r.tsEcr, r.mss, r.blocks = o.TSVal, o.TSEcr, o.MSS, int(o.SACKCount)
	return r
}
