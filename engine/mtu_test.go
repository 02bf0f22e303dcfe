package engine

import (
	"testing"
	"time"

	"rawtcp/segment"
)

func seeking(change ...func(*ConnConfig)) ConnConfig {
	return plain(append([]func(*ConnConfig){func(c *ConnConfig) { c.PathMTU, c.MinRTO = On, time.Second }}, change...)...)
}

// ethernet is an established connection with the MSS of an Ethernet.
func ethernet(t *testing.T, cfg ConnConfig) *talk {
	return establishedWith(t, cfg, "mss 1460,sackOK", 65535)
}

// full writes n full segments, which leave at once.
func (k *talk) full(n int) {
	k.t.Helper()
	from := k.c.snd.nxt.Sub(k.iss)
	k.write(n * 1460)
	for i := range n {
		line := seq(". ", from+i*1460, 1460)
		if i == n-1 {
			line = seq("P. ", from+i*1460, 1460)
		}
		k.want("a full segment", line+" ack 1")
	}
}

// RFC 5927 section 7.2: before anything large has arrived, a message is what
// path MTU discovery consists of.
func TestTooBigIsBelievedWhileNothingLargerArrived(t *testing.T) {
	k := ethernet(t, seeking())
	k.full(2)
	k.icmp(3, 4, 1200, 1)
	k.want("in pieces", ". 1:1161(1160) ack 1")
	if k.c.mtu != 1200 {
		t.Errorf("MTU %d", k.c.mtu)
	}
}

// ... and later it waits for a timeout. A forged one comes to nothing.
func TestTooBigWaitsForATimeoutOnceLargerOnesArrived(t *testing.T) {
	k := ethernet(t, seeking())
	k.full(2)
	k.in(". 1:1(0) ack 2921 win 65535")
	k.full(2)
	k.icmp(3, 4, 600, 2921)
	if k.wantIdle("it is held back"); k.c.mtu != 1500 {
		t.Fatalf("MTU %d", k.c.mtu)
	}
	k.in(". 1:1(0) ack 5841 win 65535")
	if k.c.rare().path.claimed != 0 {
		t.Error("what it spoke of has arrived: the message was forged")
	}
	k.full(2)
	k.icmp(3, 4, 600, 5841)
	k.advance(time.Second)
	k.want("true after all", ". 5841:6401(560) ack 1")
	if k.c.mtu != 600 {
		t.Errorf("MTU %d", k.c.mtu)
	}
}

func TestTooBigMustBeAboutSomethingLarger(t *testing.T) {
	k := ethernet(t, seeking())
	k.write(500)
	k.want("a small segment", "P. 1:501(500) ack 1")
	k.icmp(3, 4, 600, 1)
	if k.wantIdle("it was not larger"); k.c.mtu != 1500 {
		t.Errorf("MTU %d", k.c.mtu)
	}
	k.icmp(3, 4, 68, 1)
	if k.wantIdle("nor above the least MTU"); k.c.mtu != 1500 {
		t.Errorf("MTU %d", k.c.mtu)
	}
}

func TestLeastMTU(t *testing.T) {
	k := ethernet(t, seeking())
	k.full(1)
	k.icmp(3, 4, 68, 1)
	if k.c.mtu != 552 {
		t.Errorf("MTU %d: nobody's path is that small", k.c.mtu)
	}
	six, err := k.stack.Dial(k.now, mustAddrPort("[2001:db8::1]:1000"), mustAddrPort("[2001:db8::2]:80"), 1500, seeking())
	if err != nil || six.leastMTU() != 1280 {
		t.Errorf("%v: the least with IPv6 is %d", err, six.leastMTU())
	}
}

func TestOwnLinkNeedsNoProof(t *testing.T) {
	k := ethernet(t, seeking())
	k.full(1)
	k.in(". 1:1(0) ack 1461 win 65535")
	k.full(1)
	k.stack.DeliverICMP(k.now, ICMP{From: us.Addr(), Type: 3, Code: 4, MTU: 1000, Own: true, Quoted: k.quote(1461)})
	k.want("at once", ". 1461:2421(960) ack 1")
}

