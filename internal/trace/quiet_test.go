package trace

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawtcp/engine"
	"rawtcp/internal/paired"
	"rawtcp/segment"
)

// A chute is a bulk transfer from one stack to another in one goroutine and in
// virtual time, a batch of packets at a time as a host sends them. Between the
// stacks is nothing but the packets, so that what the stacks do is all it costs.
type chute struct {
	tb             testing.TB
	now            engine.Time
	from, to       *engine.Stack
	sender, reader *engine.Conn
	seg            segment.Segment
	bufs           [64][]byte
	chunk          []byte
	got            int
}

// newChute opens a connection between two stacks with these tracers, either of
// which may be nil.
func newChute(tb testing.TB, from, to engine.Tracer) *chute {
	c := &chute{tb: tb, now: 1, chunk: make([]byte, 64<<10)}
	c.from = engine.NewStack(engine.StackConfig{Secret: [32]byte{1}, Tracer: from})
	c.to = engine.NewStack(engine.StackConfig{Secret: [32]byte{2}, Tracer: to})
	l, err := c.to.Listen(c.now, remote4, func(netip.Addr) int { return 1500 }, engine.ListenConfig{})
	if err != nil {
		tb.Fatal(err)
	}
	if c.sender, err = c.from.Dial(c.now, local4, remote4, 1500, engine.ConnConfig{}); err != nil {
		tb.Fatal(err)
	}
	for range 3 {
		c.carry(c.from, c.to)
		c.carry(c.to, c.from)
	}
	if c.reader = l.Accept(); c.reader == nil {
		tb.Fatal("no connection")
	}
	return c
}

// carry delivers what a stack has to say, until it is silent.
func (c *chute) carry(from, to *engine.Stack) {
	for n := len(c.bufs); n == len(c.bufs); {
		n = 0
		for n < len(c.bufs) && from.Transmit(c.now, &c.seg) {
			var err error
			if c.bufs[n], err = c.seg.Append(c.bufs[n][:0]); err != nil {
				c.tb.Fatal(err)
			}
			n++
		}
		c.now += 50_000 // ns
		for _, pkt := range c.bufs[:n] {
			to.Deliver(c.now, pkt, 0)
		}
	}
}

// send moves so many octets through.
func (c *chute) send(octets int) {
	for c.got = 0; c.got < octets; {
		if _, err := c.sender.Write(c.now, c.chunk); err != nil {
			c.tb.Fatal(err)
		}
		c.carry(c.from, c.to)
		for {
			n, err := c.reader.Read(c.now, c.chunk)
			if err != nil {
				c.tb.Fatal(err)
			}
			if n == 0 {
				break
			}
			c.got += n
		}
		c.carry(c.to, c.from)
		for _, s := range []*engine.Stack{c.from, c.to} {
			if due := s.Deadline(); due != 0 && due <= c.now {
				s.Advance(c.now)
			}
		}
	}
}

// threadTime is the processor time of the calling thread.
func threadTime(tb testing.TB) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// BenchmarkSummary compares the processor time of a bulk transfer whose ends
// are followed for the summary with that of one without tracers. Nothing but the
// stacks is in it, no system call and no other goroutine, so that the share of a
// tracer is larger than in any real transfer.
func BenchmarkSummary(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	sums := func() engine.Tracer { return Tee{NewCollector()} }
	all := func() engine.Tracer { return everything{NewCollector()} }
	none := func() engine.Tracer { return nil }
	for _, sink := range []struct {
		name     string
		from, to func() engine.Tracer
	}{
		{"none", none, none}, // how far the measure can be trusted
		{"both", sums, sums},
		{"sender", sums, none},
		{"receiver", none, sums},
		{"unmasked", all, all}, // what every event would cost
	} {
		b.Run(sink.name, func(b *testing.B) {
			for b.Loop() {
				paired.Report(b, summaryRatios(b, sink.from, sink.to), sink.name+"/none-cpu")
			}
		})
	}
}

// summaryRatios is none against the given tracers. Where a transfer's memory lies
// makes it faster or slower by a hundredth: so there are several of each.
func summaryRatios(b *testing.B, from, to func() engine.Tracer) (ratios []float64) {
	const octets = 1 << 20
	rounds, layouts := 40, 10
	if testing.Short() { // that it works; what it costs takes more
		rounds, layouts = 1, 2
	}
	measured := func(c *chute) paired.Way {
		c.send(16 * octets) // until the windows are open
		return func() (wall, cpu time.Duration) {
			began, start := time.Now(), threadTime(b)
			c.send(octets)
			return time.Since(began), threadTime(b) - start
		}
	}
	for i := range layouts {
		var without, with *chute
		if i%2 == 0 {
			without = newChute(b, nil, nil)
		}
		with = newChute(b, from(), to())
		if i%2 != 0 {
			without = newChute(b, nil, nil)
		}
		_, cpus := paired.Rounds(rounds, measured(without), measured(with))
		ratios = append(ratios, cpus...)
	}
	return ratios
}

// everything hides that a tracer does not want every event.
type everything struct{ engine.Tracer }
