package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rawtcp/segment"
)

// crowd is a talk with a stack that holds so many octets, and several
// connections from ports of their own.
type crowd struct {
	*talk
	ports []uint16
	conns []*Conn
}

// newCrowd opens n connections; the buffers of each are larger than all may hold.
func newCrowd(t *testing.T, memory, n int, change ...func(*ConnConfig)) *crowd {
	t.Helper()
	k := &crowd{talk: limited(t, Limits{Memory: memory})}
	for i := range n {
		us = withPort(us, uint16(2000+i))
		c, err := k.stack.Dial(k.now, us, peer, 1500, plain(change...))
		if err != nil {
			t.Fatal(err)
		}
		k.ports, k.conns = append(k.ports, us.Port()), append(k.conns, c)
		k.pick(i)
		k.iss = c.snd.iss
		k.want("SYN", "S 0:0(0)")
		k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>")
		k.want("ACK", ". ack 1")
	}
	return k
}

// pick says of which connection the talk is from now on.
func (k *crowd) pick(i int) { k.c, us = k.conns[i], withPort(us, k.ports[i]) }

// quietly takes all that is to be sent.
func (k *crowd) quietly() {
	for k.stack.Transmit(k.now, &k.seg) {
	}
}

// wantHeld compares what is held with the count, and the count with a recount.
func (k *crowd) wantHeld(n int) {
	k.t.Helper()
	if err := k.stack.Audit(); err != nil || k.stack.Buffered() != n {
		k.t.Fatalf("%d octets held, want %d: %v", k.stack.Buffered(), n, err)
	}
}

func TestMemoryIsCountedAsItIsHeld(t *testing.T) {
	k := newCrowd(t, 0, 2)
	k.in(". 1:1001(1000) ack 1 win 65535")
	k.wantHeld(1000)
	k.in(". 3001:4001(1000) ack 1 win 65535")
	k.wantHeld(4000) // the place of the hole is kept
	k.in(". 1001:2001(1000) ack 1 win 65535")
	k.wantHeld(4000)
	k.quietly()
	k.read(2000)
	k.wantHeld(2000)
	k.pick(0)
	k.write(3000)
	k.wantHeld(5000)
	k.quietly()
	k.in(". 1:1(0) ack 1001 win 65535")
	k.wantHeld(4000)
	k.pick(1)
	k.in("R 2001:2001(0) win 0")
	k.wantErr(ErrReset)
	k.wantHeld(2000)
	k.pick(0)
	k.in("F. 1:1(0) ack 1001 win 65535")
	k.c.CloseRead(k.now)
	k.in(". 2:2(0) ack 3001 win 65535")
	k.wantHeld(0)
}

func TestNothingCountsAfterTheEnd(t *testing.T) {
	k := newCrowd(t, 0, 2)
	k.c.CloseWrite(k.now)
	k.quietly()
	k.in("P. 1:501(500) ack 2 win 65535")
	k.in("F. 501:501(0) ack 2 win 65535")
	k.quietly()
	k.wantState(TimeWait)
	k.wantHeld(500)
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	k.wantState(Closed)
	k.wantHeld(0)
	k.read(500) // the application's it is all the same
	k.wantHeld(0)
	k.pick(0)
	k.c.CloseWrite(k.now)
	k.quietly()
	k.in("FP. 1:501(500) ack 2 win 65535")
	k.c.Close(k.now)
	k.wantState(TimeWait)
	k.wantHeld(0) // nobody will read it
}

// With a limit of 32000: high is 24000, relief 20000.
func TestShortMemoryDropsWhatIsOutOfOrderFirst(t *testing.T) {
	k := newCrowd(t, 32000, 3)
	for i := range 2 {
		k.pick(i)
		k.in(". 9001:10001(1000) ack 1 win 65535")
		k.want("it is reported", ". ack 1 <nop,nop,sack 9001:10001>")
	}
	k.wantHeld(20000)
	k.pick(2)
	k.in(". 1:5001(5000) ack 1 win 65535")
	k.want("it is taken", ". ack 5001")
	k.wantHeld(15000) // the oldest holes are gone, and no others
	if c := k.stack.Counters(); c.MemoryShed != 10000 || c.MemoryPressures != 0 {
		t.Errorf("%+v", c)
	}
	k.in(". 15001:16001(1000) ack 1 win 65535")
	k.want("beyond a hole nothing is taken, and nothing reported", ". ack 5001")
	k.wantHeld(15000)
	k.pick(1)
	k.in(". 1:1001(1000) ack 1 win 65535")
	k.want("what others hold is still there", ". ack 1001 <nop,nop,sack 9001:10001>")
	k.pick(0)
	k.in(". 1:9501(9500) ack 1 win 65535")
	k.want("it needs their place", ". ack 9501")
	k.wantHeld(15500)
	k.in(". 9501:10001(500) ack 1 win 65535")
	k.quietly() // what was dropped comes again
	k.read(10000)
	k.wantHeld(6000)
}

