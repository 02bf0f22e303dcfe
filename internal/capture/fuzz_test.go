package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"

	"rawtcp/segment"
)

// FuzzReader reads any file as far as it goes. It has an end, nothing in it is
// larger than the file, and reading it octet by octet gives the same.
func FuzzReader(f *testing.F) {
	pkt := packetOf(f, false, 10)
	f.Add(pcap(binary.LittleEndian, magicMicro, uint32(LinkRaw)).record(1, 1, pkt, len(pkt)).b)
	f.Add(pcap(binary.BigEndian, magicNano, uint32(LinkEthernet)).record(1, 1, pkt, 1<<31).b)
	g := (&file{order: binary.LittleEndian}).section().iface(uint16(LinkRaw), 9, 0, 1, 0, 9, 0, 0, 0).enhanced(0, 1<<60, pkt, len(pkt), 2, 0, 4, 0, 1, 0, 0, 0)
	g.block(blockSimple, func(b *file) { b.u32(9).raw(pkt...) })
	f.Add(g.b)
	g.order = binary.BigEndian
	f.Add(g.section().iface(uint16(LinkCooked)).enhanced(0, 1, pkt, len(pkt)).b)
	f.Fuzz(func(t *testing.T, b []byte) {
		packets, err := readAll(t, b, false)
		slowly, slow := readAll(t, b, true)
		if len(packets) != len(slowly) || (err == nil) != (slow == nil) {
			t.Fatalf("%d packets, %v; octet by octet %d, %v", len(packets), err, len(slowly), slow)
		}
		total := 0
		for i, p := range packets {
			if p != slowly[i] || p.At < 0 || p.Len < p.Kept {
				t.Fatalf("%+v, octet by octet %+v", p, slowly[i])
			}
			total += p.Kept
		}
		if len(b) > 1 && b[0] != 0x1f && total > len(b) {
			t.Fatalf("%d octets of packets in a file of %d", total, len(b))
		}
		agree(t, b, packets, err)
	})
}

// agree compares with another reader of the format, where that one has no
// complaint and neither have we.
func agree(t *testing.T, b []byte, packets []got, err error) {
	if err != nil || len(b) < 4 || binary.BigEndian.Uint32(b) != blockSection {
		return
	}
	r, other := pcapgo.NewNgReader(bytes.NewReader(b), pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if other != nil {
		return
	}
	n := 0
	for ; ; n++ {
		data, _, other := r.ReadPacketData()
		if errors.Is(other, io.EOF) {
			break
		}
		if other != nil {
			return
		}
		if n < len(packets) && len(data) != packets[n].Kept {
			return // it keeps what an interface's snap length cuts
		}
	}
	if n != len(packets) {
		t.Fatalf("pcapgo has %d packets, we have %d", n, len(packets))
	}
}

// FuzzDecoder takes any octets for a packet of any link layer: no panic, no
// loop, and a segment that lies in it.
func FuzzDecoder(f *testing.F) {
	f.Add(uint16(LinkRaw), 2000, packetOf(f, false, 10))
	f.Add(uint16(LinkRaw), 0, packetOf(f, true, 10))
	f.Add(uint16(LinkEthernet), 100, append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, 1, 8, 0}, packetOf(f, false, 10)...))
	f.Add(uint16(LinkCooked2), 100, append([]byte{0x86, 0xdd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, packetOf(f, true, 10)...))
	f.Fuzz(func(t *testing.T, link uint16, size int, data []byte) {
		if len(data) > maxPacket {
			return
		}
		p := Packet{Link: LinkType(link), Data: bytes.Clone(data), Len: max(len(data), min(size, 1<<31-1))}
		var s segment.Segment
		d, err := new(Decoder).Segment(&p, &s)
		if err != nil {
			if Reason(err) == "other" {
				t.Fatalf("%v has no name", err)
			}
			return
		}
		if d.Kept > len(data) || d.Kept > len(s.Payload) || len(s.Payload) > d.IPLen || d.IPLen > p.Len {
			t.Fatalf("%+v of %d octets, payload %d", d, len(data), len(s.Payload))
		}
	})
}
