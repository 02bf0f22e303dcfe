package puppet

import (
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// An Answer is what became of an attempt to open a connection.
type Answer int

// The answers.
const (
	Silent      Answer = iota // nothing came
	Opened                    // SYN-ACK; our ACK has left
	Refused                   // RST
	Unreachable               // ICMP error
)

// String names the answer.
func (a Answer) String() string {
	return [...]string{"silent", "open", "refused", "unreachable"}[a]
}

// synWaits are the times between the SYNs of Open.
var synWaits = [...]time.Duration{time.Second, 2 * time.Second, 2 * time.Second, 3 * time.Second}

// Open makes a handshake; the SYN is sent up to four times. SYN and ACK are booked
// together, since many a peer takes its first round trip time from them.
func (p *Puppet) Open() Answer {
	for i, wait := range synWaits {
		p.Book(2)
		p.Ask(i > 0)
		sent := p.Send(segment.SYN)
		a := p.answer(wait)
		if a == nil {
			continue
		}
		if p.rtt = a.At - sent.At; i > 0 {
			p.rtt = 0
		}
		switch {
		case a.ICMP != nil:
			return Unreachable
		case RST(a):
			return Refused
		}
		p.Send(segment.ACK)
		p.lag = p.board.Now() - a.At // the call that sends it may have waited
		return Opened
	}
	return Silent
}

// answer waits for what comes of a SYN.
func (p *Puppet) answer(wait time.Duration) *Arrival {
	return p.await(wait, func() *Arrival {
		for a := p.next(); a != nil; a = p.next() {
			if SYNACK(a) && p.met() || RST(a) && p.Reset() {
				return a
			}
		}
		return p.unreachable()
	})
}

// met reports whether the peer's SYN is in.
func (p *Puppet) met() bool { return locked(p, func() bool { return p.answered }) }

// unreachable returns an ICMP error that says so, which AwaitICMP still returns.
func (p *Puppet) unreachable() *Arrival {
	return locked(p, func() *Arrival {
		if len(p.icmp) > 0 && hard(p.icmp[0].ICMP) {
			return p.icmp[0]
		}
		return nil
	})
}

// hard reports whether an ICMP error says that the peer cannot be reached.
func hard(m *engine.ICMP) bool {
	v6 := m.From.Is6() && !m.From.Is4In6()
	if v6 {
		return m.Type == 1 // destination unreachable, RFC 4443 section 3.1
	}
	return m.Type == 3 && m.Code != 4 // but for "fragmentation needed"
}

// Ask counts a segment that any host answers, and whether it is sent again
// because nothing came: for an estimate of the path's loss. Open and Deliver do so
// themselves.
func (p *Puppet) Ask(again bool) {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	p.board.asked++
	if again {
		p.board.resent++
	}
}

// Again makes the puppet begin a new connection on the same 4-tuple, with numbers
// of its own. What the old one has open at the peer is the caller's affair.
func (p *Puppet) Again() {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	p.begin()
}

// A Life is what a connection says to one octet of data.
type Life int

// The lives.
const (
	Mute  Life = iota // it says nothing
	Alive             // it acknowledges
	Dead              // it resets
)

// String names the life.
func (l Life) String() string { return [...]string{"mute", "alive", "dead"}[l] }

// deliverWaits are the times between the copies of a segment of Deliver.
var deliverWaits = [...]time.Duration{600 * time.Millisecond, 700 * time.Millisecond, time.Second, 1500 * time.Millisecond, 2 * time.Second}

// Room returns the most octets of data that fit one segment of ours.
func (p *Puppet) Room() int {
	return locked(p, func() int {
		room := p.mtu - segment.IPv6HeaderLen - segment.TCPHeaderLen
		if p.local.Addr().Is4() {
			room = p.mtu - segment.IPv4HeaderLen - segment.TCPHeaderLen
		}
		// "If an MSS Option is not received at connection setup, TCP implementations
		// MUST assume a default send MSS of 536", RFC 9293 section 3.7.1.
		peer := p.peer.MSS
		if peer == 0 {
			peer = 536
		}
		room = min(room, peer)
		if p.stamps() {
			room -= 12
		}
		return max(room, 1)
	})
}

// Deliver sends data until the peer acknowledges it, each segment up to five
// times. Mute means that no ACK of it came, and no RST.
func (p *Puppet) Deliver(data []byte) Life {
	for len(data) > 0 {
		n := min(len(data), p.Room())
		if life := p.deliver(data[:n]); life != Alive {
			return life
		}
		data = data[n:]
	}
	return Alive
}

func (p *Puppet) deliver(data []byte) Life {
	from := p.SndNxt()
	for i, wait := range deliverWaits {
		p.Ask(i > 0)
		p.Send(segment.ACK|segment.PSH, Text(data), SeqAt(from))
		a := p.Await(wait+2*p.rtt, Either(RST, Acks(from.Add(len(data)))))
		switch {
		case a == nil:
		case RST(a):
			return Dead
		default:
			return Alive
		}
	}
	return Mute
}

// Close tears the connection down with a RST, if there is one, and gives the port
// back. The Stage does it for every puppet.
func (p *Puppet) Close() {
	if p.left {
		return
	}
	p.left = true
	defer p.dismiss()
	if p.lives() && p.stage.board.alive() {
		was := p.stage.closing
		p.stage.closing = true
		p.Send(segment.RST, SeqAt(segment.MaxSeq(p.SndNxt(), p.SndUna())))
		p.stage.closing = was
	}
	p.board.leave(p)
}

// lives reports whether the peer may hold a connection of ours.
func (p *Puppet) lives() bool {
	return locked(p, func() bool {
		done := p.peerFIN && p.told == p.rcvNxt && p.finAcked()
		return p.spoke && p.answered && !p.reset && !done
	})
}

// finAcked reports whether our FIN was sent and acknowledged.
func (p *Puppet) finAcked() bool { return p.fin && p.sndNxt.LessEq(p.sndUna) }