func TestShortMemoryTakesNoMoreThanItHas(t *testing.T) {
	k := newCrowd(t, 32000, 2)
	k.pick(0)
	k.in(". 1:30001(30000) ack 1 win 65535")
	k.quietly()
	k.wantHeld(30000)
	k.pick(1)
	k.in(". 1:4001(4000) ack 1 win 65535")
	k.want("the least is taken in any case", ". ack 4001")
	k.in(". 4001:5001(1000) ack 1 win 65535")
	k.want("no more", ". ack 4001")
	k.in("FP. 4001:4501(500) ack 1 win 65535")
	k.want("nor with a FIN", ". ack 4001")
	k.wantHeld(34000)
	if c := k.stack.Counters(); c.MemoryRefused != 2 || c.MemoryPressures != 1 {
		t.Errorf("%+v", c)
	}
	k.read(4000)
	k.quietly()
	k.in("FP. 4001:4501(500) ack 1 win 65535")
	k.quietly()
	k.read(500)
	k.wantState(CloseWait)
}

// The least may lie beyond a hole as well: a sender that is answered by duplicate
// ACKs alone gets some segments through in each timeout, and waits for the next.
func TestLeastOfMemoryIsForWhatIsOutOfOrderToo(t *testing.T) {
	k := newCrowd(t, 100, 1)
	k.in(". 1001:2001(1000) ack 1 win 65535")
	k.want("it is taken and reported", ". ack 1 <nop,nop,sack 1001:2001>")
	k.in(". 4001:5001(1000) ack 1 win 65535")
	k.want("what lies beyond the least is not", ". ack 1 <nop,nop,sack 1001:2001>")
	k.wantHeld(2000)
	k.in(". 1:1001(1000) ack 1 win 65535")
	k.want("and stays though the limit is far behind", ". ack 2001")
}

func TestShortMemoryOpensNoWindow(t *testing.T) {
	k := newCrowd(t, 32000, 2, func(c *ConnConfig) { c.WindowScale = -1 })
	k.pick(0)
	k.in(". 1:25001(25000) ack 1 win 65535")
	k.want("what is offered stays offered", ". ack 25001 win 40535")
	k.pick(1)
	k.in(". 1:4001(4000) ack 1 win 65535")
	k.want("the edge stays", ". ack 4001 win 61535")
	k.read(4000)
	k.in(". 4001:5001(1000) ack 1 win 65535")
	k.in(". 5001:6001(1000) ack 1 win 65535")
	k.want("though all was read", ". ack 6001 win 59535")
	k.read(2000)
	k.pick(0)
	k.read(25000)
	k.wantHeld(0)
	k.pick(1)
	k.in(". 6001:8001(2000) ack 1 win 65535")
	k.want("now it may move again", ". ack 8001 win 65535")
}

// A window that closed under pressure opens when that is over, and not only
// when its peer asks.
func TestClosedWindowOpensAfterThePressure(t *testing.T) {
	k := newCrowd(t, 48000, 3, func(c *ConnConfig) { c.ReceiveBuffer, c.WindowScale = 16000, -1 })
	for i, n := range []int{16000, 16000, 12000} {
		k.pick(i)
		k.in(fmt.Sprintf(". 1:%d(%d) ack 1 win 65535", 1+n, n))
		k.quietly()
	}
	k.in(". 12001:16001(4000) ack 1 win 65535")
	k.want("the window is full", ". ack 16001 win 0")
	k.read(16000)
	k.want("the least of a window", ". ack 16001 win 4096")
	k.wantHeld(32000)
	k.pick(0)
	k.read(16000)
	k.want("less than relief is held", ". ack 16001 win 16000")
	k.pick(2)
	k.want("and who was kept short is told", ". ack 16001 win 16000")
	k.wantIdle("the other one is full by itself")
}

