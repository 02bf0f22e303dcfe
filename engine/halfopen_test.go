package engine

import (
	"testing"
	"time"
)

// answeredSYN is a handshake whose SYN-ACK has left.
func answeredSYN(t *testing.T) *talk {
	k := listening(t, ListenConfig{Conn: plain()})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	return k
}

// A hard ICMP error about the SYN-ACK ends the handshake, a soft one does not,
// nor does one that quotes another number (RFC 5927 section 4.1).
func TestICMPAboutAHalfOpenConnection(t *testing.T) {
	for _, test := range []struct {
		name       string
		code       uint8
		off        int
		left       int
		taken, not uint64
	}{
		{"port unreachable", 3, 0, 0, 1, 0},
		{"protocol unreachable", 2, 0, 0, 1, 0},
		{"host unreachable", 1, 0, 1, 1, 0},
		{"too big", 4, 0, 1, 1, 0},
		{"a guess", 3, 1, 1, 0, 1},
		{"another guess", 3, -1, 1, 0, 1},
	} {
		k := answeredSYN(t)
		s := k.seg
		s.Seq = s.Seq.Add(test.off)
		pkt, err := s.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		k.stack.DeliverICMP(k.now, ICMP{From: peer.Addr(), Type: 3, Code: test.code, Quoted: pkt})
		if c := k.stack.Counters(); k.l.cache.len() != test.left || c.ICMPTaken != test.taken || c.ICMPIgnored != test.not {
			t.Errorf("%s: %d left, %d taken, %d ignored", test.name, k.l.cache.len(), c.ICMPTaken, c.ICMPIgnored)
		}
		if test.left == 0 && k.stack.Deadline() != 0 {
			t.Errorf("%s: a timer is left", test.name)
		}
	}
}

// inTimeWait is a connection from the peer in TIME-WAIT, on a listener that
// has one place in its backlog.
func inTimeWait(t *testing.T, change func(*ListenConfig)) *talk {
	cfg := ListenConfig{Conn: plain(), Backlog: 1}
	change(&cfg)
	k := listening(t, cfg)
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.cookie()
	k.in(". 1:1(0) ack 1 win 65535")
	k.c = k.l.Accept()
	k.c.Close(k.now)
	k.want("FIN", "F. 1:1(0) ack 1")
	k.in("F. 1:1(0) ack 2 win 65535")
	k.want("the last ACK", ". ack 2")
	k.wantState(TimeWait)
	return k
}

// A SYN that the listener would drop leaves TIME-WAIT alone.
func TestSYNThatWouldBeDroppedDoesNotEndTimeWait(t *testing.T) {
	k := inTimeWait(t, func(*ListenConfig) {})
	first := k.peer
	k.peer = withPort(peer, 81)
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.in(". 1:1(0) ack 1 win 65535") // the backlog is full now
	k.peer = first
	k.in("S 70000:70000(0) win 65535 <mss 1000>")
	k.wantState(TimeWait)
	k.want("it is answered as in TIME-WAIT", ". ack 2")
	k.l.Accept()
	k.in("S 70000:70000(0) win 65535 <mss 1000>")
	k.wantState(Closed)
	k.want("and opens a connection when there is room", "S. 0:0(0) ack 70001")
}

// A listener that sends cookies remembers a SYN that ends TIME-WAIT, so that
// its ISN is above the old connection's numbers.
func TestSYNThatEndsTimeWaitGetsNoCookie(t *testing.T) {
	k := inTimeWait(t, func(cfg *ListenConfig) { cfg.Cookies, cfg.Conn.ISN = CookiesAlways, nil })
	last := k.c.snd.nxt
	k.advance(time.Second)
	k.in("S 70000:70000(0) win 65535 <mss 1000>")
	k.wantState(Closed)
	if s := k.cookie(); k.l.cache.len() != 1 || k.stack.Counters().CookiesSent != 1 {
		t.Errorf("%s, %d in the cache, last %v", s.String(), k.l.cache.len(), last)
	}
}
