package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"rawtcp/segment"
)

// packetOf is an IP packet with a payload of n octets.
func packetOf(t testing.TB, v6 bool, n int) []byte {
	t.Helper()
	s := segment.Segment{
		Src: netip.MustParseAddrPort("198.18.0.1:1"), Dst: netip.MustParseAddrPort("198.18.0.2:2"), Seq: segment.MakeSeq(7), Ack: segment.MakeSeq(9),
		Flags: segment.ACK, Window: 500, TTL: 64, Payload: bytes.Repeat([]byte{0xa5}, n),
	}
	s.Options.Set, s.Options.TSVal = segment.HasTimestamps, 77
	if v6 {
		s.Src, s.Dst = netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:2")
	}
	pkt, err := s.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pkt
}

// A file builds a capture by hand, so that it can be wrong too.
type file struct {
	order binary.AppendByteOrder
	b     []byte
}

func (f *file) u16(v uint16) *file { f.b = f.order.AppendUint16(f.b, v); return f }
func (f *file) u32(v uint32) *file { f.b = f.order.AppendUint32(f.b, v); return f }
func (f *file) raw(b ...byte) *file {
	f.b = append(f.b, b...)
	return f
}

// pcap begins a classic file.
func pcap(order binary.AppendByteOrder, magic, link uint32) *file {
	f := &file{order: order}
	return f.u32(magic).u16(2).u16(4).u32(0).u32(0).u32(1 << 31).u32(link)
}

func (f *file) record(seconds, fraction uint32, data []byte, size int) *file {
	return f.u32(seconds).u32(fraction).u32(uint32(len(data))).u32(uint32(size)).raw(data...)
}

// section begins a pcapng file, or another section of one.
func (f *file) section() *file {
	return f.u32(blockSection).u32(28).u32(byteOrderMagic).u16(1).u16(0).u32(1<<32 - 1).u32(1<<32 - 1).u32(28)
}

// block writes a block of any type; its body is padded.
func (f *file) block(kind uint32, body func(*file)) *file {
	inner := &file{order: f.order}
	body(inner)
	for len(inner.b)%4 != 0 {
		inner.raw(0)
	}
	size := uint32(12 + len(inner.b))
	return f.u32(kind).u32(size).raw(inner.b...).u32(size)
}

func (f *file) iface(link uint16, options ...byte) *file {
	return f.block(blockInterface, func(b *file) { b.u16(link).u16(0).u32(0).raw(options...) })
}

func (f *file) enhanced(id int, ticks uint64, data []byte, size int, options ...byte) *file {
	return f.block(blockEnhanced, func(b *file) {
		b.u32(uint32(id)).u32(uint32(ticks >> 32)).u32(uint32(ticks)).u32(uint32(len(data))).u32(uint32(size)).raw(data...)
		for len(b.b)%4 != 0 {
			b.raw(0)
		}
		b.raw(options...)
	})
}

// A got is what a test compares of a packet.
type got struct {
	At        int64
	Timed     bool
	Link      LinkType
	Len, Kept int
	Direction Direction
}

// readAll reads a file to its end. In slow each read brings one octet.
func readAll(t testing.TB, b []byte, slow bool) (packets []got, err error) {
	t.Helper()
	var in io.Reader = bytes.NewReader(b)
	if slow {
		in = oneByOne{in}
	}
	r, err := NewReader(in)
	if err != nil {
		return nil, err
	}
	var p Packet
	for {
		if err := r.Next(&p); err != nil {
			if again := r.Next(&p); !errors.Is(again, err) {
				t.Fatalf("%v, and then %v", err, again)
			}
			if err == io.EOF {
				err = nil
			}
			return packets, err
		}
		packets = append(packets, got{p.At, p.Timed, p.Link, p.Len, len(p.Data), p.Direction})
	}
}

type oneByOne struct{ r io.Reader }

func (o oneByOne) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 1)]) }

