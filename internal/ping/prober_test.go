package ping

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

var (
	us   = netip.MustParseAddr("198.18.0.1")
	us6  = netip.MustParseAddr("2001:db8::1")
	web  = netip.MustParseAddrPort("198.18.0.2:80")
	web6 = netip.MustParseAddrPort("[2001:db8::2]:80")
)

const (
	second = engine.Time(time.Second)
	micro  = engine.Time(time.Microsecond)
)

// A trial is a Prober in a world made of calls.
type trial struct {
	*Prober
	t      *testing.T
	news   []string
	claims []netip.AddrPort
}

// try starts a Prober at 1 s; a target has this SYN unless it brings one.
func try(t *testing.T, cfg Config) *trial {
	k := &trial{t: t}
	random := uint32(1000)
	cfg.Random = func() uint32 { random += 1000; return random }
	cfg.Emit = func(e *Event) {
		text := fmt.Sprintf("%s %d.%d", e.Kind, e.Target, e.Seq)
		if e.RTT != 0 {
			text += fmt.Sprintf(" %v kernel=%v", e.RTT, e.Kernel)
		}
		k.news = append(k.news, text)
	}
	if cfg.Claim == nil {
		cfg.Claim = func(local netip.AddrPort) error { k.claims = append(k.claims, local); return nil }
	}
	if cfg.Targets == nil {
		cfg.Targets = []Target{{Local: us, Remote: web}}
	}
	if cfg.Interval == 0 {
		cfg.Interval = time.Second
	}
	if cfg.Wait == 0 {
		cfg.Wait = time.Second
	}
	k.Prober = NewProber(second, cfg)
	return k
}

// sent returns all that is to be sent now.
func (k *trial) sent(now engine.Time) []segment.Segment {
	k.t.Helper()
	var all []segment.Segment
	for {
		var s segment.Segment
		more, err := k.Transmit(now, &s)
		if err != nil {
			k.t.Fatal(err)
		}
		if !more {
			return all
		}
		all = append(all, s)
	}
}

// syn returns the one SYN that is due.
func (k *trial) syn(now engine.Time) segment.Segment {
	k.t.Helper()
	all := k.sent(now)
	if len(all) != 1 || all[0].Flags != segment.SYN {
		k.t.Fatalf("want one SYN, got %v", all)
	}
	return all[0]
}

func answerTo(syn segment.Segment, flags segment.Flags) *segment.Segment {
	return &segment.Segment{
		Src: syn.Dst, Dst: syn.Src, Seq: segment.MakeSeq(7), Ack: syn.Seq.Add(1), Flags: flags | segment.ACK, TTL: 64,
	}
}

func (k *trial) want(news ...string) {
	k.t.Helper()
	if !slices.Equal(k.news, news) {
		k.t.Errorf("the news is\n  %s\nwant\n  %s", strings.Join(k.news, "\n  "), strings.Join(news, "\n  "))
	}
	k.news = nil
}

// wantRST returns after one RST with the sequence number that the peer expects.
func (k *trial) wantRST(now engine.Time, syn segment.Segment) {
	k.t.Helper()
	all := k.sent(now)
	if len(all) != 1 || all[0].Flags != segment.RST || all[0].Seq != syn.Seq.Add(1) || all[0].Src != syn.Src || all[0].Dst != syn.Dst {
		k.t.Errorf("want a RST after %v, got %v", syn, all)
	}
}

func TestReply(t *testing.T) {
	for _, target := range []Target{{Local: us, Remote: web}, {Local: us6, Remote: web6}} {
		k := try(t, Config{Targets: []Target{target}, Count: 1})
		syn := k.syn(second)
		if syn.Dst != target.Remote || syn.Src.Addr() != target.Local || syn.Src.Port() < firstPort {
			t.Errorf("the SYN is %v", syn)
		}
		k.Stamped(syn.Src, syn.Dst, syn.Seq.Uint32(), 5_000_000_000)
		k.Deliver(second+200*micro, answerTo(syn, segment.SYN), 5_000_000_000+113_000)
		k.want("reply 0.1 113µs kernel=true")
		if k.Done() {
			t.Error("done before the RST is sent")
		}
		k.wantRST(second+200*micro, syn)
		if !k.Done() {
			t.Error("not done")
		}
		if s := k.Stats(0); s.Replies != 1 || s.Times.Min() != 113*time.Microsecond || s.SegmentsSent != 2 || s.SegmentsReceived != 1 {
			t.Errorf("%+v", s)
		}
	}
}

