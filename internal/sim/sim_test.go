package sim

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"

	"rawtcp/engine"
	"rawtcp/segment"
)

// smokeSeeds is how many plans every test run plays.
const smokeSeeds = 200

func TestSeeds(t *testing.T) {
	var all Tally
	for seed := range uint64(smokeSeeds) {
		p := Draw(seed)
		r := Run(&p, nil)
		all.add(r)
		if r.Violation != "" {
			t.Errorf("seed %d: %s\nreplay: go run ./internal/sim/cmd/sim -seed %d -shrink -ladder run.txt -pcap run.pcapng", seed, r.Violation, seed)
		}
	}
	if all.Segments < 100*smokeSeeds || all.Octets < 10_000*smokeSeeds {
		t.Errorf("only %d segments and %d octets: the plans are idle", all.Segments, all.Octets)
	}
}

// The same seed is the same run, event for event, also while it is recorded.
func TestSameSeedSameTrace(t *testing.T) {
	traces := map[[32]byte]uint64{}
	for seed := range uint64(10) {
		p, q := Draw(seed), Draw(seed)
		bare, err := NewRecorder(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		full, err := NewRecorder(new(bytes.Buffer), nil)
		if err != nil {
			t.Fatal(err)
		}
		one, two := Run(&p, bare), Run(&q, full)
		if one != two || bare.Sum() != full.Sum() {
			t.Errorf("seed %d: %x, %+v, then %x, %+v", seed, bare.Sum(), one, full.Sum(), two)
		}
		if other, there := traces[bare.Sum()]; there {
			t.Errorf("seeds %d and %d have one trace", seed, other)
		}
		traces[bare.Sum()] = seed
	}
}

// The seeds that a campaign plays twice stand it, long ones too.
func TestSeedsThatArePlayedTwice(t *testing.T) {
	longest := 0
	for seed := uint64(0); seed < 12*again; seed += again {
		r := playSeed(seed)
		if longest = max(longest, r.Octets); r.Violation != "" {
			t.Errorf("seed %d: %s", seed, r.Violation)
		}
	}
	if longest < 100_000 {
		t.Errorf("the longest run has %d octets", longest)
	}
}

// Every fault has to be drawn often enough to matter.
func TestEveryFaultIsDrawn(t *testing.T) {
	var count [numFaults]int
	none, one := 0, 0
	const n = 2000
	for seed := range uint64(n) {
		p := Draw(seed)
		for _, f := range p.Faults {
			count[f.Kind]++
		}
		switch len(p.Faults) {
		case 0:
			none++
		case 1:
			one++
		}
	}
	for k, c := range count {
		if c < n/50 {
			t.Errorf("%v was drawn %d times in %d plans", FaultKind(k), c, n)
		}
	}
	if none < n/15 || one < n/8 {
		t.Errorf("%d plans without a fault and %d with one", none, one)
	}
}

// The limits of a stack have to be reached, each of them.
func TestEveryLimitIsReached(t *testing.T) {
	var all engine.Counters
	reached := func() bool {
		return all.MemoryPressures > 0 && all.MemoryShed > 0 && all.MemoryRefused > 0 && all.ConnsRefused > 0 && all.OrphansReset > 0 &&
			all.TimeWaitsCut > 0 && all.SYNDropped > 0 && all.CookiesSent > 0
	}
	for seed := range uint64(3000) {
		p := Draw(seed)
		if p.Limits == [2]engine.Limits{} || reached() {
			continue
		}
		w := newWorld(&p, nil)
		w.play()
		if w.violation != "" {
			t.Errorf("seed %d: %s", seed, w.violation)
		}
		for _, h := range w.hosts {
			c := h.stack.Counters()
			all.MemoryPressures += c.MemoryPressures
			all.MemoryShed += c.MemoryShed
			all.MemoryRefused += c.MemoryRefused
			all.ConnsRefused += c.ConnsRefused
			all.OrphansReset += c.OrphansReset
			all.TimeWaitsCut += c.TimeWaitsCut
			if p.Limits[h.side].HalfOpen > 0 {
				all.SYNDropped += c.SYNDropped
				all.CookiesSent += c.CookiesSent
			}
		}
	}
	if !reached() {
		t.Errorf("some limit was never reached: %+v", all)
	}
}

// A plan that cannot succeed fails, shrinks, and is written down.
func TestFailureShrinksAndIsRecorded(t *testing.T) {
	p := Draw(3)
	p.Heal = time.Second
	p.Doomed = false
	never := Fault{Kind: Partition, Dir: bothWays, From: 0, To: 1 << 60}
	p.Faults = []Fault{{Kind: Loss, P: 10, Dir: bothWays, To: time.Second}, never, {Kind: Jitter, D: 1000, To: time.Second}}
	p.Talks = append(p.Talks, p.Talks...)
	for i := range p.Talks {
		p.Talks[i].Apps[0].End, p.Talks[i].Apps[1].End = endOrderly, endOrderly
	}
	if r := Run(&p, nil); !strings.HasPrefix(r.Violation, "L1") {
		t.Fatalf("a road that is cut for good: %q, want L1", r.Violation)
	}
	small := Shrink(p, 500)
	if len(small.Faults) != 1 || small.Faults[0] != never || strings.Count(small.String(), "talk ") != 1 || small.Talks[len(small.Talks)-1].octets() != 0 {
		t.Errorf("shrunk to %v", &small)
	}
	var ladder, capture bytes.Buffer
	rec, err := NewRecorder(&ladder, &capture)
	if err != nil {
		t.Fatal(err)
	}
	Run(&small, rec)
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CLOSED to SYN-SENT", "partition loses it", "VIOLATION: L1"} {
		if !strings.Contains(ladder.String(), want) {
			t.Errorf("the ladder lacks %q:\n%s", want, ladder.String())
		}
	}
	ng, err := pcapgo.NewNgReader(&capture, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	pkt, _, err := ng.ReadPacketData()
	var s segment.Segment
	if err != nil || s.Parse(pkt) != nil || s.Flags&segment.SYN == 0 {
		t.Errorf("the capture begins with %v, %v", &s, err)
	}
}

// A plan that breaks one rule is not shrunk to one that breaks another.
func TestShrinkKeepsTheRule(t *testing.T) {
	p := clean(time.Millisecond, 0, 1<<20, 1<<16, 1000)
	p.Faults = []Fault{{Kind: Loss}, {Kind: Jitter}, {Kind: Reorder}}
	small := shrink(p, 500, func(q *Plan) string {
		switch len(q.Faults) {
		case 0:
			return ""
		case 1:
			return "L1"
		}
		return "I9"
	})
	if len(small.Faults) != 2 || small.Talks[0].octets() != 0 {
		t.Errorf("shrunk to %v", &small)
	}
	if whole := Shrink(clean(time.Millisecond, 0, 1<<20, 1<<16, 1000), 10); whole.Talks[0].octets() != 1000 {
		t.Errorf("a plan that breaks no rule was shrunk to %v", &whole)
	}
}

// A stack that gives places to others may end any of its connections.
func TestRationedPlansAreExcused(t *testing.T) {
	p := clean(time.Millisecond, 0, 1<<20, 1<<16, 1000)
	p.Limits[0].Memory = 1
	if p.excused(0) {
		t.Error("a limit on memory alone excuses")
	}
	p.Limits[1].HalfOpen = 1
	if !p.excused(0) {
		t.Error("a limit on handshakes does not excuse")
	}
}

// Each host has its own interface in the capture, however many clients there are.
func TestEveryHostIsCaptured(t *testing.T) {
	p := clean(time.Millisecond, 0, 1<<20, 1<<16, 1000)
	p.Clients = 3
	for i := 1; i < p.Clients; i++ {
		talk := p.Talks[0]
		talk.Client, talk.Tuple, talk.Door = i, i, i
		p.Talks = append(p.Talks, talk)
	}
	var capture bytes.Buffer
	rec, err := NewRecorder(nil, &capture)
	if err != nil {
		t.Fatal(err)
	}
	if r := Run(&p, rec); r.Violation != "" {
		t.Fatal(r.Violation)
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	ng, err := pcapgo.NewNgReader(&capture, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	senders := map[string]int{} // where each address was seen first
	for {
		pkt, info, err := ng.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		var s segment.Segment
		if err != nil || s.Parse(pkt) != nil {
			t.Fatalf("the capture holds %v, %v", &s, err)
		}
		if _, there := senders[s.Src.Addr().String()]; !there {
			senders[s.Src.Addr().String()] = info.InterfaceIndex
		}
	}
	for host := range p.Clients + 1 {
		if at, there := senders[hostAddr(host, false).String()]; !there || at != host {
			t.Errorf("host %d sends on interface %d (%t)", host, at, there)
		}
	}
}

func TestSpans(t *testing.T) {
	at := func(n int) segment.Seq { return segment.MakeSeq(1<<32 - 10).Add(n) }
	var s spans
	s.add(at(30), at(40))
	s.add(at(10), at(20))
	s.add(at(5), at(5))
	if len(s) != 2 || !s.cover(at(10), at(20)) || s.cover(at(10), at(21)) || s.cover(at(15), at(35)) {
		t.Errorf("two ranges: %v", s)
	}
	if s.add(at(20), at(30)); len(s) != 1 || !s.cover(at(10), at(40)) {
		t.Errorf("joined: %v", s)
	}
	if s.forget(at(25)); s.cover(at(24), at(26)) || !s.cover(at(25), at(40)) {
		t.Errorf("cut: %v", s)
	}
}

// Clocks that drift are read and waited for without a rounding that ever fires early.
func TestClockAndDeadlineAgree(t *testing.T) {
	for _, drift := range []int64{0, 1, -1, 500, -500, 50_000, -50_000} {
		h := &host{drift: drift, epoch: int64(time.Hour)}
		for at := time.Duration(1); at < 100*time.Hour; at = at*3 + 7 {
			due := h.clock(at)
			when := h.when(due)
			if h.clock(when) < due || when > 0 && h.clock(when-1) >= due {
				t.Errorf("drift %d: %v is shown at %v, looked for at %v", drift, due, at, when)
			}
			for ms := at.Truncate(time.Millisecond); ms < at+3*time.Millisecond; ms += time.Millisecond {
				if h.clock(ms-1) > h.clock(ms) {
					t.Errorf("drift %d: the clock goes back at %v", drift, ms)
				}
			}
		}
	}
}

func TestPanicIsAViolation(t *testing.T) {
	p := Draw(0)
	w := newWorld(&p, nil)
	w.safely(func() { panic("planted") })
	if !strings.HasPrefix(w.violation, "panic: planted\n") {
		t.Errorf("violation %q", w.violation)
	}
}
