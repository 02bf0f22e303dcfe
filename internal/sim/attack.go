package sim

import (
	"errors"
	"net/netip"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// attack lets a forger or a flooder act once, and plans the next time.
func (w *world) attack(i int) {
	b := &w.boxes[i]
	if w.now >= b.To {
		return
	}
	w.agenda.push(happening{at: w.now + max(b.D, time.Millisecond), kind: forges, who: i})
	if b.Kind == Flood {
		w.flood(b)
		return
	}
	talk, victim := b.dice.IntN(len(w.ends)), b.dice.IntN(2)
	e := &w.ends[talk][victim]
	if e.c == nil || e.at.dead || !e.c.State().Synchronized() || e.at.standsStill() || w.talks[w.plan.Talks[talk].Tuple] != talk {
		return // it must arrive at once, or what was beside RCV.NXT may have become it
	}
	if b.dice.IntN(4) == 0 {
		w.forgeICMP(b, e)
		return
	}
	w.forge(b, e)
}

// forge sends one guess of somebody off the path, who knows the four-tuple and
// is lucky with the window, but not to the octet. None of it may do anything.
func (w *world) forge(b *box, e *end) {
	v := e.c.Info(e.at.clock(w.now)).Vars
	s := segment.Segment{Src: w.address(e.talk, 1-e.side), Dst: w.address(e.talk, e.side), Window: 5}
	inside := v.RcvNxt.Add(1 + b.dice.IntN(max(1, v.RcvWnd)))
	beyond := v.SndNxt.Add(1 + b.dice.IntN(1<<30))
	guess := b.dice.IntN(9)
	if guess == 2 && e.c.State() == engine.TimeWait {
		guess = 0 // RFC 6191 lets a good SYN replace TIME-WAIT, whoever sent it
	}
	mayEnd := w.plan.Talks[e.talk].Conf[e.side].TimeWaitRST == engine.On
	switch guess {
	case 0:
		s.Flags, s.Seq = segment.RST, inside
	case 1:
		s.Flags, s.Seq = segment.RST, v.RcvNxt.Add(-1-b.dice.IntN(1<<30))
		if e.c.State() == engine.TimeWait && !mayEnd {
			s.Seq = v.RcvNxt // RFC 1337
		}
	case 2:
		s.Flags, s.Seq = segment.SYN, inside
	case 3:
		s.Flags, s.Seq, s.Ack = segment.SYN|segment.ACK, segment.MakeSeq(b.dice.Uint32()), v.SndNxt
	case 4: // data that acknowledges what was not sent
		s.Flags, s.Seq, s.Ack, s.Payload = segment.ACK, v.RcvNxt, beyond, []byte("forged")
	case 5: // a FIN that does
		s.Flags, s.Seq, s.Ack = segment.ACK|segment.FIN, v.RcvNxt, beyond
	case 6: // an ACK of long ago, before any window there ever was (RFC 5961 section 5)
		s.Flags, s.Seq, s.Ack, s.Payload = segment.ACK, v.RcvNxt, v.SndUna.Add(-1<<30-b.dice.IntN(1<<29)), []byte("forged")
	case 7: // an ACK of all, beyond the window
		s.Flags, s.Seq, s.Ack = segment.ACK, v.RcvNxt.Add(v.RcvWnd+1+b.dice.IntN(1<<29)), v.SndNxt
	case 8: // and before it
		s.Flags, s.Seq, s.Ack = segment.ACK, v.RcvNxt.Add(-1-b.dice.IntN(1<<29)), v.SndNxt
	}
	pkt, err := s.Append(w.buffer())
	if err != nil {
		w.fail("a forger built what cannot be sent: %v", err)
		return
	}
	w.arrive(&happening{kind: arrives, who: e.at.id, packet: pkt, forged: true})
}

// forgeICMP quotes a segment that is not in flight, with the worst news there
// is (RFC 5927).
func (w *world) forgeICMP(b *box, e *end) {
	before := e.c.Info(e.at.clock(w.now))
	s := segment.Segment{Src: w.address(e.talk, e.side), Dst: w.address(e.talk, 1-e.side), Flags: segment.ACK,
		Seq: before.Vars.SndNxt.Add(b.dice.IntN(1 << 30))}
	pkt, err := s.Append(w.buffer())
	if err != nil {
		w.fail("a forger built what cannot be sent: %v", err)
		return
	}
	what := -1 - b.dice.IntN(14)
	if b.dice.IntN(2) == 0 {
		what = b.dice.IntN(1500)
	}
	w.report(&happening{who: e.at.id, talk: what, packet: pkt, forged: true})
	if after := e.c.Info(e.at.clock(w.now)); after.MTU != before.MTU || after.State != before.State || !errors.Is(after.SoftError, before.SoftError) {
		w.fail("I19: host %d believes a forged ICMP message: MTU %d, was %d, %v", e.at.id, after.MTU, before.MTU, after.State)
	}
}

// flood sends one segment of a stranger, which may make no connection, and may
// not draw more than it costs (I21).
func (w *world) flood(b *box) {
	hosts := w.on(1 - b.Dir%2)
	h := hosts[b.dice.IntN(len(hosts))]
	if h.dead || h.standsStill() {
		return
	}
	v6 := b.dice.IntN(3) == 0
	from := netip.AddrFrom4([4]byte{198, 18, 1, byte(b.dice.IntN(250))})
	if v6 {
		from = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 14: 1, 15: byte(b.dice.IntN(250))})
	}
	s := segment.Segment{Src: netip.AddrPortFrom(from, uint16(2000+b.dice.IntN(1000))), Dst: netip.AddrPortFrom(hostAddr(h.id, v6), 7),
		Seq: segment.MakeSeq(b.dice.Uint32()), Ack: segment.MakeSeq(b.dice.Uint32()), Window: uint16(b.dice.Uint32())}
	if len(h.doors) > 0 && b.dice.IntN(8) > 0 {
		s.Dst = h.doors[b.dice.IntN(len(h.doors))].Local()
		if s.Dst.Addr().Is4() != from.Is4() {
			return
		}
	}
	s.Flags = [...]segment.Flags{segment.SYN, segment.SYN, segment.SYN, segment.SYN | segment.ACK, segment.ACK, segment.RST,
		segment.FIN | segment.ACK, segment.SYN | segment.FIN, 0, segment.Flags(b.dice.IntN(512))}[b.dice.IntN(10)]
	if b.dice.IntN(2) == 0 {
		s.Options = segment.Options{Set: segment.HasMSS | segment.HasSACKPermitted | segment.HasTimestamps | segment.HasWindowScale,
			MSS: uint16(b.dice.Uint32()), WindowScale: uint8(b.dice.IntN(256)), TSVal: b.dice.Uint32()}
	}
	if b.dice.IntN(4) == 0 {
		s.Payload = pattern[:b.dice.IntN(64)]
	}
	pkt, err := s.Append(w.buffer())
	if err != nil {
		w.fail("a flooder built what cannot be sent: %v", err)
		return
	}
	a := w.stranger(s.Src)
	a.packets++
	a.octets += len(pkt)
	a.opens = a.opens || s.Flags.Has(segment.SYN)
	conns := h.stack.Conns()
	w.arrive(&happening{kind: arrives, who: h.id, packet: pkt})
	if h.stack.Conns() != conns {
		w.fail("I23: host %d made a connection for a stranger's %v", h.id, &s)
	}
}