// A closed port answers, and is owed nothing.
func TestRefused(t *testing.T) {
	k := try(t, Config{Count: 1})
	syn := k.syn(second)
	k.Deliver(second+200*micro, answerTo(syn, segment.RST), 0)
	k.want("refused 0.1 200µs kernel=false")
	if left := k.sent(second + 200*micro); left != nil {
		t.Errorf("a RST was answered with %v", left)
	}
	if s := k.Stats(0); s.Received() != 1 || s.LossPercent() != 0 || !k.Done() {
		t.Errorf("%+v", s)
	}
}

// What nobody answered is lost, and its peer is reset: the SYN-ACK alone may be
// what was lost.
func TestLost(t *testing.T) {
	k := try(t, Config{Count: 1})
	syn := k.syn(second)
	k.Advance(2*second - 1)
	k.want()
	if due := k.Deadline(); due != 2*second {
		t.Errorf("the deadline is %v", due)
	}
	k.Advance(2 * second)
	k.want("lost 0.1")
	k.wantRST(2*second, syn)
	if s := k.Stats(0); s.Lost != 1 || s.LossPercent() != 100 || !k.Done() || s.Times.Count() != 0 {
		t.Errorf("%+v", s)
	}
}

// A late answer is neither a loss nor a reply, and its time is told apart.
func TestLate(t *testing.T) {
	k := try(t, Config{Count: 2})
	syn := k.syn(second)
	k.Advance(2 * second)
	second2 := k.sent(2 * second)
	k.want("lost 0.1")
	if len(second2) != 2 || second2[1].Src.Port() == syn.Src.Port() {
		t.Fatalf("want a RST, and a SYN from another port than %v: %v", syn, second2)
	}
	k.Deliver(2*second+5*micro, answerTo(syn, segment.SYN), 0)
	k.want("late 0.1 1.000005s kernel=false")
	k.wantRST(2*second+5*micro, syn)
	k.Deliver(2*second+9*micro, answerTo(syn, segment.SYN), 0)
	k.want("duplicate 0.1 1.000009s kernel=false")
	if s := k.Stats(0); s.Late != 1 || s.Lost != 0 || s.Received() != 0 || s.Waiting() != 1 || s.Duplicates != 1 || s.Times.Count() != 0 {
		t.Errorf("%+v", s)
	}
}

// A busy machine does not make a late answer a reply.
func TestLateBeforeAdvance(t *testing.T) {
	k := try(t, Config{Count: 1})
	k.Overhear(2*second+1, answerTo(k.syn(second), segment.SYN), 0)
	k.want("lost 0.1", "late 0.1 1.000000001s kernel=false")
}

// The peer's repetition of its SYN-ACK is no second reply, but gets a RST again.
func TestDuplicate(t *testing.T) {
	k := try(t, Config{Count: 1})
	syn := k.syn(second)
	for range 2 {
		k.Deliver(second+10*micro, answerTo(syn, segment.SYN), 0)
		k.wantRST(second+10*micro, syn)
	}
	k.want("reply 0.1 10µs kernel=false", "duplicate 0.1 10µs kernel=false")
	if s := k.Stats(0); s.Replies != 1 || s.Duplicates != 1 || s.Times.Count() != 1 {
		t.Errorf("%+v", s)
	}
}

