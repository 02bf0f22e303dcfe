package engine

import "testing"

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
	if k.stack.census != (census{}) || k.stack.Conns() != 0 {
		t.Errorf("counted %+v, %d connections", k.stack.census, k.stack.Conns())
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
	if k.stack.census != (census{}) || k.stack.Counters().OrphansReset != 1 {
		t.Errorf("counted %+v, %+v", k.stack.census, k.stack.Counters())
	}
}