func TestShortMemoryCutsWrites(t *testing.T) {
	k := newCrowd(t, 32000, 2)
	events := ConnEvents(0)
	k.c.OnEvent = func(e ConnEvents) { events |= e }
	k.pick(0)
	k.in(". 1:20001(20000) ack 1 win 65535")
	k.quietly()
	k.pick(1)
	write := func(n, want int) {
		t.Helper()
		if got, err := k.c.Write(k.now, make([]byte, n)); got != want || err != nil {
			t.Errorf("wrote %d of %d, %v; want %d", got, n, err, want)
		}
	}
	write(3000, 3000)
	write(3000, 1096) // its least
	write(3000, 0)
	k.wantHeld(24096)
	events = 0
	k.pick(0)
	k.read(20000)
	k.quietly()
	if events&Writable == 0 {
		t.Error("nobody was told that there is room")
	}
	k.pick(1)
	write(3000, 3000)
	write(30000, 24000-7096)
	k.wantHeld(24000)
}

func TestShortMemoryResetsOrphansThatGetNoAnswer(t *testing.T) {
	k := newCrowd(t, 32000, 3)
	k.pick(0)
	k.write(5000)
	k.c.Close(k.now)
	k.pick(1)
	k.write(3000)
	k.quietly()
	k.pick(2)
	k.in(". 1:20001(20000) ack 1 win 65535")
	k.quietly()
	k.wantHeld(28000)
	k.advance(time.Second)
	k.pick(0)
	k.wantErr(ErrAborted)
	k.wantHeld(23000)
	k.pick(1)
	k.wantState(Established) // it has its application
	reset := false
	for k.stack.Transmit(k.now, &k.seg) {
		reset = reset || strings.HasPrefix(k.text(&k.seg, k.iss, k.irs), "R. 5002:5002(0)")
	}
	if c := k.stack.Counters(); !reset || c.OrphansReset != 1 {
		t.Errorf("reset %t, %+v", reset, c)
	}
}

func TestOrphanWithAClosedWindowIsResetWhenMemoryIsShort(t *testing.T) { // D9
	k := newCrowd(t, 32000, 2)
	k.pick(0)
	k.in(". 1:1(0) ack 1 win 0")
	k.write(5000)
	k.c.Close(k.now)
	k.quietly()
	for range 3 { // an answer to each probe keeps it alive
		k.advanceToTimer(k.stack.Deadline().Sub(k.now))
		k.quietly()
		k.in(". 1:1(0) ack 1 win 0")
	}
	k.wantState(FinWait1)
	k.pick(1)
	k.in(". 1:20001(20000) ack 1 win 65535")
	k.quietly()
	k.pick(0)
	k.advanceToTimer(k.stack.Deadline().Sub(k.now))
	k.wantErr(ErrAborted)
	k.wantHeld(20000)
}

// Many connections that want far more than there is, over a bad wire, read by
// slow applications: all of them end, each octet arrives once and in its place,
// and the sum is kept at every step.
func TestScarceMemoryLosesNothing(t *testing.T) {
	const most, conns, each = 40_000, 12, 60_000
	pressures, refused, shed := uint64(0), uint64(0), uint64(0)
	for seed := range uint64(3) {
		p := newPair(t, seed, faults{loss: 3, dup: 2, reorder: 20, delay: 40 * time.Millisecond})
		for i := range p.stacks {
			p.stacks[i] = NewStack(StackConfig{Secret: [32]byte{byte(seed), byte(i)}, Tracer: p, Limits: Limits{Memory: most}})
		}
		cfg := ConnConfig{SYNRetries: 10, Retries: 30, MaxRTO: 5 * time.Second}
		l, err := p.stacks[1].Listen(p.now, peer, func(netip.Addr) int { return 1500 }, ListenConfig{Conn: cfg})
		if err != nil {
			t.Fatal(err)
		}
		var sides []*side
		for i := range conns {
			c, err := p.stacks[0].Dial(p.now, withPort(us, uint16(3000+i)), peer, 1500, cfg)
			if err != nil {
				t.Fatal(err)
			}
			sides = append(sides, &side{c: c, send: each})
		}
		p.flush(0)
		for done := 0; done < 2*conns; {
			if !p.step() && len(sides) == 2*conns {
				p.now = p.now.Add(time.Millisecond) // a slow application is all that is left
			}
			for c := l.Accept(); c != nil; c = l.Accept() {
				sides = append(sides, &side{c: c, send: each, salt: 128})
			}
			done = 0
			for _, s := range sides {
				if p.rng.IntN(10) == 0 {
					if err := s.work(p.now, p.rng); err != nil && !(s.eof && s.c.State() == Closed) {
						t.Fatalf("seed %d: %v, read %d: %v", seed, s.c.State(), s.read, err)
					}
				}
				if s.eof && s.read == each && s.send == 0 {
					done++
				}
			}
			for i, s := range p.stacks {
				p.flush(i)
				if err := s.Audit(); err != nil || s.Buffered() > most+2*conns*leastHeld {
					t.Fatalf("seed %d: %d octets held: %v", seed, s.Buffered(), err)
				}
			}
			if p.now > Time(time.Hour) {
				t.Fatalf("seed %d: no end after an hour, %d of %d", seed, done, 2*conns)
			}
		}
		for p.step() {
		}
		for i, s := range p.stacks {
			c := s.Counters()
			if s.Buffered() != 0 || s.Conns() != 0 {
				t.Errorf("seed %d, stack %d: %d octets, %d connections, %+v", seed, i, s.Buffered(), s.Conns(), c)
			}
			pressures, refused, shed = pressures+c.MemoryPressures, refused+c.MemoryRefused, shed+c.MemoryShed
		}
	}
	if pressures == 0 || refused == 0 || shed == 0 {
		t.Errorf("memory was not scarce: %d times under pressure, %d segments refused, %d octets dropped", pressures, refused, shed)
	}
}

