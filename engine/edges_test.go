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

// A FIN that lies beyond the window has not come: only what fits counts.
func TestFINBeyondTheWindowHasNotCome(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.ReceiveBuffer = 1000 }))
	k.in("FP. 1:2001(2000) ack 1 win 65535")
	k.want("what fits", ". ack 1001 win 0")
	k.read(1000)
	k.want("room again", ". ack 1001 win 1000")
	k.in("P. 1001:2001(1000) ack 1 win 65535")
	k.advance(time.Second)
	k.want("the rest, and no FIN", ". ack 2001 win 0")
	k.wantState(Established)
}

// Timestamps are compared around the circle: 5 is newer than 2^32-16.
func TestTimestampsWrap(t *testing.T) {
	k := establishedWith(t, plain(func(c *ConnConfig) { c.Timestamps = On }), "mss 1000,sackOK,TS val 4294967280 ecr 0", 65535)
	k.in("P. 1:11(10) ack 1 win 65535 <nop,nop,TS val 5 ecr 0>")
	k.read(10)
	k.in("P. 11:21(10) ack 1 win 65535 <nop,nop,TS val 4294967290 ecr 0>")
	if in := k.c.Info(k.now); in.Stats.PAWSDrops != 1 || in.ReceiveQueue != 0 {
		t.Errorf("%d dropped, %d octets taken: the one before the wrap is old", in.Stats.PAWSDrops, in.ReceiveQueue)
	}
}

// The urgent pointer is unsigned: it may point 65535 octets ahead.
func TestUrgentPointerFarAhead(t *testing.T) {
	k := established(t, plain())
	k.in("PU. 1:11(10) ack 1 win 65535 urg 40000")
	if n := k.c.Urgent(); n != 40000 {
		t.Errorf("%d octets to the end of the urgent data, want 40000", n)
	}
}

// "A TCP receiver SHOULD send an immediate duplicate ACK when an out-of-order
// segment arrives", RFC 5681 section 3.2: one for each, also of those that
// arrive together, since the sender counts them.
func TestEachSegmentBeyondAHoleDrawsAnACK(t *testing.T) {
	k := established(t, plain())
	for i := range 3 {
		k.in(lineAt(1001+1000*i, 1000))
	}
	for range 3 {
		k.want("a duplicate", ". ack 1")
	}
	k.wantIdle("and no more")
}

// B6, CVE-2019-11479: however small the MSS a peer names, a segment carries more
// than its header.
func TestTinyMSSIsNotObeyed(t *testing.T) {
	for _, options := range []string{"mss 1", "mss 63"} {
		k := establishedWith(t, plain(), options, 65535)
		k.write(1000)
		k.want("a segment with "+options, ". 1:65(64) ack 1")
	}
}

// C5: a SYN with a FIN opens nothing, whoever it is from.
func TestSYNWithFINOpensNothing(t *testing.T) {
	k := dial(t, plain())
	k.want("the SYN", "S 0:0(0)")
	k.in("FS. 0:0(0) ack 1 win 65535 <mss 1000>")
	k.in("FS 0:0(0) win 65535 <mss 1000>")
	k.in("F 0:0(0) win 65535")
	k.wantIdle("nothing is said")
	k.wantState(SynSent)
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000>")
	k.want("the true one counts", ". ack 1")
}

// The connect timeout is over with the handshake.
func TestConnectTimeoutEndsWithTheHandshake(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.ConnectTimeout = 2 * time.Second }))
	k.advance(time.Hour)
	k.wantState(Established)
	if due := k.stack.Deadline(); due != 0 {
		t.Errorf("an idle connection waits for %v", due)
	}
}

// F7: while nobody accepts, a SYN is not answered; when somebody has, its
// repetition is.
func TestFullBacklogDoesNotAnswerASYN(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain(), Backlog: 1})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.in(". 1:1(0) ack 1 win 65535")
	k.peer = withPort(peer, 81)
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.wantIdle("the backlog is full")
	if k.l.Accept() == nil {
		t.Fatal("nobody to accept")
	}
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
}

// F3: a cookie and the number it answers cannot be moved together.
func TestCookieOfAnotherSYNIsRefused(t *testing.T) {
	k := baking(t)
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.cookie()
	k.irs, k.iss = k.irs.Add(5), k.iss.Add(5)
	k.in(". 1:1(0) ack 1 win 500")
	k.wantRST("it was made for another SYN")
}