func TestClassicFiles(t *testing.T) {
	pkt := packetOf(t, false, 10)
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, nano := range []bool{false, true} {
			magic, fraction := uint32(magicMicro), uint32(250_000)
			if nano {
				magic, fraction = magicNano, 250_000_001
			}
			f := pcap(order, magic, uint32(LinkRaw)).record(1700000000, fraction, pkt, len(pkt)).record(1700000001, 0, pkt[:40], len(pkt))
			want := []got{
				{1700000000_250_000_000, true, LinkRaw, len(pkt), len(pkt), Unknown},
				{1700000001_000_000_000, true, LinkRaw, len(pkt), 40, Unknown},
			}
			if nano {
				want[0].At++
			}
			for _, slow := range []bool{false, true} {
				packets, err := readAll(t, f.b, slow)
				if diff := cmp.Diff(want, packets); diff != "" || err != nil {
					t.Errorf("%v nano=%v slow=%v: %v\n%s", order, nano, slow, err, diff)
				}
			}
		}
	}
}

func TestSectionsInterfacesAndTimes(t *testing.T) {
	pkt := packetOf(t, true, 10)
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		other := binary.AppendByteOrder(binary.BigEndian)
		if order == other {
			other = binary.LittleEndian
		}
		f := &file{order: order}
		option := func(code uint16, value ...byte) []byte {
			o := (&file{order: f.order}).u16(code).u16(uint16(len(value))).raw(value...)
			for len(o.b)%4 != 0 {
				o.raw(0)
			}
			return o.b
		}
		f.section().iface(uint16(LinkEthernet)).iface(uint16(LinkRaw), option(optionResolution, 9)...)
		f.block(0x0bad, func(b *file) { b.raw([]byte("unknown to all")...) })
		f.enhanced(0, 1700000000_000_001, pkt, len(pkt)) // µs
		f.enhanced(1, 1700000000_000_000_002, pkt[:50], len(pkt), option(optionFlags, (&file{order: order}).u32(2).b...)...)
		f.block(blockSimple, func(b *file) { b.u32(uint32(len(pkt))).raw(pkt...) })
		f.order = other // another section, in the other order, with an interface 0 of its own
		f.section().iface(uint16(LinkIPv6), option(optionResolution, 0x80|10)...)
		f.enhanced(0, 1700000000*1024+512, pkt, len(pkt))
		f.block(blockPacket, func(b *file) { // the obsolete one
			b.u16(0).u16(0).u32(uint32(1700000001 * 1024 >> 32)).u32(uint32(1700000001 * 1024 & 0xffffffff)).u32(uint32(len(pkt))).u32(uint32(len(pkt))).raw(pkt...)
		})
		want := []got{
			{1700000000_000_001_000, true, LinkEthernet, len(pkt), len(pkt), Unknown},
			{1700000000_000_000_002, true, LinkRaw, len(pkt), 50, Outbound},
			{1700000000_000_000_002, false, LinkEthernet, len(pkt), len(pkt), Unknown},
			{1700000000_500_000_000, true, LinkIPv6, len(pkt), len(pkt), Unknown},
			{1700000001_000_000_000, true, LinkIPv6, len(pkt), len(pkt), Unknown},
		}
		packets, err := readAll(t, f.b, false)
		if diff := cmp.Diff(want, packets); diff != "" || err != nil {
			t.Errorf("%v: %v\n%s", order, err, diff)
		}
	}
}

// What pcapgo writes is read as it was written.
func TestFilesOfAnotherWriter(t *testing.T) {
	var file bytes.Buffer
	w, err := pcapgo.NewNgWriterInterface(&file, pcapgo.NgInterface{Name: "x", LinkType: layers.LinkTypeRaw}, pcapgo.DefaultNgWriterOptions)
	if err != nil {
		t.Fatal(err)
	}
	pkt := packetOf(t, false, 3)
	at := time.Unix(1700000000, 123456789)
	if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(pkt), Length: len(pkt)}, pkt); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := []got{{at.UnixNano(), true, LinkRaw, len(pkt), len(pkt), Unknown}}
	packets, err := readAll(t, file.Bytes(), false)
	if diff := cmp.Diff(want, packets); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(file.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, slow := range []bool{false, true} {
		packets, err = readAll(t, packed.Bytes(), slow)
		if diff := cmp.Diff(want, packets); diff != "" || err != nil {
			t.Errorf("packed: %v\n%s", err, diff)
		}
	}
}