func quoteOf(t *testing.T, s segment.Segment) []byte {
	packet, err := s.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func TestICMP(t *testing.T) {
	k := try(t, Config{Count: 1, Targets: []Target{{Local: us, Remote: web}, {Local: us6, Remote: web6}}})
	for i, syn := range k.sent(second) {
		m := &engine.ICMP{From: netip.MustParseAddr("198.18.0.9"), Type: 3, Code: 1, Quoted: quoteOf(t, syn)}
		other := syn
		other.Seq = other.Seq.Add(1)
		if k.DeliverICMP(second+5*micro, &engine.ICMP{Quoted: quoteOf(t, other)}) {
			t.Error("another segment's error was believed (RFC 5927 section 4)")
		}
		if !k.DeliverICMP(second+5*micro, m) || !k.DeliverICMP(second+6*micro, m) {
			t.Error("not about a probe?")
		}
		k.want(fmt.Sprintf("unreachable %d.1 5µs kernel=false", i))
	}
	if s := k.Stats(1); !k.Done() || s.Unreachable != 1 || s.LossPercent() != 0 {
		t.Errorf("%+v", s)
	}
	if k.DeliverICMP(second, &engine.ICMP{Quoted: []byte{0x45}}) {
		t.Error("a cut quote was believed")
	}
}

// A router that gives up after our wait explains the loss.
func TestICMPAfterTheWait(t *testing.T) {
	k := try(t, Config{Count: 1})
	syn := k.syn(second)
	k.Advance(2 * second)
	k.DeliverICMP(4*second, &engine.ICMP{Quoted: quoteOf(t, syn)})
	k.want("lost 0.1", "unreachable 0.1 3s kernel=false")
	if s := k.Stats(0); s.Lost != 0 || s.Unreachable != 1 {
		t.Errorf("%+v", s)
	}
}

// Nobody who cannot see our SYN can answer it.
func TestForgedAnswers(t *testing.T) {
	k := try(t, Config{Count: 1})
	syn := k.syn(second)
	forged := func(change func(*segment.Segment), flags segment.Flags) {
		s := answerTo(syn, flags)
		change(s)
		k.Deliver(second+1, s, 0)
	}
	forged(func(s *segment.Segment) { s.Ack = s.Ack.Add(1) }, segment.RST)
	forged(func(s *segment.Segment) { s.Flags = segment.RST }, segment.RST)
	forged(func(s *segment.Segment) { s.Checksum = segment.ChecksumBad }, segment.SYN)
	forged(func(s *segment.Segment) { s.Src = web6 }, segment.SYN)
	forged(func(s *segment.Segment) { s.Dst = netip.AddrPortFrom(us, 1) }, segment.SYN)
	if left := k.sent(second + 1); left != nil {
		t.Errorf("they were answered: %v", left)
	}
	forged(func(s *segment.Segment) { s.Ack = s.Ack.Add(5) }, segment.SYN) // a connection from before our time
	if left := k.sent(second + 1); len(left) != 1 || left[0].Seq != syn.Seq.Add(6) {
		t.Errorf("want a RST that ends it: %v", left)
	}
	k.want()
}

// A system clock that is set between the stamps does not make a round trip.
func TestClockStep(t *testing.T) {
	for _, stamp := range []int64{4_000_000_000, 9_000_000_000, 0} {
		k := try(t, Config{Count: 1})
		syn := k.syn(second)
		k.Stamped(syn.Src, syn.Dst, syn.Seq.Uint32(), 5_000_000_000)
		k.Deliver(second+30*micro, answerTo(syn, segment.SYN), stamp)
		k.want("reply 0.1 30µs kernel=false")
	}
}

// The stamps of a tap go before those of the link, for the first answer only.
func TestTapStamps(t *testing.T) {
	k := try(t, Config{Count: 1})
	syn := k.syn(second)
	answer := answerTo(syn, segment.SYN)
	other := *answer
	other.Ack = other.Ack.Add(1)
	k.Passed(&syn, 5_000_000_000, true)
	k.Passed(&other, 5_000_001_000, false)
	k.Passed(answer, 5_000_020_000, false)
	k.Passed(answer, 5_000_025_000, false)
	k.Passed(&segment.Segment{Src: web6, Dst: web6}, 1, true)
	k.Stamped(syn.Src, syn.Dst, syn.Seq.Uint32(), 5_000_001_000)
	for range 2 {
		k.Deliver(second+100*micro, answer, 5_000_030_000)
	}
	k.want("reply 0.1 20µs kernel=true", "duplicate 0.1 29µs kernel=true")

	k = try(t, Config{Count: 1})
	syn = k.syn(second)
	k.Passed(&syn, 5_000_010_000, true) // made up when it was read
	k.Passed(answerTo(syn, segment.SYN), 5_000_020_000, false)
	k.Stamped(syn.Src, syn.Dst, syn.Seq.Uint32(), 5_000_001_000)
	k.Deliver(second+100*micro, answerTo(syn, segment.SYN), 5_000_030_000)
	k.want("reply 0.1 29µs kernel=true")

	k = try(t, Config{Count: 1})
	syn = k.syn(second)
	k.Passed(answerTo(syn, segment.SYN), 5_000_020_000, false) // its SYN was not seen
	k.Stamped(syn.Src, syn.Dst, syn.Seq.Uint32(), 5_000_001_000)
	k.Deliver(second+100*micro, answerTo(syn, segment.SYN), 5_000_030_000)
	k.want("reply 0.1 29µs kernel=true")
}

func TestRhythm(t *testing.T) {
	k := try(t, Config{Interval: time.Second, Stagger: 10 * time.Millisecond, Targets: []Target{{Local: us, Remote: web}, {Local: us6, Remote: web6}}})
	var at []engine.Time
	for range 5 {
		now := k.Deadline()
		at = append(at, now-second)
		k.Deliver(now+1, answerTo(k.syn(now), segment.RST), 0)
	}
	want := []engine.Time{0, second / 100, second, second + second/100, 2 * second}
	if !slices.Equal(at, want) {
		t.Errorf("SYNs at %v, want %v", at, want)
	}
	// After a long pause there is one SYN to each, and no burst.
	if burst := k.sent(60 * second); len(burst) != 2 {
		t.Errorf("%d SYNs after a pause", len(burst))
	}
}

func TestStop(t *testing.T) {
	k := try(t, Config{})
	syn := k.syn(second)
	k.Stop(second+1000, 200*time.Millisecond)
	if due := k.Deadline(); due != second+1000+engine.Time(200*time.Millisecond) || k.Done() {
		t.Errorf("due %v", due)
	}
	k.Advance(k.Deadline())
	k.wantRST(k.cut, syn)
	k.want()
	if s := k.Stats(0); !k.Done() || s.Waiting() != 1 || s.Lost != 0 || s.LossPercent() != 0 {
		t.Errorf("%+v", s)
	}
}

func TestSendFailed(t *testing.T) {
	k := try(t, Config{Count: 1})
	syn := k.syn(second)
	k.SendFailed(second, &syn, syscall.ENETUNREACH)
	k.want("failed 0.1")
	if s := k.Stats(0); !k.Done() || s.Failed != 1 {
		t.Errorf("%+v", s)
	}
}

// One SYN under way from a port; a port rests before it is used again.
func TestPorts(t *testing.T) {
	k := try(t, Config{Interval: time.Second})
	var ports []uint16
	now := second
	for range 6 {
		syn := k.syn(now)
		ports = append(ports, syn.Src.Port())
		k.Deliver(now+1, answerTo(syn, segment.RST), 0)
		now += second
	}
	// An answered port rests two seconds and a bit: three ports take turns.
	if ports[1] != ports[0]+1 || ports[3] != ports[0] || ports[4] != ports[1] || len(k.claims) != 3 {
		t.Errorf("ports %d, claims %v", ports, k.claims)
	}
}

func TestPortsRunOut(t *testing.T) {
	k := try(t, Config{Interval: time.Millisecond, Wait: time.Second})
	now, syns := second, 0
	for range 2000 {
		syns += len(k.sent(now))
		now += engine.Time(time.Millisecond)
		if now >= 2*second {
			break
		}
	}
	if syns != maxPorts || k.Deadline() < 2*second {
		t.Errorf("%d SYNs under way, next at %v", syns, k.Deadline())
	}
	k.Advance(2 * second)
	if more := k.sent(2 * second); len(more) != 2 || more[0].Flags != segment.RST || more[1].Flags != segment.SYN {
		t.Errorf("after the first loss: %v", more)
	}
}

func TestPortsThatOthersHave(t *testing.T) {
	calls := 0
	taken := func(netip.AddrPort) error {
		if calls++; calls < 4 {
			return syscall.EADDRINUSE
		}
		return nil
	}
	k := try(t, Config{Claim: taken})
	k.syn(second)
	if calls != 4 {
		t.Errorf("%d claims", calls)
	}
	for _, cfg := range []Config{
		{Claim: func(netip.AddrPort) error { return syscall.EADDRINUSE }},
		{Claim: func(netip.AddrPort) error { return syscall.EADDRINUSE }, Port: 4000},
	} {
		var s segment.Segment
		if _, err := try(t, cfg).Transmit(second, &s); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("error %v", err)
		}
	}
}

