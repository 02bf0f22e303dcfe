package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestActiveOpenOffersWhatLinuxOffers(t *testing.T) {
	k := dial(t, plain())
	k.want("MSS of the MTU, SACK, scale", "S 0:0(0) win 65535 <mss 1460,nop,nop,sackOK,nop,wscale 5>")
	k.wantState(SynSent)
	k.wantIdle("one SYN")
}

func TestActiveOpenWithoutAnyOption(t *testing.T) {
	k := dial(t, plain(func(c *ConnConfig) { c.MSS, c.WindowScale, c.SACK = -1, -1, Off }))
	k.want("bare", "S 0:0(0) win 65535")
}

func TestSYNIsRepeatedAt1_3_7_15(t *testing.T) {
	k := dial(t, plain())
	for _, wait := range []time.Duration{1, 2, 4, 8, 16, 32} {
		k.want("SYN", "S 0:0(0)")
		k.advanceToTimer(wait * time.Second) // RFC 6298 section 5.5
	}
	k.want("the sixth repetition", "S 0:0(0)")
	k.advanceToTimer(64 * time.Second) // 127 s in all
	k.wantIdle("no more")
	k.wantState(Closed)
	k.wantErr(ErrTimeout)
	if k.stack.Conns() != 0 || k.stack.Deadline() != 0 {
		t.Error("something is left on the stack")
	}
}

func TestSYNRetriesCanBeNone(t *testing.T) {
	k := dial(t, plain(func(c *ConnConfig) { c.SYNRetries = -1 }))
	k.want("SYN", "S 0:0(0)")
	k.advanceToTimer(time.Second)
	k.wantState(Closed)
}

func TestConnectTimeoutComesBeforeTheRetries(t *testing.T) {
	k := dial(t, plain(func(c *ConnConfig) { c.ConnectTimeout = 500 * time.Millisecond }))
	k.want("SYN", "S 0:0(0)")
	k.advanceToTimer(500 * time.Millisecond)
	k.wantErr(ErrTimeout)
}

func TestRefused(t *testing.T) {
	k := dial(t, plain())
	k.want("SYN", "S 0:0(0)")
	k.in("R. 0:0(0) ack 1 win 0")
	k.wantState(Closed)
	k.wantErr(ErrRefused)
	k.wantIdle("no answer to a RST")
}

// A blind RST cannot end a connection attempt (RFC 9293 section 3.10.7.3).
func TestSynSentIgnoresRSTThatDoesNotAcknowledgeTheSYN(t *testing.T) {
	for _, line := range []string{"R 0:0(0) win 0", "R. 0:0(0) ack 2 win 0", "R. 0:0(0) ack 0 win 0"} {
		k := dial(t, plain())
		k.want("SYN", "S 0:0(0)")
		k.in(line)
		k.wantState(SynSent)
		k.wantIdle("silence for " + line)
	}
}

func TestSynSentResetsAnACKOfWhatWasNotSent(t *testing.T) {
	k := dial(t, plain())
	k.want("SYN", "S 0:0(0)")
	k.in("S. 0:0(0) ack 77 win 1000")
	if !k.stack.Transmit(k.now, &k.seg) || k.seg.Flags.String() != "R" || k.seg.Seq != k.iss.Add(77) {
		t.Fatalf("want <SEQ=SEG.ACK><CTL=RST>, got %s", k.seg.String())
	}
	k.wantState(SynSent)
	k.in("S. 0:0(0) ack 1 win 1000")
	k.want("the true answer still counts", ". ack 1")
	k.wantState(Established)
}

func TestSimultaneousOpen(t *testing.T) {
	k := dial(t, plain())
	k.want("our SYN", "S 0:0(0)")
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.wantState(SynReceived)
	k.want("SYN-ACK", "S. 0:0(0) ack 1 <mss 1460>")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000>")
	k.wantState(Established)
	k.want("its ACK", ". ack 1")
	k.write(10)
	k.want("data flows", "P. 1:11(10) ack 1")
}

func TestSimultaneousOpenByPlainACK(t *testing.T) {
	k := dial(t, plain())
	k.want("our SYN", "S 0:0(0)")
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.in(". 1:1(0) ack 1 win 65535")
	k.wantState(Established)
}

func TestDataWrittenDuringTheHandshakeRidesOnTheThirdSegment(t *testing.T) {
	k := dial(t, plain())
	k.want("SYN", "S 0:0(0)")
	k.write(100)
	k.wantIdle("no data before the handshake is done")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000>")
	k.want("ACK and data in one", "P. 1:101(100) ack 1")
	k.wantIdle("and no bare ACK")
}

