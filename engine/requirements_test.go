package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"rawtcp/segment"
)

// Requirements of RFC 9293 that no other conversation here would miss; each
// names the identifiers of its appendix B. docs/rfc.md has them all.

func TestWindowsUpToOneGigabyte(t *testing.T) { // REC-1
	k := establishedWith(t, plain(), "mss 1000,sackOK,nop,wscale 14", 65535)
	k.in(". 1:1(0) ack 1 win 65535")
	if k.c.snd.wnd != 65535<<14 {
		t.Errorf("SND.WND %d, want %d", k.c.snd.wnd, 65535<<14)
	}
}

func TestRSTAfterASimultaneousOpenIsARefusal(t *testing.T) { // MUST-11
	k := dial(t, plain())
	k.want("our SYN", "S 0:0(0)")
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.wantState(SynReceived)
	k.in("R 1:1(0) win 0")
	k.wantState(Closed)
	k.wantErr(ErrRefused)
}

func TestPeerWithoutAnMSSOption(t *testing.T) { // MUST-15
	k := dial(t, plain())
	k.want("SYN", "S 0:0(0)")
	k.in("S. 0:0(0) ack 1 win 65535")
	k.write(600)
	k.want("IPv4: 536 octets", ". 1:537(536) ack 1")
	c, err := k.stack.Dial(k.now, mustAddrPort("[2001:db8::1]:1000"), mustAddrPort("[2001:db8::2]:80"), 1500, plain())
	if err != nil {
		t.Fatal(err)
	}
	if c.snd.mss != 1220 {
		t.Errorf("IPv6: %d octets, want 1220", c.snd.mss)
	}
}

func TestSegmentsFitThePeerThePathAndTheirOptions(t *testing.T) { // MUST-16
	for _, test := range []struct {
		options string
		want    string
	}{
		{"mss 700", ". 1:701(700) ack 1"},
		{"mss 9000", ". 1:1461(1460) ack 1"},
		{"mss 9000,TS val 1 ecr 0", ". 1:1449(1448) ack 1"},
	} {
		k := establishedWith(t, plain(stamped), test.options, 65535)
		k.write(5000)
		k.want(test.options, test.want)
	}
}

// MUST-65: MSS belongs on SYNs, window scale and SACK-permitted too (RFC 7323
// section 2.2, RFC 2018 section 2). On other segments they are neither sent nor believed.
func TestOptionsOfTheSYNCountNowhereElse(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1000", 65535)
	if k.seg.Options.Set != 0 {
		t.Errorf("the handshake's ACK has options %b", k.seg.Options.Set)
	}
	k.in("P. 1:11(10) ack 1 win 65535 <mss 100,nop,wscale 3,nop,nop,sackOK>")
	k.write(1000)
	k.want("of the MSS in the SYN", "P. 1:1001(1000) ack 11")
	if k.seg.Options.Set != 0 || k.c.snd.wnd != 65535 || k.c.sack {
		t.Errorf("options %b sent, SND.WND %d, SACK %v", k.seg.Options.Set, k.c.snd.wnd, k.c.sack)
	}
}

func TestDefaultPatienceIsLongerThan100Seconds(t *testing.T) { // SHLD-11
	k := established(t, plain())
	k.write(10)
	start := k.now
	for k.c.State() != Closed {
		for k.stack.Transmit(k.now, &k.seg) {
		}
		k.now = k.stack.Deadline()
		k.stack.Advance(k.now)
	}
	k.wantErr(ErrTimeout)
	if waited := k.now.Sub(start); waited < 100*time.Second {
		t.Errorf("gave up after %v", waited)
	}
}

// A tellTale counts the expiries of one timer.
type tellTale struct {
	timer TimerKind
	fired int
}

func (t *tellTale) Trace(e *Event) {
	if e.Kind == EventTimerFired && e.Timer == t.timer {
		t.fired++
	}
}

func TestTroubleIsToldLongBeforeTheEnd(t *testing.T) { // SHLD-9, MUST-47
	k := established(t, plain())
	told := &tellTale{timer: TimerRTO}
	k.stack.setTracer(told)
	k.write(10)
	k.want("data", "P. 1:11(10) ack 1")
	for range 3 {
		k.now = k.stack.Deadline()
		k.stack.Advance(k.now)
		k.want("again", "P. 1:11(10) ack 1")
	}
	k.icmp(3, 1, 0, 1)
	info := k.c.Info(k.now)
	if told.fired != 3 || info.Stats.Timeouts != 3 || !errors.Is(info.SoftError, ErrUnreachable) {
		t.Errorf("%d expiries told, %d counted, soft error %v", told.fired, info.Stats.Timeouts, info.SoftError)
	}
	k.wantState(Established)
}

