package engine

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"rawtcp/segment"
)

func TestSettingsOutOfRangeAreRefused(t *testing.T) {
	for name, change := range map[string]func(*ConnConfig){
		"MSS":               func(c *ConnConfig) { c.MSS = 65536 },
		"WindowScale":       func(c *ConnConfig) { c.WindowScale = -2 },
		"Window":            func(c *ConnConfig) { c.Window = 1<<30 + 1 },
		"SendBuffer":        func(c *ConnConfig) { c.SendBuffer = -1 },
		"ReceiveBuffer":     func(c *ConnConfig) { c.ReceiveBuffer = 1 << 31 },
		"InitialWindow":     func(c *ConnConfig) { c.InitialWindow = 1001 },
		"Retries":           func(c *ConnConfig) { c.Retries = -1 },
		"R1":                func(c *ConnConfig) { c.R1 = 256 },
		"MinRTO":            func(c *ConnConfig) { c.MinRTO = time.Microsecond },
		"MaxRTO":            func(c *ConnConfig) { c.MaxRTO = 100 * time.Millisecond },
		"UserTimeout":       func(c *ConnConfig) { c.UserTimeout = -1 },
		"AdvertisedTimeout": func(c *ConnConfig) { c.AdvertisedTimeout = time.Millisecond },
		"UserTimeoutMax":    func(c *ConnConfig) { c.UserTimeoutMax = 99 * time.Second },
		"KeepAliveIdle":     func(c *ConnConfig) { c.KeepAliveIdle = -1 },
		"PacingRate":        func(c *ConnConfig) { c.PacingRate = 1<<40 + 1 },
		"MTUExpiry":         func(c *ConnConfig) { c.MTUExpiry = time.Millisecond },
		"Push":              func(c *ConnConfig) { c.Push = 3 },
		"SYNOptions":        func(c *ConnConfig) { c.SYNOptions = []segment.Kind{segment.KindSACK} },
		"twice":             func(c *ConnConfig) { c.SYNOptions = []segment.Kind{segment.KindMSS, segment.KindMSS} },
	} {
		cfg := plain(change)
		s := NewStack(StackConfig{})
		if _, err := s.Dial(1, us, peer, 1500, cfg); !errors.Is(err, ErrBadConfig) {
			t.Errorf("Dial with a bad %s: %v", name, err)
		}
		if _, err := s.Listen(1, us, func(netip.Addr) int { return 1500 }, ListenConfig{Conn: cfg}); !errors.Is(err, ErrBadConfig) {
			t.Errorf("Listen with a bad %s: %v", name, err)
		}
	}
}

func TestSYNOptionsInAnyOrderAndNumber(t *testing.T) {
	k := dial(t, ConnConfig{SYNOptions: []segment.Kind{segment.KindWindowScale, segment.KindNOP, segment.KindMSS}})
	k.want("two options, ours first", "S 0:0(0) win 65535 <wscale 9,nop,mss 1460>")
	k.in("S. 0:0(0) ack 1 win 1000 <mss 1000,sackOK,TS val 1 ecr 0,wscale 2>")
	k.want("the peer's others are not used", ". 1:1(0) ack 1 win 2048")
	if k.c.sack || k.c.ts.on {
		t.Errorf("SACK %v, timestamps %v", k.c.sack, k.c.ts.on)
	}
	k = dial(t, ConnConfig{SYNOptions: []segment.Kind{}})
	k.want("none at all", "S 0:0(0) win 65535")
	k.in("S. 0:0(0) ack 1 win 1000 <mss 1000,wscale 2>")
	k.want("and the window is not scaled", ". 1:1(0) ack 1 win 65535")
}

func TestExactWindowStaysFlat(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.Window, c.WindowScale, c.DelayedAck = 65535, -1, -1 }))
	for i := range 8 {
		k.in(seq(". ", 1+1000*i, 1000) + " ack 1 win 65535")
		k.want("unread data does not show", ". 1:1(0) ack "+num(1001+1000*i)+" win 65535")
	}
}

func TestISNOfTheStack(t *testing.T) {
	s := NewStack(StackConfig{ISN: func(now Time, local, remote netip.AddrPort) segment.Seq {
		return segment.MakeSeq(uint32(now) + uint32(local.Port()) + uint32(remote.Port()))
	}})
	c, err := s.Dial(7, us, peer, 1500, ConnConfig{})
	if err != nil || c.snd.iss != segment.MakeSeq(7+1000+80) {
		t.Errorf("ISS %v, %v", c.snd.iss, err)
	}
}

func TestPushPolicies(t *testing.T) {
	for policy, want := range map[PushPolicy][2]string{
		PushLast: {".", "P."}, PushAlways: {"P.", "P."}, PushNever: {".", "."},
	} {
		k := established(t, plain(func(c *ConnConfig) { c.Push = policy }))
		k.c.SetNoDelay(true)
		k.write(1500)
		k.want("a full segment", want[0]+" 1:1001(1000) ack 1")
		k.want("the last", want[1]+" 1001:1501(500) ack 1")
	}
}