// Each way to lie has its own error, and what stands before the lie is read.
func TestHostileFiles(t *testing.T) {
	pkt := packetOf(t, false, 10)
	ng := func() *file { return (&file{order: binary.LittleEndian}).section().iface(uint16(LinkRaw)) }
	good := func() *file { return ng().enhanced(0, 1, pkt, len(pkt)) }
	classic := func() *file {
		return pcap(binary.LittleEndian, magicMicro, uint32(LinkRaw)).record(1, 1, pkt, len(pkt))
	}
	for _, test := range []struct {
		name    string
		file    *file
		packets int
		want    error
	}{
		{"empty", &file{}, 0, ErrEmpty},
		{"three octets", (&file{}).raw(1, 2, 3), 0, ErrFormat},
		{"a text", (&file{}).raw([]byte("hello, world, this is not a capture")...), 0, ErrFormat},
		{"a header cut", (&file{}).raw(classic().b[:20]...), 0, ErrCut},
		{"version 3", (&file{order: binary.LittleEndian}).u32(magicMicro).u16(3).u16(0).raw(make([]byte, 16)...), 0, ErrVersion},
		{"version 2.2", (&file{order: binary.LittleEndian}).u32(magicMicro).u16(2).u16(2).raw(make([]byte, 16)...), 0, ErrVersion},
		{"a record cut in its header", classic().raw(1, 2, 3), 1, ErrCut},
		{"a record cut in its packet", classic().u32(1).u32(1).u32(100).u32(100).raw(1), 1, ErrCut},
		{"a packet of 2^31", classic().u32(1).u32(1).u32(1 << 31).u32(1 << 31).raw(1), 1, ErrPacketLength},
		{"a packet of 2^32-1", classic().u32(1).u32(1).u32(1<<32 - 1).u32(1<<32 - 1).raw(1), 1, ErrPacketLength},
		{"a section of version 2", (&file{order: binary.LittleEndian}).u32(blockSection).u32(28).u32(byteOrderMagic).u16(2).u16(0).raw(make([]byte, 12)...), 0, ErrVersion},
		{"a section without order", (&file{order: binary.LittleEndian}).u32(blockSection).u32(28).raw(make([]byte, 20)...), 0, ErrByteOrder},
		{"a section of 0", (&file{order: binary.LittleEndian}).u32(blockSection).u32(0).u32(byteOrderMagic).u16(1).raw(make([]byte, 14)...), 0, ErrBlockLength},
		{"a section cut", (&file{}).raw(good().b[:20]...), 0, ErrCut},
		{"a block of 0", good().u32(7).u32(0).u32(0), 1, ErrBlockLength},
		{"a block of 8", good().u32(7).u32(8).u32(8), 1, ErrBlockLength},
		{"an odd block", good().u32(7).u32(13).raw(make([]byte, 20)...), 1, ErrBlockLength},
		{"a block of 2^32-4", good().u32(7).u32(1<<32 - 4).raw(make([]byte, 20)...), 1, ErrCut},
		{"a packet block of 2^32-4", good().u32(blockEnhanced).u32(1<<32 - 4).raw(make([]byte, 20)...), 1, ErrBlockLength},
		{"two lengths", good().u32(7).u32(12).u32(16), 1, ErrBlockTrailer},
		{"two lengths of a packet", good().raw(good().b[len(ng().b) : len(good().b)-4]...).u32(4), 1, ErrBlockTrailer},
		{"a packet block too short", good().block(blockEnhanced, func(b *file) { b.u32(0) }), 1, ErrBlockLength},
		{"an interface too short", good().block(blockInterface, func(b *file) { b.u16(1) }), 1, ErrBlockLength},
		{"a packet beyond its block", good().block(blockEnhanced, func(b *file) { b.u32(0).u32(0).u32(0).u32(200).u32(200).u32(0) }), 1, ErrPacketLength},
		{"an interface that is not", good().enhanced(1, 1, pkt, len(pkt)), 1, ErrInterface},
		{"an interface 2^32-1", good().enhanced(-1, 1, pkt, len(pkt)), 1, ErrInterface},
		{"an interface of the section before", good().section().enhanced(0, 1, pkt, len(pkt)), 1, ErrInterface},
		{"a simple packet without interface", (&file{order: binary.LittleEndian}).section().block(blockSimple, func(b *file) { b.u32(4).u32(0) }), 0, ErrInterface},
		{"a block cut in its last length", (&file{}).raw(good().b[:len(good().b)-2]...), 0, ErrCut},
	} {
		t.Run(test.name, func(t *testing.T) {
			packets, err := readAll(t, test.file.b, false)
			if !errors.Is(err, test.want) || len(packets) != test.packets {
				t.Errorf("%d packets, %v; want %d, %v", len(packets), err, test.packets, test.want)
			}
			var damage *Damage
			if test.packets > 0 && (!errors.As(err, &damage) || damage.Frame != uint64(test.packets) || damage.Offset == 0) {
				t.Errorf("the damage is %+v", damage)
			}
		})
	}
}