func TestNoKeepAliveWhileDataIsOutstanding(t *testing.T) { // MUST-26
	k := established(t, plain(func(c *ConnConfig) {
		c.KeepAliveIdle, c.KeepAliveInterval, c.KeepAliveCount = 10*time.Second, time.Second, 3
	}))
	k.write(10)
	k.want("data", "P. 1:11(10) ack 1")
	for k.now < Time(100*time.Second) {
		k.now = k.stack.Deadline()
		k.stack.Advance(k.now)
		if k.stack.Transmit(k.now, &k.seg) && len(k.seg.Payload) != 10 {
			t.Fatalf("sent %s", &k.seg)
		}
	}
	if k.c.stats().KeepAlives != 0 {
		t.Errorf("%d keep-alives", k.c.stats().KeepAlives)
	}
}

func TestUrgentDataOfAnyLength(t *testing.T) { // MUST-31, MUST-62
	k := established(t, plain(func(c *ConnConfig) { c.InitialWindow = 100 }))
	if n, err := k.c.WriteUrgent(k.now, make([]byte, 2500)); n != 2500 || err != nil {
		t.Fatal(n, err)
	}
	k.write(500)
	k.want("every segment points at the end", ".U 1:1001(1000) ack 1 urg 2500")
	k.want("the second", ".U 1001:2001(1000) ack 1 urg 1500")
	k.want("the last", "P.U 2001:3001(1000) ack 1 urg 500")
	k.in(". 1:1(0) ack 3001 win 65535")
	k.write(10)
	k.want("what is not urgent", "P. 3001:3011(10) ack 1")
}

func TestUrgentDataBeyondTheReachOfThePointer(t *testing.T) { // MUST-31
	k := established(t, plain(func(c *ConnConfig) { c.InitialWindow = 100 }))
	if n, err := k.c.WriteUrgent(k.now, make([]byte, 66_000)); n != 66_000 || err != nil {
		t.Fatal(n, err)
	}
	k.want("as far as it reaches", ".U 1:1001(1000) ack 1 urg 65535")
	k.want("the end", ".U 1001:2001(1000) ack 1 urg 65000")
}

func TestApplicationIsToldOfUrgentData(t *testing.T) { // MUST-32, MUST-33
	k := established(t, plain())
	told := 0
	k.c.OnEvent = func(e ConnEvents) {
		if e&Readable != 0 {
			told++
		}
	}
	k.in("U. 1:1(0) ack 1 win 65535 urg 5")
	if told != 1 || k.c.Urgent() != 5 {
		t.Errorf("told %d times of %d octets, before they arrived", told, k.c.Urgent())
	}
	k.in("U. 1:1(0) ack 1 win 65535 urg 5")
	if told != 1 {
		t.Error("told of a pointer that did not advance")
	}
	k.in("U. 1:1(0) ack 1 win 65535 urg 9")
	if told != 2 || k.c.Urgent() != 9 {
		t.Errorf("told %d times of %d octets, after the pointer advanced", told, k.c.Urgent())
	}
}

func TestUrgentPointerCountsWhileTheWindowIsClosed(t *testing.T) { // MUST-66
	k := established(t, plain(func(c *ConnConfig) { c.ReceiveBuffer, c.DelayedAck = 1000, -1 }))
	k.in("P. 1:1001(1000) ack 1 win 65535")
	k.want("the window is closed", ". ack 1001 win 0")
	k.in("U. 1001:1001(0) ack 1 win 65535 urg 7")
	if n := k.c.Urgent(); n != 1007 {
		t.Errorf("%d octets to the end of urgent data, want 1007", n)
	}
}

// MUST-35, MUST-37, SHLD-17: what was sent before the window shrank to nothing
// probes it, ever more rarely and without end while the peer answers.
func TestWindowShrunkToNothingIsProbedWithoutEnd(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.Retries = 3 }))
	k.sendSegments(2)
	k.in(". 1:1(0) ack 1 win 0")
	last := time.Duration(0)
	for range 20 {
		start := k.now
		k.now = k.stack.Deadline()
		k.stack.Advance(k.now)
		k.want("a probe", ". 1:1001(1000) ack 1")
		k.wantIdle("one at a time")
		if wait := k.now.Sub(start); wait < last {
			t.Errorf("a wait of %v after one of %v", wait, last)
		} else {
			last = wait
		}
		k.in(". 1:1(0) ack 1 win 0")
	}
	k.wantState(Established)
	k.in(". 1:1(0) ack 1001 win 65535")
	k.want("it opened", "P. 1001:2001(1000) ack 1")
}

func TestAnsweredProbesNeverEndTheConnection(t *testing.T) { // MUST-37
	k := establishedWith(t, plain(func(c *ConnConfig) { c.Retries = 3 }), "mss 1000", 0)
	k.write(10)
	k.wantIdle("the window is closed")
	for range 20 {
		k.now = k.stack.Deadline()
		k.stack.Advance(k.now)
		k.want("probe", ". 0:0(0) ack 1")
		k.in(". 1:1(0) ack 1 win 0")
	}
	k.wantState(Established)
}

