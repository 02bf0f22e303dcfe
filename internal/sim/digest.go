package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// A digest is the hash of a run's events, fed in large pieces (L6).
type digest struct {
	hash hash.Hash
	buf  []byte
}

func newDigest() digest { return digest{hash: sha256.New()} }

// sum returns the hash of all that was fed so far.
func (d *digest) sum() (sum [sha256.Size]byte) {
	d.flush()
	d.hash.Sum(sum[:0])
	return sum
}

func (d *digest) flush() {
	d.hash.Write(d.buf)
	d.buf = d.buf[:0]
}

// packet feeds a packet to the hash.
func (d *digest) packet(at time.Duration, host int, pkt []byte) {
	d.buf = binary.LittleEndian.AppendUint64(d.buf, uint64(at))
	d.buf = append(append(d.buf, byte(host)), pkt...)
	if len(d.buf) > 1<<14 {
		d.flush()
	}
}

// event feeds an event to the hash.
func (d *digest) event(host int, e *engine.Event) {
	b := binary.LittleEndian.AppendUint64(d.buf, uint64(e.At))
	b = append(b, byte(host), byte(e.Kind), byte(e.State), byte(e.Timer), byte(e.From), byte(e.To))
	b = binary.LittleEndian.AppendUint64(b, e.Conn)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Due))
	b = binary.LittleEndian.AppendUint32(b, uint32(e.Size))
	v := &e.Vars
	for _, seq := range [...]segment.Seq{v.SndUna, v.SndNxt, v.RcvNxt} {
		b = binary.LittleEndian.AppendUint32(b, seq.Uint32())
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(v.Cwnd))
	b = binary.LittleEndian.AppendUint64(b, uint64(v.RTO))
	if s := e.Segment; s != nil {
		b = binary.LittleEndian.AppendUint32(b, s.Seq.Uint32())
		b = binary.LittleEndian.AppendUint32(b, s.Ack.Uint32())
		b = binary.LittleEndian.AppendUint16(b, uint16(s.Flags))
		b = binary.LittleEndian.AppendUint16(b, s.Window)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s.Payload)))
		b = binary.LittleEndian.AppendUint32(b, s.Options.TSVal)
		b = append(b, byte(s.Options.Set), s.Options.SACKCount)
	}
	d.buf = append(b, e.Note...)
	if len(d.buf) > 1<<14 {
		d.flush()
	}
}