// A file of another kind is told what would make it readable.
func TestForeignFiles(t *testing.T) {
	for begin, want := range map[string]string{
		"\x28\xb5\x2f\xfd\x04\x58": "zstd -d", "\xfd7zXZ\x00\x00": "xz -d", "BZh91AY&": "bzip2 -d", "\x04\x22\x4d\x18": "lz4 -d", "PK\x03\x04": "unzip",
		"\x34\xcd\xb2\xa1\x02\x00": "editcap -F pcapng", "snoop\x00\x00\x00": "editcap -F pcapng", `{"type":"start"}`: "rawtcp report",
	} {
		_, err := NewReader(strings.NewReader(begin + strings.Repeat("\x00", 30)))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", begin, err)
		}
	}
}

// Times that no clock shows, and lengths that no wire carries, change nothing
// but themselves.
func TestOddTimesAndLengths(t *testing.T) {
	pkt := packetOf(t, false, 0)
	f := pcap(binary.LittleEndian, magicMicro, uint32(LinkRaw)).record(5, 0, pkt, len(pkt)).record(1<<32-1, 1<<32-1, pkt, 3)
	packets, err := readAll(t, f.b, false)
	if want := (got{5e9, false, LinkRaw, len(pkt), len(pkt), Unknown}); err != nil || len(packets) != 2 || packets[1] != want {
		t.Errorf("%v, %+v", err, packets)
	}
	for _, resolution := range []byte{0, 9, 19, 20, 127, 0x80, 0x80 | 63, 0x80 | 64, 255} {
		f := (&file{order: binary.LittleEndian}).section().iface(uint16(LinkRaw), 9, 0, 1, 0, resolution, 0, 0, 0, 14, 0, 8, 0, 255, 255, 255, 255, 255, 255, 255, 127)
		f.enhanced(0, 1<<64-1, pkt, 1<<32-1)
		packets, err := readAll(t, f.b, false)
		if err != nil || len(packets) != 1 || packets[0].Timed || packets[0].At != 0 || packets[0].Len < 0 {
			t.Errorf("resolution %#x: %v, %+v", resolution, err, packets)
		}
	}
}

// A time beyond all calendars does not become another one with what an interface
// adds to it.
func TestTimeDoesNotWrap(t *testing.T) {
	pkt := packetOf(t, false, 0)
	f := (&file{order: binary.LittleEndian}).section().iface(uint16(LinkRaw), 9, 0, 1, 0, 0, 0, 0, 0, 14, 0, 8, 0, 10, 0, 0, 0, 0, 0, 0, 0)
	packets, err := readAll(t, f.enhanced(0, 5, pkt, len(pkt)).enhanced(0, 1<<64-5, pkt, len(pkt)).b, false)
	if err != nil || len(packets) != 2 || packets[0].At != 15e9 || packets[1].At != 15e9 || packets[1].Timed {
		t.Errorf("%v, %+v", err, packets)
	}
}

// What a file says of the longest packet in it is no reason to make room for one.
func TestSnapLengthIsNotBelieved(t *testing.T) {
	pkt := packetOf(t, false, 10)
	classic := pcap(binary.LittleEndian, magicMicro, uint32(LinkRaw)).record(1, 1, pkt, len(pkt)).b
	section := (&file{order: binary.LittleEndian}).section()
	ng := (&file{order: binary.LittleEndian}).section().iface(uint16(LinkRaw)).enhanced(0, 1, pkt, len(pkt)).b
	for _, snap := range []uint32{0, 1, 1 << 31, 1<<32 - 1} {
		binary.LittleEndian.PutUint32(classic[16:], snap)
		binary.LittleEndian.PutUint32(ng[len(section.b)+12:], snap)
		for name, b := range map[string][]byte{"pcap": classic, "pcapng": ng} {
			in, err := NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			var p Packet
			if err := in.Next(&p); err != nil || len(p.Data) != len(pkt) || len(in.in.buf) > windowLeast {
				t.Errorf("%s, %d: %d octets in a window of %d, %v", name, snap, len(p.Data), len(in.in.buf), err)
			}
		}
	}
}

