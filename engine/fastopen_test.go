package engine

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"rawtcp/segment"
)

const fastCookie = "0102030405060708"

// fastDial is an active open with Fast Open, of a stack that knows the server's
// cookie if mss is not 0.
func fastDial(t *testing.T, mss int, data int, change ...func(*ConnConfig)) *talk {
	cfg := plain(change...)
	cfg.FastOpen = On
	k := newTalk(t)
	if mss > 0 {
		known := fastOpenCookie{mss: mss}
		raw, _ := hex.DecodeString(fastCookie)
		known.n = copy(known.octets[:], raw)
		k.stack.common.fastOpen.cookies.put(fastOpenPath{us.Addr(), peer.Addr()}, known)
	}
	c, err := k.stack.Dial(k.now, us, peer, 1500, cfg)
	if err != nil {
		t.Fatal(err)
	}
	k.c, k.iss = c, c.snd.iss
	if data > 0 {
		k.write(data)
	}
	return k
}

// knows returns the cookie that the client's cache has for the peer.
func (k *talk) knows() (string, int) {
	v, _ := k.stack.common.fastOpen.cookies.get(fastOpenPath{us.Addr(), peer.Addr()})
	return hex.EncodeToString(v.octets[:v.n]), v.mss
}

func (k *talk) refusesFastOpen() bool {
	_, ok := k.stack.common.fastOpen.refused.get(fastOpenPort{us.Addr(), peer})
	return ok
}

func TestFastOpenIsOffByDefault(t *testing.T) {
	k := dial(t, plain())
	k.write(10)
	k.want("no option", "S 0:0(0) win 65535 <mss 1460,nop,nop,sackOK,nop,wscale 5>")
}

// RFC 7413 section 4.2.1.
func TestFastOpenAsksForACookie(t *testing.T) {
	k := fastDial(t, 0, 100)
	k.want("a request, and no data", "S 0:0(0) win 65535 <mss 1460,nop,nop,sackOK,nop,wscale 5,tfo cookiereq,nop,nop>")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1200,tfo cookie " + fastCookie + ">")
	k.want("the data follows the handshake", "P. 1:101(100) ack 1")
	if cookie, mss := k.knows(); cookie != fastCookie || mss != 1200 {
		t.Errorf("it knows %q, MSS %d", cookie, mss)
	}
	if k.c.Info(k.now).FastOpen {
		t.Error("nothing rode on the SYN")
	}
}

func TestFastOpenCarriesDataOnTheSYN(t *testing.T) {
	k := fastDial(t, 1000, 100)
	k.want("data behind the cookie", "S 0:100(100) win 65535 <mss 1460,nop,nop,sackOK,nop,wscale 5,tfo cookie "+fastCookie+",nop,nop>")
	k.wantIdle("no more")
	k.in("S. 0:0(0) ack 101 win 65535 <mss 1200>")
	k.want("all is acknowledged", ". ack 1")
	k.wantState(Established)
	if in := k.c.Info(k.now); !in.FastOpen || in.SendQueue != 0 || in.Vars.Flight != 0 {
		t.Errorf("%+v", in)
	}
	if k.stack.Deadline() != 0 {
		t.Error("a timer runs for nothing")
	}
	if cookie, mss := k.knows(); cookie != fastCookie || mss != 1200 || k.refusesFastOpen() {
		t.Errorf("it knows %q, MSS %d", cookie, mss)
	}
	k.write(10)
	k.want("the next octets", "P. 101:111(10) ack 1")
}

// "Include any data up to the cached server MSS", options accounted, and never more than the path takes.
func TestFastOpenDataFitsOneSegment(t *testing.T) {
	for _, test := range []struct{ mss, want int }{{1000, 1000 - 24}, {8000, 1460 - 24}, {20, 0}} {
		k := fastDial(t, test.mss, 5000)
		if !k.stack.Transmit(k.now, &k.seg) || len(k.seg.Payload) != test.want {
			t.Errorf("MSS %d: %d octets, want %d", test.mss, len(k.seg.Payload), test.want)
		}
	}
}

