package engine

import (
	"errors"
	"net/netip"
	"testing"
)

// closing opens a connection from a port of its own and closes it; the FIN is out.
func (k *talk) closing(port uint16) *Conn {
	k.t.Helper()
	k.c = nil
	c, err := k.stack.Dial(k.now, withPort(us, port), peer, 1500, plain())
	if err != nil {
		k.t.Fatal(err)
	}
	k.c, k.iss, us = c, c.snd.iss, withPort(us, port)
	k.want("SYN", "S 0:0(0)")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000>")
	k.want("ACK", ". ack 1")
	c.Close(k.now)
	return c
}

func limited(t *testing.T, limits Limits) *talk {
	k := newTalk(t)
	k.stack = NewStack(StackConfig{Secret: [32]byte{1}, Tracer: k, Limits: limits})
	saved := us
	t.Cleanup(func() { us = saved })
	return k
}

func TestTooManyTimeWaits(t *testing.T) {
	k := limited(t, Limits{TimeWaits: 2})
	for port, want := range []State{TimeWait, TimeWait, Closed, Closed} {
		k.closing(uint16(2000 + port))
		k.want("FIN", "F. 1:1(0) ack 1")
		k.in("F. 1:1(0) ack 2 win 65535")
		k.want("the last ACK comes in any case", ". ack 2")
		k.wantState(want)
		k.wantErr(nil)
	}
	if k.stack.Conns() != 2 || k.stack.Counters().TimeWaitsCut != 2 {
		t.Errorf("%d connections, %+v", k.stack.Conns(), k.stack.Counters())
	}
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	if counted := counts(k.stack); counted != [3]int64{} || k.stack.Conns() != 0 {
		t.Errorf("counted %+v, %d connections", counted, k.stack.Conns())
	}
}

// A Close that lingers is woken when crossing FINs have come to TIME-WAIT, and
// nothing is told after the end, which TIME-WAIT may be at once.
func TestCrossingFINsWakeBeforeTheEnd(t *testing.T) {
	k := limited(t, Limits{TimeWaits: 1})
	for port, want := range []State{TimeWait, Closed} {
		c := k.closing(uint16(2000 + port))
		k.want("FIN", "F. 1:1(0) ack 1")
		k.in("F. 1:1(0) ack 1 win 65535")
		k.want("ACK of the other FIN", ". ack 2")
		k.wantState(Closing)
		var told []ConnEvents
		c.OnEvent = func(e ConnEvents) { told = append(told, e) }
		k.in(". 2:2(0) ack 2 win 65535")
		k.wantState(want)
		if len(told) == 0 || told[0]&Writable == 0 {
			t.Errorf("%v: told %v, nothing that wakes a Close", want, told)
		}
		if want == Closed && told[len(told)-1]&Settled == 0 {
			t.Errorf("told %v: something after the end", told)
		}
	}
}

func TestTooManyOrphans(t *testing.T) {
	k := limited(t, Limits{Orphans: 1})
	k.closing(2000)
	k.want("FIN", "F. 1:1(0) ack 1")
	first, iss, port := k.c, k.iss, us
	k.closing(2001)
	k.want("a second one is reset", "R. 1:1(0) ack 1")
	k.wantErr(ErrAborted)
	k.c, k.iss, us = first, iss, port
	k.in("F. 1:1(0) ack 2 win 65535")
	k.want("the first ends in order", ". ack 2")
	k.wantState(TimeWait)
	k.closing(2002)
	k.want("and leaves its place", "F. 1:1(0) ack 1")
	k.c.Abort(k.now)
	if counted := counts(k.stack); counted != [3]int64{} || k.stack.Counters().OrphansReset != 1 {
		t.Errorf("counted %+v, %+v", counted, k.stack.Counters())
	}
}

func TestTooManyConnections(t *testing.T) {
	k := limited(t, Limits{Conns: 2})
	l, err := k.stack.Listen(k.now, us, func(netip.Addr) int { return 1500 }, ListenConfig{Conn: plain()})
	if err != nil {
		t.Fatal(err)
	}
	k.l, k.iss = l, *plain().ISN
	second := withPort(peer, 81)
	for _, k.peer = range []netip.AddrPort{peer, second} {
		k.in("S 0:0(0) win 65535 <mss 1000>")
		k.want("SYN-ACK", "S. 0:0(0) ack 1")
	}
	k.peer = peer
	k.in(". 1:1(0) ack 1 win 1000")
	first := k.l.Accept()
	other, err := k.stack.Dial(k.now, withPort(us, 7), withPort(peer, 7), 1500, plain())
	if err != nil {
		t.Fatal(err)
	}
	for k.stack.Transmit(k.now, &k.seg) { // the SYN
	}
	if _, err := k.stack.Dial(k.now, withPort(us, 8), peer, 1500, plain()); !errors.Is(err, ErrTooMany) {
		t.Errorf("a third: %v, want ErrTooMany", err)
	}
	k.peer = second
	k.in(". 1:1(0) ack 1 win 1000")
	k.wantIdle("no place for the handshake to end in")
	k.peer = withPort(peer, 82)
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.wantIdle("nor for one to begin")
	if c := k.stack.Counters(); first == nil || k.stack.Conns() != 2 || c.ConnsRefused != 3 || c.SYNDropped != 2 {
		t.Errorf("%d connections, %+v", k.stack.Conns(), c)
	}
	other.Abandon(k.now)
	k.peer = second
	k.in(". 1:1(0) ack 1 win 1000")
	if k.l.Accept() == nil || k.stack.Conns() != 2 {
		t.Error("the place that is free again was not taken")
	}
}

// counts are what Limits bound, but for connections.
func counts(s *Stack) [3]int64 {
	c := &s.common.census
	return [3]int64{c.timeWaits.Load(), c.orphans.Load(), c.halfOpen.Load()}
}