// mangle changes something and makes the checksum right: what no endpoint can
// know, and what none may fall over.
func (w *world) mangle(b *box, pkt []byte) []byte {
	var s segment.Segment
	if s.Parse(pkt) != nil || s.Checksum == segment.ChecksumBad {
		return pkt
	}
	near := func() int { return b.dice.IntN(1<<(1+b.dice.IntN(31))) - b.dice.IntN(1<<(1+b.dice.IntN(31))) }
	switch b.dice.IntN(9) {
	case 0:
		s.Seq = s.Seq.Add(near())
	case 1:
		s.Ack = s.Ack.Add(near())
	case 2:
		s.Window = uint16(b.dice.Uint32())
	case 3:
		s.Flags ^= 1 << b.dice.IntN(9)
	case 4:
		s.Urgent, s.Flags = uint16(b.dice.Uint32()), s.Flags|segment.URG
	case 5:
		s.Options.TSVal += uint32(near())
		s.Options.TSEcr -= uint32(near())
	case 6:
		s.Options.Set |= segment.HasSACK
		s.Options.SACKCount = 1
		start := s.Ack.Add(near())
		s.Options.SACK[0] = segment.SACKBlock{Start: start, End: start.Add(near())}
	case 7:
		s.Payload = append([]byte(nil), s.Payload...)
		for range min(4, len(s.Payload)) {
			s.Payload[b.dice.IntN(len(s.Payload))] = byte(b.dice.Uint32())
		}
	case 8:
		s.Options.MSS, s.Options.WindowScale = uint16(b.dice.Uint32()), uint8(b.dice.Uint32())
		s.Options.Set ^= segment.OptionSet(b.dice.IntN(32))
	}
	if s.Options.Raw = nil; s.Options.Has(segment.HasSACK) && s.Options.Has(segment.HasTimestamps) {
		s.Options.SACKCount = min(s.Options.SACKCount, 2)
		s.Options.Set &^= segment.HasMSS | segment.HasWindowScale
	}
	mangled, err := s.Append(w.buffer())
	if err != nil { // no room for all the options
		return pkt
	}
	w.free = append(w.free, pkt)
	return mangled
}

