package engine

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"rawtcp/segment"
)

// baking is a listener that answers every SYN by a cookie. Its ISNs are its
// own, so a test takes them from the SYN-ACK.
func baking(t *testing.T, change ...func(*ListenConfig)) *talk {
	cfg := ListenConfig{Conn: plain(func(c *ConnConfig) { c.ISN = nil }), Cookies: CookiesAlways}
	for _, f := range change {
		f(&cfg)
	}
	return listening(t, cfg)
}

// cookie takes the SYN-ACK and learns our number from it.
func (k *talk) cookie() segment.Segment {
	k.t.Helper()
	if !k.stack.Transmit(k.now, &k.seg) || !k.seg.Flags.Has(segment.SYN|segment.ACK) {
		k.t.Fatalf("no SYN-ACK, but %s", k.seg.String())
	}
	k.iss = k.seg.Seq
	return k.seg
}

// wantNothingKept says that the stack remembers nothing of a handshake.
func (k *talk) wantNothingKept() {
	k.t.Helper()
	if k.l.cache.len() != 0 || k.stack.Conns() != 0 || k.stack.Deadline() != 0 {
		k.t.Fatalf("%d half open, %d connections, deadline %v", k.l.cache.len(), k.stack.Conns(), k.stack.Deadline())
	}
}

func (k *talk) wantRST(why string) {
	k.t.Helper()
	if !k.stack.Transmit(k.now, &k.seg) || k.seg.Flags != segment.RST {
		k.t.Fatalf("%s: want a RST, got %s", why, k.seg.String())
	}
	k.wantIdle("one RST")
}

func TestSYNCookieOpensAConnection(t *testing.T) {
	k := baking(t)
	k.in("S 0:0(0) win 5000 <mss 1400,sackOK,nop,wscale 7>")
	s := k.cookie()
	k.wantNothingKept()
	if got := s.Options.String(); got != "mss 1460" {
		t.Errorf("it offers %s", got)
	}
	k.in("P. 1:11(10) ack 1 win 500")
	if k.c = k.l.Accept(); k.c == nil {
		t.Fatal("not accepted")
	}
	k.wantState(Established)
	k.read(10)
	if in := k.c.Info(k.now); in.Peer.MSS != 1380 || in.SACK || in.Vars.SndScale != 0 || in.Vars.SndWnd != 500 || !in.Passive {
		t.Errorf("without timestamps only the MSS is remembered: %+v", in)
	}
	if in := k.c.Info(k.now); in.Vars.SRTT != 0 || in.Vars.Cwnd < 10*1000 {
		t.Errorf("nothing is measured and nothing was lost: %+v", in.Vars)
	}
	k.write(10)
	k.want("data flows", "P. 1:11(10) ack 11")
	if c := k.stack.Counters(); c.CookiesSent != 1 || c.CookiesTaken != 1 || c.CookiesRefused != 0 {
		t.Errorf("%+v", c)
	}
}

