package engine

import (
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"rawtcp/segment"
)

// A cashier asks for tallies and adds them up, by connection.
type cashier struct {
	sums map[uint64]Tally
	told map[EventKind]int
	last EventKind
}

func newCashier() *cashier {
	return &cashier{sums: map[uint64]Tally{}, told: map[EventKind]int{}}
}

func (*cashier) Interest() Interest {
	return InterestIn(EventSegmentIn, EventSegmentOut, EventState, EventTally)
}

func (k *cashier) Trace(e *Event) {
	k.told[e.Kind]++
	k.last = e.Kind
	if e.Kind != EventTally {
		return
	}
	sum := k.sums[e.Conn]
	sum.SegmentsIn += e.Tally.SegmentsIn
	sum.SegmentsOut += e.Tally.SegmentsOut
	sum.Resent += e.Tally.Resent
	sum.Payload += e.Tally.Payload
	sum.DataIn += e.Tally.DataIn
	k.sums[e.Conn] = sum
}

func TestInterestOf(t *testing.T) {
	if i := InterestOf(nil); i != 0 {
		t.Errorf("nobody wants %b", i)
	}
	if i := InterestOf(&tellTale{}); i != Everything {
		t.Errorf("one who does not say wants %b", i)
	}
	if i := InterestOf(newCashier()); i != 1<<EventSegmentIn|1<<EventSegmentOut|1<<EventState|1<<EventTally {
		t.Errorf("a list is %b", i)
	}
}

// What is not asked for is not told: of the segments those without SYN, FIN and
// RST. What they come to is told when there is nothing more to send.
func TestPlainSegmentsAreTallied(t *testing.T) {
	k := dial(t, plain())
	sums := newCashier()
	k.stack.setTracer(sums)
	k.want("the SYN", "S 0:0(0)")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>")
	k.want("the handshake's last ACK", ". ack 1")
	k.write(2500)
	k.want("data", ". 1:1001(1000) ack 1")
	k.want("data", ". 1001:2001(1000) ack 1")
	k.in("P. 1:301(300) ack 2001 win 65535")
	k.want("the rest", "P. 2001:2501(500) ack 301")
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	k.want("it again", "P. 2001:2501(500) ack 301")
	if len(sums.sums) != 0 {
		t.Errorf("told while there may be more to send: %+v", sums.sums)
	}
	k.wantIdle("that was all")
	want := Tally{SegmentsIn: 1, SegmentsOut: 5, Resent: 1, Payload: 3000, DataIn: 300}
	if got := sums.sums[k.c.id]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if sums.told[EventSegmentOut] != 1 || sums.told[EventSegmentIn] != 1 {
		t.Errorf("%d segments out and %d in were told, want the two SYNs", sums.told[EventSegmentOut], sums.told[EventSegmentIn])
	}
	for _, kind := range []EventKind{EventTimerArmed, EventTimerFired, EventTimerStopped, EventDataIn, EventDataOut} {
		if sums.told[kind] != 0 {
			t.Errorf("%d events of kind %d that nobody asked for", sums.told[kind], kind)
		}
	}
}

// The end of a connection is told after all that came before it.
func TestTallyComesBeforeTheEnd(t *testing.T) {
	k := established(t, plain())
	sums := newCashier()
	k.stack.setTracer(sums)
	in := segment.Segment{Src: peer, Dst: us, Flags: segment.ACK, Seq: k.c.rcv.nxt, Ack: k.c.snd.nxt, Window: 65535, Payload: make([]byte, 10)}
	k.stack.Receive(k.now, &in)
	if len(sums.sums) != 0 {
		t.Fatalf("told at once: %+v", sums.sums)
	}
	k.c.Abandon(k.now)
	if got := sums.sums[k.c.id]; got.SegmentsIn != 1 || got.DataIn != 10 || sums.last != EventState {
		t.Errorf("%+v, and last an event of kind %d", got, sums.last)
	}
}

