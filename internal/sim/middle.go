package sim

import (
	"bytes"
	"encoding/binary"

	"rawtcp/segment"
)

// superLen is the longest payload that a merging box makes, octets.
const superLen = 60_000

// rebuild makes a packet of a changed segment, with a right checksum: boxes
// leave damaged packets alone, or they would hide the damage.
func (w *world) rebuild(s *segment.Segment, old []byte) []byte {
	pkt, err := s.Append(w.buffer())
	if err != nil {
		w.fail("a middlebox built what cannot be sent: %v", err)
		return old
	}
	w.free = append(w.free, old)
	return pkt
}

// strip takes options out of a SYN. All SYNs lose the same ones, so that both
// ends agree on what was lost.
func (w *world) strip(set int, pkt []byte) []byte {
	var s segment.Segment
	if s.Parse(pkt) != nil || s.Checksum == segment.ChecksumBad || !s.Flags.Has(segment.SYN) {
		return pkt
	}
	s.Options.Set &^= segment.OptionSet(set)
	s.Options.Raw = nil
	return w.rebuild(&s, pkt)
}

// mark says that there was congestion, to those who asked to be told.
func (w *world) mark(pkt []byte) []byte {
	var s segment.Segment
	if s.Parse(pkt) != nil || s.Checksum == segment.ChecksumBad || s.TOS&3 == 0 {
		return pkt
	}
	s.TOS |= 3
	return w.rebuild(&s, pkt)
}

// split cuts a payload into pieces of box i's size, as a network interface does.
// An odd ID cuts each payload in its own way, so that what is sent again has other
// edges than what came before.
func (w *world) split(i, dir int, pkt []byte, forged bool) bool {
	b := &w.boxes[i]
	size := b.N
	if b.ID&1 == 1 {
		size = max(1, size/4+b.dice.IntN(size))
	}
	var s segment.Segment
	if s.Parse(pkt) != nil || s.Checksum == segment.ChecksumBad || len(s.Payload) <= size || len(s.Payload) > 64*size ||
		s.Flags.Any(segment.SYN|segment.RST|segment.URG) {
		return false
	}
	all, flags := s.Payload, s.Flags
	for first := true; len(all) > 0; first = false {
		n := min(size, len(all))
		s.Payload, s.Flags = all[:n], flags
		if n < len(all) {
			s.Flags &^= segment.FIN | segment.PSH
		}
		if !first {
			s.Flags &^= segment.CWR
		}
		piece, err := s.Append(w.buffer())
		if err != nil {
			w.fail("a middlebox built what cannot be sent: %v", err)
			return true
		}
		w.through(i+1, dir, piece, forged)
		s.Seq, all = s.Seq.Add(n), all[n:]
	}
	w.free = append(w.free, pkt)
	return true
}

// merge holds a segment for its successor, as a receiving interface does.
func (w *world) merge(i, dir int, pkt []byte, forged bool) {
	b := &w.boxes[i]
	if b.held != nil && b.heldDir == dir && w.join(b, pkt) {
		w.free = append(w.free, pkt)
		return
	}
	b.release(w)
	var s segment.Segment
	if s.Parse(pkt) != nil || s.Checksum == segment.ChecksumBad || len(s.Payload) == 0 || forged ||
		s.Flags&^segment.PSH != segment.ACK {
		w.through(i+1, dir, pkt, forged)
		return
	}
	b.held, b.heldDir, b.heldAt = pkt, dir, w.now
	w.agenda.push(happening{at: w.now + b.D, kind: flushes, who: i})
}

// join appends a segment to the one that is held, if it continues it.
func (w *world) join(b *box, pkt []byte) bool {
	var s, next segment.Segment
	if s.Parse(b.held) != nil || next.Parse(pkt) != nil || next.Checksum == segment.ChecksumBad {
		return false
	}
	if s.Src != next.Src || s.Dst != next.Dst || next.Seq != s.End() || next.Ack != s.Ack || next.TOS != s.TOS ||
		len(next.Payload) == 0 || next.Flags&^segment.PSH != segment.ACK || len(s.Payload)+len(next.Payload) > superLen ||
		!bytes.Equal(s.Options.Raw, next.Options.Raw) {
		return false
	}
	s.Payload = append(append([]byte(nil), s.Payload...), next.Payload...)
	s.Flags |= next.Flags
	s.Window = next.Window
	b.held = w.rebuild(&s, b.held)
	return true
}

// release sends on what a merging box holds.
func (b *box) release(w *world) {
	if b.held == nil {
		return
	}
	pkt := b.held
	b.held = nil
	for i := range w.boxes {
		if &w.boxes[i] == b {
			w.through(i+1, b.heldDir, pkt, false)
		}
	}
}