// "The client SHOULD retransmit any unacknowledged data in the first ACK packet".
func TestFastOpenDataThatWasNotTakenGoesAgain(t *testing.T) {
	k := fastDial(t, 1000, 300)
	k.want("SYN", "S 0:300(300)")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>")
	k.want("with the ACK", "P. 1:301(300) ack 1")
	k.wantIdle("once")
	if in := k.c.Info(k.now); in.FastOpen || in.Vars.Cwnd != 10*1000 {
		t.Errorf("that is no loss: %+v", in.Vars)
	}
	if !k.refusesFastOpen() {
		t.Error("it would try that again")
	}
	k.in(". 1:1(0) ack 301 win 65535")
	if k.stack.Deadline() != 0 {
		t.Error("a timer runs")
	}
}

func TestFastOpenDataTakenInPart(t *testing.T) {
	k := fastDial(t, 1000, 300)
	k.want("SYN", "S 0:300(300)")
	k.in("S. 0:0(0) ack 101 win 65535 <mss 1000>")
	k.want("the rest with the ACK", "P. 101:301(200) ack 1")
	if k.refusesFastOpen() {
		t.Error("it works")
	}
}

// An expired cookie is replaced, and the path stays good.
func TestFastOpenNewCookie(t *testing.T) {
	k := fastDial(t, 1000, 300)
	k.want("SYN", "S 0:300(300)")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000,tfo cookie 0a0b0c0d>")
	k.want("data again", "P. 1:301(300) ack 1")
	if cookie, _ := k.knows(); cookie != "0a0b0c0d" || k.refusesFastOpen() {
		t.Errorf("it knows %q", cookie)
	}
}

// "When the SYN timer fires, the client SHOULD retransmit a SYN packet without
// data and Fast Open options", and leave the path alone then.
func TestFastOpenSYNIsLost(t *testing.T) {
	k := fastDial(t, 1000, 300)
	k.want("SYN", "S 0:300(300)")
	k.advanceToTimer(time.Second)
	k.want("a plain one", "S 0:0(0) win 65535 <mss 1460,nop,nop,sackOK,nop,wscale 5>")
	k.in("S. 0:0(0) ack 1 win 65535 <mss 1000>")
	k.want("data now", "P. 1:301(300) ack 1")
	if cookie, _ := k.knows(); cookie != "" || !k.refusesFastOpen() {
		t.Error("it would try that again")
	}
	c, err := k.stack.Dial(k.now, withPort(us, 1001), peer, 1500, ConnConfig{FastOpen: On})
	if err != nil || !k.stack.Transmit(k.now, &k.seg) || k.seg.Options.Has(segment.HasFastOpen) {
		t.Errorf("for a while there is no Fast Open: %v %s", err, k.seg.String())
	}
	c.Abandon(k.now)
	k.now = k.now.Add(fastOpenRefusal)
	if _, err = k.stack.Dial(k.now, withPort(us, 1002), peer, 1500, ConnConfig{FastOpen: On}); err != nil {
		t.Fatal(err)
	}
	for k.stack.Transmit(k.now, &k.seg) {
		if k.seg.Flags == segment.SYN && !k.seg.Options.Has(segment.HasFastOpen) {
			t.Error("and then it asks again")
		}
	}
}

// The SYN-ACK that acknowledges the data was lost, and the SYN goes again without: still all is well.
func TestFastOpenSYNACKIsLost(t *testing.T) {
	k := fastDial(t, 1000, 300)
	k.want("SYN", "S 0:300(300)")
	k.advanceToTimer(time.Second)
	k.want("a plain one", "S 0:0(0)")
	k.in("S. 0:0(0) ack 301 win 65535 <mss 1000>")
	k.want("all is there", ". ack 1")
	k.wantState(Established)
}