// What fills the cache of one listener leaves no more for another than the
// stack has.
func TestTooManyHandshakesOfAllListeners(t *testing.T) {
	defer func(old netip.AddrPort) { us = old }(us)
	for mode, want := range map[CookieMode]struct {
		dropped, cookies uint64
		silent           bool
	}{CookiesWhenFull: {cookies: 2}, CookiesNever: {dropped: 2, silent: true}} {
		k := limited(t, Limits{HalfOpen: 3})
		port := uint16(100)
		syn := func(l *Listener) bool {
			k.l, us, k.peer, port = l, l.local, withPort(peer, port), port+1
			k.in("S 0:0(0) win 65535 <mss 1000>")
			return k.stack.Transmit(k.now, &k.seg)
		}
		var listeners [2]*Listener
		for i := range listeners {
			l, err := k.stack.Listen(k.now, withPort(us, uint16(1000+i)), func(netip.Addr) int { return 1500 },
				ListenConfig{Conn: plain(func(c *ConnConfig) { c.ISN = nil }), Cookies: mode})
			if err != nil {
				t.Fatal(err)
			}
			listeners[i] = l
		}
		for range 4 { // the fourth: a cookie, or in the place of the first
			syn(listeners[0])
		}
		if answered := syn(listeners[1]); answered == want.silent {
			t.Errorf("mode %d: the other listener answered: %t", mode, answered)
		}
		c := k.stack.Counters()
		if c.SYNDropped != want.dropped || c.CookiesSent != want.cookies || k.stack.common.census.halfOpen.Load() != 3 || k.stack.Audit() != nil {
			t.Errorf("mode %d: %d half open, %+v, %v", mode, k.stack.common.census.halfOpen.Load(), c, k.stack.Audit())
		}
		listeners[0].Close(k.now)
		if k.stack.common.census.halfOpen.Load() != 0 || !syn(listeners[1]) {
			t.Errorf("mode %d: %d are half open after the end", mode, k.stack.common.census.halfOpen.Load())
		}
	}
}

// A SYN that replaces TIME-WAIT begins a handshake though as many as may be are
// under way at another listener.
func TestTooManyHandshakesAndTimeWait(t *testing.T) {
	k := limited(t, Limits{HalfOpen: 1})
	listen := func(at netip.AddrPort) *Listener {
		l, err := k.stack.Listen(k.now, at, func(netip.Addr) int { return 1500 }, ListenConfig{Conn: plain()})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	k.l, k.iss = listen(us), *plain().ISN
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.in(". 1:1(0) ack 1 win 65535")
	k.c = k.l.Accept()
	k.c.Close(k.now)
	k.want("FIN", "F. 1:1(0) ack 1")
	k.in("F. 1:1(0) ack 2 win 65535")
	k.want("the last ACK", ". ack 2")
	k.wantState(TimeWait)

	other := withPort(us, 9)
	listen(other)
	k.stack.Receive(k.now, &segment.Segment{Src: withPort(peer, 9), Dst: other, Flags: segment.SYN, Window: 1000})
	if !k.stack.Transmit(k.now, &k.seg) || k.seg.Dst.Port() != 9 || !k.stack.manyHalfOpen() {
		t.Fatalf("the other handshake: %v", &k.seg)
	}
	k.in("S 500:500(0) win 65535 <mss 1000>")
	k.wantState(Closed)
	if !k.stack.Transmit(k.now, &k.seg) || !k.seg.Flags.Has(segment.SYN|segment.ACK) || k.seg.Ack != k.irs.Add(501) {
		t.Errorf("got %v", &k.seg)
	}
	if err := k.stack.Audit(); err != nil || k.stack.common.census.halfOpen.Load() != 2 {
		t.Errorf("%d handshakes are under way, %v", k.stack.common.census.halfOpen.Load(), err)
	}
}
