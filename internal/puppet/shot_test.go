package puppet

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"rawtcp/segment"
)

func netip4(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// shots are built for both families.
func eachFamily(t *testing.T, test func(t *testing.T, s *Shot)) {
	t.Helper()
	for name, addrs := range map[string][2]string{
		"v4": {"198.18.0.1:1000", "198.18.0.2:2000"},
		"v6": {"[2001:db8::1]:1000", "[2001:db8::2]:2000"},
	} {
		t.Run(name, func(t *testing.T) {
			test(t, &Shot{Segment: segment.Segment{
				Src: netip4(addrs[0]), Dst: netip4(addrs[1]), Flags: segment.ACK | segment.PSH, Payload: []byte("odd"), Window: 1000,
			}})
		})
	}
}

// built is a Shot after mods, as a packet that must parse with a checksum of the
// given verdict.
func built(t *testing.T, s *Shot, want segment.Verdict, mods ...Mod) (segment.Segment, []byte) {
	t.Helper()
	for _, m := range mods {
		m(s)
	}
	pkt, err := s.append()
	if err != nil {
		t.Fatal(err)
	}
	var got segment.Segment
	if err := got.Parse(bytes.Clone(pkt)); err != nil {
		t.Fatalf("%v: % x", err, pkt)
	}
	if got.Checksum != want {
		t.Errorf("the checksum is %v, want %v", got.Checksum, want)
	}
	if !bytes.Equal(got.Payload, s.Payload) {
		t.Errorf("the payload is %q", got.Payload)
	}
	return got, pkt
}

func TestReservedBits(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *Shot) {
		_, pkt := built(t, s, segment.ChecksumOK, Reserved(5))
		a := Arrival{Bytes: pkt}
		if a.Reserved() != 5 {
			t.Errorf("reserved bits %b", a.Reserved())
		}
	})
}

func TestIPOptions(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *Shot) {
		_, pkt := built(t, s, segment.ChecksumOK, Reserved(7), IPOptions([]byte{7, 7, 4, 0, 0, 0, 0}))
		if pkt[0]>>4 == 4 && (pkt[0] != 0x47 || !bytes.Equal(pkt[20:28], []byte{7, 7, 4, 0, 0, 0, 0, 0})) {
			t.Errorf("% x", pkt)
		}
		if a := (&Arrival{Bytes: pkt}); a.Reserved() != 7 {
			t.Error("the reserved bits are elsewhere")
		}
	})
}

func TestEvilBit(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *Shot) {
		_, pkt := built(t, s, segment.ChecksumOK, EvilBit())
		if pkt[0]>>4 == 4 && pkt[6] != 0xc0 { // with DF
			t.Errorf("flags %x", pkt[6])
		}
	})
}

func TestWrongChecksum(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *Shot) {
		built(t, s, segment.ChecksumBad, Reserved(1), Checksum(func(right uint16) uint16 { return right ^ 0x5555 }))
	})
}

func TestMods(t *testing.T) {
	s := &Shot{Segment: segment.Segment{Src: netip4("198.18.0.1:1"), Dst: netip4("198.18.0.2:2"), Seq: segment.MakeSeq(5), Ack: segment.MakeSeq(7), Flags: segment.ACK}}
	for _, m := range []Mod{
		Seq(-10), Ack(10), Win(3), Urgent(4), TTL(5), TOS(6), Stamps(100, 200), TSVal(-1),
		SACK(segment.SACKBlock{Start: segment.MakeSeq(1), End: segment.MakeSeq(2)}),
	} {
		m(s)
	}
	want := ". 4294967291:4294967291(0) ack 17 win 3 urg 4 <nop,nop,TS val 99 ecr 200,nop,nop,sack 1:2>"
	if got := s.String(); got != want || s.Segment.TTL != 5 || s.Segment.TOS != 6 {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	MoreOptions([]byte{158, 2})(s)
	if _, ok := s.Options.Find(158); !ok || s.Options.Len() != 24 {
		t.Errorf("options %v", &s.Options)
	}
	NoStamps()(s)
	SeqAt(segment.MakeSeq(1))(s)
	AckAt(segment.MakeSeq(2))(s)
	RawOptions([]byte{2, 0, 2, 0xf1})(s)
	if got := s.String(); got != ". 1:1(0) ack 2 win 3 urg 4 <bad 020002f1>" {
		t.Errorf("got %s", got)
	}
}

// A stamp of a clock that somebody has set is not believed.
func TestMoment(t *testing.T) {
	b := &Board{began: time.Now()}
	stamp := b.began.UnixNano()
	for _, wrong := range []int64{0, stamp + 3600e9, stamp - 3600e9} {
		if at := b.moment(wrong); at < 0 || at > b.Now() {
			t.Errorf("a stamp of %d makes it %v", wrong, at)
		}
	}
}

// What was here before we sent and is read after it is no answer, unless nobody
// knows when it came.
func TestWhatIsReadLateIsNoAnswer(t *testing.T) {
	b := &Board{began: time.Now()}
	sent := b.began.Add(time.Second).UnixNano()
	p := &Puppet{board: b, sentAt: sent}
	for _, stamp := range []int64{sent - 7e6, 0, sent + 3e4, sent - 2e5, sent - 1e4} {
		p.inbox = append(p.inbox, &Arrival{stamp: stamp})
	}
	var got []int64
	for a := p.next(); a != nil; a = p.next() {
		got = append(got, a.stamp-sent)
	}
	if want := []int64{-sent, 3e4, -1e4}; !slices.Equal(got, want) {
		t.Errorf("answers at %v after sending, want %v", got, want)
	}
}

// FuzzArrive: nothing that arrives stops a Board.
func FuzzArrive(f *testing.F) {
	for _, pkt := range seedPackets() {
		f.Add(pkt, pkt)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		b := &Board{cfg: Config{Random: func() uint64 { return 7 }}, began: time.Now(), lines: map[line]*Puppet{}, doors: map[netip.AddrPort]*Door{}, ports: map[netip.AddrPort]*port{}}
		s := &Stage{board: b}
		p := &Puppet{stage: s, board: b, local: netip4("198.18.0.1:1000"), remote: netip4("198.18.0.2:2000"), mtu: 1500, news: make(chan struct{}, 1)}
		p.shape = Shape{}.or(1500, true)
		p.begin()
		p.sndNxt = p.iss.Add(1)
		b.lines[line{p.local, p.remote}] = p
		for _, pkt := range [][]byte{first, second, first} {
			b.deliver(bytes.Clone(pkt), 0)
		}
		if len(p.stream) > maxStream+65535 || len(p.inbox) > 3 {
			t.Fatalf("%d octets, %d segments", len(p.stream), len(p.inbox))
		}
		_ = p.Room()
	})
}

// seedPackets are a SYN-ACK, data, a FIN and a RST for the puppet of the fuzz test.
func seedPackets() (pkts [][]byte) {
	for _, flags := range []segment.Flags{segment.SYN | segment.ACK, segment.ACK, segment.FIN | segment.ACK, segment.RST} {
		s := segment.Segment{
			Src: netip4("198.18.0.2:2000"), Dst: netip4("198.18.0.1:1000"), Seq: segment.MakeSeq(100), Ack: segment.MakeSeq(8), Flags: flags,
			Options: segment.Options{Set: segment.HasMSS | segment.HasTimestamps | segment.HasWindowScale, MSS: 1, WindowScale: 255, TSVal: 1}, Payload: []byte("x"),
		}
		pkt, err := s.Append(nil)
		if err != nil {
			panic(err)
		}
		pkts = append(pkts, pkt)
	}
	return pkts
}