// A file that is cut anywhere gives what stands before the cut, and one packet
// less than a whole one at the most.
func TestEveryPrefix(t *testing.T) {
	pkt := packetOf(t, false, 10)
	for name, whole := range map[string][]byte{
		"pcap":   pcap(binary.BigEndian, magicNano, uint32(LinkRaw)).record(1, 1, pkt, len(pkt)).record(1, 2, pkt, len(pkt)).b,
		"pcapng": (&file{order: binary.BigEndian}).section().iface(uint16(LinkRaw)).enhanced(0, 1, pkt, len(pkt)).enhanced(0, 2, pkt, len(pkt)).b,
	} {
		most := 0
		for n := range whole {
			packets, _ := readAll(t, whole[:n], n%7 == 0)
			if len(packets) < most {
				t.Errorf("%s cut at %d: %d packets, before %d", name, n, len(packets), most)
			}
			most = len(packets)
		}
		if most != 1 {
			t.Errorf("%s without its last octet: %d packets", name, most)
		}
	}
}

type failing struct{ r io.Reader }

var errDisk = errors.New("the disk fails")

func (f failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err == io.EOF {
		err = errDisk
	}
	return n, err
}

// An error of reading is told as what it is.
func TestReadError(t *testing.T) {
	if _, err := NewReader(failing{bytes.NewReader(nil)}); !errors.Is(err, errDisk) {
		t.Error(err)
	}
	r, err := NewReader(failing{bytes.NewReader(pcap(binary.LittleEndian, magicMicro, 1).b)})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Next(new(Packet)); !errors.Is(err, errDisk) {
		t.Error(err)
	}
}

// Every link layer leads to the same segment.
func TestLinkTypes(t *testing.T) {
	v4, v6 := packetOf(t, false, 10), packetOf(t, true, 10)
	ether := func(kind uint16, rest ...byte) []byte {
		return append(binary.BigEndian.AppendUint16(make([]byte, 12), kind), rest...)
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, test := range []struct {
		name   string
		link   LinkType
		header []byte
		ip     []byte
		want   Direction
	}{
		{"Ethernet, IPv4", LinkEthernet, ether(etherIPv4), v4, Unknown},
		{"Ethernet, IPv6", LinkEthernet, ether(etherIPv6), v6, Unknown},
		{"802.1Q", LinkEthernet, ether(0x8100, 0, 5, 0x86, 0xdd), v6, Unknown},
		{"QinQ", LinkEthernet, ether(0x88a8, 0, 5, 0x81, 0, 0, 6, 8, 0), v4, Unknown},
		{"old QinQ", LinkEthernet, ether(0x9100, 0, 5, 0x81, 0, 0, 6, 8, 0), v4, Unknown},
		{"LLC and SNAP", LinkEthernet, ether(60, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0), v4, Unknown},
		{"PPPoE, IPv4", LinkEthernet, ether(etherPPPoE, 0x11, 0, 0, 1, 0, 0, 0, 0x21), v4, Unknown},
		{"PPPoE, IPv6", LinkEthernet, ether(etherPPPoE, 0x11, 0, 0, 1, 0, 0, 0, 0x57), v6, Unknown},
		{"raw 101", LinkRaw, nil, v4, Unknown},
		{"raw 12", LinkRawBSD, nil, v6, Unknown},
		{"raw 14", LinkRawOpen, nil, v4, Unknown},
		{"IPv4", LinkIPv4, nil, v4, Unknown},
		{"IPv6", LinkIPv6, nil, v6, Unknown},
		{"loopback of a small-endian host", LinkNull, []byte{2, 0, 0, 0}, v4, Unknown},
		{"loopback of a big-endian host", LinkNull, []byte{0, 0, 0, 30}, v6, Unknown},
		{"loopback of FreeBSD", LinkNull, []byte{28, 0, 0, 0}, v6, Unknown},
		{"loopback of OpenBSD", LinkLoop, []byte{0, 0, 0, 24}, v6, Unknown},
		{"cooked, in", LinkCooked, join(make([]byte, 14), []byte{8, 0}), v4, Inbound},
		{"cooked, out", LinkCooked, join([]byte{0, 4}, make([]byte, 12), []byte{0x86, 0xdd}), v6, Outbound},
		{"cooked, tagged", LinkCooked, join(make([]byte, 14), []byte{0x81, 0, 0, 1, 8, 0}), v4, Inbound},
		{"cooked 2, in", LinkCooked2, join([]byte{8, 0}, make([]byte, 18)), v4, Inbound},
		{"cooked 2, out", LinkCooked2, join([]byte{0x86, 0xdd}, make([]byte, 8), []byte{4}, make([]byte, 9)), v6, Outbound},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := join(test.header, test.ip, []byte("padding"))
			p := Packet{Link: test.link, Data: data, Len: len(data)}
			var s segment.Segment
			d, err := new(Decoder).Segment(&p, &s)
			if err != nil {
				t.Fatal(err)
			}
			if s.Seq != segment.MakeSeq(7) || len(s.Payload) != 10 || d.Kept != 10 || d.IPLen != len(test.ip) || s.Checksum != segment.ChecksumOK || p.Direction != test.want {
				t.Errorf("%v %+v %v %v", &s, d, s.Checksum, p.Direction)
			}
			for n := range len(test.header) + 40 { // cut anywhere before the end of the TCP header
				p := Packet{Link: test.link, Data: data[:n], Len: len(data)}
				if _, err := new(Decoder).Segment(&p, &s); err == nil {
					t.Errorf("%d octets are enough for a segment", n)
				}
			}
		})
	}
}

