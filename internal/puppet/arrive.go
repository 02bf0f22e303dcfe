package puppet

import (
	"bytes"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// The most that a puppet keeps of one connection.
const (
	maxInbox  = 1 << 14 // segments
	maxStream = 4 << 20 // octets
	maxEarly  = 1 << 10 // pieces
)

// arrive takes a packet from the peer. Called with the Board's lock held; packet
// is the reader's.
func (p *Puppet) arrive(packet []byte, at time.Duration, stamp int64) {
	a := &Arrival{Bytes: bytes.Clone(packet), At: at, stamp: stamp}
	if a.Parse(a.Bytes) != nil {
		return
	}
	p.note(a)
	a.Number = p.record(engine.EventSegmentIn, &a.Segment, a.Bytes, at, stamp)
	if len(p.inbox) < maxInbox {
		p.inbox = append(p.inbox, a)
	}
	p.wake()
}

func (p *Puppet) arriveICMP(m *engine.ICMP, at time.Duration) {
	m.Quoted = bytes.Clone(m.Quoted)
	a := &Arrival{At: at, ICMP: m}
	a.Number = p.board.trace(p.stage, &engine.Event{
		Kind: engine.EventICMP, At: engine.Time(at + 1), Conn: p.conn, Local: p.local, Remote: p.remote, State: p.state, ICMP: m,
	})
	if len(p.icmp) < maxInbox {
		p.icmp = append(p.icmp, a)
	}
	p.wake()
}

// wake has whoever waits look again.
func (p *Puppet) wake() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// note keeps the numbers.
func (p *Puppet) note(a *Arrival) {
	s := &a.Segment
	if s.Flags.Has(segment.RST) {
		if p.killed(s) {
			p.reset, p.state = true, engine.Closed
		}
		return
	}
	if s.Flags.Has(segment.SYN|segment.ACK) && !p.answered && p.iss.Less(s.Ack) && s.Ack.LessEq(p.sndNxt) {
		p.meet(s)
	}
	if !p.answered {
		return
	}
	if s.Flags.Has(segment.ACK) {
		p.sndUna = segment.MaxSeq(p.sndUna, s.Ack)
		p.peerWnd = int(s.Window)
		if !s.Flags.Has(segment.SYN) && p.peer.Scale > 0 && p.shape.Scale > 0 {
			p.peerWnd <<= min(p.peer.Scale, 14) // RFC 7323 section 2.3
		}
	}
	// "If: SEG.TSval >= TS.Recent and SEG.SEQ <= Last.ACK.sent, then SEG.TSval is
	// copied to TS.Recent", RFC 7323 section 4.3.
	if s.Options.Has(segment.HasTimestamps) && s.Seq.LessEq(p.rcvNxt) && int32(s.Options.TSVal-p.recent) >= 0 {
		p.recent = s.Options.TSVal
	}
	if len(s.Payload) > 0 || s.Flags.Has(segment.FIN) {
		p.accept(piece{s.Seq, s.Payload, s.Flags.Has(segment.FIN)})
	}
}

// killed reports whether a RST is one that we would believe: an answer to our
// SYN, or in our window.
func (p *Puppet) killed(s *segment.Segment) bool {
	if !p.answered {
		return s.Flags.Has(segment.ACK) && p.iss.Less(s.Ack) && s.Ack.LessEq(p.sndNxt)
	}
	return s.Seq.InWindow(p.rcvNxt, 1<<16) || s.Seq == *p.acknowledged()
}

func (p *Puppet) acknowledged() *segment.Seq {
	if p.held != nil {
		return p.held
	}
	return &p.rcvNxt
}

// meet takes the peer's SYN.
func (p *Puppet) meet(s *segment.Segment) {
	p.answered, p.irs, p.rcvNxt = true, s.Seq, s.Seq.Add(1)
	p.recent = s.Options.TSVal
	p.peer = Peer{Scale: -1, Window: s.Window, TTL: s.TTL, SACK: s.Options.Has(segment.HasSACKPermitted),
		Timestamps: s.Options.Has(segment.HasTimestamps), ECN: s.Flags&(segment.ECE|segment.CWR) == segment.ECE}
	if s.Options.Has(segment.HasMSS) {
		p.peer.MSS = int(s.Options.MSS)
	}
	if s.Options.Has(segment.HasWindowScale) {
		p.peer.Scale = int(s.Options.WindowScale)
	}
}

// accept puts data and FIN in their place, and what had arrived early behind them.
func (p *Puppet) accept(in piece) {
	if in.seq.Sub(p.rcvNxt) > maxStream || len(p.stream) > maxStream {
		return
	}
	p.early = append(p.early, in)
	if len(p.early) > maxEarly {
		p.early = p.early[1:]
	}
	for again := true; again; {
		again = false
		for i, e := range p.early {
			if p.rcvNxt.Less(e.seq) {
				continue
			}
			p.join(e)
			p.early = append(p.early[:i], p.early[i+1:]...)
			again = true
			break
		}
	}
}

// join takes what is new of a piece that begins at or before RCV.NXT.
func (p *Puppet) join(e piece) {
	if p.peerFIN {
		return
	}
	end := e.seq.Add(len(e.data))
	if fresh := end.Sub(p.rcvNxt); fresh > 0 {
		p.stream = append(p.stream, e.data[len(e.data)-fresh:]...)
		p.rcvNxt = end
	}
	if e.fin && end == p.rcvNxt {
		p.peerFIN, p.rcvNxt = true, end.Add(1)
	}
}