func TestDataOnTheSYNACKIsKept(t *testing.T) {
	k := dial(t, plain())
	k.want("SYN", "S 0:0(0)")
	k.in("S. 0:5(5) ack 1 win 65535 <mss 1000>")
	k.want("covers it", ". ack 6")
	k.read(5)
}

func TestPassiveOpen(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	k.in("S 0:0(0) win 65535 <mss 1000,sackOK,nop,wscale 7>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1 win 65535 <mss 1460,nop,nop,sackOK,nop,wscale 5>")
	if k.l.Accept() != nil {
		t.Fatal("accepted before the handshake was done")
	}
	k.in("P. 1:11(10) ack 1 win 500") // data on the third segment
	if k.c = k.l.Accept(); k.c == nil {
		t.Fatal("not accepted")
	}
	k.wantState(Established)
	k.read(10)
	if k.c.snd.wnd != 500<<7 {
		t.Errorf("SND.WND %d", k.c.snd.wnd)
	}
}

// The window is scaled only if both sides offered it (RFC 7323 section 2.2).
func TestSYNACKAnswersOnlyWhatWasOffered(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain(func(c *ConnConfig) { c.Timestamps = On })})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("no more than that", "S. 0:0(0) ack 1 win 65535 <mss 1460>")
}

func TestSYNACKIsRepeatedAndGivenUp(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	for _, wait := range []time.Duration{1, 2, 4} {
		k.want("SYN-ACK", "S. 0:0(0) ack 1")
		k.advanceToTimer(wait * time.Second)
	}
	k.want("the third repetition", "S. 0:0(0) ack 1")
	k.advanceToTimer(8 * time.Second)
	k.wantIdle("given up without a word")
	if k.l.cache.len() != 0 || k.stack.Deadline() != 0 {
		t.Error("the handshake is still there")
	}
}

func TestRepeatedSYNDrawsTheSYNACKAgain(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("again", "S. 0:0(0) ack 1")
}

// Copies of a SYN do not use up the patience for its answer: a network that
// repeats packets would end a handshake that the peer holds for complete.
func TestRepeatedSYNsAreNotRetriesOfTheSYNACK(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	for range 10 {
		k.in("S 0:0(0) win 65535 <mss 1000>")
		k.want("SYN-ACK", "S. 0:0(0) ack 1")
	}
	k.advanceToTimer(time.Second)
	k.want("the first repetition of our own", "S. 0:0(0) ack 1")
	k.in(". 1:1(0) ack 1 win 65535")
	if c := k.l.Accept(); c == nil || c.State() != Established {
		t.Error("no connection")
	} else if c.cc.Window() != 1000 {
		t.Errorf("initial window %d after a SYN-ACK that left again, want one segment", c.cc.Window())
	}
}

// RFC 9293 section 3.5, figure 9: the peer resets an old duplicate SYN's
// handshake, and the new SYN then succeeds.
func TestOldDuplicateSYN(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("it cannot know", "S. 0:0(0) ack 1")
	k.in("R 1:1(0) win 0")
	k.wantIdle("no answer")
	if k.l.cache.len() != 0 {
		t.Fatal("still half open")
	}
	k.in("S 500:500(0) win 65535 <mss 1000>")
	k.want("the new one", "S. 0:0(0) ack 501")
	k.in(". 501:501(0) ack 1 win 65535")
	if k.l.Accept() == nil {
		t.Error("not accepted")
	}
}

// RFC 9293 section 3.5, figure 9 seen from the active side: an ACK for what
// this incarnation did not send draws a RST.
func TestHalfOpenListenerAnswersAnACKWithRST(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	k.in(". 1:1(0) ack 300 win 65535")
	k.want("<SEQ=SEG.ACK><CTL=RST>", "R 300:300(0)")
}

func TestSynReceivedChecksSequenceAckAndRST(t *testing.T) {
	start := func(t *testing.T) *talk {
		k := listening(t, ListenConfig{Conn: plain()})
		k.in("S 0:0(0) win 65535 <mss 1000>")
		k.want("SYN-ACK", "S. 0:0(0) ack 1")
		return k
	}
	for _, tt := range []struct{ name, in, want string }{
		{"ack too low", ". 1:1(0) ack 0 win 1000", "R 0:0(0)"},
		{"ack too high", ". 1:1(0) ack 2 win 1000", "R 2:2(0)"},
		{"outside the window", ". 99999:99999(0) ack 1 win 1000", ". 1:1(0) ack 1"},
		{"RST beside RCV.NXT", "R 2:2(0) win 0", ". 1:1(0) ack 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := start(t)
			k.in(tt.in)
			if !k.stack.Transmit(k.now, &k.seg) {
				t.Fatal("no answer")
			}
			if k.l.cache.len() != 1 || k.l.Accept() != nil {
				t.Error("the handshake moved")
			}
		})
	}
	k := start(t)
	k.in("R 99999:99999(0) win 0")
	k.wantIdle("a RST outside the window is nothing")
	k.in(". 1:1(0) ack 1 win 1000")
	if k.l.Accept() == nil {
		t.Error("the true ACK does not count")
	}
}