// Window scale, SACK and ECN come back in the low bits of the timestamp.
func TestSYNCookieKeepsOptionsInTheTimestamp(t *testing.T) {
	for _, test := range []struct {
		syn       string
		scale     uint8
		sack, ecn bool
	}{
		{"SEW 0:0(0) win 5000 <mss 1460,sackOK,TS val 50 ecr 0,nop,wscale 7>", 7, true, true},
		{"SEW 0:0(0) win 5000 <mss 1460,nop,nop,TS val 50 ecr 0,nop,wscale 0>", 0, false, true},
		{"S 0:0(0) win 5000 <mss 1460,sackOK,TS val 50 ecr 0,nop,wscale 20>", 14, true, false},
		{"S 0:0(0) win 5000 <mss 1460,nop,nop,TS val 50 ecr 0>", 0, false, false},
	} {
		k := baking(t, func(cfg *ListenConfig) { cfg.Conn.Timestamps, cfg.Conn.ECN = On, On })
		before := uint32(0)
		for range 100 { // whatever the low bits of the clock are
			k.now = k.now.Add(7 * time.Millisecond)
			k.in(test.syn)
			s := k.cookie()
			now := timestampAt(k.now, k.stack.secrets.tsOffset(us, peer))
			if late := int32(now - s.Options.TSVal); late < 0 || late > 2*stampBits {
				t.Fatalf("a stamp of %d at %d", s.Options.TSVal, now)
			}
			before = s.Options.TSVal
		}
		k.in(". 1:1(0) ack 1 win 500 <nop,nop,TS val 51 ecr " + itoa(before) + ">")
		if k.c = k.l.Accept(); k.c == nil {
			t.Fatalf("%s: not accepted", test.syn)
		}
		in := k.c.Info(k.now)
		if in.Vars.SndScale != test.scale || in.Vars.SndWnd != 500<<test.scale || in.SACK != test.sack || in.ECN != test.ecn || !in.Timestamps {
			t.Errorf("%s: %+v", test.syn, in)
		}
		k.write(10)
		if !k.stack.Transmit(k.now, &k.seg) || int32(k.seg.Options.TSVal-before) < 0 {
			t.Errorf("the timestamps went back: %s", k.seg.String())
		}
	}
}

func itoa(n uint32) string { return string(appendUint(nil, n)) }

