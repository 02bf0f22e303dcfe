package engine

import (
	"io"
	"testing"
	"time"

	"rawtcp/segment"
)

func TestActiveClose(t *testing.T) {
	k := established(t, plain())
	k.c.Close(k.now)
	k.wantState(FinWait1)
	k.want("FIN", "F. 1:1(0) ack 1")
	k.in(". 1:1(0) ack 2 win 65535")
	k.wantState(FinWait2)
	k.wantIdle("nothing to say")
	k.in("F. 1:1(0) ack 2 win 65535")
	k.wantState(TimeWait)
	k.want("the last ACK", ". ack 2")
	k.advanceToTimer(60 * time.Second) // 2MSL
	k.wantState(Closed)
	k.wantErr(nil)
	if k.stack.Conns() != 0 || k.stack.Deadline() != 0 {
		t.Error("something is left on the stack")
	}
}

func TestActiveCloseInThreeSegments(t *testing.T) {
	k := established(t, plain())
	k.c.Close(k.now)
	k.want("FIN", "F. 1:1(0) ack 1")
	k.in("F. 1:1(0) ack 2 win 65535")
	k.wantState(TimeWait)
	k.want("the last ACK", ". ack 2")
}

func TestPassiveClose(t *testing.T) {
	k := established(t, plain())
	k.in("F. 1:1(0) ack 1 win 65535")
	k.wantState(CloseWait)
	k.want("ACK of the FIN", ". ack 2")
	if _, err := k.c.Read(k.now, make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v", err)
	}
	k.write(10) // half-close: we may go on
	k.want("data after the peer's FIN", "P. 1:11(10) ack 2")
	k.in(". 2:2(0) ack 11 win 65535")
	k.c.Close(k.now)
	k.wantState(LastAck)
	k.want("FIN", "F. 11:11(0) ack 2")
	k.in(". 2:2(0) ack 12 win 65535")
	k.wantState(Closed)
	k.wantErr(nil)
}

func TestSimultaneousClose(t *testing.T) {
	k := established(t, plain())
	k.c.Close(k.now)
	k.want("FIN", "F. 1:1(0) ack 1")
	k.in("F. 1:1(0) ack 1 win 65535")
	k.wantState(Closing)
	k.want("ACK", ". ack 2")
	k.in(". 2:2(0) ack 2 win 65535")
	k.wantState(TimeWait)
}

func TestHalfCloseStillReceives(t *testing.T) {
	k := established(t, plain())
	k.c.CloseWrite(k.now)
	k.want("FIN", "F. 1:1(0) ack 1")
	k.in("P. 1:101(100) ack 2 win 65535")
	k.wantState(FinWait2)
	k.read(100)
	k.advanceToTimer(40 * time.Millisecond)
	k.want("its ACK", ". ack 101")
	if k.stack.Deadline() != 0 {
		t.Error("a half-close waits for the peer without a limit")
	}
}

func TestFINWaitsForTheData(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.InitialWindow = 1 }))
	k.write(1500)
	k.c.CloseWrite(k.now)
	k.want("what the congestion window allows", ". 1:1001(1000) ack 1")
	k.wantIdle("the rest waits")
	k.in(". 1:1(0) ack 1001 win 65535")
	k.want("the rest and the FIN", "FP. 1001:1501(500) ack 1")
	k.in(". 1:1(0) ack 1502 win 65535")
	k.wantState(FinWait2)
}

func TestFINIsRepeated(t *testing.T) {
	for _, tt := range []struct {
		name  string
		state State
		start func(k *talk)
		want  string
	}{
		{"FIN-WAIT-1", FinWait1, func(*talk) {}, "F. 1:1(0) ack 1"},
		{"CLOSING", Closing, func(k *talk) { k.in("F. 1:1(0) ack 1 win 1000"); k.want("ACK", ". ack 2") }, "F. 1:1(0) ack 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := established(t, plain())
			k.c.Close(k.now)
			k.want("FIN", "F. 1:1(0) ack 1")
			tt.start(k)
			k.wantState(tt.state)
			k.advanceToTimer(time.Second) // no sample but the SYN's, which took no time
			k.want("again", tt.want)
		})
	}
}

func TestFINBeforeItsDataWaits(t *testing.T) {
	k := established(t, plain())
	k.in("F. 101:101(0) ack 1 win 65535")
	k.wantState(Established)
	k.want("a duplicate ACK", ". ack 1")
	k.in("P. 1:101(100) ack 1 win 65535")
	k.wantState(CloseWait)
	k.want("covers both", ". ack 102")
	k.read(100)
}

func TestRepeatedFINRestartsTimeWait(t *testing.T) {
	k := established(t, plain())
	k.c.Close(k.now)
	k.want("FIN", "F. 1:1(0) ack 1")
	k.in("F. 1:1(0) ack 2 win 65535")
	k.want("the last ACK", ". ack 2")
	k.advance(50 * time.Second)
	k.in("F. 1:1(0) ack 2 win 65535")
	k.want("acknowledged again", ". ack 2")
	k.advanceToTimer(60 * time.Second)
	k.wantState(Closed)
}

func TestTimeWaitIgnoresRST(t *testing.T) { // RFC 1337
	for _, ends := range []Switch{Off, On} {
		k := established(t, plain(func(c *ConnConfig) { c.TimeWaitRST = ends }))
		k.c.Close(k.now)
		k.want("FIN", "F. 1:1(0) ack 1")
		k.in("F. 1:1(0) ack 2 win 65535")
		k.want("the last ACK", ". ack 2")
		k.in("R 2:2(0) win 0")
		if got := k.c.State() == Closed; got != (ends == On) {
			t.Errorf("setting %v: state %s", ends, k.c.State())
		}
	}
}