// RFC 4821 section 7.7: at R1 a path that swallows large segments without a
// word is tried with smaller ones.
func TestBlackHole(t *testing.T) {
	k := ethernet(t, seeking())
	k.full(4)
	for range 2 {
		k.advance(k.stack.Deadline().Sub(k.now))
		k.want("whole", ". 1:1461(1460) ack 1")
		k.wantIdle("one")
	}
	k.advance(k.stack.Deadline().Sub(k.now))
	k.want("the third timeout is R1", ". 1:1241(1240) ack 1")
	if k.c.mtu != 1280 {
		t.Fatalf("MTU %d", k.c.mtu)
	}
	k.want("the rest of it", ". 1241:1461(220) ack 1")
	k.in(". 1:1(0) ack 1461 win 65535")
	k.want("and so on", ". 1461:2701(1240) ack 1")
}

func TestBlackHoleHalvesDownToTheLeast(t *testing.T) {
	k := ethernet(t, seeking())
	k.full(1)
	var sizes []int
	for range 8 {
		k.advance(k.stack.Deadline().Sub(k.now))
		if !k.stack.Transmit(k.now, &k.seg) {
			t.Fatal("no retransmission")
		}
		sizes = append(sizes, len(k.seg.Payload))
		for k.stack.Transmit(k.now, &k.seg) { // the rest of the pieces
		}
	}
	want := []int{1460, 1460, 1240, 600, 512, 512, 512, 512}
	for i := range want {
		if sizes[i] != want[i] {
			t.Fatalf("payloads %v, want %v", sizes, want)
		}
	}
}

func TestSilenceAboutSmallSegmentsIsNoBlackHole(t *testing.T) {
	k := ethernet(t, seeking())
	k.write(500)
	for range 6 {
		k.want("as it was", "P. 1:501(500) ack 1")
		k.advance(k.stack.Deadline().Sub(k.now))
	}
	if k.c.mtu != 1500 {
		t.Errorf("MTU %d", k.c.mtu)
	}
	off := ethernet(t, seeking(func(c *ConnConfig) { c.PathMTU = Off }))
	off.full(1)
	for range 6 {
		off.advance(off.stack.Deadline().Sub(off.now))
		off.want("switched off", "P. 1:1461(1460) ack 1")
	}
}

// narrowed is a connection whose MTU was lowered to 1000 by a router, with all
// acknowledged since.
func narrowed(t *testing.T) (k *talk, acked int) {
	k = ethernet(t, seeking(func(c *ConnConfig) { c.NoDelay = true }))
	k.full(2)
	k.icmp(3, 4, 1000, 1)
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.in(". 1:1(0) ack 2921 win 65535")
	return k, 2921
}

func TestLargerMTUIsTriedWhenTheOldOneExpires(t *testing.T) {
	k, at := narrowed(t)
	k.advance(9 * time.Minute)
	k.write(8000)
	k.want("not yet", seq(". ", at, 960)+" ack 1")
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.in(". 1:1(0) ack " + num(at+8000) + " win 65535")
	at += 8000
	k.advance(2 * time.Minute)
	k.write(10_000)
	k.want("all that could be", seq(". ", at, 1460)+" ack 1")
	if k.want("the next is no probe", seq(". ", at+1460, 960)+" ack 1"); k.c.stats().MTUProbes != 1 {
		t.Errorf("%d probes", k.c.stats().MTUProbes)
	}
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.in(". 1:1(0) ack " + num(at+10_000) + " win 65535")
	if k.c.mtu != 1500 || k.c.rare().path.tryAt != 0 {
		t.Errorf("MTU %d, next try at %v: nothing is larger", k.c.mtu, k.c.rare().path.tryAt)
	}
}