// SHLD-14: whatever is read and received, the right edge never moves left; where
// the window is scaled, by less than one unit (RFC 7323 section 2.4).
func TestRightEdgeNeverMovesLeft(t *testing.T) {
	for _, shift := range []int{-1, 7} {
		k := establishedWith(t, plain(func(c *ConnConfig) { c.WindowScale, c.ReceiveBuffer, c.DelayedAck = shift, 20_000, -1 }),
			"mss 1000,nop,wscale 0", 65535)
		unit := 1 << k.c.rcv.scale
		k.in("P. 1:2(1) ack 1 win 65535")
		k.want("ACK", fmt.Sprintf(". ack 2 win %d", (19_999+unit-1)/unit))
		edge := k.c.rcv.edge
		for i := 2; i < 30_000; i += 7 {
			k.in(string(segmentText(i, 7, true)) + " win 65535")
			if i%49 == 0 {
				k.c.Read(k.now, make([]byte, 45))
			}
			for k.stack.Transmit(k.now, &k.seg) {
				now := k.seg.Ack.Add(int(k.seg.Window) * unit)
				if edge.Sub(now) >= unit {
					t.Fatalf("after %d octets the edge moved left by %d", i, edge.Sub(now))
				}
				edge = segment.MaxSeq(edge, now)
			}
		}
	}
}

func TestDelayedAckNeverTakesHalfASecond(t *testing.T) { // MUST-40
	k := established(t, plain(func(c *ConnConfig) { c.DelayedAck = 10 * time.Second }))
	k.in("P. 1:2(1) ack 1 win 65535")
	k.advanceToTimer(499 * time.Millisecond)
	k.want("the ACK", ". ack 2")
}

// MUST-41, MUST-42: a passive OPEN disturbs nobody, and may use the port of a
// connection, whatever its state.
func TestListenBesideConnectionsOfTheSamePort(t *testing.T) {
	for _, state := range []State{SynSent, Established} {
		k := dial(t, plain())
		k.want("our SYN", "S 0:0(0)")
		if state == Established {
			k.in("S. 0:0(0) ack 1 win 65535 <mss 1000>")
			k.want("ACK", ". ack 1")
		}
		l, err := k.stack.Listen(k.now, us, func(netip.Addr) int { return 1500 }, ListenConfig{Conn: plain()})
		if err != nil {
			t.Fatal(err)
		}
		k.wantState(state)
		k.peer = withPort(peer, 4000)
		k.in("S 0:0(0) win 65535 <mss 1000>")
		k.want("the listener's SYN-ACK", "S. 0:0(0) ack 1")
		k.in(". 1:1(0) ack 1 win 65535")
		if l.Accept() == nil {
			t.Error("not accepted")
		}
		k.peer = peer
		if state == SynSent {
			k.in("S. 0:0(0) ack 1 win 65535 <mss 1000>")
			k.want("ACK", ". ack 1")
		}
		k.write(10)
		k.want("data of the first connection", "P. 1:11(10) ack 1")
	}
}

// MUST-45, MUST-48, MUST-49: one local address, DiffServ field and TTL from the
// SYN to the last segment, RST included.
func TestEverySegmentHasTheAddressAndFieldsOfItsConnection(t *testing.T) {
	k := dial(t, plain(func(c *ConnConfig) { c.TTL, c.TOS = 7, 0xb8 }))
	check := func(why, line string) {
		t.Helper()
		k.want(why, line)
		if k.seg.Src != us || k.seg.Dst != peer || k.seg.TTL != 7 || k.seg.TOS != 0xb8 {
			t.Errorf("%s: %v > %v TTL %d TOS %#x", why, k.seg.Src, k.seg.Dst, k.seg.TTL, k.seg.TOS)
		}
	}
	check("SYN", "S 0:0(0)")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000>")
	check("ACK", ". ack 1")
	k.write(10)
	check("data", "P. 1:11(10) ack 1")
	k.advanceToTimer(time.Second)
	check("again", "P. 1:11(10) ack 1")
	k.in("R 2:2(0) win 0")
	check("challenge", ". ack 1")
	k.c.Abort(k.now)
	check("RST", "R. 11:11(0) ack 1")

	k = listening(t, ListenConfig{Conn: plain(func(c *ConnConfig) { c.TTL, c.TOS = 7, 0xb8 })})
	k.in("S 0:0(0) win 65535 <mss 1000>")
	check("SYN-ACK", "S. 0:0(0) ack 1")
}

func TestEverySecondFullSegmentIsAcknowledged(t *testing.T) { // SHLD-19
	for _, test := range []struct {
		name    string
		mss     int // ours
		options string
		size    int
	}{
		{"of the peer's link", 0, "mss 1000", 1000},
		{"of our MSS", 500, "mss 1460", 500},
		{"of no MSS option", -1, "mss 1460", 536},
		{"with timestamps", 0, "mss 1460,TS val 100 ecr 0", 1448},
	} {
		k := establishedWith(t, plain(stamped, func(c *ConnConfig) { c.MSS = test.mss }), test.options, 65535)
		stamp := ""
		if k.c.ts.on {
			stamp = " <nop,nop,TS val 100 ecr 0>"
		}
		k.in(string(segmentText(1, test.size, false)) + " win 65535" + stamp)
		k.wantIdle(test.name + ": the first waits")
		k.in(string(segmentText(1+test.size, test.size, false)) + " win 65535" + stamp)
		k.want(test.name+": the second does not", fmt.Sprintf(". ack %d", 1+2*test.size))
	}
}

