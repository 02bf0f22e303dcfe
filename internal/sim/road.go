package sim

import (
	"math/rand/v2"
	"time"

	"rawtcp/segment"
)

// A road is one direction between the hosts.
type road struct {
	Path
	free time.Duration // when the last octet queued has left
	last time.Duration // latest arrival so far, for delays that keep the order
}

// A box is a fault at work.
type box struct {
	*Fault
	dice    *rand.Rand
	bad     bool // the state of a burst
	passed  int  // octets of this period of a policer
	period  time.Duration
	held    []byte
	heldDir int
	heldAt  time.Duration
}

func (b *box) hits() bool { return b.dice.IntN(1000) < b.P }

// active reports whether the fault of a box is on now.
func (w *world) active(b *box, dir int) bool { return b.on(dir, w.now) }

// send takes a packet that a host of side dir sends through the middleboxes; it
// owns pkt.
func (w *world) send(dir int, pkt []byte, forged bool) {
	if w.cuts && w.forgotten(dir, pkt) {
		w.free = append(w.free, pkt)
		return
	}
	w.through(0, dir, pkt, forged)
}

// through passes a packet on from box i.
func (w *world) through(i, dir int, pkt []byte, forged bool) {
	for ; i < len(w.boxes); i++ {
		b := &w.boxes[i]
		if !w.active(b, dir) {
			continue
		}
		switch b.Kind {
		case Merge:
			w.merge(i, dir, pkt, forged)
			return
		case Split:
			if w.split(i, dir, pkt, forged) {
				return
			}
		case Overlap:
			w.overlap(i, dir, pkt, forged)
		case Strip:
			pkt = w.strip(b.N, pkt)
		case Clamp:
			pkt = w.clamp(b.N, pkt)
		case Shift:
			pkt = w.shift(b, dir, pkt)
		case Bleach:
			pkt = w.bleach(pkt)
		case Mangle:
			if b.hits() {
				pkt = w.mangle(b, pkt)
			}
		case MarkCE:
			if b.hits() {
				pkt = w.mark(pkt)
			}
		case Corrupt:
			if b.hits() {
				pkt = b.damage(pkt)
			}
		default:
			if why := w.loses(b, dir, pkt); why {
				w.log("%v loses it", b.Kind)
				w.free = append(w.free, pkt)
				return
			}
		}
	}
	w.carry(dir, pkt, forged)
}

// loses reports whether a fault swallows the packet.
func (w *world) loses(b *box, dir int, pkt []byte) bool {
	switch b.Kind {
	case Loss:
		return b.hits()
	case Burst:
		if b.bad {
			b.bad = b.dice.IntN(1000) >= b.N
		} else {
			b.bad = b.hits()
		}
		return b.bad
	case AckLoss:
		return payloadLen(pkt) == 0 && b.hits()
	case Partition, Refuse:
		return true
	case BlackHole:
		return len(pkt) > b.N
	case Police:
		return b.polices(w.now, len(pkt))
	case Unreachable:
		return b.hits() && w.unreachable(b, dir, pkt)
	case SmallMTU:
		if len(pkt) <= b.N || len(pkt) > mtu { // a merged one would be cut again
			return false
		}
		if payloadLen(pkt) <= 0 {
			return true // cut short, no router would quote it
		}
		w.complain(dir, b.N, pkt)
		return true
	}
	return false
}

// polices is a meter without a bucket: what goes beyond is lost.
func (b *box) polices(now time.Duration, n int) bool {
	if now-b.period >= b.D {
		b.period, b.passed = now, 0
	}
	b.passed += n
	return b.passed > b.N
}

// unreachable loses a packet and tells its sender, who must not give up on it.
// Only while a connection is opened may a hard error end it, so that is not told.
func (w *world) unreachable(b *box, dir int, pkt []byte) bool {
	var s segment.Segment
	if s.Parse(pkt) == nil && s.Checksum != segment.ChecksumBad && len(pkt) <= mtu && (b.N == 0 || !s.Flags.Has(segment.SYN)) {
		w.complain(dir, -1-b.N, pkt)
	}
	return true
}

// complain sends an ICMP message about a packet back to side dir; what it is
// about is said as in world.report.
func (w *world) complain(dir, what int, pkt []byte) {
	quote := append([]byte(nil), pkt[:min(len(pkt), 80)]...)
	who := w.source(dir, pkt).id
	w.agenda.push(happening{at: w.now + w.plan.Path[1-dir].Delay, kind: reports, who: who, talk: what, packet: quote})
}

// carry queues, delays and repeats.
func (w *world) carry(dir int, pkt []byte, forged bool) {
	r := &w.roads[dir]
	at := w.now
	if r.Rate > 0 {
		wait := max(0, r.free-w.now)
		if int(wait)/1000*(r.Rate/1000)/1000 > r.Queue {
			w.log("the queue is full")
			w.free = append(w.free, pkt)
			return
		}
		r.free = w.now + wait + time.Duration(len(pkt))*time.Second/time.Duration(r.Rate)
		at = r.free
	}
	at += r.Delay
	copies, late, inOrder := 1, time.Duration(0), true
	for i := range w.boxes {
		b := &w.boxes[i]
		if b.Kind < Duplicate || b.Kind > Detour || !w.active(b, dir) {
			continue
		}
		switch {
		case b.Kind == Jitter:
			late += time.Duration(b.dice.Int64N(int64(b.D) + 1))
		case b.Kind == Detour:
			at += b.D
			inOrder = inOrder && w.now+b.D < b.To
		case b.Kind == Duplicate && b.hits():
			copies += b.N
		case b.Kind == Reorder && b.hits():
			late += time.Duration(b.dice.Int64N(int64(b.D) + 1))
			inOrder = false
		}
	}
	if inOrder {
		r.last = max(r.last, at+late)
		at = r.last
	} else {
		at += late
	}
	who := w.destination(dir, pkt).id
	for i := range copies {
		p := pkt
		if i > 0 {
			p = append(w.buffer(), pkt...)
		}
		w.agenda.push(happening{at: at, kind: arrives, who: who, packet: p, forged: forged})
	}
}

// payloadLen is the TCP payload of a packet that a host built, 0 if a fault
// before has cut it short.
func payloadLen(pkt []byte) int {
	ip := segment.IPv4HeaderLen
	if len(pkt) > 0 && pkt[0]>>4 == 6 {
		ip = segment.IPv6HeaderLen
	}
	if len(pkt) < ip+segment.TCPHeaderLen {
		return 0
	}
	return len(pkt) - ip - int(pkt[ip+12]>>4)*4
}

// damage changes a packet so that the checksum tells. Damage that it cannot
// tell is not damage that TCP can be blamed for: such a packet stays whole.
func (b *box) damage(pkt []byte) []byte {
	if len(pkt) == 0 {
		return pkt // all of it was cut off before
	}
	bad := append([]byte(nil), pkt...)
	switch b.dice.IntN(3) {
	case 0:
		bad[b.dice.IntN(len(bad))] ^= 1 << b.dice.IntN(8)
	case 1:
		from := b.dice.IntN(len(bad))
		for i := from; i < min(len(bad), from+1+b.dice.IntN(16)); i++ {
			bad[i] = byte(b.dice.Uint32())
		}
	default:
		bad = bad[:b.dice.IntN(len(bad))]
	}
	var s segment.Segment
	if s.Parse(bad) == nil && s.Checksum != segment.ChecksumBad {
		return pkt
	}
	return bad
}
