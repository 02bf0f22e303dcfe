package engine

import (
	"testing"

	"rawtcp/segment"
)

// Rules of RFC 9293 section 3.10.7 where two of its steps compete.

func stamped(c *ConnConfig) { c.Timestamps = On }

// "if the sequence number is outside the current receive window, silently drop
// the segment", RFC 5961 section 3.2, also when its text reaches into the window.
func TestRSTIsJudgedByItsSequenceNumberAlone(t *testing.T) {
	k := established(t, plain())
	k.in("R 0:5(5) win 0")
	k.in("FR. 0:1(1) ack 1 win 0")
	k.wantIdle("a RST from before the window")
	k.wantState(Established)
	k.in("R 2:7(5) win 0")
	k.want("the challenge ACK", ". ack 1")
	k.in("R 1:6(5) win 0")
	k.wantErr(ErrReset)
}

func TestRSTCountsWhileTheWindowIsClosed(t *testing.T) { // MUST-66
	k := established(t, plain(func(c *ConnConfig) { c.ReceiveBuffer, c.DelayedAck = 1000, -1 }))
	k.in("P. 1:1001(1000) ack 1 win 65535")
	k.want("the window is closed", ". ack 1001 win 0")
	k.in("R 1002:1002(0) win 0")
	k.wantIdle("a RST beyond the closed window")
	k.in("R 1001:1006(5) win 0")
	k.wantErr(ErrReset)
}

// "special allowance should be made to accept valid ACKs": what carries none is
// refused as any segment that does not fit.
func TestClosedWindowRefusesWhatHasNoACK(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.ReceiveBuffer, c.DelayedAck = 1000, -1 }))
	k.in("P. 1:1001(1000) ack 1 win 65535")
	k.want("the window is closed", ". ack 1001 win 0")
	k.in("F 1001:1001(0) win 65535")
	k.want("an ACK for what is not acceptable", ". ack 1001")
}

func TestSYNACKThatEndsASimultaneousOpenNeedsItsTimestamp(t *testing.T) {
	k := dial(t, plain(stamped))
	k.want("our SYN", "S 0:0(0)")
	k.in("S 0:0(0) win 65535 <mss 1000,sackOK,TS val 50 ecr 0>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000>")
	k.wantState(SynReceived)
	k.want("SYN-ACK again", "S. 0:0(0) ack 1")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK,TS val 51 ecr 1>")
	k.wantState(Established)
}

func TestHalfOpenNeverAnswersARST(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	k.in("S 0:0(0) win 65535")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.in("SR 0:0(0) win 0")
	k.in("SR 0:5(5) win 0")
	k.wantIdle("a RST from before the window, with SYN")
	k.in(". 1:1(0) ack 1 win 65535")
	if k.l.Accept() == nil {
		t.Error("the handshake was lost")
	}
}

// RFC 7323 sections 3.2 and 5.3: a segment without a timestamp draws nothing,
// wherever it lies and whatever it acknowledges; an old timestamp draws an ACK.
func TestHalfOpenChecksTimestampsFirst(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain(stamped)})
	k.in("S 0:0(0) win 65535 <mss 1000,sackOK,TS val 50 ecr 0>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.in(". 70000:70000(0) ack 1 win 65535")
	k.in(". 1:1(0) ack 7 win 65535")
	k.in("S 1:1(0) win 65535")
	k.in(". 1:1(0) ack 1 win 65535")
	k.wantIdle("no timestamp")
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,TS val 49 ecr 1>")
	k.want("PAWS", ". ack 1")
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,TS val 51 ecr 1>")
	if k.c = k.l.Accept(); k.c == nil {
		t.Fatal("the handshake was lost")
	}
	k.wantState(Established)
}

// A SYN,ACK at the number of the SYN is no new SYN inside the window, whatever
// text it brings.
func TestHalfOpenOutlivesASYNACKAtTheOldNumber(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	k.in("S 0:0(0) win 65535")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.in("S. 0:5(5) ack 1 win 65535")
	k.want("an ACK for what is not acceptable", ". ack 1")
	k.in(". 1:1(0) ack 1 win 65535")
	if k.l.Accept() == nil {
		t.Error("the handshake was lost")
	}
}

// The first octet may be old: "only the new parts are processed".
func TestHalfOpenTakesASegmentThatBeginsBeforeTheWindow(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	k.in("S 0:0(0) win 65535")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.in("P. 0:11(11) ack 1 win 65535")
	if k.c = k.l.Accept(); k.c == nil {
		t.Fatal("not accepted")
	}
	k.read(10)
}

