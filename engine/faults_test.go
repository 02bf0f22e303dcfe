package engine

import (
	"math/rand/v2"
	"testing"
	"time"

	"rawtcp/segment"
)

// The rows of docs/faults.md that no other test shows.

func TestDataOnTheSYNIsSentAgain(t *testing.T) { // C21
	k := listening(t, ListenConfig{Conn: plain()})
	k.in("S 0:10(10) win 65535 <mss 1000>")
	k.want("only the SYN is acknowledged", "S. 0:0(0) ack 1")
	k.in("P. 1:11(10) ack 1 win 65535")
	k.c = k.l.Accept()
	k.read(10)
}

// D11: what one connection was asked says nothing to a neighbour (CVE-2016-5696).
func TestChallengeLimitIsNotShared(t *testing.T) {
	k := newTalk(t)
	for port := range uint16(3) {
		k.peer = withPort(peer, 80+port)
		c, err := k.stack.Dial(k.now, us, k.peer, 1500, plain())
		if err != nil {
			t.Fatal(err)
		}
		k.c, k.iss = c, c.snd.iss
		k.want("the SYN", "S 0:0(0)")
		k.in("S. 0:0(0) ack 1 win 65535 <mss 1000>")
		k.want("the handshake's last ACK", ". ack 1")
	}
	for port := range uint16(3) {
		k.peer = withPort(peer, 80+port)
		k.in("R 2:2(0) win 0")
		k.want("each is challenged by itself", ". ack 1")
		k.in("R 2:2(0) win 0")
		k.wantIdle("and limited by itself")
	}
}

func TestHalfOpenChallengesAreLimited(t *testing.T) { // D12
	k := listening(t, ListenConfig{Conn: plain()})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	for range 5 {
		k.in(". 99999:99999(0) ack 1 win 1000")
	}
	k.want("one", ". 1:1(0) ack 1")
	k.wantIdle("and no more")
	k.advance(500 * time.Millisecond)
	k.in(". 99999:99999(0) ack 1 win 1000")
	k.want("after a while another", ". 1:1(0) ack 1")
}

// D13: every way to end leaves no table entry, no timer and no buffer.
func TestEndLeavesNothing(t *testing.T) {
	for name, end := range map[string]func(k *talk){
		"abort": func(k *talk) { k.c.Abort(k.now) },
		"reset": func(k *talk) { k.in("R 1:1(0) win 0") },
		"orderly": func(k *talk) {
			k.in("F. 1:1(0) ack 1001 win 65535")
			k.c.Close(k.now)
			for k.stack.Transmit(k.now, &k.seg) {
			}
			k.in(". 2:2(0) ack 1002 win 65535")
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := established(t, plain(func(c *ConnConfig) { c.KeepAliveIdle = time.Hour }))
			k.write(1000)
			k.want("data", "P. 1:1001(1000) ack 1")
			end(k)
			if k.c.State() != Closed {
				t.Fatalf("state %v", k.c.State())
			}
			if n := k.stack.Conns(); n != 0 {
				t.Errorf("%d connections", n)
			}
			if due := k.stack.Deadline(); due != 0 || len(k.stack.timers) != 0 || k.c.timers != (timers{}) {
				t.Errorf("a timer is due at %v, %d on the stack: %v", due, len(k.stack.timers), k.c.timers)
			}
			if k.c.snd.buf.buf != nil || k.c.snd.sent.q != nil {
				t.Error("the send buffer is kept")
			}
		})
	}
}

// E-2, CVE-2019-11478: the scoreboard's work grows as the number of ranges and
// not as its square, when the peer repeats ever longer reports, when it reports
// every second range, and when a timeout has all of it sent again.
func TestManyHolesCostNoMoreThanTheirNumber(t *testing.T) {
	const n = 4000
	at := segment.MakeSeq(1<<32 - 1000)
	for name, report := range map[string]func(i int) (start, end int){
		"one run, repeated whole":       func(i int) (int, int) { return 1, i + 1 },
		"every second range":            func(i int) (int, int) { return i | 1, i | 1 + 1 },
		"two runs that grow by turns":   func(i int) (int, int) { return 1 + i%2*n/2, 1 + i%2*n/2 + i/2 },
		"from the far end to the front": func(i int) (int, int) { return n - 1 - i, n },
	} {
		var s sentQueue
		var k rack
		for i := range n {
			s.push(sentRange{start: at.Add(i), end: at.Add(i + 1), at: Time(i + 1)})
		}
		for i := 1; i < n-1; i++ {
			start, end := report(i)
			s.sack(at.Add(start), at.Add(min(end, n)), &delivery{now: n, rack: &k})
		}
		s.markAllLost()
		for r := s.nextLost(); r != 0; r = s.nextLost() {
			s.resend(r, n)
		}
		s.ack(at.Add(n), &delivery{now: n, rack: &k})
		if most := 40 * n; s.steps > most { // a binary search takes 12, the square is 4000 times n
			t.Errorf("%s: %d steps for %d ranges, want at most %d", name, s.steps, n, most)
		}
	}
}

