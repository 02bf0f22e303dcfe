package engine

import (
	"net/netip"
	"testing"
	"time"
)

// What stands for many hosts, as the link says, is no peer and no address of ours
// to answer from: its SYN leaves nothing (MUST-57, MUST-63).
func TestSYNOfABroadcastAddressLeavesNothing(t *testing.T) {
	all := netip.MustParseAddr("198.18.0.255")
	for _, mode := range []CookieMode{CookiesWhenFull, CookiesAlways} {
		k := newTalk(t)
		saved := us
		t.Cleanup(func() { us = saved })
		asked := 0
		l, err := k.stack.Listen(k.now, netip.MustParseAddrPort("0.0.0.0:1000"), func(a netip.Addr) int {
			asked++
			if a == all {
				return 0
			}
			return 1400
		}, ListenConfig{Conn: plain(func(c *ConnConfig) { c.ISN = nil }), Cookies: mode, FastOpen: 5})
		if err != nil {
			t.Fatal(err)
		}
		k.l = l
		k.peer = netip.AddrPortFrom(all, 80)
		k.in("S 0:0(0) win 65535 <mss 1000>")
		k.wantIdle("its source is all of a network")
		k.peer, us = peer, netip.AddrPortFrom(all, 1000)
		k.in("S 0:0(0) win 65535 <mss 1000>")
		k.wantIdle("its destination is")
		k.wantNothingKept()
		if c := k.stack.Counters(); c.Malformed != 2 || c.CookiesSent != 0 {
			t.Errorf("%+v", c)
		}
		us, asked = saved, 0
		k.in("S 0:0(0) win 65535 <mss 1000>")
		if k.cookie(); k.seg.Options.MSS != 1360 {
			t.Errorf("answered with %s", k.seg.String())
		}
		k.in(". 1:1(0) ack 1 win 500")
		if c := l.Accept(); c == nil || c.mtu != 1400 {
			t.Error("no connection, or not of that path")
		}
		if want := map[CookieMode]int{CookiesWhenFull: 1, CookiesAlways: 2}[mode]; asked != want {
			t.Errorf("the link was asked %d times, want %d", asked, want)
		}
	}
}

// The ACK of a SYN-ACK that was sent twice may be of either: it measures nothing
// (Karn, RFC 6298 section 3), not for the RTO, and not for the round trip by which
// reordering is told from loss and probes are timed.
func TestSYNACKSentTwiceMeasuresNothing(t *testing.T) {
	for _, again := range []bool{false, true} {
		k := listening(t, ListenConfig{Conn: plain()})
		k.in("S 0:0(0) win 65535 <mss 1000,sackOK>")
		k.want("SYN-ACK", "S. 0:0(0) ack 1")
		if again {
			k.advanceToTimer(time.Second)
			k.want("no answer came", "S. 0:0(0) ack 1")
		}
		k.advance(time.Millisecond)
		k.in(". 1:1(0) ack 1 win 500")
		c := k.l.Accept()
		if measured := c.loss.rack.minRTT.value() != 0; measured == again || c.loss.probe.sampled == again {
			t.Errorf("sent again: %t; the least round trip is %v", again, c.loss.rack.minRTT.value())
		}
	}
}
