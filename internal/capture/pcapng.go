package capture

import (
	"encoding/binary"
	"io"
	"math"
	"math/bits"
)

// The newer format: blocks that begin and end with their length
// (draft-ietf-opsawg-pcapng).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockEnhanced  = 6

	byteOrderMagic = 0x1a2b3c4d

	blockFrame    = 12 // type and length before, length behind
	leastSection  = blockFrame + 16
	maxInterfaces = 1 << 16
)

// An iface is what a section says of one interface.
type iface struct {
	link   LinkType
	snap   uint32 // 0: no limit
	ticks  uint64 // in a second
	offset int64  // s, to be added to each time
}

// openSection reads a section header: the byte order may change with it, and
// the interfaces of the section before are gone.
func (c *Reader) openSection() error {
	head, ok := c.in.peek(leastSection)
	if !ok {
		return ErrCut
	}
	switch uint32(byteOrderMagic) {
	case binary.LittleEndian.Uint32(head[8:]):
		c.order = binary.LittleEndian
	case binary.BigEndian.Uint32(head[8:]):
		c.order = binary.BigEndian
	default:
		return ErrByteOrder
	}
	if c.order.Uint16(head[12:]) != 1 {
		return ErrVersion
	}
	size := c.order.Uint32(head[4:])
	if size < leastSection || size%4 != 0 {
		return ErrBlockLength
	}
	c.interfaces = c.interfaces[:0]
	return c.leave(size, 0)
}

// leave moves behind a block of which taken octets are behind us, and compares
// its second length.
func (c *Reader) leave(size uint32, taken int) error {
	if !c.in.skip(int64(size) - int64(taken) - 4) {
		return ErrCut
	}
	tail, ok := c.in.peek(4)
	if !ok {
		return ErrCut
	}
	if c.order.Uint32(tail) != size {
		return ErrBlockTrailer
	}
	c.in.take(4)
	return nil
}

// nextBlock passes over blocks until it has a packet.
func (c *Reader) nextBlock(p *Packet) error {
	for {
		c.record = c.in.at
		head, ok := c.in.peek(8)
		if !ok {
			if len(head) == 0 {
				return io.EOF
			}
			return ErrCut
		}
		kind, size := c.order.Uint32(head), c.order.Uint32(head[4:])
		if kind == blockSection { // its length is in an order that is still to be learned
			if err := c.openSection(); err != nil {
				return err
			}
			continue
		}
		if size < blockFrame || size%4 != 0 {
			return ErrBlockLength
		}
		found, err := c.block(kind, size, p)
		if found || err != nil {
			return err
		}
	}
}

// block reads one block; found says that it was a packet.
func (c *Reader) block(kind, size uint32, p *Packet) (found bool, err error) {
	switch kind {
	case blockEnhanced, blockPacket, blockSimple, blockInterface:
	default:
		return false, c.leave(size, 0)
	}
	block, err := c.whole(size)
	if err != nil {
		return false, err
	}
	switch kind {
	case blockInterface:
		return false, c.describe(block)
	case blockSimple:
		return true, c.simple(block, p)
	}
	return true, c.packet(kind, block, p)
}

// whole takes one block and returns it without its second length.
func (c *Reader) whole(size uint32) ([]byte, error) {
	if size > windowSize {
		return nil, ErrBlockLength
	}
	block, ok := c.in.peek(int(size))
	if !ok {
		return nil, ErrCut
	}
	if c.order.Uint32(block[size-4:]) != size {
		return nil, ErrBlockTrailer
	}
	c.in.take(int(size))
	return block[:size-4], nil
}

// packet reads an enhanced or an obsolete packet block.
func (c *Reader) packet(kind uint32, block []byte, p *Packet) error {
	const fixed = 28 // with type and length
	if len(block) < fixed {
		return ErrBlockLength
	}
	id := c.order.Uint32(block[8:])
	if kind == blockPacket {
		id = uint32(c.order.Uint16(block[8:]))
	}
	if uint64(id) >= uint64(len(c.interfaces)) {
		return ErrInterface
	}
	ticks := uint64(c.order.Uint32(block[12:]))<<32 | uint64(c.order.Uint32(block[16:]))
	kept, length := c.order.Uint32(block[20:]), c.order.Uint32(block[24:])
	if kept > maxPacket || int(kept) > len(block)-fixed {
		return ErrPacketLength
	}
	on := &c.interfaces[id]
	*p = Packet{Interface: int(id), Link: on.link, Data: block[fixed : fixed+kept], Len: wireLen(kept, length)}
	p.At, p.Timed = on.time(ticks)
	if options := fixed + (kept+3)&^3; int(options) < len(block) {
		p.Direction = c.direction(block[options:])
	}
	return nil
}

