package engine

import (
	"math/bits"
	"net/netip"
	"testing"
	"time"
)

var (
	isnLocal  = netip.MustParseAddrPort("198.18.0.1:40000")
	isnRemote = netip.MustParseAddrPort("198.18.0.2:80")
)

func TestISNAdvancesWithTheClock(t *testing.T) {
	s := newSecrets([32]byte{1})
	start := s.isn(1, isnLocal, isnRemote)
	for _, step := range []struct {
		after time.Duration
		want  int
	}{
		{0, 0}, {64, 1}, {time.Microsecond, 15}, {ms, 15625}, {time.Second, 15625000}, {100 * time.Second, 1562500000},
	} {
		if got := s.isn(Time(1).Add(step.after), isnLocal, isnRemote).Sub(start); got != step.want {
			t.Errorf("%v later the ISN is %d higher, want %d", step.after, got, step.want)
		}
	}
	// A tuple's ISNs grow through the wrap of the clock, and of the number.
	last := start
	for now := Time(1); now < Time(10*time.Minute); now = now.Add(time.Second) {
		isn := s.isn(now, isnLocal, isnRemote)
		if now > 1 && !last.Less(isn) {
			t.Fatalf("ISN %v at %d does not follow %v", isn, now, last)
		}
		last = isn
	}
}

// Neighbouring tuples, keys and purposes share half of their bits on average
// (RFC 9293 MUST-9: the function must not be computable from outside).
func TestISNOfOtherTuplesIsUnrelated(t *testing.T) {
	s, other := newSecrets([32]byte{1}), newSecrets([32]byte{2})
	var differ, n int
	compare := func(a, b uint32) { differ += bits.OnesCount32(a ^ b); n++ }
	for port := range uint16(2000) {
		a := netip.AddrPortFrom(isnLocal.Addr(), 40000+port)
		b := netip.AddrPortFrom(isnLocal.Addr(), 40001+port)
		isn := s.isn(1, a, isnRemote).Uint32()
		compare(isn, s.isn(1, b, isnRemote).Uint32())
		compare(isn, s.isn(1, isnRemote, a).Uint32())
		compare(isn, s.tsOffset(a, isnRemote))
		compare(isn, other.isn(1, a, isnRemote).Uint32())
		compare(s.portOffset(isnLocal.Addr(), a), s.portOffset(isnLocal.Addr(), b))
	}
	if mean := float64(differ) / float64(n); mean < 15.7 || mean > 16.3 {
		t.Errorf("two hashes differ in %.2f of 32 bits on average, want 16", mean)
	}
}

func TestHashKnowsEveryPart(t *testing.T) {
	s := newSecrets([32]byte{1})
	v6 := netip.MustParseAddrPort("[2001:db8::1]:40000")
	seen := map[uint32]string{}
	for name, h := range map[string]uint32{
		"base":          s.tsOffset(isnLocal, isnRemote),
		"local port":    s.tsOffset(netip.AddrPortFrom(isnLocal.Addr(), 1), isnRemote),
		"remote port":   s.tsOffset(isnLocal, netip.AddrPortFrom(isnRemote.Addr(), 1)),
		"local address": s.tsOffset(netip.AddrPortFrom(isnRemote.Addr(), 40000), isnRemote),
		"family":        s.tsOffset(v6, v6),
		"no address":    s.tsOffset(netip.AddrPort{}, netip.AddrPort{}),
		"port":          s.portOffset(isnLocal.Addr(), isnRemote),
	} {
		if was, dup := seen[h]; dup {
			t.Errorf("%s and %s hash alike", name, was)
		}
		seen[h] = name
	}
	if s.portOffset(isnLocal.Addr(), isnRemote) != newSecrets([32]byte{1}).portOffset(isnLocal.Addr(), isnRemote) {
		t.Error("the same key must give the same offset")
	}
}

func TestISNAllocatesNothing(t *testing.T) {
	s := newSecrets([32]byte{1})
	if n := testing.AllocsPerRun(100, func() { s.isn(1, isnLocal, isnRemote) }); n != 0 {
		t.Errorf("%v allocations per ISN", n)
	}
}