// overlap sends a segment of its own before one that continues the one before: the
// second half of that and the first half of this, as a proxy does that sends again
// from what it holds.
func (w *world) overlap(i, dir int, pkt []byte, forged bool) {
	b := &w.boxes[i]
	var last, s segment.Segment
	if s.Parse(pkt) != nil || s.Checksum == segment.ChecksumBad || len(s.Payload) == 0 || forged || s.Flags&^segment.PSH != segment.ACK {
		return
	}
	if b.held != nil && last.Parse(b.held) == nil && last.Src == s.Src && last.Dst == s.Dst && last.End() == s.Seq && b.hits() {
		half := len(last.Payload) / 2
		s.Seq = last.Seq.Add(half)
		s.Payload = append(append([]byte(nil), last.Payload[half:]...), s.Payload[:(len(s.Payload)+1)/2]...)
		piece, err := s.Append(w.buffer())
		if err != nil {
			w.fail("a middlebox built what cannot be sent: %v", err)
			return
		}
		w.through(i+1, dir, piece, forged)
	}
	b.held = append(b.held[:0], pkt...)
}

// clamp lowers the MSS of a SYN, as a tunnel's end does.
func (w *world) clamp(most int, pkt []byte) []byte {
	var s segment.Segment
	if s.Parse(pkt) != nil || s.Checksum == segment.ChecksumBad || !s.Flags.Has(segment.SYN) ||
		!s.Options.Has(segment.HasMSS) || int(s.Options.MSS) <= most {
		return pkt
	}
	s.Options.MSS, s.Options.Raw = uint16(most), nil
	return w.rebuild(&s, pkt)
}

// bleach clears the congestion bits of the IP header.
func (w *world) bleach(pkt []byte) []byte {
	var s segment.Segment
	if s.Parse(pkt) != nil || s.Checksum == segment.ChecksumBad || s.TOS&3 == 0 {
		return pkt
	}
	s.TOS &^= 3
	return w.rebuild(&s, pkt)
}

// shift moves the sequence numbers of each side by an amount of its own, as a
// firewall does that does not trust initial sequence numbers. An odd ID forgets
// the numbers in SACK blocks, as some do: the sender must see that they name
// nothing it sent.
func (w *world) shift(b *box, dir int, pkt []byte) []byte {
	var s segment.Segment
	if s.Parse(pkt) != nil || s.Checksum == segment.ChecksumBad {
		return pkt
	}
	by := [2]int{int(b.ID >> 8 & 0x7fff_ffff), int(b.ID >> 33)}
	s.Seq = s.Seq.Add(by[dir])
	if s.Flags.Has(segment.ACK) {
		s.Ack = s.Ack.Add(-by[1-dir])
	}
	if b.ID&1 == 0 {
		for i := range s.Options.Blocks() {
			k := &s.Options.SACK[i]
			k.Start, k.End = k.Start.Add(-by[1-dir]), k.End.Add(-by[1-dir])
		}
	}
	s.Options.Raw = nil
	return w.rebuild(&s, pkt)
}

// forgotten reports whether a box has forgotten the packet's connection, and
// has it answer with a RST if it is one that does.
func (w *world) forgotten(dir int, pkt []byte) bool {
	talk := w.talkOfPacket(pkt)
	if talk < 0 {
		return false
	}
	t := &w.plan.Talks[talk]
	if t.CutAt == 0 || w.now < t.CutAt {
		return false
	}
	if t.CutAnswers {
		if rst := w.refusal(pkt); rst != nil {
			w.through(0, 1-dir, rst, false)
		}
	}
	return true
}

// refusal returns the RST of who has no such connection (RFC 9293 section
// 3.10.7.1), nil if there is none to be sent.
func (w *world) refusal(pkt []byte) []byte {
	var s segment.Segment
	if s.Parse(pkt) != nil || s.Checksum == segment.ChecksumBad || s.Flags.Has(segment.RST) {
		return nil
	}
	r := segment.Segment{Src: s.Dst, Dst: s.Src, Flags: segment.RST | segment.ACK, Ack: s.End(), TTL: 64}
	if s.Flags.Has(segment.ACK) {
		r.Flags, r.Seq, r.Ack = segment.RST, s.Ack, segment.Seq{}
	}
	rst, err := r.Append(w.buffer())
	if err != nil {
		w.fail("a RST that cannot be sent: %v", err)
		return nil
	}
	return rst
}

// talkOfPacket returns whose packet a host sent, -1 if it cannot be read any more.
func (w *world) talkOfPacket(pkt []byte) int {
	at := segment.IPv4HeaderLen
	if len(pkt) > 0 && pkt[0]>>4 == 6 {
		at = segment.IPv6HeaderLen
	}
	if len(pkt) < at+4 {
		return -1
	}
	tuple := int(max(binary.BigEndian.Uint16(pkt[at:]), binary.BigEndian.Uint16(pkt[at+2:]))) - firstTuple
	if tuple < 0 || tuple >= len(w.talks) {
		return -1
	}
	return w.talks[tuple]
}