func TestGivenPort(t *testing.T) {
	k := try(t, Config{Port: 4000, ISN: new(segment.Seq), Interval: 100 * time.Millisecond})
	syn := k.syn(second)
	if syn.Src.Port() != 4000 || syn.Seq.Uint32() != 0 {
		t.Errorf("%v", syn)
	}
	if early := k.sent(second + second/2); early != nil {
		t.Errorf("a second SYN from the port: %v", early)
	}
	k.Deliver(second+second/2, answerTo(syn, segment.RST), 0)
	if k.Deadline() > 2*second {
		t.Errorf("next at %v", k.Deadline())
	}
}

// Timestamps go on from probe to probe as a host's clock does.
func TestTimestampsAdvance(t *testing.T) {
	target := Target{Local: us, Remote: web}
	target.SYN.Options = segment.Options{Set: segment.HasTimestamps, TSVal: 500}
	target.SYN.Flags = segment.SYN
	k := try(t, Config{Targets: []Target{target}})
	first, later := k.syn(second), k.syn(2*second)
	if later.Options.TSVal-first.Options.TSVal != 1000 {
		t.Errorf("TSVal %d, then %d", first.Options.TSVal, later.Options.TSVal)
	}
}

// What the engine answers, the Prober does not.
func TestOverhear(t *testing.T) {
	k := try(t, Config{Count: 1})
	syn := k.syn(second)
	k.Overhear(second+1000, answerTo(syn, segment.SYN), 0)
	k.Overhear(second+2000, answerTo(syn, segment.RST), 0) // the peer aborts the connection
	k.want("reply 0.1 1µs kernel=false")
	if left := k.sent(second + 2000); left != nil {
		t.Errorf("it answered with %v", left)
	}
}

func FuzzDeliver(f *testing.F) {
	f.Add(uint32(2001), uint16(0x12), uint8(0), int64(5))
	f.Fuzz(func(t *testing.T, ack uint32, flags uint16, icmp uint8, stamp int64) {
		k := try(t, Config{Count: 1})
		syn := k.syn(second)
		s := answerTo(syn, 0)
		s.Ack, s.Flags = segment.MakeSeq(ack), segment.Flags(flags)
		for range 3 {
			k.Deliver(second+1, s, stamp)
			k.DeliverICMP(second+2, &engine.ICMP{Quoted: quoteOf(t, syn)[:int(icmp)%41]})
		}
		if n := len(k.sent(second + 3)); n > 3 {
			t.Errorf("%d answers to 3 segments", n)
		}
		if st := k.Stats(0); st.Waiting() < 0 || st.Waiting() > 1 {
			t.Errorf("%+v", st)
		}
	})
}
