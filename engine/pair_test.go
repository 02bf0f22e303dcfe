package engine

import (
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"rawtcp/segment"
)

// A pair is two stacks joined by a seeded wire that loses, repeats and delays.
// Time is virtual and everything runs in one goroutine, so that a seed replays.
type pair struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	now    Time
	stacks [2]*Stack
	wire   parcels
	sent   int
	faults faults
	log    []string
}

// faults are probabilities in percent, and the longest extra delay.
type faults struct {
	loss, dup, reorder int
	delay              time.Duration
}

type parcel struct {
	at  Time
	n   int // order among equals
	to  int
	pkt []byte
}

type parcels []parcel

func (p parcels) Len() int { return len(p) }
func (p parcels) Less(i, j int) bool {
	return p[i].at < p[j].at || p[i].at == p[j].at && p[i].n < p[j].n
}
func (p parcels) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *parcels) Push(x any)   { *p = append(*p, x.(parcel)) }
func (p *parcels) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

func newPair(t *testing.T, seed uint64, f faults) *pair {
	p := &pair{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), now: 1, faults: f}
	for i := range p.stacks {
		p.stacks[i] = NewStack(StackConfig{Secret: [32]byte{byte(seed), byte(i)}, Tracer: p})
	}
	t.Cleanup(func() {
		if t.Failed() {
			tail := p.log[max(0, len(p.log)-60):]
			t.Logf("seed %d; the end of the talk:", seed)
			for _, line := range tail {
				t.Log(line)
			}
		}
	})
	return p
}

func (p *pair) Trace(e *Event) {
	switch e.Kind {
	case EventSegmentOut, EventSegmentIn:
		p.log = append(p.log, fmt.Sprintf("%12v conn %d %v kind %d %s %s %s", time.Duration(e.At), e.Conn, e.Local, e.Kind, e.Segment, e.State, e.Note))
	case EventState:
		p.log = append(p.log, fmt.Sprintf("%12v conn %d %v %s -> %s: %s", time.Duration(e.At), e.Conn, e.Local, e.From, e.To, e.Reason))
	}
}

// flush puts what stack i has to say on the wire.
func (p *pair) flush(i int) {
	var seg segment.Segment
	for p.stacks[i].Transmit(p.now, &seg) {
		pkt, err := seg.Append(nil)
		if err != nil {
			p.t.Fatalf("seed %d: %s: %v", p.seed, &seg, err)
		}
		p.checkOutgoing(i, &seg, pkt)
		copies := 1
		if p.chance(p.faults.loss) {
			copies = 0
		} else if p.chance(p.faults.dup) {
			copies = 2
		}
		for range copies {
			at := p.now.Add(10 * time.Millisecond)
			if p.chance(p.faults.reorder) {
				at = at.Add(time.Duration(p.rng.Int64N(int64(p.faults.delay))))
			}
			p.sent++
			heap.Push(&p.wire, parcel{at, p.sent, 1 - i, pkt})
		}
	}
}

func (p *pair) chance(percent int) bool { return p.rng.IntN(100) < percent }

// checkOutgoing holds invariants I1 to I3, I16 and I17 on every segment.
func (p *pair) checkOutgoing(i int, s *segment.Segment, pkt []byte) {
	var back segment.Segment
	if err := back.Parse(pkt); err != nil || back.Checksum != segment.ChecksumOK || len(pkt) > 1500 {
		p.t.Fatalf("seed %d: %s parses back with %v, checksum %v, %d octets", p.seed, s, err, back.Checksum, len(pkt))
	}
	c := p.stacks[i].conns.find(s.Src, s.Dst)
	if c == nil {
		return
	}
	switch {
	case c.snd.nxt.Less(c.snd.una):
		p.t.Fatalf("seed %d: SND.UNA beyond SND.NXT", p.seed)
	case s.Flags.Has(segment.ACK) && s.Ack != c.rcv.nxt:
		p.t.Fatalf("seed %d: ACK %v, RCV.NXT %v", p.seed, s.Ack, c.rcv.nxt)
	case c.state >= Established && len(s.Payload) > 0 && c.snd.maxWnd+1 < c.snd.nxt.Sub(c.snd.una): // one more for the FIN
		p.t.Fatalf("seed %d: %d octets outstanding, the largest window was %d", p.seed, c.snd.nxt.Sub(c.snd.una), c.snd.maxWnd)
	case c.cc != nil && c.cc.Window() < c.payloadRoom(0):
		p.t.Fatalf("seed %d: congestion window %d", p.seed, c.cc.Window())
	}
}

// step moves to the next thing that happens; false: nothing will.
func (p *pair) step() bool {
	next := Time(0)
	consider := func(at Time) {
		if at != 0 && (next == 0 || at < next) {
			next = at
		}
	}
	if len(p.wire) > 0 {
		consider(p.wire[0].at)
	}
	for _, s := range p.stacks {
		consider(s.Deadline())
	}
	if next == 0 {
		return false
	}
	p.now = max(p.now, next)
	for len(p.wire) > 0 && p.wire[0].at <= p.now {
		x := heap.Pop(&p.wire).(parcel)
		p.stacks[x.to].Deliver(p.now, x.pkt, 0)
	}
	for i, s := range p.stacks {
		s.Advance(p.now)
		p.flush(i)
	}
	return true
}