func TestQueuedSegmentsDrawOneACK(t *testing.T) { // MUST-58, MUST-59
	k := established(t, plain())
	for i := range 6 {
		k.in(string(segmentText(1+1000*i, 1000, false)) + " win 65535")
	}
	k.want("one for six", ". ack 6001")
	k.wantIdle("and no more")
}

// RFC 5961 section 5.2: an ACK further back than the largest window the peer
// ever offered is no old duplicate but a guess.
func TestACKLongPastIsChallenged(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1000", 2000)
	k.write(5000)
	for i := range 5 {
		k.want("data", string(segmentText(1+1000*i, 1000, i == 4)))
		k.in(". 1:1(0) ack " + []string{"1001", "2001", "3001", "4001", "5001"}[i] + " win 2000")
	}
	k.in("P. 1:11(10) ack 3000 win 2000")
	k.want("a challenge", ". ack 1")
	k.in("P. 1:11(10) ack 3001 win 2000")
	k.read(10)
}

// An ACK from before the connection is no old one of it: not after the first
// octets, and not after more of them than sequence numbers compare.
func TestGhostACKIsChallenged(t *testing.T) {
	k := establishedWith(t, plain(func(c *ConnConfig) { c.ChallengeACK = -1 }), "mss 1000", 65535)
	k.write(100)
	k.want("data", "P. 1:101(100) ack 1")
	k.in(". 1:1(0) ack 101 win 65535")
	k.in("P. 1:11(10) ack 0 win 65535")
	k.want("a challenge", ". ack 1")
	k.in("P. 1:11(10) ack 1 win 65535") // the ACK of our SYN
	k.read(10)
	for _, acked := range []uint64{1 << 31, 1 << 32, 1<<32 + 50} { // as if so much had gone by
		k.c.traffic.BytesWritten = acked
		if back := k.c.snd.una.Sub(k.c.oldestACK()); back != 65535 {
			t.Errorf("after %d octets an ACK may be %d back, want the largest window", acked, back)
		}
	}
}

// RFC 7323 section 4.3: (A) the earliest segment that is not acknowledged, (B)
// the last one in order, (C) the one that fills the hole.
func TestWhichTimestampIsEchoed(t *testing.T) {
	k := establishedWith(t, plain(stamped), "mss 1000,sackOK,TS val 100 ecr 0", 65535)
	step := func(why, in, want string, echo uint32) {
		t.Helper()
		k.in(in)
		if want == "" {
			k.wantIdle(why)
			return
		}
		k.want(why, want)
		if k.seg.Options.TSEcr != echo {
			t.Errorf("%s: echoed %d, want %d", why, k.seg.Options.TSEcr, echo)
		}
	}
	step("delayed", ". 1:989(988) ack 1 win 65535 <nop,nop,TS val 101 ecr 0>", "", 0)
	step("A", ". 989:1977(988) ack 1 win 65535 <nop,nop,TS val 102 ecr 0>", ". ack 1977", 101)
	step("B", ". 2965:3953(988) ack 1 win 65535 <nop,nop,TS val 103 ecr 0>", ". ack 1977", 101)
	step("C", ". 1977:2965(988) ack 1 win 65535 <nop,nop,TS val 104 ecr 0>", ". ack 3953", 104)
}

// RFC 7323 section 3.2: after negotiation every segment that is no RST has the
// option, without negotiation none, and one that arrives all the same is ignored.
func TestTimestampsOnEverySegmentOrNone(t *testing.T) {
	k := dial(t, plain(stamped))
	k.want("our SYN", "S 0:0(0)")
	if !k.seg.Options.Has(segment.HasTimestamps) || k.seg.Options.TSEcr != 0 {
		t.Errorf("SYN with %b, echo %d", k.seg.Options.Set, k.seg.Options.TSEcr)
	}
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,TS val 100 ecr 0>")
	has := func(why string, want bool) {
		t.Helper()
		if got := k.seg.Options.Has(segment.HasTimestamps); got != want {
			t.Errorf("%s: timestamp %v, want %v", why, got, want)
		}
	}
	k.want("ACK", ". ack 1")
	has("ACK", true)
	k.write(10)
	k.want("data", "P. 1:11(10) ack 1")
	has("data", true)
	sent := k.seg.Options.TSVal
	k.advanceToTimer(time.Second)
	k.want("again", "P. 1:11(10) ack 1")
	has("retransmission", true)
	if ticks := k.seg.Options.TSVal - sent; ticks != 1000 { // sections 4.1 and 5.4
		t.Errorf("the clock ticked %d times in a second", ticks)
	}
	k.c.CloseWrite(k.now)
	k.want("FIN", "F. 11:11(0) ack 1")
	has("FIN", true)

	k = establishedWith(t, plain(stamped), "mss 1000", 65535)
	has("ACK of a connection without", false)
	k.in("P. 1:11(10) ack 1 win 65535 <nop,nop,TS val 7 ecr 0>")
	k.in("P. 11:21(10) ack 1 win 65535 <nop,nop,TS val 3 ecr 0>")
	k.read(20)
}