func TestFastOpenFailures(t *testing.T) {
	for name, fail := range map[string]func(*talk){
		"nobody answers": func(k *talk) {
			for k.c.State() != Closed {
				k.now = k.stack.Deadline()
				k.stack.Advance(k.now)
				for k.stack.Transmit(k.now, &k.seg) {
				}
			}
		},
		"ICMP": func(k *talk) {
			pkt, _ := k.seg.Append(nil)
			k.stack.DeliverICMP(k.now, ICMP{From: peer.Addr(), Type: 3, Code: 2, Quoted: pkt})
		},
	} {
		k := fastDial(t, 1000, 300)
		k.want("SYN", "S 0:300(300)")
		fail(k)
		if k.c.State() != Closed || !k.refusesFastOpen() {
			t.Errorf("%s: %s, remembered: %t", name, k.c.State(), k.refusesFastOpen())
		}
	}
	k := fastDial(t, 1000, 300)
	k.want("SYN", "S 0:300(300)")
	k.in("R. 0:0(0) ack 301 win 0")
	if k.wantErr(ErrRefused); k.refusesFastOpen() {
		t.Error("a RST says nothing about Fast Open")
	}
}

func TestFastOpenCacheIsBounded(t *testing.T) {
	var b bounded[int, int]
	for i := range 3 * maxFastOpenPaths {
		b.put(i, i)
		b.put(i, i+1)
	}
	if len(b.m) != maxFastOpenPaths || len(b.order) != maxFastOpenPaths {
		t.Errorf("%d entries, %d in order", len(b.m), len(b.order))
	}
	if v, ok := b.get(3*maxFastOpenPaths - 1); !ok || v != 3*maxFastOpenPaths {
		t.Error("the newest is gone")
	}
}

// fastListening is a listener with Fast Open, and the cookie that it gives the peer.
func fastListening(t *testing.T, change ...func(*ListenConfig)) (k *talk, cookie string) {
	cfg := ListenConfig{Conn: plain(), FastOpen: 2}
	for _, f := range change {
		f(&cfg)
	}
	k = listening(t, cfg)
	made := k.stack.secrets.fastOpenCookie(us.Addr(), peer.Addr(), fastOpenAge(k.now))
	return k, hex.EncodeToString(made[:])
}

func TestFastOpenServerGivesACookie(t *testing.T) {
	k, cookie := fastListening(t)
	k.in("S 0:0(0) win 65535 <mss 1000,tfo cookiereq>")
	k.want("in the first SYN-ACK", "S. 0:0(0) ack 1 win 65535 <mss 1460,tfo cookie "+cookie+",nop,nop>")
	k.advanceToTimer(time.Second)
	k.want("and in no other", "S. 0:0(0) ack 1 win 65535 <mss 1460>")
	k.in(". 1:1(0) ack 1 win 500")
	if k.l.Accept() == nil {
		t.Error("not accepted")
	}
}

func TestFastOpenServerWithoutItIgnoresTheOption(t *testing.T) {
	k, cookie := fastListening(t, func(cfg *ListenConfig) { cfg.FastOpen = 0 })
	for _, option := range []string{"tfo cookiereq", "tfo cookie " + cookie} {
		k.in("S 0:100(100) win 65535 <mss 1000," + option + ">")
		k.want("a plain SYN-ACK", "S. 0:0(0) ack 1 win 65535 <mss 1460>")
	}
	if k.l.Accept() != nil {
		t.Error("accepted")
	}
}

func TestFastOpenServerTakesDataOfTheSYN(t *testing.T) {
	k, cookie := fastListening(t, func(cfg *ListenConfig) { cfg.Conn.NoDelay = true })
	k.in("S 0:100(100) win 5000 <mss 1000,sackOK,nop,wscale 7,tfo cookie " + cookie + ">")
	if k.c = k.l.Accept(); k.c == nil {
		t.Fatal("the application does not wait for the handshake")
	}
	k.wantState(SynReceived)
	k.read(100)
	k.write(2500)
	k.want("the SYN-ACK takes it", "S. 0:0(0) ack 101 win 65535 <mss 1460,nop,nop,sackOK,nop,wscale 5>")
	k.want("and the answer follows at once", ". 1:1001(1000) ack 101")
	k.want("in the initial window", ". 1001:2001(1000) ack 101")
	k.want("to its last octet", "P. 2001:2501(500) ack 101")
	k.wantIdle("all is said")
	k.in(". 101:101(0) ack 2001 win 500")
	k.wantState(Established)
	if in := k.c.Info(k.now); in.Vars.Flight != 500 || in.Vars.SndWnd != 500<<7 || !in.FastOpen || !in.Passive {
		t.Errorf("%+v", in)
	}
	k.in("F. 101:101(0) ack 2501 win 500")
	k.wantState(CloseWait)
	if k.l.Accept() != nil || k.l.common.early.Load() != 0 {
		t.Errorf("accepted twice, or %d pending", k.l.common.early.Load())
	}
}