// A side is one application: it sends n octets, reads all, and closes.
type side struct {
	c          *Conn
	send, read int
	salt       byte
	eof        bool
}

func (a *side) work(now Time, rng *rand.Rand) error {
	if a.c == nil {
		return nil
	}
	for a.send > 0 {
		chunk := make([]byte, min(a.send, 1+rng.IntN(5000)))
		at := a.c.snd.buf.end().Sub(a.c.snd.iss) - 1
		for i := range chunk {
			chunk[i] = byte((at+i)*7) + a.salt
		}
		n, err := a.c.Write(now, chunk)
		if err != nil {
			return err
		}
		a.send -= n
		if n < len(chunk) {
			break
		}
	}
	if a.send == 0 {
		a.c.CloseWrite(now)
	}
	p := make([]byte, 1+rng.IntN(4000))
	for !a.eof {
		n, err := a.c.Read(now, p)
		for i, b := range p[:n] {
			if b != byte((a.read+i)*7)+a.salt+128 {
				return fmt.Errorf("octet %d is wrong", a.read+i)
			}
		}
		a.read += n
		if err == io.EOF {
			a.eof = true
		} else if err != nil {
			return err
		}
		if n == 0 || rng.IntN(4) == 0 {
			break
		}
	}
	return nil
}

func (p *pair) converse(bytesA, bytesB int, cfg ConnConfig) {
	p.t.Helper()
	local, remote := us, peer
	if p.seed%2 == 1 {
		local, remote = mustAddrPort("[2001:db8::1]:1000"), mustAddrPort("[2001:db8::2]:80")
	}
	mtu := func(netip.Addr) int { return 1500 }
	l, err := p.stacks[1].Listen(p.now, remote, mtu, ListenConfig{Conn: cfg})
	if err != nil {
		p.t.Fatal(err)
	}
	iss := segment.MakeSeq(isns[p.seed%uint64(len(isns))] - uint32(p.rng.IntN(3000)))
	cfg.ISN = &iss
	c, err := p.stacks[0].Dial(p.now, local, remote, 1500, cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	a := &side{c: c, send: bytesA, salt: 0}
	b := &side{send: bytesB, salt: 128}
	p.flush(0)
	for before, stepped := -1, true; stepped || before != a.read+b.read; {
		before = a.read + b.read
		stepped = p.step()
		if b.c == nil {
			b.c = l.Accept()
		}
		for i, s := range []*side{a, b} {
			if err := s.work(p.now, p.rng); err != nil && !(s.eof && s.c.State() == Closed) {
				p.t.Fatalf("seed %d, side %d, %v, read %d: %v", p.seed, i, s.c.State(), s.read, err)
			}
			p.flush(i)
		}
		if p.now > Time(2*time.Hour) {
			p.t.Fatalf("seed %d: no end after two hours: %v %v, read %d and %d", p.seed, a.c.State(), b.c.State(), a.read, b.read)
		}
	}
	if b.c == nil || !a.eof || !b.eof || a.read != bytesB || b.read != bytesA {
		p.t.Fatalf("seed %d: read %d of %d and %d of %d", p.seed, a.read, bytesB, b.read, bytesA)
	}
	if n := p.stacks[0].Conns() + p.stacks[1].Conns(); n != 0 {
		p.t.Fatalf("seed %d: %d connections are left: %v %v", p.seed, n, a.c.State(), b.c.State())
	}
	if a.c.Err() != nil || b.c.Err() != nil {
		p.t.Fatalf("seed %d: ended with %v and %v", p.seed, a.c.Err(), b.c.Err())
	}
}

func TestPairsDeliverEverythingOverABadWire(t *testing.T) {
	swarm := []faults{
		{}, {loss: 5}, {dup: 20}, {reorder: 30, delay: 50 * time.Millisecond},
		{loss: 5, dup: 5, reorder: 10, delay: 30 * time.Millisecond}, {loss: 30},
	}
	n := uint64(120)
	if testing.Short() || raced { // make test has all of them without the race detector
		n = 24
	}
	for seed := range n {
		cfg := ConnConfig{NoDelay: seed%3 == 0, SACK: Switch(1 - 2*int8(seed/6%2)), Timestamps: Switch(1 - 2*int8(seed/12%2)),
			ReceiveBuffer: []int{3000, 20_000, 1 << 20}[seed%3], SendBuffer: []int{5000, 1 << 20}[seed/2%2],
			Congestion: []string{"cubic", "reno"}[seed%2], ECN: Switch(seed % 2), SYNRetries: 10, Retries: 30,
			MaxRTO: 10 * time.Second} // well under 2MSL, or a lost last ACK ends in a RST
		p := newPair(t, seed, swarm[seed%uint64(len(swarm))])
		p.converse(200_000, 100_000, cfg)
	}
}