// strike does what happens once.
func (w *world) strike(b *box) {
	w.log("%v", b.Kind)
	for _, h := range w.on(b.Dir) {
		if h.dead {
			continue
		}
		switch b.Kind {
		case Leap:
			h.leap(b.D)
			h.stack.Advance(h.clock(w.now))
			h.stir()
		case Crash:
			h.crash()
		case Quit:
			h.leaveAll(b.N%2 == 1)
		}
	}
}

// crash ends a process without a word; its kernel knows none of its connections.
func (h *host) crash() {
	h.dead = true
	h.mailbox = h.mailbox[:0]
	for i := range h.w.ends {
		if e := &h.w.ends[i][h.side]; e.at == h {
			e.closed, e.settled = true, true
			if e.c != nil {
				e.c.OnEvent = nil
			}
			h.w.agenda.push(happening{at: max(h.w.now, h.w.plan.Heal) + h.w.mourning(), kind: mourns, who: 1 - h.side, talk: i})
		}
	}
}

// mourning is how long a peer may take to learn of a crash once the road is good:
// the longest wait for its next segment, and the way there and back (L5).
func (w *world) mourning() time.Duration {
	return maxRTO + maxKeepAlive + 4*(w.plan.Path[0].Delay+w.plan.Path[1].Delay+time.Second)
}

func (w *world) judgeMourning(side, talk int) {
	e := &w.ends[talk][side]
	if e.c == nil || e.settled || e.at.dead || e.c.State() == engine.TimeWait || w.plan.Talks[talk].CutAt > 0 || w.plan.Doomed {
		return
	}
	if due := e.began + w.mourning(); w.now < due { // it began to talk to the dead
		w.agenda.push(happening{at: due, kind: mourns, who: side, talk: talk})
	} else {
		w.fail("L5: talk %d: host %d has not learned that its peer is dead: %s", talk, e.at.id, w.state())
	}
}

// answerForDead is the kernel of a host whose process crashed (RFC 9293 section 3.10.7.1).
func (w *world) answerForDead(h *host, pkt []byte) {
	if rst := w.refusal(pkt); rst != nil {
		w.send(h.side, rst, false)
	}
	w.free = append(w.free, pkt)
}

// leaveAll is the end of an orderly process.
func (h *host) leaveAll(abort bool) {
	now := h.clock(h.w.now)
	h.quit = true
	for _, d := range h.doors {
		d.Close(now)
	}
	for i := range h.w.ends {
		e := &h.w.ends[i][h.side]
		if e.at != h || e.c == nil || e.closed {
			continue
		}
		e.closed = true
		if abort {
			e.c.Abort(now)
		} else {
			e.c.Close(now)
		}
	}
	h.stir()
}
