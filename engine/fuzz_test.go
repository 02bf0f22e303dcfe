package engine

import (
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"rawtcp/segment"
)

// edges are figure 5 of RFC 9293 with the aborts that every state has.
var edges = map[State][]State{
	Closed:      {SynSent},
	Listen:      {SynReceived},
	SynSent:     {SynReceived, Established, Closed},
	SynReceived: {Established, FinWait1, Listen, Closed},
	Established: {FinWait1, CloseWait, Closed},
	FinWait1:    {FinWait2, Closing, Closed},
	FinWait2:    {TimeWait, Closed},
	CloseWait:   {LastAck, Closed},
	Closing:     {TimeWait, Closed},
	LastAck:     {Closed},
	TimeWait:    {Closed},
}

// A judge is a tracer that holds every change of state to figure 5 (invariant I15).
type judge struct{ t *testing.T }

func (j judge) Trace(e *Event) {
	if e.Kind != EventState {
		return
	}
	for _, to := range edges[e.From] {
		if to == e.To {
			return
		}
	}
	j.t.Errorf("%s -> %s (%s) is not in RFC 9293 figure 5", e.From, e.To, e.Reason)
}

// A machine drives one connection with whatever a byte string says: segments
// near and far from the window, application calls, and the clock.
type machine struct {
	t    *testing.T
	k    *talk
	in   []byte
	seen int
	most int // the largest receive buffer so far
}

func (m *machine) next() int {
	if len(m.in) == 0 {
		return 0
	}
	b := m.in[0]
	m.in = m.in[1:]
	return int(b)
}

// near returns a point around one that matters to the connection.
func (m *machine) near(points ...segment.Seq) segment.Seq {
	p := points[m.next()%len(points)]
	return p.Add([]int{0, 0, 0, 1, -1, 2, 500, -500, 70_000, -70_000, 1 << 30, 1 << 31}[m.next()%12])
}

func (m *machine) segment() segment.Segment {
	c := m.k.c
	s := segment.Segment{
		Src: peer, Dst: us, Window: uint16(m.next() << 8), Urgent: uint16(m.next()),
		Flags: segment.Flags(m.next()), Payload: make([]byte, []int{0, 0, 1, 10, 1000, 3000, 65000}[m.next()%7]),
	}
	if m.next()%4 != 0 { // mostly plausible, so that the deep states are reached
		s.Flags = s.Flags&(segment.FIN|segment.PSH|segment.URG) | segment.ACK
	}
	if c.state == SynSent && m.next()%2 == 0 {
		s.Flags |= segment.SYN
	}
	s.Seq = m.near(c.rcv.nxt, c.rcv.nxt, c.rcv.edge, c.rcv.irs)
	s.Ack = m.near(c.snd.nxt, c.snd.una, c.snd.iss)
	if m.next()%3 == 0 {
		s.Options.Set |= segment.HasSACK
		s.Options.SACKCount = uint8(m.next() % 5)
		for i := range s.Options.Blocks() {
			s.Options.SACK[i] = segment.SACKBlock{Start: m.near(c.snd.una, c.snd.nxt), End: m.near(c.snd.nxt, c.snd.una)}
		}
	}
	if m.next()%3 == 0 {
		s.Options.Set |= segment.HasTimestamps | segment.HasMSS | segment.HasWindowScale | segment.HasSACKPermitted
		s.Options.TSVal, s.Options.TSEcr = uint32(m.next()), c.tsNow(m.k.now)-uint32(m.next())
		s.Options.MSS, s.Options.WindowScale = uint16(m.next()), uint8(m.next())
	}
	return s
}

func (m *machine) step() {
	c, now := m.k.c, m.k.now
	switch m.next() % 12 {
	case 0:
		_, _ = c.Write(now, make([]byte, m.next()*50))
	case 1:
		if _, err := c.Read(now, make([]byte, m.next()*50)); err == io.EOF {
			m.seen++
		}
	case 2:
		if m.next()%8 == 0 {
			c.CloseWrite(now)
		}
	case 3:
		if m.next()%30 == 0 {
			c.Close(now)
		}
	case 4:
		m.k.advance(time.Duration(m.next()) * 10 * time.Millisecond)
	case 5:
		if due := m.k.stack.Deadline(); due != 0 {
			m.k.now = max(m.k.now, due)
			m.k.stack.Advance(m.k.now)
		}
	case 6:
		m.turn(c, now)
	default:
		s := m.segment()
		m.k.stack.Receive(now, &s)
	}
}