func TestTimeWaitOfOneRTO(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.TimeWait = -1 }))
	k.c.Close(k.now)
	k.want("FIN", "F. 1:1(0) ack 1")
	k.advance(100 * time.Millisecond)
	k.in("F. 1:1(0) ack 2 win 65535")
	k.want("the last ACK", ". ack 2")
	k.advanceToTimer(300 * time.Millisecond) // SRTT 100 ms + 4 * RTTVAR 50 ms
	k.wantState(Closed)
}

func TestNewSYNReplacesTimeWaitOnAListener(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.in(". 1:1(0) ack 1 win 65535")
	k.c = k.l.Accept()
	k.c.Close(k.now)
	k.want("FIN", "F. 1:1(0) ack 1")
	k.in("F. 1:1(0) ack 2 win 65535")
	k.want("the last ACK", ". ack 2")
	k.in("S 1:1(0) win 65535 <mss 1000>")
	k.wantState(TimeWait) // not above RCV.NXT
	k.in("S 500:500(0) win 65535 <mss 1000>")
	k.wantState(Closed)
	for k.stack.Transmit(k.now, &k.seg) && !k.seg.Flags.Has(segment.SYN) {
	}
	if !k.seg.Flags.Has(segment.SYN|segment.ACK) || k.seg.Ack != k.irs.Add(501) {
		t.Errorf("got %s", k.seg.String())
	}
}

func TestFinWait2TimesOutOnlyAfterClose(t *testing.T) {
	k := established(t, plain())
	k.c.Close(k.now)
	k.want("FIN", "F. 1:1(0) ack 1")
	k.in(". 1:1(0) ack 2 win 65535")
	k.advanceToTimer(60 * time.Second)
	k.wantState(Closed)
}

func TestCloseWithUnreadDataResets(t *testing.T) {
	k := established(t, plain())
	k.in("P. 1:11(10) ack 1 win 65535")
	k.c.Close(k.now)
	k.want("RST", "R. 1:1(0) ack 11")
	k.wantState(Closed)
}

func TestDataAfterCloseResets(t *testing.T) {
	k := established(t, plain())
	k.c.Close(k.now)
	k.want("FIN", "F. 1:1(0) ack 1")
	k.in("P. 1:11(10) ack 2 win 65535")
	k.want("RST", "R. 2:2(0) ack 1")
	k.wantState(Closed)
	k.wantErr(ErrReset)
}

func TestAbort(t *testing.T) {
	k := established(t, plain())
	k.write(10)
	k.want("data", "P. 1:11(10) ack 1")
	k.c.Abort(k.now)
	k.want("RST at SND.NXT", "R. 11:11(0) ack 1")
	k.wantErr(ErrAborted)
	k.wantIdle("and no more")
}

func TestAbandonSaysNothing(t *testing.T) {
	k := established(t, plain())
	k.c.Abandon(k.now)
	k.wantIdle("not a word")
	k.wantState(Closed)
}

func TestRSTOfThePeer(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string
		state          State
	}{
		{"exactly at RCV.NXT", "R 1:1(0) win 0", "", Closed},
		{"with ACK", "R. 1:1(0) ack 1 win 0", "", Closed},
		{"inside the window", "R 2:2(0) win 0", ". ack 1", Established}, // RFC 5961 section 3.2
		{"before the window", "R 0:0(0) win 0", "", Established},
		{"beyond the window", "R 4000000:4000000(0) win 0", "", Established},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := established(t, plain())
			k.in(tt.in)
			k.wantState(tt.state)
			if tt.want != "" {
				k.want("a challenge", tt.want)
			}
			k.wantIdle("nothing more")
			if tt.state == Closed {
				k.wantErr(ErrReset)
			}
		})
	}
}

func TestChallengeACKsAreLimitedPerConnection(t *testing.T) {
	k := established(t, plain())
	for range 10 {
		k.in("R 2:2(0) win 0")
	}
	k.want("one", ". ack 1")
	k.wantIdle("and no more")
	k.advance(500 * time.Millisecond)
	k.in("R 2:2(0) win 0")
	k.want("after a while another", ". ack 1")
}

func TestSYNOnAnEstablishedConnectionIsChallenged(t *testing.T) {
	for _, line := range []string{"S 0:0(0) win 100", "S 5:5(0) win 100", "S 99999999:99999999(0) win 100", "S. 0:0(0) ack 1 win 100"} {
		k := established(t, plain())
		k.in(line)
		k.want("a challenge for "+line, ". ack 1")
		k.wantState(Established)
	}
}

func TestLastAckGivesUpWhenThePeerIsGone(t *testing.T) { // C15
	k := established(t, plain())
	k.in("F. 1:1(0) ack 1 win 65535")
	k.c.Close(k.now)
	for k.c.State() != Closed {
		for k.stack.Transmit(k.now, &k.seg) {
		}
		due := k.stack.Deadline()
		if due == 0 {
			t.Fatal("it waits for ever")
		}
		k.now = due
		k.stack.Advance(k.now)
	}
	k.wantErr(ErrTimeout)
}

// A FIN beyond a hole that contradicts the one in order must not keep that from
// being taken, or a guess could hold the connection open for ever.
func TestFINInOrderCountsBeforeALaterOne(t *testing.T) {
	k := established(t, plain())
	k.in("F. 5001:5001(0) ack 1 win 65535")
	k.want("a FIN beyond a hole waits", ". ack 1")
	k.in("F. 1:1(0) ack 1 win 65535")
	k.wantState(CloseWait)
	k.want("ACK of the FIN", ". ack 2")
}
