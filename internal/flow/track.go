package flow

import "rawtcp/segment"

// A track is what must be known of one side to judge its next segment.
type track struct {
	sent   bool        // something was sent: nxt is valid
	nxt    segment.Seq // one past the highest number sent
	nxtAt  int64       // when that was sent
	lastAt int64       // when it sent its last segment
	acked  bool        // the other side has acknowledged: una is valid
	una    segment.Seq // the highest number the other side has acknowledged

	ackSeen bool        // it has acknowledged: ack is valid
	ack     segment.Seq // of its last segment
	ackAt   int64       // of its last segment with that
	window  uint16      // of its last segment, as on the wire
	room    int         // the same in octets
	scale   uint8       // the shift that applies to it
	scaled  bool        // scale is known, 0 too
	repeats uint32      // ACKs in a row that repeat ack while something is outstanding
	sacked  [4]segment.SACKBlock
	sacks   uint8

	holes []hole // below nxt, and never seen; at most maxHoles

	finSent bool
	finSeq  segment.Seq // the number the FIN takes

	lastNotes Notes
	lastRST   bool // its last segment was an RST that was not believed
	lastTTL   uint8
	lastID    uint16
	idSeen    bool
	idUps     uint32 // how often the IPID counted up
	idOthers  uint32
	lastTS    uint32
	tsSeen    bool
	topTS     uint32 // of the segment with the highest number
	answered  bool   // it has sent a SYN-ACK

	inTimeout bool        // it repairs what a timeout has found
	recover   segment.Seq // up to here

	lastData Moment // its last segment with data, a SYN or a FIN
	dataEnd  segment.Seq
	fastest  int64 // ns, the fastest answer to data of the other side; 0: none yet
}

const maxHoles = 8

// A hole is a range that was passed over, by a segment that came at some time
// with some timestamp.
type hole struct {
	start, end segment.Seq
	at         int64
	ts         uint32
	stamped    bool
	acked      bool // it was acknowledged all the same
}

// addHole remembers a hole. The oldest gives way.
func (t *track) addHole(h hole) {
	if len(t.holes) == maxHoles {
		t.holes = append(t.holes[:0], t.holes[1:]...)
	}
	t.holes = append(t.holes, h)
}

// unseen returns how many octets of [start, end) lie in holes.
func (t *track) unseen(start, end segment.Seq) int {
	n := 0
	for i := range t.holes {
		h := &t.holes[i]
		if o := segment.MinSeq(h.end, end).Sub(segment.MaxSeq(h.start, start)); o > 0 {
			n += o
		}
	}
	return n
}

// holeAt returns the hole that a point lies in, or nil.
func (t *track) holeAt(p segment.Seq) *hole {
	for i := range t.holes {
		if h := &t.holes[i]; h.start.LessEq(p) && p.Less(h.end) {
			return h
		}
	}
	return nil
}

// skipped reports whether an acknowledgement covers a hole, for the first time.
func (t *track) skipped(ack segment.Seq) bool {
	for i := range t.holes {
		if h := &t.holes[i]; !h.acked && h.start.Less(ack) {
			return true
		}
	}
	return false
}

// ackHoles marks what an acknowledgement covers.
func (t *track) ackHoles(ack segment.Seq) {
	for i := range t.holes {
		if h := &t.holes[i]; h.start.Less(ack) {
			h.acked = true
		}
	}
}

// fill takes [start, end) out of the holes.
func (t *track) fill(start, end segment.Seq) {
	var old [maxHoles]hole
	n := copy(old[:], t.holes)
	t.holes = t.holes[:0]
	for _, h := range old[:n] {
		if !start.Less(h.end) || !h.start.Less(end) { // apart
			t.addHole(h)
			continue
		}
		before, behind := h, h
		before.end, behind.start = start, end
		t.keep(before)
		t.keep(behind)
	}
}

func (t *track) keep(h hole) {
	if h.start.Less(h.end) {
		t.addHole(h)
	}
}

// counting reports whether the side's IPIDs count up, so that they tell in which
// order packets were sent.
func (t *track) counting() bool { return t.idUps >= 3 && t.idUps >= 4*t.idOthers }

// farID is how much a count of IPIDs may rise between two packets.
const farID = 1024

// seeID follows the IPIDs.
func (t *track) seeID(id uint16) {
	if id == 0 {
		return // it has none
	}
	if !t.idSeen {
		t.idSeen, t.lastID = true, id
		return
	}
	switch step := int16(id - t.lastID); {
	case step > 0 && step <= farID:
		t.idUps++
	case step < 0 && step > -farID && t.counting():
		return // overtaken: the highest stays
	default:
		t.idOthers++
	}
	t.lastID = id
}

// seeTS follows the timestamps.
func (t *track) seeTS(s *segment.Segment) {
	if s.Options.Has(segment.HasTimestamps) && (!t.tsSeen || int32(s.Options.TSVal-t.lastTS) > 0) {
		t.tsSeen, t.lastTS = true, s.Options.TSVal
	}
}

// older reports whether s was sent before what was seen last: known is false if
// nothing tells.
func (t *track) older(s *segment.Segment) (older, known bool) {
	if t.tsSeen && s.Options.Has(segment.HasTimestamps) {
		if int32(s.Options.TSVal-t.lastTS) < 0 {
			return true, true
		}
		// Its clock has gone on since the segment that made the hole was sent.
		if h := t.holeAt(s.Seq); h != nil && h.stamped && int32(s.Options.TSVal-h.ts) > 0 {
			return false, true
		}
	}
	if s.IPID != 0 && t.counting() {
		if step := int16(s.IPID - t.lastID); step != 0 && step < farID && step > -farID {
			return step < 0, true
		}
	}
	return false, false
}