// An ACK out of a half-open connection offers the window that its SYN-ACK did.
func TestHalfOpenKeepsToItsWindow(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain(func(c *ConnConfig) { c.Window = 500 })})
	k.in("S 0:0(0) win 65535")
	k.want("SYN-ACK", "S. 0:0(0) ack 1 win 500")
	k.in(". 501:501(0) ack 1 win 65535")
	k.want("an ACK for what lies beyond the window", ". ack 1 win 500")
	if k.stack.Conns() != 0 {
		t.Error("it made a connection")
	}
}

// The list of RFC 6191 section 2.
func TestSYNThatMayReplaceTimeWait(t *testing.T) {
	for _, test := range []struct {
		name    string
		stamped bool // the connection that is in TIME-WAIT
		syn     string
		want    State
		answer  string
	}{
		{"the number after the FIN", false, "S 2:2(0) win 65535 <mss 1000>", Closed, "S. 0:0(0) ack 3"},
		{"the number of the FIN", false, "S 1:1(0) win 65535 <mss 1000>", TimeWait, ". ack 2"},
		{"timestamps for the first time", false, "S 0:0(0) win 65535 <mss 1000,TS val 1 ecr 0>", Closed, "S. 0:0(0) ack 1"},
		{"a later timestamp", true, "S 0:0(0) win 65535 <mss 1000,TS val 51 ecr 0>", Closed, "S. 0:0(0) ack 1"},
		{"the same timestamp, a higher number", true, "S 2:2(0) win 65535 <mss 1000,TS val 50 ecr 0>", Closed, "S. 0:0(0) ack 3"},
		{"an earlier timestamp", true, "S 2:2(0) win 65535 <mss 1000,TS val 49 ecr 0>", TimeWait, ". ack 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := listening(t, ListenConfig{Conn: plain(stamped)})
			stamp := ""
			if test.stamped {
				stamp = "<nop,nop,TS val 50 ecr 1>"
			}
			k.in("S 0:0(0) win 65535 " + stamp)
			k.want("SYN-ACK", "S. 0:0(0) ack 1")
			k.in(". 1:1(0) ack 1 win 65535 " + stamp)
			k.c = k.l.Accept()
			k.c.Close(k.now)
			k.want("FIN", "F. 1:1(0) ack 1")
			k.in("F. 1:1(0) ack 2 win 65535 " + stamp)
			k.want("the last ACK", ". ack 2")
			k.wantState(TimeWait)
			k.in(test.syn)
			k.want("the answer to the SYN", test.answer)
			k.wantState(test.want)
		})
	}
}

// A FIN that stands where an octet was received before comes too late. Were it
// kept, it would never be reached, and the true one never be taken.
func TestFINAtTheNumberOfAnOctetIsIgnored(t *testing.T) {
	k := established(t, plain())
	k.in("P. 11:21(10) ack 1 win 65535")
	k.want("a hole", ". ack 1")
	k.in("F. 15:15(0) ack 1 win 65535")
	k.want("an ACK for what is out of order", ". ack 1")
	k.in("F. 1:21(20) ack 1 win 65535")
	k.want("all, with the FIN", ". ack 22")
	k.wantState(CloseWait)
}

// "Out-of-order data segments SHOULD be acknowledged immediately", RFC 5681
// section 4.2: the sender of a lone FIN counts duplicate ACKs as any other.
func TestRepeatedFINBeyondAHoleIsAcknowledgedEachTime(t *testing.T) {
	k := established(t, plain())
	for range 3 {
		k.in("F. 11:11(0) ack 1 win 65535")
		k.want("a duplicate ACK", ". ack 1")
	}
}

// What lies behind the peer's FIN is no data that was lost (SHLD-3).
func TestTextBehindTheFINDoesNotResetAClosedConnection(t *testing.T) {
	k := established(t, plain())
	k.c.Close(k.now)
	k.want("FIN", "F. 1:1(0) ack 1")
	k.in("F. 11:11(0) ack 1 win 65535")
	k.want("a duplicate ACK", ". ack 1")
	k.in("P. 21:31(10) ack 1 win 65535")
	k.wantState(FinWait1)
}

// A peer that sends text and later a FIN before that text contradicts itself;
// the text is neither kept nor told of any more.
func TestFINDropsWhatWasHeldBehindIt(t *testing.T) {
	k := established(t, plain())
	k.in("P. 21:31(10) ack 1 win 65535")
	k.want("a hole", ". ack 1 <nop,nop,sack 21:31>")
	k.in("FP. 1:11(10) ack 1 win 65535")
	k.want("the FIN is taken", ". ack 12")
	if k.seg.Options.Has(segment.HasSACK) {
		t.Error("text behind the FIN is told of")
	}
	k.wantState(CloseWait)
	k.read(10)
	if got := k.c.Info(k.now).OutOfOrder; got != 0 {
		t.Errorf("%d ranges held", got)
	}
}
