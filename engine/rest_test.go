package engine

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"rawtcp/segment"
)

// A twin is a stack with one connection in TIME-WAIT, and all it says.
type twin struct {
	stack  *Stack
	conn   *Conn
	said   []string
	events []string
}

// Trace implements Tracer.
func (w *twin) Trace(e *Event) {
	text := fmt.Sprint(e.Kind, e.At, e.Conn, e.Local, e.Remote, e.State, e.From, e.To, e.Note, e.Reason, e.Timer, e.Due, e.Vars.ISS, e.Vars.IRS)
	if e.Segment != nil {
		text += e.Segment.String()
	}
	w.events = append(w.events, text)
	for i := range e.Follows {
		w.Trace(&e.Follows[i])
	}
}

// newTwin opens a connection and closes it, as a test wants.
func newTwin(t *testing.T, cfg ConnConfig, stamps bool, traced bool) *twin {
	t.Helper()
	w := &twin{}
	sc := StackConfig{Secret: [32]byte{7}}
	if traced {
		sc.Tracer = w
	}
	w.stack = NewStack(sc)
	var err error
	if w.conn, err = w.stack.Dial(1, us, peer, 1500, cfg); err != nil {
		t.Fatal(err)
	}
	w.send(1)
	s := w.segment(stamps, 1, segment.SYN|segment.ACK, -1)
	s.Options.Set |= segment.HasMSS | segment.HasWindowScale
	s.Options.MSS, s.Options.WindowScale = 1400, 5
	w.hear(2e6, s)
	w.conn.CloseWrite(2e6)
	w.send(2e6)
	w.hear(4e6, w.segment(stamps, 2, segment.FIN|segment.ACK, 0))
	if w.conn.State() != TimeWait {
		t.Fatal(w.conn.State())
	}
	w.conn.Close(4e6)
	return w
}

const twinIRS = 77_000

// segment is one of the peer's, at an offset from RCV.NXT of the handshake.
func (w *twin) segment(stamps bool, tsVal uint32, f segment.Flags, offset int) *segment.Segment {
	s := &segment.Segment{Src: peer, Dst: us, Flags: f, Seq: segment.MakeSeq(twinIRS).Add(1 + offset), Ack: w.conn.snd.nxt, Window: 1000}
	if stamps {
		s.Options.Set, s.Options.TSVal, s.Options.TSEcr = segment.HasTimestamps, tsVal, 1
	}
	return s
}

func (w *twin) hear(now Time, s *segment.Segment) {
	heard := *s
	w.stack.Receive(now, &heard)
	w.send(now)
}

func (w *twin) send(now Time) {
	var s segment.Segment
	for w.stack.Transmit(now, &s) {
		w.said = append(w.said, fmt.Sprint(now, s.String()))
	}
}