func appendUint(b []byte, n uint32) []byte {
	if n >= 10 {
		b = appendUint(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

// The mode decides what the SYN after the last place in the cache gets.
func TestCookieModes(t *testing.T) {
	for _, test := range []struct {
		mode            CookieMode
		cookies, cached int
	}{{CookiesWhenFull, 5, 10}, {CookiesNever, 0, 10}, {CookiesAlways, 15, 0}} {
		k := baking(t, func(cfg *ListenConfig) { cfg.Cookies, cfg.HalfOpen = test.mode, 10 })
		for port := range 15 {
			k.peer = withPort(peer, uint16(port+1))
			k.in("S 0:0(0) win 65535 <mss 1000>")
			k.cookie()
		}
		if sent := k.stack.Counters().CookiesSent; int(sent) != test.cookies || k.l.cache.len() != test.cached {
			t.Errorf("mode %d: %d cookies, %d in the cache", test.mode, sent, k.l.cache.len())
		}
		k.in(". 1:1(0) ack 1 win 500") // of the last one
		if k.l.Accept() == nil {
			t.Errorf("mode %d: not accepted", test.mode)
		}
	}
}

// No number is believed when no cookie can be out, not even a right one.
func TestCookiesAreBelievedForABoundedTime(t *testing.T) {
	k := baking(t)
	right := k.stack.secrets.cookie(k.now, us, peer, k.irs, 3)
	k.iss = right
	k.in(". 1:1(0) ack 1 win 500")
	k.wantRST("none was sent")

	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.cookie()
	k.advance(cookieAges*cookiePeriod - time.Millisecond)
	if !k.l.awaitsCookies(k.now) {
		t.Error("the last one could still come")
	}
	k.advance(time.Millisecond)
	k.iss = k.stack.secrets.cookie(k.now, us, peer, k.irs, 3)
	k.in(". 1:1(0) ack 1 win 500")
	k.wantRST("none was sent for two periods")
	if c := k.stack.Counters(); c.CookiesTaken != 0 {
		t.Errorf("%+v", c)
	}
}

// Late, forged and replayed ACKs get the RST of RFC 9293 section 3.10.7.2.
func TestBadCookiesDrawARST(t *testing.T) {
	for _, test := range []struct {
		name string
		wait time.Duration
		line string
	}{
		{"wrong number", 0, ". 1:1(0) ack 2 win 500"},
		{"wrong number of the peer", 0, ". 2:2(0) ack 1 win 500"},
		{"late", cookieAges * cookiePeriod, ". 1:1(0) ack 1 win 500"},
	} {
		k := baking(t)
		k.in("S 0:0(0) win 65535 <mss 1000>")
		k.cookie()
		mine := k.iss
		k.advance(test.wait)
		k.peer = withPort(peer, 81) // others keep the listener in the mood
		k.in("S 0:0(0) win 65535 <mss 1000>")
		k.cookie()
		k.peer, k.iss = peer, mine
		k.in(test.line)
		k.wantRST(test.name)
		k.wantNothingKept()
	}
}

func TestCookieOfAnotherPeerIsRefused(t *testing.T) {
	k := baking(t)
	k.in("S 0:0(0) win 65535 <mss 1000>")
	k.cookie()
	k.peer = withPort(peer, 81)
	k.in(". 1:1(0) ack 1 win 500")
	k.wantRST("it was made for port 80")
}

// The flags that complete a handshake are the same with and without a cookie:
// an ACK, without RST and SYN.
func TestWhichFlagsCompleteAHandshake(t *testing.T) {
	for _, mode := range []CookieMode{CookiesNever, CookiesAlways} {
		for bits := range segment.Flags(32) {
			k := baking(t, func(cfg *ListenConfig) { cfg.Cookies = mode })
			k.in("S 0:0(0) win 65535 <mss 1000>")
			k.cookie()
			s := segment.Segment{Src: peer, Dst: us, Seq: k.irs.Add(1), Ack: k.iss.Add(1), Window: 500, Flags: bits}
			k.stack.Receive(k.now, &s)
			want := bits.Has(segment.ACK) && !bits.Any(segment.SYN|segment.RST)
			c := k.l.Accept()
			if (c != nil) != want {
				t.Errorf("mode %d, flags %s: accepted %t", mode, bits, c != nil)
			}
			if c != nil && bits.Has(segment.FIN) != (c.State() == CloseWait) {
				t.Errorf("mode %d, flags %s: %s", mode, bits, c.State())
			}
		}
	}
}

func TestFullBacklogDropsCookiesWithoutAWord(t *testing.T) {
	k := baking(t, func(cfg *ListenConfig) { cfg.Backlog = 1 })
	first, second := k.peer, withPort(peer, 81)
	var iss [2]segment.Seq
	for i, p := range []netip.AddrPort{first, second} {
		k.peer = p
		k.in("S 0:0(0) win 65535 <mss 1000>")
		iss[i] = k.cookie().Seq
	}
	k.peer, k.iss = first, iss[0]
	k.in(". 1:1(0) ack 1 win 500")
	k.peer, k.iss = second, iss[1]
	k.in(". 1:1(0) ack 1 win 500")
	k.wantIdle("as if it were lost")
	if k.l.Accept() == nil || k.l.Accept() != nil {
		t.Fatal("the backlog holds one")
	}
	k.in("P. 1:11(10) ack 1 win 500") // the peer thinks that it is open
	if k.c = k.l.Accept(); k.c == nil {
		t.Fatal("the cookie is still good")
	}
	k.read(10)
}

func TestCookieMSSIsNeverAboveThePeers(t *testing.T) {
	for mss := range 65536 {
		got := int(cookieMSS[mssIndex(mss)])
		if got > max(mss, minMSS) {
			t.Fatalf("%d for a peer of %d", got, mss)
		}
	}
	if got := cookieMSS[mssIndex(1460)]; got != 1460 {
		t.Errorf("the usual one is %d", got)
	}
}

// Numbers of one pair grow from one cookie to the next while the peer's do, as
// RFC 6528 wants.
func TestCookiesOfAPairGrow(t *testing.T) {
	s := newSecrets([32]byte{1})
	irs := segment.MakeSeq(7)
	last := s.cookie(0, us, peer, irs, 0)
	for i := 1; i < 100; i++ {
		irs = irs.Add(2 * 60 * 250_000) // the clock of RFC 9293 in two periods
		next := s.cookie(Time(i)*2*Time(cookiePeriod), us, peer, irs, 0)
		if !last.Less(next) {
			t.Fatalf("%v after %v", next, last)
		}
		last = next
	}
}

func TestForgedCookiesHitAsOftenAsTheirBitsSay(t *testing.T) {
	s := newSecrets([32]byte{2})
	now := Time(10 * cookiePeriod)
	hits, tries := 0, 1<<18
	for i := range tries {
		if _, ok := s.checkCookie(now, us, peer, segment.MakeSeq(1), segment.MakeSeq(uint32(i)*2654435761)); ok {
			hits++
		}
	}
	// 2 periods of 256, 8 of 2^24: one in 2^28
	if hits > 2 {
		t.Errorf("%d of %d guesses were right", hits, tries)
	}
}

// A bakery is what the fuzz target judges: the real one, or one with a fault.
type bakery struct {
	make  func(s *secrets, now Time, local, remote netip.AddrPort, irs segment.Seq, mss int) segment.Seq
	check func(s *secrets, now Time, local, remote netip.AddrPort, irs, cookie segment.Seq) (int, bool)
}

var realBakery = bakery{(*secrets).cookie, (*secrets).checkCookie}

// judgeBakery returns what is wrong with the cookies for what in describes, "" if nothing is.
func judgeBakery(b bakery, in []byte) string {
	in = append(in, make([]byte, 64)...)
	word := func() uint32 {
		w := binary.BigEndian.Uint32(in)
		in = in[4:]
		return w
	}
	addr := func(w uint32) netip.AddrPort {
		a := netip.AddrFrom4([4]byte{198, 18, byte(w >> 24), byte(w >> 16)})
		if w&1 != 0 {
			a = netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 14: byte(w >> 24), 15: byte(w >> 16)})
		}
		return netip.AddrPortFrom(a, uint16(w>>2))
	}
	secret := [32]byte{byte(word())}
	now := Time(word())*Time(time.Millisecond) + Time(word())*Time(cookiePeriod)/4
	local, remote := addr(word()), addr(word())
	irs, mss, tweak := segment.MakeSeq(word()), int(word()%uint32(len(cookieMSS))), word()
	s := newSecrets(secret)
	cookie := b.make(s, now, local, remote, irs, mss)
	left := cookiePeriod - time.Duration(now)%cookiePeriod
	wait := time.Duration(tweak) * time.Millisecond
	good := func(s *secrets, after time.Duration, local, remote netip.AddrPort, irs, cookie segment.Seq) bool {
		got, ok := b.check(s, now.Add(after), local, remote, irs, cookie)
		return ok && got == mss
	}
	taken := func(s *secrets, local, remote netip.AddrPort, irs, cookie segment.Seq) bool {
		_, ok := b.check(s, now, local, remote, irs, cookie)
		return ok
	}
	otherSecret := secret
	otherSecret[1+tweak%31] ^= byte(tweak>>8) | 1
	bit := tweak % 29 // of those that do not choose the MSS
	if bit >= 21 {
		bit += 3
	}
	switch {
	case !good(s, 0, local, remote, irs, cookie), !good(s, wait%cookiePeriod, local, remote, irs, cookie):
		return "a good cookie is refused"
	case taken(newSecrets(otherSecret), local, remote, irs, cookie):
		return "one of another secret is taken"
	case taken(s, local, netip.AddrPortFrom(remote.Addr(), remote.Port()^uint16(tweak|1)), irs, cookie):
		return "one of another port is taken"
	case taken(s, netip.AddrPortFrom(local.Addr(), local.Port()^uint16(tweak|1)), remote, irs, cookie):
		return "one of another port of ours is taken"
	case taken(s, local, netip.AddrPortFrom(remote.Addr().Next(), remote.Port()), irs, cookie):
		return "one of another address is taken"
	case taken(s, netip.AddrPortFrom(local.Addr().Next(), local.Port()), remote, irs, cookie):
		return "one of another address of ours is taken"
	case local != remote && taken(s, remote, local, irs, cookie):
		return "one of the other direction is taken"
	case taken(s, local, remote, irs.Add(int(tweak|1)), cookie):
		return "one of another SYN is taken"
	case taken(s, local, remote, irs.Add(int(tweak|1)), cookie.Add(int(tweak|1))):
		return "one of another SYN is taken if both numbers are moved"
	case taken(s, local, remote, irs, cookie.Add(1<<bit)):
		return "a changed one is taken"
	}
	for _, late := range []time.Duration{wait % cookiePeriod, wait} {
		if _, ok := b.check(s, now.Add(left+cookiePeriod+late), local, remote, irs, cookie); ok {
			return "an expired one is taken"
		}
	}
	return ""
}

func FuzzCookie(f *testing.F) {
	for seed := range uint64(10) {
		f.Add(randomBytes(seed, 32))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if wrong := judgeBakery(realBakery, in); wrong != "" {
			t.Fatal(wrong)
		}
	})
}