// A packet that was not kept whole is read as far as its headers.
func TestSnapped(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		pkt := packetOf(t, v6, 1000)
		headers := len(pkt) - 1000
		p := Packet{Link: LinkRaw, Data: pkt[:headers+100], Len: len(pkt)}
		var s segment.Segment
		var decoder Decoder
		d, err := decoder.Segment(&p, &s)
		if err != nil || len(s.Payload) != 1000 || d.Kept != 100 || d.IPLen != len(pkt) || s.Checksum != segment.ChecksumUnknown || s.Options.TSVal != 77 || s.End() != segment.MakeSeq(1007) {
			t.Errorf("v6=%v: %v %+v %v", v6, &s, d, err)
		}
		const options = 12 // <nop,nop,TS val 77 ecr 66>
		for cut := range options {
			p.Data = pkt[:headers-1-cut]
			d, err := decoder.Segment(&p, &s)
			if err != nil || len(s.Payload) != 1000 || d.Kept != 0 || !d.OptionsCut || s.Options.Has(segment.HasTimestamps) || s.End() != segment.MakeSeq(1007) {
				t.Errorf("v6=%v, %d octets: %v %+v %v", v6, len(p.Data), &s, d, err)
			}
		}
		p.Data = pkt[:headers-1-options]
		if _, err := decoder.Segment(&p, &s); !errors.Is(err, ErrSnapped) {
			t.Error(err)
		}
	}
}

// Of a SYN that the capture has cut in its options, those that are whole are
// read: what a snap length of 68 leaves.
func TestSnappedOptions(t *testing.T) {
	syn := segment.Segment{Src: netip.MustParseAddrPort("198.18.0.1:1"), Dst: netip.MustParseAddrPort("198.18.0.2:2"), Flags: segment.SYN, Options: segment.Options{
		Set: segment.HasMSS | segment.HasSACKPermitted | segment.HasTimestamps | segment.HasWindowScale, MSS: 1460, WindowScale: 7, TSVal: 9,
	}}
	pkt, err := syn.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	var s segment.Segment
	for _, test := range []struct {
		cut  int
		want segment.OptionSet
	}{
		{1, segment.HasMSS | segment.HasSACKPermitted | segment.HasTimestamps},
		{5, segment.HasMSS | segment.HasSACKPermitted},
		{14, segment.HasMSS | segment.HasSACKPermitted},
		{15, segment.HasMSS},
		{17, 0},
		{20, 0},
	} {
		p := Packet{Link: LinkRaw, Data: pkt[:len(pkt)-test.cut], Len: len(pkt)}
		d, err := new(Decoder).Segment(&p, &s)
		if err != nil || !d.OptionsCut || s.Options.Set != test.want || s.Flags != segment.SYN || s.End() != syn.End() {
			t.Errorf("%d cut: %v %+v %v", test.cut, &s, d, err)
		}
	}
}

