package sim

import (
	"bytes"
	"time"

	"rawtcp/engine"
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
func (w *world) split(i, dir int, pkt []byte, forged bool) bool {
	size := w.boxes[i].N
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

// forge sends one guess of somebody off the path, who knows the four-tuple and
// is lucky with the window, but not to the octet. None of it may do anything.
func (w *world) forge(i int) {
	b := &w.boxes[i]
	if w.now >= b.To {
		return
	}
	w.agenda.push(happening{at: w.now + max(b.D, time.Millisecond), kind: forges, who: i})
	talk, victim := b.dice.IntN(len(w.ends)), b.dice.IntN(2)
	e := &w.ends[talk][victim]
	if e.c == nil || !e.c.State().Synchronized() || w.standsStill(victim) {
		return // it must arrive at once, or what was beside RCV.NXT may have become it
	}
	v := e.c.Info(w.hosts[victim].clock(w.now)).Vars
	s := segment.Segment{Src: w.address(talk, 1-victim), Dst: w.address(talk, victim), Window: 5}
	inside := v.RcvNxt.Add(1 + b.dice.IntN(max(1, v.RcvWnd)))
	guess := b.dice.IntN(6)
	if guess == 2 && e.c.State() == engine.TimeWait {
		guess = 0 // RFC 6191 lets a good SYN replace TIME-WAIT, whoever sent it
	}
	switch guess {
	case 0:
		s.Flags, s.Seq = segment.RST, inside
	case 1:
		s.Flags, s.Seq = segment.RST, v.RcvNxt.Add(-1-b.dice.IntN(1<<30))
		if e.c.State() == engine.TimeWait {
			s.Seq = v.RcvNxt // RFC 1337
		}
	case 2:
		s.Flags, s.Seq = segment.SYN, inside
	case 3:
		s.Flags, s.Seq, s.Ack = segment.SYN|segment.ACK, segment.MakeSeq(b.dice.Uint32()), v.SndNxt
	case 4: // data that acknowledges what was not sent
		s.Flags, s.Seq, s.Ack, s.Payload = segment.ACK, v.RcvNxt, v.SndNxt.Add(1+b.dice.IntN(1<<30)), []byte("forged")
	case 5: // a FIN that does
		s.Flags, s.Seq, s.Ack = segment.ACK|segment.FIN, v.RcvNxt, v.SndNxt.Add(1+b.dice.IntN(1<<30))
	}
	pkt, err := s.Append(w.buffer())
	if err != nil {
		w.fail("a forger built what cannot be sent: %v", err)
		return
	}
	w.segments++
	w.arrive(&happening{kind: arrives, who: victim, packet: pkt, forged: true})
}