// Two connections in turns: each has its own.
func TestTallyIsOfOneConnection(t *testing.T) {
	stack := NewStack(StackConfig{Secret: [32]byte{1}})
	sums := newCashier()
	var conns [2]*Conn
	var seg segment.Segment
	for i := range conns {
		c, err := stack.Dial(1, us, withPort(peer, uint16(80+i)), 1500, plain())
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c
		for stack.Transmit(1, &seg) {
		}
		stack.Receive(2, &segment.Segment{Src: c.remote, Dst: us, Flags: segment.SYN | segment.ACK, Ack: c.snd.nxt, Window: 65535,
			Options: segment.Options{Set: segment.HasMSS, MSS: 1000}})
	}
	for stack.Transmit(3, &seg) {
	}
	stack.setTracer(sums)
	for range 3 {
		for i, c := range conns {
			stack.Receive(4, &segment.Segment{Src: c.remote, Dst: us, Flags: segment.ACK, Seq: c.rcv.nxt, Ack: c.snd.nxt, Window: 65535, Payload: make([]byte, 10+i)})
		}
	}
	for stack.Transmit(5, &seg) {
	}
	for i, c := range conns {
		got := sums.sums[c.id]
		got.SegmentsOut = 0
		if want := (Tally{SegmentsIn: 3, DataIn: 3 * (10 + i)}); got != want {
			t.Errorf("connection %d: %+v, want %+v", c.id, got, want)
		}
	}
}

// The top of a tally is the highest octet, in whatever order they leave.
func TestTopOfATally(t *testing.T) {
	k := established(t, plain())
	k.stack.setTracer(newCashier())
	start := segment.MakeSeq(1<<32 - 1500)
	for _, at := range []int{0, 2000, 1000} { // around the end of sequence space
		k.c.tallyOut(&segment.Segment{Flags: segment.ACK, Seq: start.Add(at), Payload: make([]byte, 1000)}, at == 1000)
	}
	if got, want := k.stack.tallies.tally, (Tally{SegmentsOut: 3, Resent: 1, Payload: 3000, First: start, Top: start.Add(3000)}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Who asks for sums makes nobody allocate.
func TestTalliesDoNotAllocate(t *testing.T) {
	k := established(t, plain())
	counted := &counter{}
	k.stack.setTracer(counted)
	round := steadyRound(t, k)
	for range 1000 {
		round()
	}
	if n := testing.AllocsPerRun(1000, round); n != 0 {
		t.Errorf("%v allocations per round", n)
	}
	if counted.segments < 4000 {
		t.Errorf("%d segments counted", counted.segments)
	}
}

// A counter counts segments from tallies alone.
type counter struct{ segments int }

func (*counter) Interest() Interest { return InterestIn(EventTally) }

func (c *counter) Trace(e *Event) { c.segments += e.Tally.SegmentsIn + e.Tally.SegmentsOut }

// A fullLink takes nothing while it is full.
type fullLink struct {
	batchLink
	full atomic.Bool
}

func (l *fullLink) WriteBatch(pkts [][]byte) (int, error) {
	if l.full.Load() {
		return 0, syscall.ENOBUFS
	}
	return l.batchLink.WriteBatch(pkts)
}

// A host tells what it has counted before it lets go of its lock, also when the
// link is full and there would be more to send.
func TestTallyDoesNotWaitForTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &fullLink{batchLink: batchLink{in: make(chan [][]byte)}}
		sums := newCashier()
		h := NewHost(HostConfig{Link: link, Tracer: sums, Conn: plain(func(c *ConnConfig) { c.InitialWindow = 100 })})
		defer h.Close()
		l, err := h.Listen(us, ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s := segment.Segment{Src: peer, Dst: us, Flags: segment.SYN, Window: 65535}
		s.Options.Set, s.Options.MSS = segment.HasMSS, 500
		link.in <- [][]byte{packet(t, s)}
		synctest.Wait()
		ack := segment.Segment{Src: peer, Dst: us, Flags: segment.ACK, Seq: s.Seq.Add(1), Ack: segment.MakeSeq(5_000_001), Window: 65535}
		link.in <- [][]byte{packet(t, ack)}
		c, err := l.AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		link.full.Store(true)
		if _, err := c.Write(make([]byte, 500*(writeBatch+10))); err != nil {
			t.Fatal(err)
		}
		h.mu.Lock()
		got := sums.sums[c.conn.id]
		h.mu.Unlock()
		link.full.Store(false)
		if got.SegmentsOut != writeBatch || got.SegmentsIn != 1 {
			t.Errorf("%+v, want %d segments out and the ACK of the handshake in", got, writeBatch)
		}
	})
}