// Whoever judges must find what is wrong: each planted fault within a few inputs.
func TestCookieFuzzingFindsPlantedFaults(t *testing.T) {
	anyPort := netip.AddrPortFrom
	for name, b := range map[string]bakery{
		"the port is not hashed": {
			func(s *secrets, now Time, local, remote netip.AddrPort, irs segment.Seq, mss int) segment.Seq {
				return s.cookie(now, local, anyPort(remote.Addr(), 1), irs, mss)
			},
			func(s *secrets, now Time, local, remote netip.AddrPort, irs, cookie segment.Seq) (int, bool) {
				return s.checkCookie(now, local, anyPort(remote.Addr(), 1), irs, cookie)
			}},
		"one period too many": {realBakery.make,
			func(s *secrets, now Time, local, remote netip.AddrPort, irs, cookie segment.Seq) (int, bool) {
				if mss, ok := s.checkCookie(now, local, remote, irs, cookie); ok {
					return mss, ok
				}
				return s.checkCookie(now.Add(-cookiePeriod), local, remote, irs, cookie)
			}},
		"one period too few": {realBakery.make,
			func(s *secrets, now Time, local, remote netip.AddrPort, irs, cookie segment.Seq) (int, bool) {
				mss, ok := s.checkCookie(now, local, remote, irs, cookie)
				_, later := s.checkCookie(now.Add(cookiePeriod), local, remote, irs, cookie)
				return mss, ok && later
			}},
		"the secret does not count": {
			func(_ *secrets, now Time, local, remote netip.AddrPort, irs segment.Seq, mss int) segment.Seq {
				return newSecrets([32]byte{}).cookie(now, local, remote, irs, mss)
			},
			func(_ *secrets, now Time, local, remote netip.AddrPort, irs, cookie segment.Seq) (int, bool) {
				return newSecrets([32]byte{}).checkCookie(now, local, remote, irs, cookie)
			}},
		"the tag is not compared whole": {realBakery.make,
			func(s *secrets, now Time, local, remote netip.AddrPort, irs, cookie segment.Seq) (int, bool) {
				for low := range 8 {
					if mss, ok := s.checkCookie(now, local, remote, irs, segment.MakeSeq(cookie.Uint32()^uint32(low))); ok {
						return mss, true
					}
				}
				return 0, false
			}},
	} {
		found := ""
		for seed := uint64(0); seed < 200 && found == ""; seed++ {
			found = judgeBakery(b, randomBytes(seed, 32))
		}
		t.Logf("%s: %s", name, found)
		if found == "" {
			t.Errorf("%s: nobody noticed", name)
		}
	}
	for seed := range uint64(2000) {
		if wrong := judgeBakery(realBakery, randomBytes(seed, 32)); wrong != "" {
			t.Fatalf("seed %d: %s", seed, wrong)
		}
	}
}

func BenchmarkCheckCookie(b *testing.B) {
	s := newSecrets([32]byte{1})
	b.ReportAllocs()
	for i := range b.N {
		s.checkCookie(Time(time.Hour), us, peer, segment.MakeSeq(uint32(i)), segment.MakeSeq(uint32(i)))
	}
}