// turn turns one of the knobs of a connection.
func (m *machine) turn(c *Conn, now Time) {
	on, n := m.next()%2 == 0, m.next()
	switch m.next() % 24 {
	case 0:
		seq := c.snd.una.Add(n * 50)
		mtu := max(552, m.next()*8)
		c.packetTooBig(now, seq, mtu, c.judgeTooBig(seq, mtu, on))
	case 1:
		c.SetCork(on)
	case 2:
		_ = c.SetReceiveBuffer(now, 1+n*100)
	case 3:
		_ = c.SetSendBuffer(1 + n*100)
	case 4:
		c.SetNoDelay(on)
	case 5:
		_ = c.SetUserTimeout(now, time.Duration(n)*time.Second)
	case 6:
		_ = c.SetKeepAlive(now, time.Duration(n)*time.Second, time.Second, 1+n%5)
	case 7:
		_ = c.SetCongestion([]string{"reno", "cubic"}[n%2])
	case 8:
		if n%8 == 0 {
			c.CloseRead(now)
		}
	case 9:
		_, _ = c.WriteUrgent(now, make([]byte, n))
	case 10:
		_ = c.SetPacing(on, int64(n*100))
	}
}

// check holds the invariants after each step.
func (m *machine) check() {
	c := m.k.c
	for n := 0; m.k.stack.Transmit(m.k.now, &m.k.seg); n++ {
		if _, err := m.k.seg.Append(nil); err != nil {
			m.t.Fatalf("%s: %v", m.k.seg.String(), err)
		}
		if n > 10_000 {
			m.t.Fatal("it never stops talking")
		}
	}
	if c.state == Closed {
		if c.Deadline() != 0 || m.k.stack.Deadline() != 0 || m.k.stack.Conns() != 0 {
			m.t.Fatal("CLOSED, but something is left")
		}
		return
	}
	m.most = max(m.most, c.rcv.buf.limit)
	checkSums(m.t, &c.snd.sent, c.snd.una, c.snd.nxt)
	outstanding := !c.snd.sent.empty()
	switch {
	case c.snd.nxt.Less(c.snd.una):
		m.t.Fatal("I1: SND.UNA is beyond SND.NXT")
	case outstanding && c.timers[TimerRTO] == 0:
		m.t.Fatalf("I11: outstanding and no timer in %s", c.state)
	case !outstanding && c.timers[TimerRTO] != 0:
		m.t.Fatalf("I13: nothing outstanding and a timer in %s", c.state)
	case c.state == Established && !outstanding && c.snd.buf.len() > 0 && c.snd.wnd == 0 && c.timers[TimerPersist] == 0:
		m.t.Fatal("I12: data waits for a window and nobody asks for one")
	case c.rcv.edge.Less(c.rcv.nxt):
		m.t.Fatal("the right edge is left of RCV.NXT")
	case c.rcv.buf.readable > m.most+1<<c.rcv.scale:
		m.t.Fatalf("%d octets held, the limit was never above %d", c.rcv.buf.readable, m.most)
	}
}

func runMachine(t *testing.T, in []byte) {
	k := &talk{t: t, now: Time(time.Second), irs: segment.MakeSeq(peerISN), peer: peer}
	k.stack = NewStack(StackConfig{Tracer: judge{t}})
	m := &machine{t: t, k: k, in: in}
	iss := segment.MakeSeq(isns[m.next()%len(isns)])
	c, err := k.stack.Dial(k.now, us, peer, 1500, ConnConfig{ISN: &iss, ReceiveBuffer: 5000 * (1 + m.next()), KeepAliveIdle: time.Duration(m.next()) * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	k.c = c
	m.check()
	for len(m.in) > 0 {
		m.step()
		m.check()
	}
}

func FuzzConn(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(randomBytes(seed, 2000))
	}
	f.Fuzz(runMachine)
}

func randomBytes(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 5))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// A swarm of random machines on every test run; a failure names its seed.
func TestMachines(t *testing.T) {
	for seed := range uint64(3000) {
		in := randomBytes(seed, 600)
		runMachine(t, in)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