// RFC 7323 section 2.2: the window scale works both ways or not at all.
func TestWindowScaleNeedsBothSides(t *testing.T) {
	k := establishedWith(t, plain(func(c *ConnConfig) { c.WindowScale = -1 }), "mss 1000,nop,wscale 7", 1000)
	k.in(". 1:1(0) ack 1 win 1000")
	if k.c.snd.wnd != 1000 || k.c.rcv.scale != 0 {
		t.Errorf("SND.WND %d, our shift %d", k.c.snd.wnd, k.c.rcv.scale)
	}
	k = establishedWith(t, plain(), "mss 1000", 1000)
	k.in(". 1:1(0) ack 1 win 1000")
	if k.c.snd.wnd != 1000 || k.c.rcv.scale != 0 {
		t.Errorf("SND.WND %d, our shift %d", k.c.snd.wnd, k.c.rcv.scale)
	}
	k = establishedWith(t, plain(), "mss 1000,nop,wscale 15", 1000) // section 2.3: 14 is the most
	if k.c.snd.wnd != 1000 {
		t.Errorf("SND.WND %d: the window of a SYN is never scaled", k.c.snd.wnd)
	}
	k.in(". 1:1(0) ack 1 win 1000")
	if k.c.snd.wnd != 1000<<14 || k.c.rcv.scale != 5 {
		t.Errorf("SND.WND %d, our shift %d", k.c.snd.wnd, k.c.rcv.scale)
	}
}

// RFC 2018 section 2: without SACK-permitted from the peer no SACK option is sent.
func TestNoSACKWithoutPermission(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1000", 65535)
	k.in(". 1001:2001(1000) ack 1 win 65535")
	k.want("a bare duplicate ACK", ". ack 1 win 65535")
	if k.seg.Options.Set != 0 {
		t.Errorf("options %b", k.seg.Options.Set)
	}
}

// RFC 2018 section 8: the octets stay until they are acknowledged, whatever was reported.
func TestReportedDataIsKeptUntilAcknowledged(t *testing.T) {
	k := established(t, plain())
	k.sendSegments(3)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1:3001>")
	if n := k.c.Info(k.now).SendQueue; n != 3000 {
		t.Errorf("%d octets held, want 3000", n)
	}
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	k.want("the left edge, reported or not", ". 1:1001(1000) ack 1")
}

// RFC 6298 section 5.3: new data acknowledged gives the rest a whole RTO.
func TestACKOfNewDataRestartsTheRTO(t *testing.T) {
	k := established(t, plain())
	k.sendSegments(2)
	k.advance(900 * time.Millisecond)
	k.in(". 1:1(0) ack 1001 win 65535")
	due := k.stack.Deadline().Sub(k.now)
	if want := k.c.rtt.rto(); due != want || want <= 100*time.Millisecond {
		t.Errorf("due in %v, want a whole RTO of %v", due, want)
	}
}

// RFC 7323 sections 5.2 and 5.3: timestamps are checked before the window is;
// those of a RST are neither checked nor recorded.
func TestTimestampsComeFirstButNotForRST(t *testing.T) {
	k := establishedWith(t, plain(stamped), "mss 1000,sackOK,TS val 100 ecr 0", 65535)
	k.in("P. 99999:100009(10) ack 1 win 65535")
	k.wantIdle("no timestamp, though outside the window")
	k.in("R 2:2(0) win 0 <nop,nop,TS val 200 ecr 0>")
	k.want("the challenge", ". ack 1")
	if k.c.ts.recent != 100 {
		t.Errorf("TS.Recent is %d, from a RST", k.c.ts.recent)
	}
	k.in("R 1:1(0) win 0 <nop,nop,TS val 50 ecr 0>")
	k.wantErr(ErrReset)
}

// RFC 7323 section 5.2: a RST has the timestamp of the segment that drew it, or
// of the connection that was aborted.
func TestRSTHasATimestamp(t *testing.T) {
	k := establishedWith(t, plain(stamped), "mss 1000,sackOK,TS val 100 ecr 0", 65535)
	k.c.Abort(k.now)
	k.want("RST", "R. 1:1(0) ack 1")
	if o := &k.seg.Options; !o.Has(segment.HasTimestamps) || o.TSVal != k.c.tsNow(k.now) || o.TSEcr != 100 {
		t.Errorf("aborted with %+v", o)
	}
	k = listening(t, ListenConfig{Conn: plain(stamped)})
	k.in(". 1:1(0) ack 300 win 65535 <nop,nop,TS val 77 ecr 1>")
	k.want("RST", "R 300:300(0)")
	if o := &k.seg.Options; !o.Has(segment.HasTimestamps) || o.TSVal != 0 || o.TSEcr != 77 {
		t.Errorf("refused with %+v", o)
	}
	k.in(". 1:1(0) ack 300 win 65535")
	k.want("RST", "R 300:300(0)")
	if k.seg.Options.Set != 0 {
		t.Errorf("options %b in answer to none", k.seg.Options.Set)
	}
	k.in("S 0:0(0) win 65535 <mss 1000,TS val 88 ecr 0>")
	k.want("SYN-ACK", "S. 0:0(0) ack 1")
	k.l.Close(k.now)
	k.want("RST", "R. 1:1(0) ack 1")
	if o := &k.seg.Options; !o.Has(segment.HasTimestamps) || o.TSEcr != 88 {
		t.Errorf("closed with %+v", o)
	}
}

