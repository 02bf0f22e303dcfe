package engine

import (
	"net/netip"
	"testing"
	"time"

	"rawtcp/segment"
)

func packet(t *testing.T, s segment.Segment) []byte {
	t.Helper()
	pkt, err := s.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pkt
}

func syn(src, dst string) segment.Segment {
	return segment.Segment{Src: mustAddrPort(src), Dst: mustAddrPort(dst), Flags: segment.SYN, Window: 1000}
}

func TestDeliverCountsAndDropsWhatIsNoSegment(t *testing.T) {
	good := packet(t, syn(peer.String(), us.String()))
	damaged := append([]byte(nil), good...)
	damaged[len(damaged)-3] ^= 1
	k := listening(t, ListenConfig{Conn: plain()})
	for _, pkt := range [][]byte{nil, good[:10], good[:30], damaged} {
		k.stack.Deliver(k.now, pkt, 0)
	}
	k.wantIdle("no word about any of them")
	if c := k.stack.Counters(); c.Malformed != 3 || c.BadChecksum != 1 || c.PacketsIn != 4 {
		t.Errorf("%+v", c)
	}
	k.stack.Deliver(k.now, good, 0)
	k.irs = segment.Seq{}
	k.want("but the good one is answered", "S. 0:0(0) ack 1")
}

// MUST-57, MUST-63, RFC 6335 section 6: no answer to what nobody can have sent.
func TestMartiansAreDropped(t *testing.T) {
	k := newTalk(t)
	for _, listen := range []string{"0.0.0.0:1000", "[::]:1000"} {
		if _, err := k.stack.Listen(k.now, mustAddrPort(listen), nil, ListenConfig{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []segment.Segment{
		syn("0.0.0.0:80", "198.18.0.1:1000"),
		syn("224.0.0.1:80", "198.18.0.1:1000"),
		syn("255.255.255.255:80", "198.18.0.1:1000"),
		syn("198.18.0.2:80", "224.0.0.1:1000"),
		syn("198.18.0.2:80", "255.255.255.255:1000"),
		syn("198.18.0.2:0", "198.18.0.1:1000"),
		syn("198.18.0.1:1000", "198.18.0.1:1000"), // LAND
		syn("[::]:80", "[2001:db8::1]:1000"),
		syn("[ff02::1]:80", "[2001:db8::1]:1000"),
	} {
		k.stack.Deliver(k.now, packet(t, s), 0)
		k.wantIdle("silence for " + s.Src.String() + " > " + s.Dst.String())
	}
}

func TestSegmentsForPortsThatAreNotOursAreLeftAlone(t *testing.T) {
	k := established(t, plain())
	for _, flags := range []segment.Flags{segment.SYN, segment.ACK, segment.FIN | segment.ACK, segment.SYN | segment.ACK} {
		s := segment.Segment{Src: peer, Dst: withPort(us, 9), Flags: flags}
		k.stack.Receive(k.now, &s)
		k.wantIdle("the port may be another program's")
	}
}

func TestResetsAreLimitedAndOneForOne(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	sent := 0
	for range 5000 {
		k.in(". 1:1(0) ack 1 win 100")
		for k.stack.Transmit(k.now, &k.seg) {
			sent++
		}
	}
	if sent != 1000 {
		t.Errorf("%d RSTs in a second, the limit is 1000", sent)
	}
}

func TestListenerOfOneAddressComesBeforeTheWildcard(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain()})
	all, err := k.stack.Listen(k.now, mustAddrPort("0.0.0.0:1000"), nil, ListenConfig{Mute: true})
	if err != nil {
		t.Fatal(err)
	}
	k.in("S 0:0(0) win 65535")
	k.want("from the exact one", "S. 0:0(0) ack 1")
	if all.cache.len() != 0 {
		t.Error("the wildcard took it")
	}
	if _, err := k.stack.Listen(k.now, us, nil, ListenConfig{}); err != ErrInUse {
		t.Errorf("a second listener: %v", err)
	}
}

func TestListenerOfBothFamilies(t *testing.T) {
	k := newTalk(t)
	both, err := k.stack.Listen(k.now, mustAddrPort("[::]:1000"), func(netip.Addr) int { return 1500 }, ListenConfig{Conn: plain()})
	if err != nil {
		t.Fatal(err)
	}
	k.iss = segment.MakeSeq(5_000_000)
	k.in("S 0:0(0) win 65535")
	k.want("IPv4 from [::]", "S. 0:0(0) ack 1")
	four, err := k.stack.Listen(k.now, mustAddrPort("0.0.0.0:1000"), nil, ListenConfig{Mute: true})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]*Listener{"198.18.0.1:1000": four, "[2001:db8::1]:1000": both, "[2001:db8::1]:1001": nil} {
		if got := k.stack.listener(mustAddrPort(addr)); got != want {
			t.Errorf("%s is served by %p, want %p", addr, got, want)
		}
	}
}

func TestStackDefaults(t *testing.T) {
	s := NewStack(StackConfig{Conn: ConnConfig{MSL: 3 * time.Second, NoDelay: true, SACK: Off, TTL: 9}})
	c, err := s.Dial(1, us, peer, 1500, ConnConfig{TTL: 7, SACK: On})
	if err != nil {
		t.Fatal(err)
	}
	if c.cfg.TTL != 7 || c.cfg.SACK != On || !c.cfg.NoDelay || c.cfg.TimeWait != 6*time.Second || c.cfg.SYNRetries != 6 || c.cfg.R1 != 3 {
		t.Errorf("a connection's own settings, then the stack's, then the general ones: %+v", c.cfg)
	}
	l, err := s.Listen(1, us, nil, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if l.cfg.Conn.TTL != 9 || l.cfg.Conn.SYNRetries != 3 {
		t.Errorf("a listener's: %+v", l.cfg.Conn)
	}
}

func TestEphemeralPortsFollowRFC6056(t *testing.T) {
	k := newTalk(t)
	first := k.stack.EphemeralPort(us.Addr(), peer, 0)
	if next := k.stack.EphemeralPort(us.Addr(), peer, 1); first < 49152 || next != 49152+(first-49152+1)%16384 {
		t.Errorf("%d, then %d", first, next)
	}
	if other := k.stack.EphemeralPort(us.Addr(), withPort(peer, 81), 0); other == first {
		t.Error("another destination gets the same port")
	}
	if again := NewStack(StackConfig{Secret: [32]byte{9}}).EphemeralPort(us.Addr(), peer, 0); again == first {
		t.Error("another secret gives the same port")
	}
}

// The steady state allocates nothing, in either direction.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	k := established(t, plain())
	k.stack.setTracer(nil)
	round := steadyRound(t, k)
	for range 1000 {
		round()
	}
	if n := testing.AllocsPerRun(1000, round); n != 0 {
		t.Errorf("%v allocations per round", n)
	}
}

// steadyRound is data both ways, with what it draws.
func steadyRound(t *testing.T, k *talk) func() {
	data, p := make([]byte, 1000), make([]byte, 4000)
	in := segment.Segment{Src: peer, Dst: us, Flags: segment.ACK, Window: 65535, Payload: data}
	return func() {
		k.now = k.now.Add(1_000_000)
		if _, err := k.c.Write(k.now, data); err != nil {
			t.Fatal(err)
		}
		for k.stack.Transmit(k.now, &k.seg) {
		}
		in.Seq, in.Ack = k.c.rcv.nxt, k.c.snd.nxt
		k.stack.Receive(k.now, &in)
		for k.stack.Transmit(k.now, &k.seg) {
		}
		if _, err := k.c.Read(k.now, p); err != nil {
			t.Fatal(err)
		}
	}
}