// simple reads a packet of interface 0 without a time.
func (c *Reader) simple(block []byte, p *Packet) error {
	const fixed = 12
	switch {
	case len(block) < fixed:
		return ErrBlockLength
	case len(c.interfaces) == 0:
		return ErrInterface
	}
	length := c.order.Uint32(block[8:])
	kept := min(length, uint32(len(block)-fixed))
	if snap := c.interfaces[0].snap; snap != 0 {
		kept = min(kept, snap)
	}
	if kept > maxPacket {
		return ErrPacketLength
	}
	*p = Packet{Link: c.interfaces[0].link, Data: block[fixed : fixed+kept], Len: wireLen(kept, length)}
	return nil
}

// wireLen is how long a packet was: at least what was kept of it.
func wireLen(kept, claimed uint32) int { return int(max(kept, min(claimed, math.MaxInt32))) }

// The options that are read.
const (
	optionFlags      = 2  // of a packet
	optionResolution = 9  // of an interface
	optionOffset     = 14 // of an interface
)

// option finds an option; b begins at the first one.
func (c *Reader) option(b []byte, want uint16) []byte {
	for len(b) >= 4 {
		code, n := c.order.Uint16(b), int(c.order.Uint16(b[2:]))
		b = b[4:]
		if code == 0 || n > len(b) {
			break
		}
		if code == want {
			return b[:n]
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

func (c *Reader) direction(options []byte) Direction {
	flags := c.option(options, optionFlags)
	if len(flags) != 4 {
		return Unknown
	}
	switch c.order.Uint32(flags) & 3 {
	case 1:
		return Inbound
	case 2:
		return Outbound
	}
	return Unknown
}

// describe takes in an interface. Times are in µs unless it says otherwise.
func (c *Reader) describe(block []byte) error {
	const fixed = 16
	switch {
	case len(block) < fixed:
		return ErrBlockLength
	case len(c.interfaces) == maxInterfaces:
		return ErrInterfaces
	}
	i := iface{link: LinkType(c.order.Uint16(block[8:])), snap: c.order.Uint32(block[12:]), ticks: 1e6}
	if resolution := c.option(block[fixed:], optionResolution); len(resolution) == 1 {
		i.ticks = ticksOf(resolution[0])
	}
	if offset := c.option(block[fixed:], optionOffset); len(offset) == 8 {
		i.offset = int64(c.order.Uint64(offset))
	}
	c.interfaces = append(c.interfaces, i)
	return nil
}

// ticksOf is how many units of a resolution make a second: a power of ten, or
// of two if the highest bit is set. 0 stands for more than 64 bits can hold.
func ticksOf(resolution byte) uint64 {
	n := int(resolution & 0x7f)
	if resolution&0x80 != 0 {
		if n > 63 {
			return 0
		}
		return 1 << n
	}
	if n > 19 {
		return 0
	}
	ticks := uint64(1)
	for range n {
		ticks *= 10
	}
	return ticks
}

// time turns a tick into ns since 1970; ok is false for one that no calendar
// of int64 has.
func (i *iface) time(ticks uint64) (ns int64, ok bool) {
	if i.ticks == 0 {
		return 0, false
	}
	seconds, rest := ticks/i.ticks, ticks%i.ticks
	high, low := bits.Mul64(rest, 1e9)
	fraction, _ := bits.Div64(high, low, i.ticks) // rest < ticks, so that it fits
	const longest = (1<<63-1)/1000000000 - 1
	if seconds > longest || i.offset > longest || i.offset < -longest {
		return 0, false
	}
	s := int64(seconds) + i.offset
	if s > longest || s < 0 {
		return 0, false
	}
	return s*1e9 + int64(fraction), true
}
