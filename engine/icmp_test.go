package engine

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"rawtcp/segment"
)

var router = netip.MustParseAddr("198.18.0.254")

// quote returns a packet of ours at a relative sequence number, cut as a
// careless router cuts it: the IP header and eight octets.
func (k *talk) quote(seq int) []byte {
	k.t.Helper()
	s := segment.Segment{Src: us, Dst: k.peer, Seq: k.iss.Add(seq), Flags: segment.ACK}
	pkt, err := s.Append(nil)
	if err != nil {
		k.t.Fatal(err)
	}
	return pkt[:28]
}

func (k *talk) icmp(typ, code uint8, mtu, seq int) {
	k.t.Helper()
	k.stack.DeliverICMP(k.now, ICMP{From: router, Type: typ, Code: code, MTU: mtu, Quoted: k.quote(seq)})
}

func TestPortUnreachableRefusesAnOpen(t *testing.T) {
	k := dial(t, plain())
	k.want("SYN", "S 0:0(0)")
	k.icmp(3, 3, 0, 0)
	k.wantState(Closed)
	if err := k.c.Err(); !errors.Is(err, ErrRefused) {
		t.Errorf("ended with %v", err)
	}
}

// MUST-56: net and host unreachable, and time exceeded, are no reason to stop.
func TestSoftErrorsAreRememberedAndToldAtTheEnd(t *testing.T) {
	for _, m := range [][2]uint8{{3, 0}, {3, 1}, {3, 5}, {11, 0}, {12, 0}} {
		k := dial(t, plain(func(c *ConnConfig) { c.SYNRetries = 1 }))
		k.want("SYN", "S 0:0(0)")
		k.icmp(m[0], m[1], 0, 0)
		k.wantState(SynSent)
		k.advanceToTimer(time.Second)
		k.want("the SYN again", "S 0:0(0)")
		k.advanceToTimer(2 * time.Second)
		if err := k.c.Err(); !errors.Is(err, ErrUnreachable) {
			t.Errorf("type %d code %d: ended with %v", m[0], m[1], err)
		}
	}
}

func TestHardErrorsDoNotEndAnEstablishedConnection(t *testing.T) { // RFC 5927 section 5.2
	for _, code := range []uint8{2, 3} {
		k := established(t, plain())
		k.write(10)
		k.want("data", "P. 1:11(10) ack 1")
		k.icmp(3, code, 0, 1)
		k.wantState(Established)
		if k.c.softErr() == nil {
			t.Error("not even remembered")
		}
	}
}

func TestICMPAboutNothingInFlightIsIgnored(t *testing.T) { // RFC 5927 section 4.1
	k := established(t, plain())
	k.write(10)
	k.want("data", "P. 1:11(10) ack 1")
	for _, seq := range []int{0, 11, 500, -70_000} {
		k.icmp(3, 4, 600, seq)
	}
	k.stack.DeliverICMP(k.now, ICMP{From: router, Type: 3, Code: 4, MTU: 600, Quoted: []byte{0x45}})
	k.stack.DeliverICMP(k.now, ICMP{From: router, Type: 3, Code: 4, MTU: 600})
	if k.c.mtu != 1500 || k.stack.Counters().ICMPIgnored != 6 {
		t.Errorf("MTU %d, %d ignored", k.c.mtu, k.stack.Counters().ICMPIgnored)
	}
	k.icmp(4, 0, 0, 1) // source quench, MUST-55
	k.wantIdle("nothing")
	if k.c.softErr() != nil {
		t.Error("a source quench left something behind")
	}
}

func TestFragmentationNeeded(t *testing.T) {
	k := establishedWith(t, plain(), "mss 1460,sackOK", 65535)
	k.write(1460)
	k.want("one packet", "P. 1:1461(1460) ack 1")
	before := k.c.cc.Window()
	k.icmp(3, 4, 1000, 1)
	k.want("the first part", ". 1:961(960) ack 1")
	k.want("the rest", "P. 961:1461(500) ack 1")
	if k.c.cc.Window() != before {
		t.Error("the congestion window changed (RFC 1191 section 6.5)")
	}
	k.icmp(3, 4, 1400, 1)
	if k.c.mtu != 1000 {
		t.Errorf("the MTU went up to %d", k.c.mtu)
	}
}

func TestFragmentationNeededWithoutAnMTU(t *testing.T) { // RFC 1191 section 5: plateaus
	k := establishedWith(t, plain(), "mss 1460,sackOK", 65535)
	k.write(1460)
	k.want("one packet", "P. 1:1461(1460) ack 1")
	q := k.quote(1)
	q[2], q[3] = 1500>>8, 1500&0xff
	k.stack.DeliverICMP(k.now, ICMP{From: router, Type: 3, Code: 4, Quoted: q})
	if k.c.mtu != 1492 {
		t.Errorf("MTU %d, want the plateau below 1500", k.c.mtu)
	}
}

func TestSYNIsNotTooBig6(t *testing.T) {
	k := newTalk(t)
	local, remote := mustAddrPort("[2001:db8::1]:1000"), mustAddrPort("[2001:db8::2]:80")
	c, err := k.stack.Dial(k.now, local, remote, 1500, plain())
	if err != nil {
		t.Fatal(err)
	}
	k.c = c
	k.want("SYN", "S 5000000:5000000(0)")
	s := segment.Segment{Src: local, Dst: remote, Seq: c.snd.iss, Flags: segment.SYN}
	pkt, _ := s.Append(nil)
	k.stack.DeliverICMP(k.now, ICMP{From: remote.Addr(), Type: 2, MTU: 1000, Quoted: pkt})
	if c.mtu != 1500 {
		t.Errorf("MTU %d: a SYN was called too big", c.mtu)
	}
	k.stack.DeliverICMP(k.now, ICMP{From: remote.Addr(), Type: 1, Code: 4, Quoted: pkt})
	if !errors.Is(c.Err(), ErrRefused) {
		t.Errorf("port unreachable: %v", c.Err())
	}
}
