package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A Reader reads a capture packet by packet.
type Reader struct {
	in     window
	format string
	order  binary.ByteOrder
	next   func(*Packet) error
	frame  uint64
	last   int64 // the time of the packet before
	end    error // once there is nothing more to read

	record     int64    // where the record in hand begins
	nano       bool     // pcap: the fraction of a second is in ns
	link       LinkType // pcap
	interfaces []iface  // pcapng: of the section
}

// A Packet is one record of a capture.
type Packet struct {
	Frame     uint64 // its number in the file, from 1
	At        int64  // ns since 1970; of the packet before if Timed is false
	Timed     bool   // the file tells a time, and one that can be
	Interface int    // its number in the section, 0 in a pcap file
	Link      LinkType
	Direction Direction
	Len       int    // octets on the wire, at least len(Data)
	Data      []byte // what was kept of them, from the link layer on; valid until the next call of Next
}

// A Direction is which way a packet went through the interface, if the file
// tells.
type Direction uint8

// The directions.
const (
	Unknown Direction = iota
	Inbound
	Outbound
)

// maxPacket is what a packet may have, in octets: more than any tool keeps.
const maxPacket = 256 << 10

// NewReader reads the beginning of a capture. A file packed with gzip is
// unpacked. The error says what the file is instead, with errors.Is for one of
// this package's.
func NewReader(r io.Reader) (*Reader, error) {
	c := &Reader{in: window{r: r}}
	head, ok := c.in.peek(4)
	if ok && head[0] == 0x1f && head[1] == 0x8b {
		if err := c.unpack(r); err != nil {
			return nil, err
		}
		head, ok = c.in.peek(4)
	}
	if err := c.in.broken(); err != nil {
		return nil, err
	}
	switch {
	case len(head) == 0:
		return nil, ErrEmpty
	case !ok:
		return nil, ErrFormat
	}
	if what := c.foreign(); what != "" {
		return nil, fmt.Errorf("%w: %s", ErrFormat, what)
	}
	if binary.BigEndian.Uint32(head) == blockSection {
		c.format, c.next = "pcapng", c.nextBlock
		return c, c.openSection()
	}
	return c, c.openPcap(head)
}

// foreign says what a file of another kind is, by how it begins, and how it
// becomes one that can be read.
func (c *Reader) foreign() string {
	const longest = 8
	head, _ := c.in.peek(longest)
	for _, kind := range [...]struct{ begin, what string }{
		{"\x28\xb5\x2f\xfd", "it is packed, unpack it first (zstd -d)"},
		{"\xfd7zXZ\x00", "it is packed, unpack it first (xz -d)"},
		{"BZh", "it is packed, unpack it first (bzip2 -d)"},
		{"\x04\x22\x4d\x18", "it is packed, unpack it first (lz4 -d)"},
		{"PK\x03\x04", "it is packed, unpack it first (unzip)"},
		{"\x34\xcd\xb2\xa1", "it is a modified pcap, convert it first (editcap -F pcapng)"},
		{"\xa1\xb2\xcd\x34", "it is a modified pcap, convert it first (editcap -F pcapng)"},
		{"snoop\x00", "it is a capture of snoop, convert it first (editcap -F pcapng)"},
		{"{", "it looks like JSON Lines; rawtcp report reads those of a run"},
	} {
		if strings.HasPrefix(string(head), kind.begin) {
			return kind.what
		}
	}
	return ""
}

// unpack puts gzip in front of the stream.
func (c *Reader) unpack(r io.Reader) error {
	rest, _ := c.in.peek(len(c.in.buf[c.in.start:c.in.end]))
	packed := io.MultiReader(bytes.NewReader(bytes.Clone(rest)), r)
	z, err := gzip.NewReader(bufio.NewReaderSize(packed, 64<<10))
	if err != nil {
		return err
	}
	c.in = window{r: z}
	return nil
}

// Format returns "pcap" or "pcapng".
func (c *Reader) Format() string { return c.format }

// Frames returns how many packets were read.
func (c *Reader) Frames() uint64 { return c.frame }

// Next reads the next packet into p, whose Data is valid until the next call.
// It returns io.EOF at the end of the file, and a *Damage where the file cannot
// be read on; from then on it returns that again.
func (c *Reader) Next(p *Packet) error {
	if c.end != nil {
		return c.end
	}
	c.record = c.in.at
	err := c.next(p)
	if err == nil {
		c.frame++
		p.Frame = c.frame
		if !p.Timed {
			p.At = c.last
		}
		c.last = p.At
		return nil
	}
	if broken := c.in.broken(); broken != nil {
		err = broken
	}
	if !errors.Is(err, io.EOF) {
		err = &Damage{Offset: c.record, Frame: c.frame, Err: err}
	}
	c.end = err
	return err
}
