package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"
)

// BenchmarkReader reads packets of 1000 octets and does nothing with them,
// beside the reader of a library.
func BenchmarkReader(b *testing.B) {
	pkt := packetOf(b, false, 948)
	classic := pcap(binary.LittleEndian, magicNano, uint32(LinkRaw))
	blocks := (&file{order: binary.LittleEndian}).section().iface(uint16(LinkRaw))
	for range 10000 {
		classic.record(1, 1, pkt, len(pkt))
		blocks.enhanced(0, 1, pkt, len(pkt))
	}
	for _, f := range []struct {
		name   string
		octets []byte
		other  func(io.Reader) (func() error, error)
	}{
		{"pcap", classic.b, func(r io.Reader) (func() error, error) {
			c, err := pcapgo.NewReader(r)
			return func() error { _, _, err := c.ZeroCopyReadPacketData(); return err }, err
		}},
		{"pcapng", blocks.b, func(r io.Reader) (func() error, error) {
			c, err := pcapgo.NewNgReader(r, pcapgo.NgReaderOptions{WantMixedLinkType: true})
			return func() error { _, _, err := c.ZeroCopyReadPacketData(); return err }, err
		}},
	} {
		ours := func(r io.Reader) (func() error, error) {
			c, err := NewReader(r)
			var p Packet
			return func() error { return c.Next(&p) }, err
		}
		b.Run(f.name+"/ours", func(b *testing.B) { benchmarkReader(b, f.octets, ours) })
		b.Run(f.name+"/pcapgo", func(b *testing.B) { benchmarkReader(b, f.octets, f.other) })
	}
}

func benchmarkReader(b *testing.B, octets []byte, open func(io.Reader) (func() error, error)) {
	b.SetBytes(int64(len(octets)))
	b.ReportAllocs()
	for b.Loop() {
		next, err := open(bytes.NewReader(octets))
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			err = next()
		}
		if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
	}
}
