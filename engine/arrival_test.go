package engine

import "testing"

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