// RFC 2018 section 4: as many blocks as fit, the latest first, then those
// reported before it.
func TestSACKBlocksThatFit(t *testing.T) {
	for _, test := range []struct{ options, stamp, want string }{
		{"mss 1000,sackOK", "", ". ack 1 win 65535 <nop,nop,sack 3001:4001 9001:10001 7001:8001 5001:6001>"},
		{"mss 1000,sackOK,TS val 1 ecr 0", " <nop,nop,TS val 1 ecr 0>", ""},
	} {
		k := establishedWith(t, plain(stamped), test.options, 65535)
		for _, at := range []int{1001, 5001, 7001, 9001, 3001} {
			k.in(string(segmentText(at, 1000, false)) + " win 65535" + test.stamp)
			if at != 3001 {
				k.want("a duplicate ACK", ". ack 1")
			}
		}
		if test.want != "" {
			k.want("four blocks", test.want)
			continue
		}
		k.want("the last", ". ack 1")
		if n := k.seg.Options.SACKCount; n != 3 {
			t.Errorf("%d blocks beside timestamps, want 3", n)
		}
	}
}

// RFC 2018 section 4: behind the first block stand "the most recently reported SACK
// blocks … that are not subsets of a SACK block already included", also when
// many segments made the first, or one came in order.
func TestSACKBlocksRepeatTheLatestRanges(t *testing.T) {
	k := established(t, plain())
	for _, at := range []int{3001, 5001, 7001, 9001, 11001, 13001, 14001, 15001} {
		k.in(string(segmentText(at, 1000, false)) + " win 65535")
		k.want("a duplicate ACK", ". ack 1")
	}
	k.in(string(segmentText(16001, 1000, false)) + " win 65535")
	k.want("each range once", ". ack 1 win 65535 <nop,nop,sack 13001:17001 11001:12001 9001:10001 7001:8001>")
	k.in(string(segmentText(1, 1000, false)) + " win 65535")
	k.want("in order", ". ack 1001 win 65535 <nop,nop,sack 13001:17001 11001:12001 9001:10001 7001:8001>")
}

// RFC 6298 section 3: each round trip is measured, and a timestamp tells which
// transmission was acknowledged.
func TestEveryRoundTripIsMeasured(t *testing.T) {
	k := establishedWith(t, plain(stamped), "mss 1000,sackOK,TS val 100 ecr 0", 65535)
	ack := func(n int) {
		k.in(fmt.Sprintf(". 1:1(0) ack %d win 65535 <nop,nop,TS val 101 ecr %d>", n, k.seg.Options.TSVal))
	}
	last := time.Duration(0)
	for i := range 5 {
		k.write(10)
		k.want("data", fmt.Sprintf("P. %d:%d(10) ack 1", 1+10*i, 11+10*i))
		k.advance(time.Duration(100+50*i) * time.Millisecond)
		ack(11 + 10*i)
		if k.c.rtt.srtt <= last {
			t.Errorf("round %d: SRTT %v, after %v", i, k.c.rtt.srtt, last)
		}
		last = k.c.rtt.srtt
	}
	k.write(10)
	k.want("data", "P. 51:61(10) ack 1")
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	k.want("again", "P. 51:61(10) ack 1")
	k.advance(10 * time.Millisecond)
	ack(61)
	if k.c.rtt.srtt >= last || k.c.rtt.doublings != 0 {
		t.Errorf("SRTT %v after %v: the echo of the retransmission was not taken", k.c.rtt.srtt, last)
	}
}

func TestChallengeACKsCanBeRarer(t *testing.T) { // RFC 5961 section 7
	k := established(t, plain(func(c *ConnConfig) { c.ChallengeACK = 5 * time.Second }))
	k.in("R 2:2(0) win 0")
	k.want("one", ". ack 1")
	k.advance(4 * time.Second)
	k.in("R 2:2(0) win 0")
	k.wantIdle("not yet")
	k.advance(time.Second)
	k.in("R 2:2(0) win 0")
	k.want("now", ". ack 1")
}

// RFC 9293 SHLD-16: of what is lost, only what lies inside the window that is left.
func TestRetransmissionsStayInsideAShrunkenWindow(t *testing.T) {
	k := established(t, plain())
	k.sendSegments(8)
	k.advance(50 * time.Millisecond)
	k.in(". 1:1(0) ack 1 win 3000 <nop,nop,sack 1001:2001 3001:4001 5001:6001 7001:8001>")
	k.want("the first hole", ". 1:1001(1000) ack 1")
	k.advance(50 * time.Millisecond)
	k.want("the second", ". 2001:3001(1000) ack 1")
	k.wantIdle("the others are beyond the edge")
	k.in(". 1:1(0) ack 4001 win 3000 <nop,nop,sack 5001:6001 7001:8001>")
	k.want("inside now", ". 4001:5001(1000) ack 1")
}

