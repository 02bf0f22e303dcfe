package trace

import "encoding/binary"

// The numbers of pcapng's Enhanced Packet Block (draft-ietf-opsawg-pcapng,
// sections 3.5 and 4.3) that a record is made of.
const (
	blockEnhancedPacket = 6
	optionEnd           = 0
	optionComment       = 1
	optionFlags         = 2
	flagInbound         = 1
	flagOutbound        = 2
	blockLengthAt       = 4  // octets into the block
	blockTimeAt         = 12 // two words, the high one first
	blockPacketLenAt    = 20
	blockPacketAt       = 28
	blockCost           = 64 // octets, at most, beside packet and comments
	blockTail           = 16 // octets of ours behind the comments: direction, end of options, length
)

// guessedTime is said of a packet of ours that the tap has not seen.
const guessedTime = "time by the program's clock: the packet was not seen on the interface"

// appendBlock appends one packet, with its time in nanoseconds since 1970 and
// comments that are options already. It does by hand what pcapgo's writer does,
// without its allocations and copies for each packet; the rest of the file is
// pcapgo's.
func appendBlock(b []byte, at int64, out bool, packet, comments []byte) []byte {
	le := binary.LittleEndian
	start := len(b)
	b = append(b, blockEnhancedPacket, 0, 0, 0)
	b = le.AppendUint32(b, 0) // the length, when it is known
	b = le.AppendUint32(b, 0) // the interface
	b = le.AppendUint32(b, uint32(at>>32))
	b = le.AppendUint32(b, uint32(at))
	b = le.AppendUint32(b, uint32(len(packet)))
	b = le.AppendUint32(b, uint32(len(packet)))
	b = append(pad(append(b, packet...)), comments...)
	direction := uint32(flagInbound)
	if out {
		direction = flagOutbound
	}
	b = le.AppendUint32(append(b, optionFlags, 0, 4, 0), direction)
	b = append(b, optionEnd, 0, 0, 0)
	return endBlock(b, start)
}

// endBlock appends the length of the block that begins at start, and writes it
// to its beginning.
func endBlock(b []byte, start int) []byte {
	length := uint32(len(b) - start + 4)
	binary.LittleEndian.PutUint32(b[start+blockLengthAt:], length)
	return binary.LittleEndian.AppendUint32(b, length)
}

// readBlock reads what appendBlock has written. The packet lies in the block.
func readBlock(b []byte) (at int64, out bool, packet []byte) {
	le := binary.LittleEndian
	at = int64(le.Uint32(b[blockTimeAt:]))<<32 | int64(le.Uint32(b[blockTimeAt+4:]))
	out = le.Uint32(b[len(b)-blockTail+4:]) == flagOutbound
	n := le.Uint32(b[blockPacketLenAt:])
	return at, out, b[blockPacketAt:][:n]
}

// encode writes one packet to the memory that is handed over next.
func (p *Pcap) encode(r *record) {
	start := len(p.record)
	b := append(p.record, r.block...)
	le := binary.LittleEndian
	le.PutUint32(b[start+blockTimeAt:], uint32(r.at>>32))
	le.PutUint32(b[start+blockTimeAt+4:], uint32(r.at))
	if r.guessed {
		tail := r.block[len(r.block)-blockTail : len(r.block)-4]
		b = appendRemark(b[:len(b)-blockTail], &remark{text: guessedTime})
		b = endBlock(append(b, tail...), start)
	}
	p.record = b
	p.count++
	p.fresh++
	if len(p.record) >= fullRecord {
		p.handOver()
	}
}

// appendRemark appends a comment as an option of the block.
func appendRemark(b []byte, r *remark) []byte {
	b = append(b, optionComment, 0, 0, 0)
	start := len(b)
	b = r.appendText(b)
	binary.LittleEndian.PutUint16(b[start-2:], uint16(len(b)-start))
	return pad(b)
}

// pad appends zeros up to a multiple of four octets: every part of a block
// before has such a length.
func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// A capture's chunks are larger than those of text: a write of many pages costs
// the file system less for each. It fills one up to fullRecord, so that there is
// room for one packet more. From manyRecords on it goes to the queue as it is,
// and below that it is not worth a chunk and is copied.
const (
	recordChunk = 256 << 10
	fullRecord  = recordChunk - 4<<10
	manyRecords = recordChunk / 2
)

// handOver gives the finished packets to the queue.
func (p *Pcap) handOver() {
	switch {
	case len(p.record) >= manyRecords:
		p.queue.putChunk(p.record, p.fresh)
		p.record = p.queue.empty()
	case len(p.record) > 0:
		p.queue.putAll(p.record, p.fresh)
		p.record = p.record[:0]
	}
	p.fresh = 0
}
