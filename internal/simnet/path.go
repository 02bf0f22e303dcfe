package simnet

import (
	"math/rand/v2"
	"time"
)

// A path is one direction between two ports.
type path struct {
	cfg   PathConfig
	rng   *rand.Rand
	count Counters
	idle  time.Duration // when the sender of the path has sent all that waits
	last  time.Duration // the latest arrival so far, to keep the order
}

// PathConfig describes one direction. The zero value is perfect: everything
// arrives at once, in order. Probabilities are from 0 to 1.
type PathConfig struct {
	Delay  time.Duration
	Jitter time.Duration // up to so much is added to Delay, the order is kept

	Loss      float64
	Duplicate float64       // the second copy has a delay of its own
	Corrupt   float64       // one bit of the TCP segment is turned over
	Reorder   float64       // the packet is held back for up to ReorderBy
	ReorderBy time.Duration // default 10 ms

	MTU  int  // larger packets are dropped; 0: none is too large
	ICMP bool // and draw "fragmentation needed" or "packet too big"

	Bandwidth int64 // octets per second; 0: no limit
	Queue     int   // octets that may wait for Bandwidth; default 256 KiB

	// Hook, if not nil, sees every packet first and returns what is sent in its
	// place; nil drops it. It may change the packet, and is called with the
	// network's lock held: it must not call back.
	Hook func(pkt []byte) []byte
}

// A Fate says what became of a packet on its path.
type Fate string

// The fates.
const (
	Forwarded  Fate = "forwarded"
	Corrupted  Fate = "corrupted" // and forwarded
	Reordered  Fate = "reordered" // and forwarded
	Duplicated Fate = "duplicated"
	Lost       Fate = "lost"
	TooBig     Fate = "too big"
	QueueFull  Fate = "queue full"
	Hooked     Fate = "dropped by hook"
	NoRoute    Fate = "no route"
)

// A Packet is what a tap is told. Data is valid during the call only.
type Packet struct {
	Sent, Arrives time.Duration // since New; Arrives is zero for a dropped packet
	From, To      *Port         // To is nil if nobody has the destination address
	Data          []byte
	Fate          Fate
}

// Counters count the packets of one direction by fate. Sent is all that entered
// it; a duplicated packet is also counted as what else happened to it.
type Counters struct {
	Sent, Forwarded, Corrupted, Reordered, Duplicated, Lost, TooBig, QueueFull, Hooked int
	Octets                                                                             int64 // sent
}

// luck is what the dice say about one packet. All are thrown for every packet,
// so that one fault more or less does not change the luck of the packets after it.
type luck struct {
	lose, duplicate, corrupt, reorder bool
	jitter, second, held              time.Duration
	bit                               uint64
}

func (p *path) roll() luck {
	held := p.cfg.ReorderBy
	if held <= 0 {
		held = 10 * time.Millisecond
	}
	return luck{
		lose:      p.rng.Float64() < p.cfg.Loss,
		duplicate: p.rng.Float64() < p.cfg.Duplicate,
		corrupt:   p.rng.Float64() < p.cfg.Corrupt,
		reorder:   p.rng.Float64() < p.cfg.Reorder,
		jitter:    fraction(p.cfg.Jitter, p.rng.Float64()),
		second:    fraction(p.cfg.Jitter+held, p.rng.Float64()),
		held:      fraction(held, p.rng.Float64()),
		bit:       p.rng.Uint64(),
	}
}

func fraction(d time.Duration, of float64) time.Duration { return time.Duration(float64(d) * of) }

// send carries one packet from a port towards another. Called with the lock held.
func (n *Network) send(from, to *Port, pkt []byte) {
	p := n.path(from, to)
	p.count.Sent++
	p.count.Octets += int64(len(pkt))
	now, luck := n.now(), p.roll()
	if p.cfg.Hook != nil {
		was := pkt
		if pkt = p.cfg.Hook(pkt); pkt == nil {
			p.count.Hooked++
			n.tap(Packet{Sent: now, From: from, To: to, Data: was, Fate: Hooked})
			return
		}
	}
	fate, count := Lost, &p.count.Lost
	switch {
	case p.cfg.MTU > 0 && len(pkt) > p.cfg.MTU:
		fate, count = TooBig, &p.count.TooBig
		if p.cfg.ICMP {
			from.news(tooBig(pkt, p.cfg.MTU))
		}
	case !p.enqueue(now, len(pkt)):
		fate, count = QueueFull, &p.count.QueueFull
	case !luck.lose:
		n.forward(from, to, p, pkt, now, luck)
		return
	}
	*count++
	n.tap(Packet{Sent: now, From: from, To: to, Data: pkt, Fate: fate})
}

// enqueue moves the moment at which the path is idle, or refuses.
func (p *path) enqueue(now time.Duration, size int) bool {
	if p.idle = max(p.idle, now); p.cfg.Bandwidth <= 0 {
		return true
	}
	room := p.cfg.Queue
	if room <= 0 {
		room = 256 << 10
	}
	waiting := int64((p.idle - now).Seconds() * float64(p.cfg.Bandwidth))
	if waiting > 0 && waiting+int64(size) > int64(room) {
		return false
	}
	p.idle += time.Duration(float64(size) / float64(p.cfg.Bandwidth) * float64(time.Second))
	return true
}

func (n *Network) forward(from, to *Port, p *path, pkt []byte, now time.Duration, luck luck) {
	fate, count := Forwarded, &p.count.Forwarded
	arrives := p.idle + p.cfg.Delay + luck.jitter
	if luck.reorder {
		fate, count = Reordered, &p.count.Reordered
		arrives += luck.held
	} else {
		arrives = max(arrives, p.last) // jitter alone does not change the order
		p.last = arrives
	}
	if luck.corrupt {
		fate, count = Corrupted, &p.count.Corrupted
		flipBit(pkt, luck.bit)
	}
	*count++
	n.tap(Packet{now, arrives, from, to, pkt, fate})
	n.fly(to, pkt, arrives)
	if luck.duplicate {
		p.count.Duplicated++
		again := p.idle + p.cfg.Delay + luck.second
		n.tap(Packet{now, again, from, to, pkt, Duplicated})
		n.fly(to, pkt, again)
	}
}

func (n *Network) tap(p Packet) {
	if n.cfg.Tap != nil {
		n.cfg.Tap(p)
	}
}
