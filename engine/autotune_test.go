package engine

import (
	"errors"
	"strings"
	"testing"
	"time"

	"rawtcp/segment"
)

// tuneTalk is an established connection with timestamps whose buffers may grow to
// most octets; the peer has segments of 60,000 octets.
func tuneTalk(t *testing.T, most int) *talk {
	k := dial(t, plain(func(c *ConnConfig) {
		c.SendBuffer, c.ReceiveBuffer, c.SendBufferMax, c.ReceiveBufferMax, c.Timestamps = 0, 0, most, most, On
	}))
	k.stack.cfg.Tracer, k.stack.interest = nil, 0 // a gigabyte is no talk to read
	if !k.stack.Transmit(k.now, &k.seg) {
		t.Fatal("no SYN")
	}
	k.seg.Payload = nil
	k.deliver(segment.SYN|segment.ACK, 0, 0, func(s *segment.Segment) {
		s.Options.Set |= segment.HasMSS | segment.HasWindowScale | segment.HasSACKPermitted
		s.Options.MSS, s.Options.WindowScale = 60_000, 14
	})
	k.wantState(Established)
	k.drain()
	return k
}

// deliver brings a segment of the peer that acknowledges all we sent, n octets from
// octet at on, and echoes our clock of when it left: a round trip ago.
func (k *talk) deliver(flags segment.Flags, at, n int, change func(*segment.Segment)) {
	s := segment.Segment{Src: k.peer, Dst: us, Seq: k.irs.Add(at), Ack: k.c.snd.nxt, Flags: flags, Window: 0xffff}
	s.Options.Set = segment.HasTimestamps
	s.Options.TSVal, s.Options.TSEcr = uint32(k.now/Time(time.Millisecond)), k.c.tsNow(k.now.Add(-100*time.Millisecond))
	s.Payload = zeros[:n]
	change(&s)
	k.stack.Receive(k.now, &s)
}

var zeros = make([]byte, 60_000)

func (k *talk) drain() {
	for k.stack.Transmit(k.now, &k.seg) {
	}
}

// A peer that fills each window in a round trip of 100 ms, and an application that
// reads all, get twice the window in the next, up to a gigabyte; and the field says
// it to the unit.
func TestReceiveWindowGrowsToAGigabyte(t *testing.T) {
	k := tuneTalk(t, 1<<30)
	if k.c.rcv.scale != 14 {
		t.Fatalf("scale %d, a gigabyte needs 14", k.c.rcv.scale)
	}
	at, rounds, sink := 1, 0, make([]byte, 1<<20)
	for ; k.c.rcv.buf.limit < 1<<30 && rounds < 20; rounds++ {
		before := k.c.rcv.buf.limit
		for end := k.c.rcv.edge; k.irs.Add(at).Less(end); {
			n := min(60_000, end.Sub(k.irs.Add(at)))
			k.deliver(segment.ACK, at, n, func(*segment.Segment) {})
			at += n
			for got, _ := k.c.Read(k.now, sink); got > 0; got, _ = k.c.Read(k.now, sink) {
			}
		}
		k.drain()
		k.now = k.now.Add(101 * time.Millisecond)
		k.deliver(segment.ACK, at, 100, func(*segment.Segment) {})
		at += 100
		k.c.Read(k.now, sink)
		k.drain()
		if after := k.c.rcv.buf.limit; rounds > 0 && after < min(2*before-1<<15, 1<<30) {
			t.Fatalf("round %d: the buffer grows from %d to %d", rounds, before, after)
		}
	}
	for range 2 {
		k.deliver(segment.ACK, at, 60_000, func(*segment.Segment) {})
		k.c.Read(k.now, sink)
		at += 60_000
	}
	k.drain()
	open := k.c.rcv.edge.Sub(k.c.rcv.nxt)
	if rounds > 12 || open < 0xffff<<14-1<<15 {
		t.Errorf("after %d round trips the window is %d", rounds, open)
	}
	if n := k.stack.Buffered(); n != 0 {
		t.Errorf("%d octets are buffered, all were read", n)
	}
}

// What the application does not read is no reason for a larger window, and neither
// is a sender who stays far below the one there is.
func TestReceiveBufferStaysWhereItIsEnough(t *testing.T) {
	k := tuneTalk(t, 64<<20)
	at := 1
	round := func(octets int, read bool) {
		for end := at + octets; at < end; at += 50_000 {
			k.deliver(segment.ACK, at, 50_000, func(*segment.Segment) {})
			if read {
				k.c.Read(k.now, make([]byte, 1<<20))
			}
			k.drain()
		}
		k.now = k.now.Add(101 * time.Millisecond)
	}
	for range 10 {
		round(400_000, true)
	}
	if got := k.c.rcv.buf.limit; got != firstBuffer {
		t.Errorf("400,000 octets a round trip: the buffer is %d", got)
	}
	round(950_000, false)
	for range 10 {
		round(50_000, false)
	}
	if got := k.c.rcv.buf.limit; got != firstBuffer {
		t.Errorf("nobody reads: the buffer is %d", got)
	}
}

// Under memory pressure nothing grows.
func TestBuffersDoNotGrowUnderPressure(t *testing.T) {
	k := tuneTalk(t, 64<<20)
	k.stack.memory.pressed, k.stack.memory.relief = true, -1
	for i := range 10 {
		k.c.rcv.tuning = tuning{since: k.now, octets: 1 << 20}
		k.now = k.now.Add(101 * time.Millisecond)
		k.deliver(segment.ACK, 1+i, 1, func(*segment.Segment) {})
	}
	k.c.snd.tuning = tuning{since: k.now.Add(-100 * time.Millisecond), octets: 1 << 20}
	k.c.tuneSend(k.now, true, 1<<20)
	if r, s := k.c.rcv.buf.limit, k.c.snd.buf.limit; r != firstBuffer || s != firstBuffer {
		t.Errorf("the buffers are %d and %d", r, s)
	}
}