func TestBacklogFullDropsTheLastACKAndRecovers(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain(), Backlog: 1})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.peer = withPort(peer, 81)
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK of the second", "S. 0:0(0) ack 1")
	k.in(". 1:1(0) ack 1 win 1000") // the second takes the only place
	k.peer = peer
	k.in(". 1:1(0) ack 1 win 1000")
	k.wantIdle("the first waits")
	if k.l.Accept() == nil || k.l.Accept() != nil {
		t.Fatal("want exactly one")
	}
	k.advance(time.Second)
	k.want("the SYN-ACK again", "S. 0:0(0) ack 1")
	k.in(". 1:1(0) ack 1 win 1000")
	if k.l.Accept() == nil {
		t.Error("the first is lost")
	}
}

func TestListenerCloseResetsWhatNobodyAccepted(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.in(". 1:1(0) ack 1 win 1000")
	k.l.Close(k.now)
	k.want("RST", "R. 1:1(0) ack 1")
}

func TestMuteListenerSaysNothing(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain(), Mute: true})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.wantIdle("mute")
}

func TestDelayedSYNACK(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain(), SYNDelay: 700 * time.Millisecond})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.wantIdle("not yet")
	k.advanceToTimer(700 * time.Millisecond)
	k.want("now", "S. 0:0(0) ack 1")
}

func TestSYNCacheIsBoundedAndDropsTheOldest(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain(), HalfOpen: 10})
	for port := range 100 {
		k.peer = withPort(peer, uint16(port+1))
		k.in("S 0:0(0) win 65535 <mss 1000>")
	}
	if k.l.cache.len() != 10 || k.stack.Conns() != 0 || len(k.stack.timers) > 10 {
		t.Errorf("%d half open, %d connections, %d timers", k.l.cache.len(), k.stack.Conns(), len(k.stack.timers))
	}
}

func TestSecondOpenOfTheSamePairIsRefused(t *testing.T) {
	k := dial(t, plain())
	if _, err := k.stack.Dial(k.now, us, peer, 1500, plain()); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v", err)
	}
}

func TestOpenToWhatCannotBeAPeerIsRefused(t *testing.T) {
	k := newTalk(t)
	for _, bad := range []string{"224.0.0.1:80", "255.255.255.255:80", "0.0.0.0:80", "198.18.0.2:0", "[2001:db8::1]:80"} {
		if _, err := k.stack.Dial(k.now, us, mustAddrPort(bad), 1500, plain()); !errors.Is(err, ErrBadAddress) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// The window that was asked for has to be sayable with the scale that was asked for.
func TestScaleIsNoCoarserThanTheWindow(t *testing.T) {
	k := dial(t, plain(func(c *ConnConfig) { c.Window, c.WindowScale, c.ReceiveBuffer = 1000, 14, 1<<20 }))
	k.want("a scale that can say 1000", "S 0:0(0) win 1000 <mss 1460,nop,nop,sackOK,nop,wscale 8>")
}

// What an ACK offers in SYN-RECEIVED is what is taken there: a RST at the end of
// that window is challenged.
func TestWindowOfferedInSYNReceivedHolds(t *testing.T) {
	cfg := plain(func(c *ConnConfig) { c.ChallengeACK = 1 })
	k := listening(t, ListenConfig{Conn: cfg})
	k.in("S 0:0(0) win 65535 <mss 1000,nop,wscale 7>")
	k.want("the SYN-ACK", "S. 0:0(0) ack 1 win 65535")
	k.advance(time.Second / 2)
	k.in("R 1001:1001(0) win 0")
	edge := 1
	k.want("a challenge", ". ack 1")
	edge += int(k.seg.Window) << cfg.withDefaults().WindowScale
	k.advance(time.Second / 4)
	k.in(fmt.Sprintf("R %d:%d(0) win 0", edge-1, edge-1))
	k.want("a challenge at the end of the window", ". ack 1")
}
