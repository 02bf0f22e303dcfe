package engine

import (
	"fmt"
	"testing"
	"time"
)

// "if the ACK bit is off, drop the segment and return" RFC 9293 section 3.10.7.4
func TestSegmentWithoutACKIsDropped(t *testing.T) {
	k := established(t, plain())
	k.in("P 1:11(10) win 65535")
	k.in("FP 1:11(10) win 65535")
	k.wantIdle("and nothing is said")
	k.wantState(Established)
	if n := k.c.rcv.buf.readable; n != 0 {
		t.Errorf("%d octets were taken", n)
	}
}

// The window is half open: what begins at its right edge is outside.
func TestRightEdgeOfTheWindowIsOutside(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.Window = 1000 }))
	edge := k.c.rcv.edge.Sub(k.c.rcv.irs)
	k.in(lineAt(edge, 10))
	k.want("an ACK that reports nothing", ". ack 1")
	if in := k.c.Info(k.now); in.Stats.Unacceptable != 1 || in.OutOfOrder != 0 {
		t.Errorf("%d refused, %d held", in.Stats.Unacceptable, in.OutOfOrder)
	}
	k.in(lineAt(edge-1, 10))
	if in := k.c.Info(k.now); in.Stats.Unacceptable != 1 || in.OutOfOrder != 1 {
		t.Errorf("one before it: %d refused, %d held", in.Stats.Unacceptable, in.OutOfOrder)
	}
}

// A probe is answered each time it comes: the peer that sends it counts the
// answers, and the limit on challenge ACKs is not for it.
func TestEveryProbeIsAnswered(t *testing.T) {
	k := established(t, plain())
	for range 5 {
		k.in(". 0:0(0) ack 1 win 65535")
		k.want("an answer", ". ack 1")
		k.advance(time.Millisecond)
	}
	k.wantIdle("one for each")
}

// A timestamp of a segment that is not acceptable is not remembered (RFC 7323
// section 5.3, R3), or anybody could have all later segments dropped.
func TestTimestampOutsideTheWindowIsNotTaken(t *testing.T) {
	k := establishedWith(t, plain(func(c *ConnConfig) { c.Timestamps = On }), "mss 1000,sackOK,TS val 1000 ecr 0", 65535)
	k.in("P. 4294900000:4294900010(10) ack 1 win 65535 <nop,nop,TS val 2000000 ecr 0>")
	if k.c.ts.recent != 1000 {
		t.Fatalf("TS.Recent is %d", k.c.ts.recent)
	}
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.in("P. 1:11(10) ack 1 win 65535 <nop,nop,TS val 1001 ecr 0>")
	k.read(10)
}

// MUST-12: a RST that takes what we had sent is told, one behind our FIN that
// had acknowledged all is an end.
func TestRSTWithDataOutstandingIsNoOrderlyEnd(t *testing.T) {
	for _, tt := range []struct {
		name  string
		acked bool
		want  error
	}{{"all but the FIN acknowledged", true, nil}, {"data outstanding", false, ErrReset}} {
		t.Run(tt.name, func(t *testing.T) {
			k := established(t, plain())
			k.in("F. 1:1(0) ack 1 win 65535")
			k.write(10)
			k.c.CloseWrite(k.now)
			k.want("the data and the FIN", "FP. 1:11(10) ack 2")
			k.wantState(LastAck)
			if tt.acked {
				k.in(". 2:2(0) ack 11 win 65535")
			}
			k.in("R 2:2(0) win 0")
			k.wantState(Closed)
			k.wantErr(tt.want)
		})
	}
}

// lineAt is data of the peer at a relative sequence number.
func lineAt(seq, n int) string { return fmt.Sprintf("P. %d:%d(%d) ack 1 win 65535", seq, seq+n, n) }
