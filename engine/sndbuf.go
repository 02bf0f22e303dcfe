package engine

import "rawtcp/segment"

// A sendBuffer holds the octets that the application handed over and the peer
// has not acknowledged, in one contiguous piece so that the payload of a
// segment is always one slice.
type sendBuffer struct {
	buf   []byte      // buf[head:] is held
	head  int         // octets at the front of buf that are acknowledged
	start segment.Seq // sequence number of buf[head]
	limit int         // most octets held
}

func (b *sendBuffer) len() int         { return len(b.buf) - b.head }
func (b *sendBuffer) room() int        { return max(0, b.limit-b.len()) }
func (b *sendBuffer) end() segment.Seq { return b.start.Add(b.len()) }

// write takes as much of p as there is room for and returns how much that was.
func (b *sendBuffer) write(p []byte) int {
	n := min(len(p), b.room())
	if n == 0 {
		return 0
	}
	b.makeRoom(n)
	b.buf = append(b.buf, p[:n]...)
	return n
}

// makeRoom moves the held octets to the front when that is enough and cheap:
// each octet is moved at most once per acknowledged octet.
func (b *sendBuffer) makeRoom(n int) {
	if len(b.buf)+n <= cap(b.buf) || b.head < b.len() {
		return
	}
	held := copy(b.buf, b.buf[b.head:])
	b.buf, b.head = b.buf[:held], 0
}

// slice returns n held octets from seq on; the range must be held. It aliases
// the buffer until the next write or ack.
func (b *sendBuffer) slice(seq segment.Seq, n int) []byte {
	off := b.head + seq.Sub(b.start)
	return b.buf[off : off+n : off+n]
}

// ack forgets everything before seq.
func (b *sendBuffer) ack(seq segment.Seq) {
	n := min(seq.Sub(b.start), b.len())
	if n <= 0 {
		return
	}
	b.head += n
	b.start = b.start.Add(n)
	if b.head == len(b.buf) {
		b.buf, b.head = b.buf[:0], 0
	}
}