// RFC 5681 section 4.3, RFC 8985 section 9.3: the loss of a retransmission
// lowers the window a second time.
func TestLostRetransmissionIsASecondSignOfCongestion(t *testing.T) {
	k := dial(t, plain())
	k.want("SYN", "S 0:0(0)")
	k.advance(40 * time.Millisecond)
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>")
	k.want("ACK", ". ack 1")
	k.sendSegments(10)
	k.advance(40 * time.Millisecond)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:10001>")
	k.want("the hole", ". 1:1001(1000) ack 1")
	if got := k.c.cc.Window(); got != 5000 {
		t.Errorf("window %d after the first loss, want half of the flight", got)
	}
	k.advance(time.Millisecond)
	k.write(1000)
	k.want("new data", "P. 10001:11001(1000) ack 1")
	k.advance(60 * time.Millisecond)
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:11001>")
	k.want("the hole again", ". 1:1001(1000) ack 1")
	if got := k.c.cc.Window(); got != 2500 {
		t.Errorf("window %d after the second, want half of 5000", got)
	}
}

// RFC 5681 section 3.2 step 1, RFC 3042: the first two duplicate ACKs let new
// data go, and the congestion window stays as it is.
func TestLimitedTransmit(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1000", 65535)
	k.write(20_000)
	for i := range 10 {
		k.want("the initial window", string(segmentText(1+1000*i, 1000, false)))
	}
	for i := 10; i < 12; i++ {
		k.wantIdle("the window is full")
		k.in(". 1:1(0) ack 1 win 65535")
		k.want("a segment for a duplicate ACK", string(segmentText(1+1000*i, 1000, false)))
	}
	if got := k.c.cc.Window(); got != 10_000 {
		t.Errorf("window %d", got)
	}
	k.in(". 1:1(0) ack 1 win 65535")
	k.want("the third is a loss", ". 1:1001(1000) ack 1")
}

// RFC 5681 section 4.1: after a pause longer than the RTO the window starts anew.
func TestPauseShrinksTheWindow(t *testing.T) {
	k := established(t, plain())
	k.sendSegments(10)
	k.advance(100 * time.Millisecond)
	k.in(". 1:1(0) ack 10001 win 65535")
	if got := k.c.cc.Window(); got != 18_000 {
		t.Fatalf("window %d, want eight segments more", got)
	}
	k.advance(time.Minute)
	k.write(20_000)
	for i := 10; i < 20; i++ {
		k.want("the restart window", string(segmentText(1+1000*i, 1000, false)))
	}
	k.wantIdle("no more than ten")
}

// RFC 3168 section 6.1.1: ECN needs both sides, and SYNs and probes never carry ECT.
func TestECNOnlyAmongTheWilling(t *testing.T) {
	willing := func(c *ConnConfig) { c.ECN = On }
	for _, test := range []struct {
		syn, answer string
		on          bool
	}{
		{"SEW 0:0(0) win 65535 <mss 1000>", "S.E 0:0(0) ack 1", true},
		{"SE 0:0(0) win 65535 <mss 1000>", "S. 0:0(0) ack 1", false},
		{"S 0:0(0) win 65535 <mss 1000>", "S. 0:0(0) ack 1", false},
	} {
		k := listening(t, ListenConfig{Conn: plain(willing)})
		k.in(test.syn)
		k.want("SYN-ACK", test.answer)
		if k.seg.TOS&ecnMask != 0 {
			t.Errorf("SYN-ACK with TOS %#x", k.seg.TOS)
		}
		k.in(". 1:1(0) ack 1 win 65535")
		k.c = k.l.Accept()
		k.write(10)
		k.want("data", "P. 1:11(10) ack 1")
		if got := k.seg.TOS&ecnMask == ecnECT0; got != test.on {
			t.Errorf("%s: data is ECN-capable %v, want %v", test.syn, got, test.on)
		}
	}
	for _, answer := range []string{"S.", "S.EW"} { // section 6.1.1: no ECN-setup SYN-ACK
		k := dial(t, plain(willing))
		k.want("SYN", "SEW 0:0(0)")
		if k.seg.TOS&ecnMask != 0 {
			t.Errorf("SYN with TOS %#x", k.seg.TOS)
		}
		k.in(answer + " 0:0(0) ack 1 win 65535 <mss 1000>")
		k.want("ACK", ". ack 1")
		k.write(10)
		k.want("data", "P. 1:11(10) ack 1")
		if k.seg.TOS&ecnMask != 0 {
			t.Errorf("%s: data with TOS %#x", answer, k.seg.TOS)
		}
	}
	k := ecnTalk(t)
	k.in(". 1:1(0) ack 1 win 0")
	k.write(10)
	k.wantIdle("closed")
	k.now = k.stack.Deadline()
	k.stack.Advance(k.now)
	k.want("probe", ". 0:0(0) ack 1")
	if k.seg.TOS&ecnMask != 0 {
		t.Errorf("probe with TOS %#x", k.seg.TOS)
	}
}