func TestChallengeACKsWithoutLimit(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.ChallengeACK = -1 }))
	for range 5 {
		k.in("S 1:1(0) win 1000")
		k.want("each is challenged", ". ack 1")
	}
}

func TestFinWait2ForEver(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.FinWait2 = -1 }))
	k.c.Close(k.now)
	k.want("FIN", "F. ack 1")
	k.in(". 1:1(0) ack 2 win 65535")
	k.wantState(FinWait2)
	if due := k.stack.Deadline(); !due.IsZero() {
		t.Errorf("a timer is due in %v", due.Sub(k.now))
	}
}

func TestSendBufferChangesInLife(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.SendBuffer = 3000 }))
	if n, _ := k.c.Write(k.now, make([]byte, 5000)); n != 3000 {
		t.Fatalf("took %d of 3000", n)
	}
	var woken ConnEvents
	k.c.OnEvent = func(e ConnEvents) { woken |= e }
	if err := k.c.SetSendBuffer(4000); err != nil || woken&Writable == 0 {
		t.Errorf("%v, woken %b", err, woken)
	}
	if n, _ := k.c.Write(k.now, make([]byte, 5000)); n != 1000 {
		t.Errorf("took %d of 1000", n)
	}
	if err := k.c.SetSendBuffer(100); err != nil || k.c.snd.buf.len() != 4000 {
		t.Errorf("%v, %d octets are left", err, k.c.snd.buf.len())
	}
	if n, _ := k.c.Write(k.now, make([]byte, 5000)); n != 0 {
		t.Errorf("took %d beyond the buffer", n)
	}
	for _, bad := range []int{0, -1, 1<<30 + 1} {
		if err := k.c.SetSendBuffer(bad); !errors.Is(err, ErrBadConfig) {
			t.Errorf("%d: %v", bad, err)
		}
	}
}

// A smaller buffer takes back nothing that was offered (SHLD-14); a larger one
// is told.
func TestReceiveBufferChangesInLife(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.WindowScale, c.ReceiveBuffer, c.DelayedAck = -1, 10_000, -1 }))
	if err := k.c.SetReceiveBuffer(k.now, 4000); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		k.in(seq(". ", 1+1000*i, 1000) + " ack 1 win 65535")
		k.want("the edge stays", ". 1:1(0) ack "+num(1001+1000*i)+" win "+num(9000-1000*i))
	}
	k.read(10_000)
	k.want("the new buffer is empty", ". 1:1(0) ack 10001 win 4000")
	if err := k.c.SetReceiveBuffer(k.now, 20_000); err != nil {
		t.Fatal(err)
	}
	k.want("a larger one is told at once", ". 1:1(0) ack 10001 win 20000")
}

// With a scale of 2^14 a buffer of one octet could never be offered.
func TestReceiveBufferIsNoSmallerThanTheScale(t *testing.T) {
	k := dial(t, plain(func(c *ConnConfig) { c.WindowScale, c.ReceiveBuffer, c.DelayedAck = 10, 1<<20, -1 }))
	k.want("SYN", "S 0:0(0)")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK,wscale 0>")
	k.want("ACK", ". ack 1")
	if err := k.c.SetReceiveBuffer(k.now, 1); err != nil {
		t.Fatal(err)
	}
	for i := 0; k.c.rcv.edge.Sub(k.c.rcv.nxt) > 0 && i < 2000; i++ {
		k.in(seq(". ", 1+1000*i, 1000) + " ack 1 win 65535")
		for k.stack.Transmit(k.now, &k.seg) {
		}
		k.c.Read(k.now, make([]byte, 1000))
		for k.stack.Transmit(k.now, &k.seg) {
		}
		if i == 1999 {
			return
		}
	}
	t.Error("the window is closed for ever")
}

func TestNoDelayInLife(t *testing.T) {
	k := established(t, plain())
	k.write(10)
	k.want("the first", "P. 1:11(10) ack 1")
	k.write(10)
	k.wantIdle("Nagle")
	k.c.SetNoDelay(true)
	k.want("it waits no more", "P. 11:21(10) ack 1")
	k.c.SetNoDelay(false)
	k.write(10)
	k.wantIdle("Nagle again")
}

