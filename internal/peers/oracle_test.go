package peers

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	"rawtcp/segment"

	gp "github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// FuzzGopacketReadsTheSame: a packet that we read, gopacket reads as the same.
// It is more lenient than we are, so nothing follows from our refusals.
func FuzzGopacketReadsTheSame(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		s := randomSegment(rng)
		pkt, err := s.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pkt)
	}
	f.Fuzz(func(t *testing.T, pkt []byte) {
		compare(t, pkt)
		if len(pkt) >= 20 && pkt[0] == 0x45 {
			pkt = bytes.Clone(pkt)
			pkt[10], pkt[11] = 0, 0
			check := ^segment.Sum(pkt[:20], 0)
			pkt[10], pkt[11] = byte(check>>8), byte(check)
			compare(t, pkt)
		}
	})
}

func compare(t *testing.T, pkt []byte) {
	var ours segment.Segment
	if ours.Parse(pkt) != nil {
		return
	}
	first := gp.LayerType(layers.LayerTypeIPv4)
	if pkt[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	theirs := gp.NewPacket(pkt, first, gp.NoCopy)
	tcp, ok := theirs.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if !ok {
		// gopacket reads IP options and extension headers; we step over them.
		if pkt[0] == 0x45 || pkt[0]>>4 == 6 && pkt[6] == 6 {
			t.Fatalf("gopacket finds no TCP in %x: %v", pkt, theirs.ErrorLayer())
		}
		return
	}
	compareFields(t, &ours, tcp)
	compareIP(t, &ours, theirs.NetworkLayer())
	compareOptions(t, &ours.Options, tcp)
	if err := tcp.SetNetworkLayerForChecksum(theirs.NetworkLayer()); err != nil {
		t.Fatal(err)
	}
	if err, r := tcp.VerifyChecksum(); err != nil || r.Valid != (ours.Checksum == segment.ChecksumOK) {
		t.Errorf("gopacket says the checksum is valid: %v (%v); we say %v", r.Valid, err, ours.Checksum)
	}
}

func compareFields(t *testing.T, ours *segment.Segment, tcp *layers.TCP) {
	t.Helper()
	if uint16(tcp.SrcPort) != ours.Src.Port() || uint16(tcp.DstPort) != ours.Dst.Port() || tcp.Seq != ours.Seq.Uint32() ||
		tcp.Ack != ours.Ack.Uint32() || tcp.Window != ours.Window || tcp.Urgent != ours.Urgent || !bytes.Equal(tcp.Payload, ours.Payload) {
		t.Errorf("gopacket reads %+v, we read %+v", tcp, ours)
	}
	for i, set := range []bool{tcp.FIN, tcp.SYN, tcp.RST, tcp.PSH, tcp.ACK, tcp.URG, tcp.ECE, tcp.CWR, tcp.NS} {
		if set != ours.Flags.Has(1<<i) {
			t.Errorf("gopacket's flag %d is %v, ours are %v", i, set, ours.Flags)
		}
	}
}

func compareIP(t *testing.T, ours *segment.Segment, network gp.NetworkLayer) {
	t.Helper()
	var src, dst []byte
	var ttl, tos uint8
	var id uint16
	switch ip := network.(type) {
	case *layers.IPv4:
		src, dst, ttl, tos, id = ip.SrcIP, ip.DstIP, ip.TTL, ip.TOS, ip.Id
	case *layers.IPv6:
		src, dst, ttl, tos = ip.SrcIP, ip.DstIP, ip.HopLimit, ip.TrafficClass
	}
	if !bytes.Equal(src, ours.Src.Addr().AsSlice()) || !bytes.Equal(dst, ours.Dst.Addr().AsSlice()) || ttl != ours.TTL || tos != ours.TOS || id != ours.IPID {
		t.Errorf("gopacket reads %v > %v ttl %d tos %d id %d, we read %+v", src, dst, ttl, tos, id, ours)
	}
}

// compareOptions stops at MPTCP, which gopacket takes apart and may refuse.
func compareOptions(t *testing.T, ours *segment.Options, tcp *layers.TCP) {
	t.Helper()
	i := 0
	for kind, data := range ours.All() {
		if kind == segment.KindMPTCP {
			return
		}
		if i >= len(tcp.Options) || uint8(tcp.Options[i].OptionType) != uint8(kind) || !bytes.Equal(tcp.Options[i].OptionData, data) {
			t.Fatalf("option %d is %d %x; gopacket has %v", i, kind, data, tcp.Options)
		}
		i++
	}
	if i != len(tcp.Options) {
		t.Errorf("%d options, gopacket has %v", i, tcp.Options)
	}
}

// Packets that gopacket builds read as what it was told.
func TestPacketsOfGopacketAreRead(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 3000 {
		want := randomSegment(rng)
		c := newGopacket(want)
		flags := &c.out.tcp
		for i, flag := range []*bool{&flags.FIN, &flags.SYN, &flags.RST, &flags.PSH, &flags.ACK, &flags.URG, &flags.ECE, &flags.CWR, &flags.NS} {
			*flag = want.Flags.Has(1 << i)
		}
		flags.Urgent = want.Urgent
		if c.out.v4 != nil {
			c.out.v4.TOS = want.TOS
		} else {
			c.out.v6.TrafficClass = want.TOS
		}
		c.build()
		var got segment.Segment
		if err := got.Parse(c.pkt); err != nil || got.Checksum != segment.ChecksumOK {
			t.Fatalf("Parse(%x): %v, checksum %v", c.pkt, err, got.Checksum)
		}
		built, err := want.Append(nil)
		if err != nil || !bytes.Equal(built, c.pkt) {
			t.Errorf("we build\n%x (%v)\ngopacket builds\n%x", built, err, c.pkt)
		}
	}
}

func randomSegment(rng *rand.Rand) segment.Segment {
	s := shape(rng.IntN(2) == 0, segment.Options{})
	s.Src, s.Dst = randomPort(rng, s.Src), randomPort(rng, s.Dst)
	s.Seq, s.Ack = segment.MakeSeq(rng.Uint32()), segment.MakeSeq(rng.Uint32())
	s.Flags, s.Window, s.Urgent = segment.Flags(rng.IntN(512)), uint16(rng.Uint32()), uint16(rng.Uint32())
	s.TTL, s.TOS = uint8(1+rng.IntN(255)), uint8(rng.Uint32())
	if s.Src.Addr().Is4() {
		s.IPID = uint16(rng.Uint32())
	}
	s.Payload = filled(rng.IntN(5) * rng.IntN(400))
	s.Options = segment.Options{Set: segment.OptionSet(rng.Uint32()) & (segment.HasFastOpen<<1 - 1), MSS: uint16(rng.Uint32()), WindowScale: uint8(rng.Uint32()),
		TSVal: rng.Uint32(), TSEcr: rng.Uint32(), SACKCount: uint8(1 + rng.IntN(4)), FastOpen: filled(4 + 2*rng.IntN(7))}
	for i := range s.Options.SACK {
		s.Options.SACK[i] = block(rng.Uint32(), rng.Uint32())
	}
	return s
}

func randomPort(rng *rand.Rand, addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr(), uint16(rng.Uint32()))
}
