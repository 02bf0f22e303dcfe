package engine

import (
	"testing"
	"time"
)

func corkedTalk(t *testing.T, window int) *talk {
	return establishedWith(t, plain(func(c *ConnConfig) { c.Cork = true }), "mss 1000,sackOK", window)
}

func TestCorkCoalescesAndSplitsAtTheMSS(t *testing.T) {
	k := corkedTalk(t, 65535)
	for range 5 {
		k.write(300)
		if k.c.snd.buf.len() < 1000 {
			k.wantIdle("it does not fill a segment")
		}
	}
	k.want("a full segment", ". 1:1001(1000) ack 1")
	k.wantIdle("the rest waits")
	k.c.SetCork(false)
	k.in(". 1:1(0) ack 1001 win 65535")
	k.want("without the cork it goes", "P. 1001:1501(500) ack 1")
}

func TestCorkHoldsFor200Milliseconds(t *testing.T) {
	k := corkedTalk(t, 65535)
	k.write(10)
	k.wantIdle("held")
	k.advance(100 * time.Millisecond)
	k.write(10)
	k.wantIdle("still held")
	k.advanceToTimer(100 * time.Millisecond)
	k.want("the ceiling", "P. 1:21(20) ack 1")
	k.in(". 1:1(0) ack 21 win 65535")
	k.write(10)
	k.wantIdle("the next piece waits anew")
}

func TestCorkLetsAFINPass(t *testing.T) {
	k := corkedTalk(t, 65535)
	k.write(10)
	k.wantIdle("held")
	k.c.CloseWrite(k.now)
	k.want("with the FIN", "FP. 1:11(10) ack 1")
	if k.c.timers[TimerHold] != 0 {
		t.Error("the cork's timer is armed")
	}
}

func TestCorkDoesNotWaitForASegmentThatCannotBe(t *testing.T) {
	k := corkedTalk(t, 999)
	k.write(500)
	k.wantIdle("there is room for more")
	k.write(499)
	k.want("the peer's window is full", "P. 1:1000(999) ack 1")
}

func TestCorkIsNoClosedWindow(t *testing.T) {
	k := corkedTalk(t, 65535)
	k.write(10)
	k.wantIdle("held")
	if k.c.timers[TimerPersist] != 0 {
		t.Error("a window probe is due")
	}
	k.c.snd.wnd = 0
	k.advanceToTimer(200 * time.Millisecond)
	k.wantIdle("the cork lets go, but the window is closed")
	if k.c.timers[TimerPersist] == 0 {
		t.Error("no window probe is due")
	}
}