func TestKeepAliveInLife(t *testing.T) {
	k := established(t, plain())
	if err := k.c.SetKeepAlive(k.now, time.Minute, time.Second, 2); err != nil {
		t.Fatal(err)
	}
	k.advanceToTimer(time.Minute)
	k.want("a probe", ". 0:0(0) ack 1")
	if err := k.c.SetKeepAlive(k.now, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if due := k.stack.Deadline(); !due.IsZero() {
		t.Errorf("switched off, but a timer is due in %v", due.Sub(k.now))
	}
	if err := k.c.SetKeepAlive(k.now, time.Second, 0, 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		k.advanceToTimer(time.Second)
		k.want("a probe", ". 0:0(0) ack 1")
	}
	k.advanceToTimer(time.Second)
	k.want("the count of before", "R. ack 1")
	k.wantErr(ErrTimeout)
	if err := k.c.SetKeepAlive(k.now, -1, 0, 0); !errors.Is(err, ErrBadConfig) {
		t.Errorf("a negative time: %v", err)
	}
}

func TestCongestionControlInLife(t *testing.T) {
	k := established(t, plain())
	k.sendSegments(3)
	k.in(". 1:1(0) ack 3001 win 65535")
	window := k.c.cc.Window()
	if err := k.c.SetCongestion("cubic"); err != nil {
		t.Fatal(err)
	}
	if _, ok := k.c.cc.(*cubic); !ok || k.c.cc.Window() != window || k.c.Info(k.now).Congestion != "cubic" {
		t.Errorf("%T with a window of %d, want cubic with %d", k.c.cc, k.c.cc.Window(), window)
	}
	if err := k.c.SetCongestion("vegas"); err == nil || k.c.Info(k.now).Congestion != "cubic" {
		t.Errorf("vegas: %v", err)
	}
	early := dial(t, plain())
	if err := early.c.SetCongestion("cubic"); err != nil {
		t.Fatal(err)
	}
	early.want("SYN", "S 0:0(0)")
	early.in("S. 0:0(0) ack 1 win 1000 <mss 1000>")
	if _, ok := early.c.cc.(*cubic); !ok {
		t.Errorf("chosen before the handshake was done: %T", early.c.cc)
	}
}

func TestFieldsOfTheIPHeaderChangeInLife(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.TTL, c.TOS = 9, 4 }))
	k.c.SetTTL(200)
	k.c.SetTOS(0xb8)
	k.write(10)
	k.want("data", "P. 1:11(10) ack 1")
	if k.seg.TTL != 200 || k.seg.TOS != 0xb8 {
		t.Errorf("TTL %d, TOS %#x", k.seg.TTL, k.seg.TOS)
	}
	k.c.SetTTL(0)
	k.advanceToTimer(time.Second)
	if k.want("again", "P. 1:11(10) ack 1"); k.seg.TTL != 64 {
		t.Errorf("TTL %d", k.seg.TTL)
	}
}

func TestApplicationHearsOfTroubleAtR1(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.R1 = 2 }))
	var heard ConnEvents
	k.c.OnEvent = func(e ConnEvents) { heard |= e }
	k.write(10)
	k.want("data", "P. 1:11(10) ack 1")
	k.advanceToTimer(time.Second)
	if k.want("again", "P. 1:11(10) ack 1"); heard&Troubled != 0 {
		t.Error("told after one timeout")
	}
	k.advanceToTimer(2 * time.Second)
	if heard&Troubled == 0 {
		t.Error("not told after two")
	}
}

func TestCloseRead(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.DelayedAck, c.WindowScale, c.ReceiveBuffer = -1, -1, 5000 }))
	k.in("P. 1:1001(1000) ack 1 win 65535")
	k.want("ACK", ". 1:1(0) ack 1001 win 4000")
	k.c.CloseRead(k.now)
	if n, err := k.c.Read(k.now, make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("read %d, %v", n, err)
	}
	for i := 1; i < 20; i++ { // more than the buffer
		k.in(seq("P. ", 1+1000*i, 1000) + " ack 1 win 65535")
		k.want("it is acknowledged", ". ack "+num(1001+1000*i))
	}
	k.write(10)
	k.want("writing goes on", "P. 1:11(10) ack 20001")
	k.c.Close(k.now)
	k.in(". 20001:20001(0) ack 11 win 65535")
	k.want("nothing is unread: no RST", "F. 11:11(0) ack 20001")
}

func TestNegativeLingerResets(t *testing.T) {
	k := established(t, plain())
	k.c.SetLinger(-1)
	k.write(10)
	k.want("data", "P. 1:11(10) ack 1")
	k.c.Close(k.now)
	k.want("RST and no FIN", "R. 11:11(0) ack 1")
	k.wantState(Closed)

	k = established(t, plain())
	k.c.CloseWrite(k.now)
	k.want("shutdown sends a FIN", "F. 1:1(0) ack 1")
	k.c.SetLinger(-1)
	k.c.Close(k.now)
	k.want("and close the RST", "R. 2:2(0) ack 1")

	k = dial(t, plain(func(c *ConnConfig) { c.Linger = -1 }))
	k.want("SYN", "S 0:0(0)")
	k.c.Close(k.now)
	k.wantIdle("a peer that knows nothing yet gets no RST")
}

func num(n int) string { return strconv.Itoa(n) }

// seq is the line of a segment of n octets that starts at from.
func seq(flags string, from, n int) string {
	return fmt.Sprintf("%s%d:%d(%d)", flags, from, from+n, n)
}