// A FIN waits for the handshake, data does not.
func TestFastOpenServerClosesEarly(t *testing.T) {
	k, cookie := fastListening(t)
	k.in("S 0:10(10) win 5000 <mss 1000,tfo cookie " + cookie + ">")
	k.c = k.l.Accept()
	k.read(10)
	k.write(20)
	k.c.Close(k.now)
	k.want("SYN-ACK", "S. 0:0(0) ack 11")
	k.want("data", "P. 1:21(20) ack 11")
	k.wantIdle("no FIN before ESTABLISHED")
	k.in(". 11:11(0) ack 21 win 500")
	k.want("now", "F. 21:21(0) ack 11")
}

func TestFastOpenServerRepeatsASYNACKWithoutData(t *testing.T) {
	k, cookie := fastListening(t)
	k.in("S 0:10(10) win 5000 <mss 1000,tfo cookie " + cookie + ">")
	k.c = k.l.Accept()
	k.read(10)
	k.write(20)
	k.want("SYN-ACK", "S. 0:0(0) ack 11")
	k.want("data", "P. 1:21(20) ack 11")
	k.in("S 0:0(0) win 5000 <mss 1000>") // the client has not got it
	k.want("again", "S. 0:0(0) ack 11")
	k.in(". 11:11(0) ack 1 win 500")
	k.wantState(Established)
	k.advance(3 * time.Second)
	k.want("the data was lost", "P. 1:21(20) ack 11")
}

func TestFastOpenServerRefusesForeignCookies(t *testing.T) {
	k, cookie := fastListening(t)
	for i, option := range []string{"cookie 0102030405060708", "cookie " + cookie[:8], "cookie " + cookie + "0a0b"} {
		k.peer = withPort(peer, uint16(100+i))
		k.in("S 0:100(100) win 65535 <mss 1000,tfo " + option + ">")
		k.want("the SYN alone, and a good cookie", "S. 0:0(0) ack 1 win 65535 <mss 1460,tfo cookie "+cookie+",nop,nop>")
	}
	k.peer = mustAddrPort("198.18.0.3:80")
	k.in("S 0:100(100) win 65535 <mss 1000,tfo cookie " + cookie + ">")
	k.want("of another address", "S. 0:0(0) ack 1")
	if c := k.stack.Counters(); k.l.Accept() != nil || c.FastOpensRefused != 4 || c.FastOpens != 0 {
		t.Errorf("%+v", c)
	}
}

// A cookie of the key before is taken, and replaced; one of an older key is not.
func TestFastOpenKeysRotate(t *testing.T) {
	k, cookie := fastListening(t)
	syn := "S 0:100(100) win 65535 <mss 1000,tfo cookie " + cookie + ">"
	k.now = k.now.Add(fastOpenRotation)
	next := k.stack.secrets.fastOpenCookie(us.Addr(), peer.Addr(), fastOpenAge(k.now))
	k.in(syn)
	k.want("taken", fmt.Sprintf("S. 0:0(0) ack 101 win 65535 <mss 1460,tfo cookie %x,nop,nop>", next))
	k.l.Accept().Abandon(k.now)
	k.now = k.now.Add(fastOpenRotation)
	k.in(syn)
	k.want("not any more", "S. 0:0(0) ack 1")
}