// RFC 2883 section 5: a block is held against the ACK of its own segment; an ACK
// that was overtaken reports nothing twice.
func TestOvertakenACKReportsNoDuplicate(t *testing.T) {
	k := established(t, plain())
	k.sendSegments(4)
	k.in(". 1:1(0) ack 3001 win 65535")
	k.in(". 1:1(0) ack 1 win 65535 <nop,nop,sack 1001:2001>")
	if n := k.c.stats().DSACKsIn; n != 0 {
		t.Errorf("%d duplicates reported", n)
	}
	k.in(". 1:1(0) ack 3001 win 65535 <nop,nop,sack 1001:2001>")
	if n := k.c.stats().DSACKsIn; n != 1 {
		t.Errorf("%d duplicates reported, want 1", n)
	}
}

// RFC 8985 section 6.2: the least round trip is that of recent minutes, and the
// reordering window is never larger than the smoothed one (section 3.3.2).
func TestReorderingWindowFollowsThePath(t *testing.T) {
	var k rack
	k.reordering = true
	now := Time(1)
	k.minRTT.add(now, 40*time.Millisecond)
	for range 10 {
		now = now.Add(time.Minute)
		k.minRTT.add(now, 80*time.Millisecond)
	}
	if got := k.minRTT.value(); got != 80*time.Millisecond {
		t.Errorf("least round trip %v, minutes after the path became longer", got)
	}
	if got := k.window(false, 0, time.Second); got != 20*time.Millisecond {
		t.Errorf("window %v, want a quarter", got)
	}
	k.mult = 1000
	if got := k.window(false, 0, 100*time.Millisecond); got != 100*time.Millisecond {
		t.Errorf("window %v, want no more than SRTT", got)
	}
}

// RFC 6582 section 3.2 step 2: without SACK the duplicate ACKs of needless
// retransmissions begin no second recovery.
func TestDuplicateACKsAtRecoverAreNoLoss(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1000", 65535)
	k.sendSegments(6)
	for range 3 {
		k.in(". 1:1(0) ack 1 win 65535")
	}
	k.want("the third", ". 1:1001(1000) ack 1")
	k.in(". 1:1(0) ack 6001 win 65535")
	k.write(2000)
	k.want("new data", ". 6001:7001(1000) ack 1")
	k.want("new data", "P. 7001:8001(1000) ack 1")
	for range 3 {
		k.in(". 1:1(0) ack 6001 win 65535")
	}
	k.wantIdle("they are about what was sent before")
	k.in(". 1:1(0) ack 7001 win 65535")
	k.write(4000)
	for k.stack.Transmit(k.now, &k.seg) {
	}
	for range 3 {
		k.in(". 1:1(0) ack 7001 win 65535")
	}
	k.want("these are about new data", ". 7001:8001(1000) ack 1")
}

// RFC 7323 section 2.4: what was offered is taken, rounding included.
func TestWholeWindowOfferedIsTaken(t *testing.T) {
	k := establishedWith(t, plain(func(c *ConnConfig) { c.WindowScale, c.ReceiveBuffer, c.DelayedAck = 7, 20_000, -1 }),
		"mss 1000,nop,wscale 0", 65535)
	k.in("P. 1:2(1) ack 1 win 65535")
	k.want("157 units of 128 octets", ". ack 2 win 157")
	k.in("P. 2:20002(20000) ack 1 win 65535")
	k.want("96 octets are left, and no unit says so", ". ack 20002 win 0")
	k.in("P. 20050:20098(48) ack 1 win 65535")
	k.want("behind a hole", ". ack 20002 win 0")
	k.in("P. 20002:20050(48) ack 1 win 65535")
	k.want("all of it", ". ack 20098 win 0")
}

// Rounding a scaled window up must not move the edge with every ACK: what the
// application does not read is bounded, whatever the size of the segments.
func TestScaledWindowCloses(t *testing.T) {
	k := establishedWith(t, plain(func(c *ConnConfig) { c.WindowScale, c.ReceiveBuffer, c.DelayedAck = 7, 2000, -1 }),
		"mss 1000,nop,wscale 0", 65535)
	for i := 1; i < 5000; i += 10 {
		k.in(string(segmentText(i, 10, true)) + " win 65535")
		for k.stack.Transmit(k.now, &k.seg) {
		}
	}
	if n := k.c.Info(k.now).ReceiveQueue; n > 2000+127 {
		t.Errorf("%d octets are held, 2000 were asked for", n)
	}
	if k.seg.Window != 0 {
		t.Errorf("the window is still %d", k.seg.Window)
	}
}

// RFC 9293 section 3.8.6.2.1, MUST-38: a window that never holds a whole segment
// is used by halves of the largest one seen.
func TestWindowSmallerThanASegmentIsUsed(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1000", 600)
	k.write(3000)
	k.want("all of the window", ". 1:601(600) ack 1")
	k.in(". 1:1(0) ack 601 win 299")
	k.wantIdle("less than half of it")
	k.in(". 1:1(0) ack 601 win 300")
	k.want("half of it", ". 601:901(300) ack 1")
}
