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
	blockLengthAt       = 4 // octets into the block
)

// guessedTime is said of a packet of ours that the tap has not seen.
const guessedTime = "time by the program's clock: the packet was not seen on the interface"

// encode writes one packet to the block that is handed over next. It does by
// hand what pcapgo's writer does, without its allocations and copies for each
// packet; the rest of the file is pcapgo's.
func (p *Pcap) encode(r *record) {
	le := binary.LittleEndian
	start := len(p.record)
	b := append(p.record, blockEnhancedPacket, 0, 0, 0)
	b = le.AppendUint32(b, 0) // the length, when it is known
	b = le.AppendUint32(b, 0) // the interface
	b = le.AppendUint32(b, uint32(r.at>>32))
	b = le.AppendUint32(b, uint32(r.at))
	b = le.AppendUint32(b, uint32(len(r.packet)))
	b = le.AppendUint32(b, uint32(len(r.packet)))
	b = pad(append(b, r.packet...))
	for i := range r.remarks {
		b = appendRemark(b, &r.remarks[i])
	}
	if r.guessed {
		b = appendRemark(b, &remark{text: guessedTime})
	}
	direction := uint32(flagInbound)
	if r.out {
		direction = flagOutbound
	}
	b = le.AppendUint32(append(b, optionFlags, 0, 4, 0), direction)
	b = append(b, optionEnd, 0, 0, 0)
	length := uint32(len(b) - start + 4)
	b = le.AppendUint32(b, length)
	le.PutUint32(b[start+blockLengthAt:], length)
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

// fullRecord is when the finished packets go to the queue as they are, without
// another copy: the chunk has room for one packet more.
const fullRecord = chunkSize - 4<<10

// handOver gives the finished packets to the queue.
func (p *Pcap) handOver() {
	switch {
	case len(p.record) >= fullRecord:
		p.queue.putChunk(p.record, p.fresh)
		p.record = p.queue.empty()
	case len(p.record) > 0:
		p.queue.putAll(p.record, p.fresh)
		p.record = p.record[:0]
	}
	p.fresh = 0
}