// PendingFastOpenRequests of RFC 7413 section 4.2, with the resets of section 5.1.
func TestFastOpenServerLimitsThePending(t *testing.T) {
	k, cookie := fastListening(t)
	syn := "S 0:10(10) win 65535 <mss 1000,tfo cookie " + cookie + ">"
	open := func(port uint16, taken bool) {
		t.Helper()
		k.peer = withPort(peer, port)
		k.in(syn)
		line := "S. 0:0(0) ack 1"
		if taken {
			line = "S. 0:0(0) ack 11"
		}
		k.want("SYN-ACK", line)
	}
	open(1, true)
	open(2, true)
	open(3, false)
	k.peer = withPort(peer, 1)
	k.in(". 11:11(0) ack 1 win 500")
	open(4, true)
	open(5, false)
	k.peer = withPort(peer, 2)
	k.in("R 11:11(0) win 0")
	if c := k.l.queue[1]; c.State() != Closed || c.Err() != ErrReset {
		t.Errorf("%s, %v", c.State(), c.Err())
	}
	open(6, false)
	k.now = k.now.Add(fastOpenResetMemory)
	open(7, true)
	k.l.Accept().Abandon(k.now)
}

// The experimental option of before RFC 7413, 254 or 253 with a magic number.
func TestFastOpenExperimentalOption(t *testing.T) {
	for _, kind := range []string{"253", "254"} {
		k, cookie := fastListening(t)
		k.in("S 0:0(0) win 65535 <mss 1000,exp-" + kind + " f989>")
		if !k.stack.Transmit(k.now, &k.seg) {
			t.Fatal("no answer")
		}
		pkt, err := k.seg.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var back segment.Segment
		if err := back.Parse(pkt); err != nil {
			t.Fatal(err)
		}
		if got, answered := fastOpenOption(&back.Options); hex.EncodeToString(got) != cookie || fmt.Sprint(uint8(answered)) != kind {
			t.Errorf("kind %d, cookie %x", answered, got)
		}
		k.peer = withPort(peer, 81)
		k.in("S 0:10(10) win 65535 <mss 1000,exp-" + kind + " f989 " + cookie + ">")
		k.want("taken", "S. 0:0(0) ack 11")
		k.in("S 0:10(10) win 65535 <mss 1000,exp-" + kind + " f98a " + cookie + ">")
	}
}

// What the listener queues it resets when it closes.
func TestFastOpenConnectionsEndWithTheirListener(t *testing.T) {
	k, cookie := fastListening(t)
	k.in("S 0:10(10) win 65535 <mss 1000,tfo cookie " + cookie + ">")
	k.want("SYN-ACK", "S. 0:0(0) ack 11")
	k.l.Close(k.now)
	k.want("nobody will read it", "R. 1:1(0) ack 11")
	if k.stack.Conns() != 0 || k.stack.Deadline() != 0 {
		t.Error("something is left")
	}
}

func TestFastOpenTimeout(t *testing.T) {
	k, cookie := fastListening(t)
	k.in("S 0:10(10) win 65535 <mss 1000,tfo cookie " + cookie + ">")
	k.c = k.l.Accept()
	for _, wait := range []time.Duration{1, 2, 4} {
		k.want("SYN-ACK", "S. 0:0(0) ack 11")
		k.advanceToTimer(wait * time.Second)
	}
	k.want("the last", "S. 0:0(0) ack 11")
	k.advanceToTimer(8 * time.Second)
	k.wantErr(ErrTimeout)
	if k.l.unconfirmed(k.now) != 0 {
		t.Error("it still counts")
	}
}

// Custom SYN layouts have room for the option, or there is no Fast Open.
func TestFastOpenBesideOtherOptions(t *testing.T) {
	k := fastDial(t, 1000, 10, func(c *ConnConfig) { c.SYNOptions = []segment.Kind{segment.KindMSS} })
	k.want("behind them", "S 0:10(10) win 65535 <mss 1460,tfo cookie "+fastCookie+">")
	full := bytes.Repeat([]byte{byte(segment.KindNOP)}, 36)
	k = fastDial(t, 1000, 10, func(c *ConnConfig) {
		for _, b := range full {
			c.SYNOptions = append(c.SYNOptions, segment.Kind(b))
		}
	})
	if !k.stack.Transmit(k.now, &k.seg) || len(k.seg.Payload) != 0 {
		t.Errorf("no room for a cookie, and %d octets", len(k.seg.Payload))
	}
}
