package capture

import (
	"encoding/binary"
	"io"
)

// The classic format: a header of 24 octets, then packets with 16 each before
// them (draft-ietf-opsawg-pcap).
const (
	magicMicro = 0xa1b2c3d4
	magicNano  = 0xa1b23c4d

	pcapHeader   = 24
	recordHeader = 16
)

// openPcap reads the file header, whose first four octets are given. Its snap
// length is not believed: what a packet has, its own record says.
func (c *Reader) openPcap(magic []byte) error {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(magic) {
		case magicNano:
			c.nano = true
			c.order = order
		case magicMicro:
			c.order = order
		}
	}
	if c.order == nil {
		return ErrFormat
	}
	head, ok := c.in.peek(pcapHeader)
	switch {
	case !ok:
		return ErrCut
	case c.order.Uint16(head[4:]) != 2 || c.order.Uint16(head[6:]) < 4:
		return ErrVersion
	}
	c.format, c.next = "pcap", c.nextRecord
	// The upper half tells the length of a frame check sequence, which an IP
	// packet's own length leaves out.
	c.link = LinkType(c.order.Uint32(head[20:]) & 0xffff)
	c.in.take(pcapHeader)
	return nil
}

func (c *Reader) nextRecord(p *Packet) error {
	head, ok := c.in.peek(recordHeader)
	if !ok {
		if len(head) == 0 {
			return io.EOF
		}
		return ErrCut
	}
	seconds, fraction := int64(c.order.Uint32(head)), int64(c.order.Uint32(head[4:]))
	kept, size := c.order.Uint32(head[8:]), c.order.Uint32(head[12:])
	if kept > maxPacket {
		return ErrPacketLength
	}
	record, ok := c.in.peek(recordHeader + int(kept))
	if !ok {
		return ErrCut
	}
	c.in.take(len(record))
	if !c.nano {
		fraction *= 1000
	}
	*p = Packet{
		At: seconds*1e9 + fraction, Timed: fraction < 1e9, Link: c.link,
		Data: record[recordHeader:], Len: wireLen(kept, size),
	}
	return nil
}