// The send buffer grows by what the path delivers in the least round trip, not by
// what waits in a queue of it.
func TestSendBufferGrowsWithThePath(t *testing.T) {
	for _, tt := range []struct {
		name string
		took time.Duration // of a round, when the least round trip is 100 ms
		want int           // after one round with 4 MiB, and none before
	}{
		{"all of it is the path's", 100 * time.Millisecond, 8 << 20},
		{"half of it is a queue's", 200 * time.Millisecond, 4 << 20},
		{"nearly all of it is a queue's", 800 * time.Millisecond, 1 << 20},
	} {
		k := tuneTalk(t, 64<<20)
		k.c.loss.rack.minRTT = minFilter{this: 100 * time.Millisecond, since: k.now}
		k.c.tuneSend(k.now, true, 1<<20)
		if k.now = k.now.Add(tt.took); k.c.snd.tuning.octets != 0 {
			t.Fatalf("%s: %d octets before the first round", tt.name, k.c.snd.tuning.octets)
		}
		k.c.tuneSend(k.now, true, 4<<20)
		if got := k.c.snd.buf.limit; got != tt.want {
			t.Errorf("%s: the buffer is %d, want %d", tt.name, got, tt.want)
		}
	}
}

// The receive buffer grows by what is read in the least round trip. Where we are
// what is slow, the window waits in our own queue: a larger one would wait as well.
func TestReceiveBufferGrowsWithThePath(t *testing.T) {
	for _, tt := range []struct {
		name string
		took time.Duration // of a round with 4 MiB, when the least round trip is 100 ms
		want int
	}{
		{"all of it is the path's", 100 * time.Millisecond, 8 << 20},
		{"half of it is our queue's", 200 * time.Millisecond, 4 << 20},
		{"nearly all of it is our queue's", 900 * time.Millisecond, 1 << 20},
	} {
		k := tuneTalk(t, 64<<20)
		k.c.rcv.least = leastRound{this: 100_000, since: int32(k.now / Time(time.Second))}
		k.c.rcv.tuning = tuning{since: k.now, octets: 4 << 20}
		k.now = k.now.Add(tt.took)
		k.deliver(segment.ACK, 1, 1, func(*segment.Segment) {})
		if got := k.c.rcv.buf.limit; got < tt.want || got > tt.want+tt.want/100 {
			t.Errorf("%s: the buffer is %d, want %d", tt.name, got, tt.want)
		}
	}
}

// A path that becomes longer is believed: the least round trip is not for ever.
func TestReceiveBufferFollowsALongerPath(t *testing.T) {
	k := tuneTalk(t, 64<<20)
	k.c.rcv.least = leastRound{this: 10_000, since: int32(k.now / Time(time.Second))}
	for i := range 40 {
		k.c.rcv.tuning = tuning{since: k.now, octets: 4 << 20}
		k.now = k.now.Add(10 * time.Second)
		k.deliver(segment.ACK, 1+i, 1, func(*segment.Segment) {})
	}
	if got := k.c.rcv.buf.limit; got < 8<<20 {
		t.Errorf("the buffer is %d", got)
	}
}

// A buffer that was set stays as it was set, unless its most was set too; an
// application that sets it later has the last word; and the scale fits the most.
func TestBoundsOfBuffers(t *testing.T) {
	for _, tt := range []struct{ first, most, wantFirst, wantMost, scale int }{
		{0, 0, 1 << 20, 16 << 20, 9}, {5000, 0, 5000, 5000, 1}, {0, 5000, 5000, 5000, 1},
		{4000, 8 << 20, 4000, 8 << 20, 8}, {0, 1 << 30, 1 << 20, 1 << 30, 14}, {100, 1 << 30, 100, 1 << 30, 5},
	} {
		cfg := ConnConfig{ReceiveBuffer: tt.first, ReceiveBufferMax: tt.most, SendBuffer: tt.first, SendBufferMax: tt.most}.withDefaults()
		if cfg.ReceiveBuffer != tt.wantFirst || cfg.ReceiveBufferMax != tt.wantMost || cfg.WindowScale != tt.scale ||
			cfg.SendBuffer != tt.wantFirst || cfg.SendBufferMax != tt.wantMost {
			t.Errorf("%d to %d: %d to %d, scale %d; want %d to %d, scale %d", tt.first, tt.most, cfg.ReceiveBuffer, cfg.ReceiveBufferMax,
				cfg.WindowScale, tt.wantFirst, tt.wantMost, tt.scale)
		}
		if err := cfg.check(); err != nil {
			t.Error(err)
		}
	}
	cfg := ConnConfig{ReceiveBuffer: 5000, ReceiveBufferMax: 4999}.withDefaults()
	if err := cfg.check(); !errors.Is(err, ErrBadConfig) || !strings.Contains(err.Error(), "ReceiveBufferMax 4999") {
		t.Errorf("a most below the first: %v", err)
	}
	k := tuneTalk(t, 1<<30)
	if err := errors.Join(k.c.SetReceiveBuffer(k.now, 1<<20), k.c.SetSendBuffer(1<<20)); err != nil {
		t.Fatal(err)
	}
	if k.c.cfg.ReceiveBufferMax != 1<<20 || k.c.cfg.SendBufferMax != 1<<20 {
		t.Errorf("buffers that the application has set may grow to %d and %d", k.c.cfg.ReceiveBufferMax, k.c.cfg.SendBufferMax)
	}
}