// F2: an entry of the SYN cache that is dropped is gone from everywhere.
func TestHalfOpenLeavesNothing(t *testing.T) {
	for name, end := range map[string]string{
		"RST":               "R 1:1(0) win 0",
		"SYN in the window": "S 5:5(0) win 1000",
	} {
		k := listening(t, ListenConfig{Conn: plain()})
		k.in("S 0:0(0) win 65535 <mss 1000>")
		k.want("SYN-ACK", "S. 0:0(0) ack 1")
		k.in("S 0:0(0) win 65535 <mss 1000>") // another is due now
		k.in(end)
		k.wantIdle(name + " takes back what was due")
		if k.stack.Deadline() != 0 || k.l.cache.len() != 0 {
			t.Errorf("%s leaves %d entries, a timer due at %v", name, k.l.cache.len(), k.stack.Deadline())
		}
		k.advance(time.Hour)
		k.wantIdle("and so it stays")
	}
}

func TestSendBufferIsBounded(t *testing.T) { // F9
	k := established(t, plain(func(c *ConnConfig) { c.SendBuffer = 5000 }))
	for range 3 {
		if n, err := k.c.Write(k.now, make([]byte, 4000)); err != nil {
			t.Fatalf("wrote %d: %v", n, err)
		}
	}
	if n := k.c.snd.buf.len(); n != 5000 {
		t.Fatalf("%d octets wait, want 5000", n)
	}
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.in(". 1:1(0) ack 2001 win 65535")
	if n, _ := k.c.Write(k.now, make([]byte, 4000)); n != 2000 {
		t.Errorf("room for %d, want for what was acknowledged", n)
	}
}

// F12, G-3: whatever is armed, moved and stopped, timers fire in order and not
// before their time.
func TestTimersFireInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q timerQueue
	nodes := make([]timerNode, 200)
	for range 20_000 {
		n := &nodes[rng.IntN(len(nodes))]
		q.set(n, Time(rng.IntN(1000))) // 0 stops it
		armed, least := 0, Time(0)
		for i := range nodes {
			if due := nodes[i].due; due != 0 {
				armed++
				if least == 0 || due < least {
					least = due
				}
			}
		}
		if len(q) != armed {
			t.Fatalf("%d are queued, %d armed", len(q), armed)
		}
		if first := q.first(); first == nil && least != 0 || first != nil && first.due != least {
			t.Fatalf("the first is %v, want due at %v", first, least)
		}
	}
	k := established(t, plain(func(c *ConnConfig) { c.KeepAliveIdle = time.Hour }))
	k.write(10)
	k.want("data", "P. 1:11(10) ack 1")
	due := k.stack.Deadline()
	k.stack.Advance(due - 1)
	k.c.Advance(due - 1)
	k.wantIdle("before its time")
	k.now = due
	k.stack.Advance(due)
	k.want("at its time", "P. 1:11(10) ack 1")
}

// H4, MUST-55: not even remembered.
func TestSourceQuenchIsDiscarded(t *testing.T) {
	k := established(t, plain())
	k.write(10)
	k.want("data", "P. 1:11(10) ack 1")
	quoted := packet(t, k.seg)
	window := k.c.cc.Window()
	k.stack.DeliverICMP(k.now, ICMP{From: peer.Addr(), Type: 4, Quoted: quoted})
	if in := k.c.Info(k.now); in.SoftError != nil || k.c.cc.Window() != window {
		t.Errorf("soft error %v, window %d, before it %d", in.SoftError, k.c.cc.Window(), window)
	}
}

// L8: two peers cannot tell from timestamps that they talk to one host, nor
// how long it has been up.
func TestTimestampsTellNoUptime(t *testing.T) {
	seen := map[uint32]bool{}
	for port := range uint16(50) {
		k := newTalk(t)
		c, err := k.stack.Dial(k.now, us, withPort(peer, 80+port), 1500, ConnConfig{})
		if err != nil {
			t.Fatal(err)
		}
		k.c = c
		if !k.stack.Transmit(k.now, &k.seg) || !k.seg.Options.Has(segment.HasTimestamps) {
			t.Fatal("no SYN with a timestamp")
		}
		if val := k.seg.Options.TSVal; val < 1_000_000 {
			t.Errorf("port %d: TSval %d looks like an uptime", 80+port, val)
		} else if seen[val>>16] {
			t.Errorf("port %d: TSval %d is close to another", 80+port, val)
		}
		seen[k.seg.Options.TSVal>>16] = true
	}
}