// "when only an isolated probe packet is detected as lost … the normal
// congestion reduction SHOULD be suppressed" RFC 4821 section 4.
func TestLostProbeIsNoCongestion(t *testing.T) {
	k, at := narrowed(t)
	k.advance(11 * time.Minute)
	k.c.rtt.srtt = 10 * time.Millisecond
	k.write(10_000)
	for k.stack.Transmit(k.now, &k.seg) {
	}
	window := k.c.cc.Window()
	k.advance(20 * time.Millisecond)
	k.in(". 1:1(0) ack " + num(at) + " win 65535 <nop,nop,sack " + num(at+1460) + ":" + num(at+1460+4*960) + ">")
	k.want("in pieces", seq(". ", at, 960)+" ack 1")
	k.want("in pieces", seq(". ", at+960, 500)+" ack 1")
	if k.c.cc.Window() != window || k.c.loss.recovery || k.c.mtu != 1000 {
		t.Errorf("the window went from %d to %d, MTU %d", window, k.c.cc.Window(), k.c.mtu)
	}
	k.in(". 1:1(0) ack " + num(at+10_000) + " win 65535")
	at += 10_000
	k.write(10_000)
	k.want("no probe for some round trips", seq(". ", at, 960)+" ack 1")
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.in(". 1:1(0) ack " + num(at+10_000) + " win 65535")
	at += 10_000
	k.advance(10 * time.Second)
	k.write(10_000)
	k.want("then half way", seq(". ", at, 1210)+" ack 1")
}

func TestOtherLossesBesideAProbeAreCongestion(t *testing.T) {
	k, at := narrowed(t)
	k.advance(11 * time.Minute)
	k.write(10_000)
	for k.stack.Transmit(k.now, &k.seg) {
	}
	window := k.c.cc.Window()
	k.in(". 1:1(0) ack " + num(at) + " win 65535 <nop,nop,sack " + num(at+1460+960) + ":" + num(at+1460+6*960) + ">")
	if k.c.cc.Window() >= window || !k.c.loss.recovery {
		t.Errorf("the window went from %d to %d", window, k.c.cc.Window())
	}
}

func TestTooBigAboutAProbeEndsTheSearch(t *testing.T) {
	k, at := narrowed(t)
	k.advance(11 * time.Minute)
	k.write(10_000)
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.icmp(3, 4, 1300, at)
	k.want("in pieces", seq(". ", at, 960)+" ack 1")
	k.want("in pieces", seq(". ", at+960, 500)+" ack 1")
	if k.c.mtu != 1000 || k.c.rare().path.high != 1300 {
		t.Errorf("MTU %d, none above %d", k.c.mtu, k.c.rare().path.high)
	}
}

func TestProbeNeedsDataAndWindowBehindIt(t *testing.T) {
	k, at := narrowed(t)
	k.advance(11 * time.Minute)
	k.write(4000)
	k.want("too little data", seq(". ", at, 960)+" ack 1")
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.in(". 1:1(0) ack " + num(at+4000) + " win 4000")
	k.write(10_000)
	k.want("too small a window", seq(". ", at+4000, 960)+" ack 1")
}

// A user timeout option makes a segment no larger when it is sent again.
func TestRetransmissionDoesNotGrow(t *testing.T) {
	k := ethernet(t, seeking(willing))
	k.full(1)
	if err := k.c.SetUserTimeout(k.now, time.Hour); err != nil {
		t.Fatal(err)
	}
	k.advance(time.Second)
	k.want("again", "P. 1:1461(1460) ack 1")
	if k.seg.Options.Has(segment.HasUserTimeout) {
		t.Error("with an option more")
	}
}

func TestProbeThatTimesOutWaitsLonger(t *testing.T) {
	k, at := narrowed(t)
	k.advance(11 * time.Minute)
	k.c.rtt.srtt = 100 * time.Millisecond
	k.write(10_000)
	for k.stack.Transmit(k.now, &k.seg) {
	}
	k.advance(k.stack.Deadline().Sub(k.now))
	k.want("in pieces", seq(". ", at, 960)+" ack 1")
	segments := time.Duration(k.c.cc.Window() / k.c.snd.mss)
	if wait := k.c.rare().path.tryAt.Sub(k.now); wait < 5*100*time.Millisecond*segments || wait > time.Minute {
		t.Errorf("the next probe is %v away", wait)
	}
}