// What was retired says and tells the same as what was not, whatever the peer says.
func TestRetiredConnectionsDoTheSame(t *testing.T) {
	for seed := range uint64(1000) {
		random := rand.New(rand.NewPCG(seed, 1))
		stamps, traced := random.IntN(2) == 0, random.IntN(2) == 0
		cfg := ConnConfig{TimeWait: []time.Duration{0, -1, time.Second}[random.IntN(3)], ISN: new(segment.Seq)}
		if random.IntN(3) == 0 {
			cfg.TimeWaitRST = On
		}
		full, small := newTwin(t, cfg, stamps, traced), newTwin(t, cfg, stamps, traced)
		nxt := full.conn.snd.nxt
		if !small.stack.Retire(small.conn) {
			t.Fatal("not retired")
		}
		small.conn = full.conn // to make segments of
		now := Time(5e6)
		for range 1 + random.IntN(6) {
			now = now.Add(time.Duration(random.Int64N(int64(40 * time.Second)))) // TIME-WAIT may end
			if random.IntN(2) == 0 {
				now = now.Add(-time.Duration(int64(now-5e6) / 64 * 63))
			}
			s := full.segment(stamps && random.IntN(8) > 0, uint32(random.IntN(5)), segment.Flags(random.IntN(64)), random.IntN(6)-3)
			s.Ack = nxt.Add(random.IntN(4) - 2)
			if random.IntN(4) == 0 {
				s.Payload = []byte("old")
			}
			for _, w := range []*twin{full, small} {
				w.stack.Advance(now)
				w.hear(now, s)
			}
			if a, b := full.stack.Deadline(), small.stack.Deadline(); a != b || full.stack.Conns() != small.stack.Conns() {
				t.Fatalf("seed %d: deadlines %v and %v, %d and %d connections", seed, a, b, full.stack.Conns(), small.stack.Conns())
			}
		}
		for _, w := range []*twin{full, small} {
			if err := w.stack.Audit(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			w.stack.Advance(now.Add(time.Hour))
			w.send(now.Add(time.Hour))
		}
		if !slices.Equal(full.said, small.said) {
			t.Fatalf("seed %d: it said\n%q, retired\n%q", seed, full.said, small.said)
		}
		if !slices.Equal(full.events, small.events) {
			t.Fatalf("seed %d: it told\n%q, retired\n%q", seed, full.events, small.events)
		}
		if full.stack.Counters() != small.stack.Counters() || small.stack.Conns() != 0 || small.stack.rests.len() != 0 {
			t.Fatalf("seed %d: %+v, retired %+v", seed, full.stack.Counters(), small.stack.Counters())
		}
	}
}

// Only what has nothing to say and nothing to read goes, and its pair of sockets
// stays in use until TIME-WAIT is over.
func TestRetire(t *testing.T) {
	w := newTwin(t, ConnConfig{TimeWait: time.Second}, true, false)
	other := NewStack(StackConfig{})
	if other.Retire(w.conn) {
		t.Error("another stack's connection was retired")
	}
	w.conn.ackDue("to be said yet")
	if w.stack.Retire(w.conn) {
		t.Error("it had still to acknowledge something")
	}
	w.conn.acksDue = 0
	if !w.stack.Retire(w.conn) || w.stack.Conns() != 1 || !w.stack.InUse(us, peer) {
		t.Errorf("%d connections", w.stack.Conns())
	}
	if w.stack.Retire(w.conn) {
		t.Error("it was retired twice")
	}
	if _, err := w.stack.Dial(5e6, us, peer, 1500, ConnConfig{}); err == nil {
		t.Error("a pair of sockets in TIME-WAIT was opened")
	}
	w.stack.Advance(w.stack.Deadline())
	if w.stack.Conns() != 0 || w.stack.InUse(us, peer) {
		t.Error("TIME-WAIT does not end")
	}
	c, err := w.stack.Dial(5e9, us, peer, 1500, ConnConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if w.stack.Retire(c) {
		t.Error("a connection in SYN-SENT was retired")
	}
}

// Each finds what was retired, and may end it.
func TestEachFindsTheRetired(t *testing.T) {
	w := newTwin(t, ConnConfig{}, true, true)
	id := w.conn.ID()
	w.stack.Retire(w.conn)
	found := 0
	w.stack.Each(func(c *Conn) {
		if c.ID() == id && c.State() == TimeWait {
			found++
		}
		c.Abort(6e6)
	})
	if found != 1 || w.stack.Conns() != 0 {
		t.Errorf("%d found, %d left", found, w.stack.Conns())
	}
	if due := w.stack.Deadline(); due != 0 {
		w.stack.Advance(due)
	}
	if due := w.stack.Deadline(); due != 0 {
		t.Errorf("something is due at %v", due)
	}
}

// A connection of recycled memory is like one of new memory.
func TestRecycledConnectionsAreNew(t *testing.T) {
	w := newTwin(t, ConnConfig{TimeWait: time.Second}, true, false)
	used := w.conn
	w.conn.incidents().Retransmits = 5
	w.stack.Recycle(w.conn)
	if len(w.stack.spares.conns) != 0 {
		t.Fatal("a connection in TIME-WAIT was recycled")
	}
	w.conn.Abort(5e6)
	w.stack.Recycle(w.conn)
	w.stack.Recycle(w.conn) // it is no connection any more
	if len(w.stack.spares.conns) != 1 || len(w.stack.spares.controllers) != 1 {
		t.Fatalf("%d connections and %d controllers wait for use", len(w.stack.spares.conns), len(w.stack.spares.controllers))
	}
	fresh := NewStack(StackConfig{Secret: [32]byte{7}})
	fresh.common.lastID.Store(w.stack.common.lastID.Load())
	var got [2]*Conn
	for i, s := range []*Stack{w.stack, fresh} {
		c, err := s.Dial(6e6, us, peer, 1500, ConnConfig{})
		if err != nil {
			t.Fatal(err)
		}
		got[i] = c
	}
	if got[0] != used {
		t.Error("the memory was not used again")
	}
	if a, b := got[0].Info(7e6), got[1].Info(7e6); fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("recycled\n%+v, new\n%+v", a, b)
	}
}

// In the steady state a connection costs no allocation, from the SYN to the end of
// TIME-WAIT.
func TestConnectionsWithoutAllocation(t *testing.T) {
	client, server := NewStack(StackConfig{Secret: [32]byte{1}}), segment.MakeSeq(9)
	now, port := Time(1), uint16(2000)
	var out, in segment.Segment
	one := func() {
		now = now.Add(50 * time.Microsecond)
		port = 2000 + (port-1999)%1000
		local := netip.AddrPortFrom(us.Addr(), port)
		c, err := client.Dial(now, local, peer, 1500, ConnConfig{TimeWait: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		for client.Transmit(now, &out) {
			in = segment.Segment{Src: out.Dst, Dst: out.Src, Seq: server, Ack: out.End(), Flags: segment.ACK, Window: 65535,
				Options: segment.Options{Set: segment.HasTimestamps, TSVal: 5, TSEcr: out.Options.TSVal}}
			switch {
			case out.Flags.Has(segment.SYN):
				in.Flags |= segment.SYN
				in.Options.Set |= segment.HasMSS
				in.Options.MSS = 1460
			case out.Flags.Has(segment.FIN):
				in.Seq = in.Seq.Add(1)
				in.Flags |= segment.FIN
			default:
				c.CloseWrite(now)
				continue
			}
			client.Receive(now, &in)
		}
		if !client.Retire(c) {
			t.Fatalf("it is in %v", c.State())
		}
		client.Advance(now)
	}
	for range 2000 {
		one()
	}
	if n := testing.AllocsPerRun(5000, one); n != 0 && !underRaceDetector {
		t.Errorf("%v allocations for each connection", n)
	}
	if n := client.Conns(); n > 30 {
		t.Errorf("%d connections are left", n)
	}
}