// What a network card was to finish is told from damage.
func TestOffload(t *testing.T) {
	var decoder Decoder
	var s segment.Segment
	pkt := packetOf(t, false, 3000)
	pkt[2], pkt[3] = 0, 0 // to be cut: no length yet
	d, err := decoder.Segment(&Packet{Link: LinkRaw, Data: pkt, Len: len(pkt)}, &s)
	if err != nil || !d.TSO || len(s.Payload) != 3000 {
		t.Errorf("%+v %v", d, err)
	}
	pkt = packetOf(t, false, 5)
	pkt[10], pkt[11] = 0, 0 // no header checksum yet
	if _, err = decoder.Segment(&Packet{Link: LinkRaw, Data: pkt, Len: len(pkt)}, &s); err != nil || s.Checksum != segment.ChecksumOK {
		t.Errorf("%v %v", s.Checksum, err)
	}
	pkt = append(packetOf(t, true, 3000), make([]byte, 67000)...) // more than a length can say
	pkt[4], pkt[5] = 0, 0
	if d, err = decoder.Segment(&Packet{Link: LinkRaw, Data: pkt, Len: len(pkt)}, &s); err != nil || !d.TSO || len(s.Payload) != 70000 {
		t.Errorf("%+v %v, %d octets", d, err, len(s.Payload))
	}
}

func TestPassedOver(t *testing.T) {
	fragment := packetOf(t, false, 10)
	fragment[6] = 0x20
	udp := packetOf(t, false, 10)
	udp[9] = 17
	long := packetOf(t, false, 10)
	long[2] = 0xff
	fragment6 := packetOf(t, true, 10)
	fragment6[6] = 44
	for _, test := range []struct {
		link LinkType
		data []byte
		want string
	}{
		{147, []byte{1, 2, 3}, "link_type"},
		{LinkEthernet, make([]byte, 60), "not_ip"},
		{LinkEthernet, append(make([]byte, 12), 8, 6, 0, 0), "not_ip"},
		{LinkRaw, []byte{0x50}, "not_ip"},
		{LinkRaw, nil, "snapped"},
		{LinkNull, []byte{7, 0, 0, 0, 0x45}, "not_ip"},
		{LinkRaw, fragment, "ip_fragment"},
		{LinkRaw, fragment6, "ip_fragment"},
		{LinkRaw, udp, "not_tcp"},
		{LinkRaw, long, "ip_truncated"},
	} {
		var s segment.Segment
		_, err := new(Decoder).Segment(&Packet{Link: test.link, Data: test.data, Len: len(test.data)}, &s)
		if Reason(err) != test.want {
			t.Errorf("%d %x: %v is %q, want %q", test.link, test.data, err, Reason(err), test.want)
		}
	}
}

// Reading allocates nothing for a packet.
func TestNoAllocations(t *testing.T) {
	pkt := packetOf(t, false, 1000)
	f := pcap(binary.LittleEndian, magicMicro, uint32(LinkRaw))
	g := (&file{order: binary.LittleEndian}).section().iface(uint16(LinkRaw))
	for range 2000 {
		f.record(1, 1, pkt, len(pkt))
		g.enhanced(0, 1, pkt[:200], len(pkt))
	}
	for name, b := range map[string][]byte{"pcap": f.b, "pcapng": g.b} {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		var p Packet
		var s segment.Segment
		var decoder Decoder
		if n := testing.AllocsPerRun(1000, func() {
			if err := r.Next(&p); err != nil {
				t.Fatal(err)
			}
			if _, err := decoder.Segment(&p, &s); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for a packet", name, n)
		}
	}
}
