package engine

import (
	"strings"
	"testing"
	"time"
)

func willing(c *ConnConfig) { c.UserTimeoutOption = On }

func TestUserTimeoutIsOfferedOnSYNAndFirstSegment(t *testing.T) {
	k := dial(t, plain(willing, func(c *ConnConfig) { c.AdvertisedTimeout = 7 * time.Minute }))
	k.want("the SYN", "S 0:0(0) win 65535 <mss 1460,nop,nop,sackOK,nop,wscale 5,uto 420s>")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>")
	k.want("and once more", ". 1:1(0) ack 1 win 65535 <uto 420s>")
	k.write(10)
	k.want("no third time", "P. 1:11(10) ack 1 win 65535")
	if k.seg.Options.Len() != 0 {
		t.Errorf("options %v", &k.seg.Options)
	}
	plainTalk := dial(t, plain())
	plainTalk.want("off by default", "S 0:0(0) win 65535 <mss 1460,nop,nop,sackOK,nop,wscale 5>")
}

func TestUserTimeoutOptionLeavesRoomForItself(t *testing.T) {
	k := established(t, plain(willing))
	if err := k.c.SetUserTimeout(k.now, 36000*time.Second); err != nil {
		t.Fatal(err)
	}
	k.write(2000)
	k.want("996 octets fit beside it", ". 1:997(996) ack 1 win 65535 <uto 600m>")
	k.want("1000 without", ". 997:1997(1000) ack 1 win 65535")
}

// RFC 5482 section 3.1: USER_TIMEOUT = min(U_LIMIT, max(ADV_UTO, REMOTE_UTO, L_LIMIT)).
func TestUserTimeoutIsAdopted(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*ConnConfig)
		remote string
		want   time.Duration
	}{
		{"the larger of both", willing, "uto 10m", 10 * time.Minute},
		{"ours, if larger", willing, "uto 120s", 5 * time.Minute},
		{"the upper limit", willing, "uto 600m", 30 * time.Minute},
		{"the lower limit", func(c *ConnConfig) { willing(c); c.AdvertisedTimeout = time.Second }, "uto 2s", 100 * time.Second},
		{"0 is reserved", willing, "uto 0m", 0},
		{"not enabled", func(*ConnConfig) {}, "uto 10m", 0},
		{"not changeable", func(c *ConnConfig) { willing(c); c.TimeoutChangeable = Off }, "uto 10m", 0},
		{"set by the application", func(c *ConnConfig) { willing(c); c.UserTimeout = time.Minute }, "uto 10m", time.Minute},
		{"set, but changeable", func(c *ConnConfig) { willing(c); c.UserTimeout, c.TimeoutChangeable = time.Minute, On }, "uto 10m", 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := establishedWith(t, plain(tt.change), "mss 1000,sackOK,"+tt.remote, 65535)
			if got := k.c.cfg.UserTimeout; got != tt.want {
				t.Errorf("on the SYN-ACK: %v, want %v", got, tt.want)
			}
			k = established(t, plain(tt.change))
			k.in(". 1:1(0) ack 1 win 65535 <" + tt.remote + ">")
			if got := k.c.cfg.UserTimeout; got != tt.want {
				t.Errorf("later: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestUserTimeoutOfThePeersSYN(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain(willing)})
	k.in("S 0:0(0) win 65535 <mss 1000,uto 20m>")
	k.want("ours goes back", "S. 0:0(0) ack 1 win 65535 <mss 1460,uto 300s>")
	k.in(". 1:1(0) ack 1 win 65535")
	c := k.l.Accept()
	if c == nil || c.cfg.UserTimeout != 20*time.Minute || c.Info(k.now).Peer.UserTimeout != 20*time.Minute {
		t.Fatalf("not adopted: %+v", c)
	}
}

// The lower limit "MUST be larger than the current retransmission timeout".
func TestAdoptedUserTimeoutIsLongerThanTheRTO(t *testing.T) {
	k := established(t, plain(willing, func(c *ConnConfig) {
		c.AdvertisedTimeout, c.UserTimeoutMin, c.UserTimeoutMax, c.InitialRTO = time.Second, time.Second, 2*time.Second, 8*time.Second
	}))
	k.c.rtt.srtt = 0
	k.in(". 1:1(0) ack 1 win 65535 <uto 1s>")
	if got := k.c.cfg.UserTimeout; got <= k.c.rtt.rto() {
		t.Errorf("%v, with an RTO of %v", got, k.c.rtt.rto())
	}
}

func TestApplicationHearsThePeersUserTimeout(t *testing.T) {
	k := established(t, plain(willing, func(c *ConnConfig) { c.UserTimeout = time.Minute }))
	var heard ConnEvents
	k.c.OnEvent = func(e ConnEvents) { heard |= e }
	k.in(". 1:1(0) ack 1 win 65535 <uto 9m>")
	if heard&TimeoutTold == 0 || k.c.peer.timeout != 540 {
		t.Errorf("heard %b, remembers %v", heard, k.c.peer.timeout)
	}
}

func TestUserTimeoutEndsWindowProbes(t *testing.T) {
	k := established(t, plain())
	k.write(10)
	k.want("data", "P. 1:11(10) ack 1")
	k.in(". 1:1(0) ack 11 win 0")
	k.write(10)
	k.wantIdle("closed window")
	if err := k.c.SetUserTimeout(k.now, 3*time.Second); err != nil {
		t.Fatal(err)
	}
	k.advance(k.stack.Deadline().Sub(k.now))
	k.want("a probe", ". 10:10(0) ack 1")
	first := k.now
	for k.c.State() != Closed {
		k.now = k.stack.Deadline()
		k.stack.Advance(k.now)
		for k.stack.Transmit(k.now, &k.seg) {
		}
	}
	if k.wantErr(ErrTimeout); k.now.Sub(first) != 3*time.Second {
		t.Errorf("after %v", k.now.Sub(first))
	}
}

// A user timeout is about what is unanswered, not about the age of a
// connection: progress starts it anew.
func TestUserTimeoutCountsFromTheLastProgress(t *testing.T) {
	k := established(t, plain(func(c *ConnConfig) { c.UserTimeout = 5 * time.Second }))
	for i := range 5 {
		k.write(10)
		k.want("data", strings.Replace("P. A:B(10) ack 1", "A:B", num(1+10*i)+":"+num(11+10*i), 1))
		k.advance(900 * time.Millisecond)
		k.in(". 1:1(0) ack " + num(11+10*i) + " win 65535")
		k.advance(2 * time.Second)
	}
	k.advance(time.Hour)
	k.wantState(Established)
}

// RFC 5482 section 4.2.
func TestKeepAliveComesAfterTheUserTimeout(t *testing.T) {
	k := established(t, plain(willing, func(c *ConnConfig) { c.UserTimeout, c.KeepAliveIdle = time.Minute, time.Second }))
	k.advanceToTimer(61 * time.Second)
	k.want("a probe", ". 0:0(0) ack 1")
}