// B13: an old timestamp is judged before the handshake becomes a connection.
func TestOldTimestampMakesNoConnection(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain(func(c *ConnConfig) { c.Timestamps = On })})
	k.in("S 0:0(0) win 65535 <mss 1000,sackOK,TS val 50 ecr 0>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,TS val 49 ecr 1>")
	k.want("PAWS", ". ack 1")
	if n := k.stack.Conns(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// C16: an application that closed its half first and goes later leaves no
// connection in FIN-WAIT-2 for ever.
func TestCloseInFinWait2StartsTheTimer(t *testing.T) {
	k := established(t, plain())
	k.c.CloseWrite(k.now)
	k.want("the FIN", "F. 1:1(0) ack 1")
	k.in(". 1:1(0) ack 2 win 65535")
	k.wantState(FinWait2)
	k.advance(time.Hour)
	k.wantState(FinWait2) // somebody may still read
	k.c.Close(k.now)
	k.advanceToTimer(time.Minute)
	k.wantState(Closed)
}

// E-6: data that happens to acknowledge nothing new is no duplicate ACK (RFC
// 5681 section 2 (b)), however often it comes.
func TestDataOfThePeerIsNoDuplicateACK(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1000", 65535)
	k.write(3000)
	for range 3 {
		if !k.stack.Transmit(k.now, &k.seg) {
			t.Fatal("want three segments")
		}
	}
	for i := range 5 {
		k.in(lineAt(1+10*i, 10))
	}
	for k.stack.Transmit(k.now, &k.seg) {
		if len(k.seg.Payload) > 0 {
			t.Fatalf("sent again: %s", k.text(&k.seg, k.iss, k.irs))
		}
	}
	if in := k.c.Info(k.now); in.Stats.DupAcksIn != 0 || in.Stats.FastRecoveries != 0 {
		t.Errorf("%d duplicates, %d recoveries", in.Stats.DupAcksIn, in.Stats.FastRecoveries)
	}
}

// E-1: a block that ends before it begins is counted as what it is.
func TestInsideOutSACKIsCounted(t *testing.T) {
	k := established(t, plain())
	k.write(3000)
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 2001:1001>")
	if in := k.c.Info(k.now); in.Stats.BadSACKs != 1 {
		t.Errorf("%d bad blocks, want 1", in.Stats.BadSACKs)
	}
}

// E-10: the ACK of a SYN-ACK that was sent twice measures nothing.
func TestRepeatedSYNACKIsNoSample(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.advanceToTimer(time.Second)
	k.want("again", "S. 0:0(0) ack 1")
	k.advance(time.Millisecond)
	k.in(". 1:1(0) ack 1 win 65535")
	if k.c = k.l.Accept(); k.c == nil {
		t.Fatal("nobody to accept")
	}
	if v := k.c.Info(k.now).Vars; v.SRTT != 0 {
		t.Errorf("SRTT %v from an ACK of either", v.SRTT)
	}
}

// E-4: a recovery is undone once, however many proofs of it arrive.
func TestSecondProofUndoesNothing(t *testing.T) {
	k, original := stampedFlight(t)
	k.fireRTO()
	k.want("the first again", ". 1:1001(1000) ack 1")
	k.advance(50 * ms)
	k.in(fmt.Sprintf(". 1:1(0) ack 2001 win 65535 <nop,nop,TS val 2 ecr %d>", original))
	k.wantUndone(1)
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.in(fmt.Sprintf(". 1:1(0) ack 2001 win 65535 <nop,nop,TS val 3 ecr %d,nop,nop,sack 1:1001>", original))
	k.wantUndone(1)
}

// E-4: a DSACK inside a block of what was never sent is made up.
func TestDSACKOfWhatWasNotSentIsNoReport(t *testing.T) {
	k := established(t, plain())
	k.write(3000)
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.in(". 1:1(0) ack 1001 win 65535 <nop,nop,sack 90001:90002 90001:91001>")
	if in := k.c.Info(k.now); in.Stats.DSACKsIn != 0 || in.Stats.BadSACKs == 0 {
		t.Errorf("%d DSACKs, %d bad blocks", in.Stats.DSACKsIn, in.Stats.BadSACKs)
	}
}
