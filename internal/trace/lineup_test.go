package trace

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rawtcp/engine"
)

// A fakeTap tells what the test puts into it.
type fakeTap struct {
	pcap    *Pcap
	packets [][]byte
	times   []time.Time
}

func (f *fakeTap) saw(pkt []byte, at time.Time) {
	f.packets, f.times = append(f.packets, pkt), append(f.times, at)
}

func (f *fakeTap) Next(headers []byte) (int, int64, bool) {
	if len(f.packets) == 0 {
		return 0, 0, false
	}
	n, at := copy(headers, f.packets[0]), f.times[0].UnixNano()
	f.packets, f.times = f.packets[1:], f.times[1:]
	return n, at, true
}

// tappedTalk plays a capture whose tap sees what sees says of each packet of
// ours, given in the order in which they were sent, and returns the capture.
func tappedTalk(t *testing.T, play func(tap *fakeTap, in func(stamp time.Time), out func(seq int) []byte)) []packet {
	t.Helper()
	return readPcap(t, pcapOf(t, func(tr engine.Tracer) {
		p := tr.(*Pcap)
		tap := &fakeTap{pcap: p}
		p.round = time.Hour
		link := p.Link(takingLink{}, tap)
		s := newScript(tr)
		in := func(stamp time.Time) {
			seg := s.parse("< . 1:1(0) ack 1 win 7")
			raw, err := seg.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			s.send(engine.Event{Kind: engine.EventSegmentIn, Segment: seg, Packet: raw, Stamp: stamp.UnixNano()})
		}
		out := func(seq int) []byte {
			seg := s.parse(fmt.Sprintf("> . %d:%d(0) ack 1 win 7", seq, seq))
			s.send(engine.Event{Kind: engine.EventSegmentOut, Segment: seg, Reason: fmt.Sprintf("number %d", seq)})
			pkt, err := seg.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := link.WriteBatch([][]byte{pkt}); err != nil {
				t.Fatal(err)
			}
			return pkt
		}
		play(tap, in, out)
	}))
}

// inShort is a capture in short: the first comment of each packet, and its time
// from the start in microseconds.
func inShort(packets []packet) string {
	var all []string
	for _, p := range packets {
		what := "in"
		if len(p.comments) > 0 {
			what = strings.Join(p.comments, ", ")
		}
		all = append(all, fmt.Sprintf("%s at %d", what, p.at.Sub(wallClock()).Microseconds()))
	}
	return strings.Join(all, "; ")
}

func after(us int) time.Time { return wallClock().Add(time.Duration(us) * time.Microsecond) }

// Packets stand in the order of the wire, whatever order they were heard of in.
func TestPcapOrdersByTime(t *testing.T) {
	got := inShort(tappedTalk(t, func(tap *fakeTap, in func(time.Time), out func(int) []byte) {
		one, two := out(1), out(2)
		in(after(15))
		tap.saw(one, after(10))
		tap.saw(two, after(20))
		in(after(5))
		in(after(20))
	}))
	const want = "in at 5; number 1 at 10; in at 15; in at 20; number 2 at 20"
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// A packet waits one round for older ones that are heard of later, and no more.
func TestPcapWaitsOneRound(t *testing.T) {
	var p *Pcap
	got := inShort(tappedTalk(t, func(tap *fakeTap, in func(time.Time), out func(int) []byte) {
		p = tap.pcap
		in(after(10))
		p.drain(false)
		if p.count != 0 {
			t.Errorf("%d packets written in their own round", p.count)
		}
		in(after(5))
		p.drain(false) // ends the younger's own round
		p.drain(false)
		if p.count != 2 {
			t.Errorf("%d packets written when the round of the younger was over, want 2", p.count)
		}
	}))
	if want := "in at 5; in at 10"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// Two packets can leave in another order than they were sent in, and the tap
// sees strangers.
func TestPcapFindsThePacketSeen(t *testing.T) {
	got := inShort(tappedTalk(t, func(tap *fakeTap, in func(time.Time), out func(int) []byte) {
		one, two := out(1), out(2)
		stranger := slices.Clone(one)
		stranger[12]++ // another source address
		tap.saw(stranger, after(5))
		tap.saw(two, after(10))
		tap.saw(one[:20], after(15)) // cut off before the TCP header
		tap.saw(one, after(20))
	}))
	const want = "number 2 at 10; number 1 at 20"
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// A packet that nobody saw has the program's time and says so, and delays the
// others no longer than the capture can bear.
func TestPcapSaysWhoseTimeItIs(t *testing.T) {
	packets := tappedTalk(t, func(tap *fakeTap, in func(time.Time), out func(int) []byte) {
		out(1)
		for range 2 * tooMany / recordCost {
			in(after(1))
		}
	})
	if want := []string{"number 1", guessedTime}; !slices.Equal(packets[0].comments, want) {
		t.Errorf("the first packet says %q, want %q", packets[0].comments, want)
	}
	if want := 2*tooMany/recordCost + 1; len(packets) != want {
		t.Errorf("%d packets, want %d", len(packets), want)
	}
}

// What the tap sees while the link is still at it belongs to packets that are
// not in line yet, and is kept for them, for as long as the link takes.
func TestPcapKeepsWhatWasSeenDuringABatch(t *testing.T) {
	var out strings.Builder
	p, err := NewPcap(PcapConfig{Out: &out, Now: wallClock, Interface: "veth0"})
	if err != nil {
		t.Fatal(err)
	}
	p.round = time.Hour
	tap := &fakeTap{}
	started, finish := make(chan bool), make(chan bool)
	link := p.Link(slowLink{tap: tap, started: started, finish: finish}, tap)
	s := newScript(p)
	pkt, err := s.parse("> . 1:1(0) ack 1 win 7").Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error)
	go func() { _, err := link.WriteBatch([][]byte{pkt}); sent <- err }()
	<-started
	for range 3 {
		p.drain(false)
	}
	finish <- true
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p.drain(false)
	}
	if len(p.seen) > 0 {
		t.Errorf("%d packets seen are kept when the batch is over", len(p.seen))
	}
	if err := p.Close(time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := inShort(readPcap(t, []byte(out.String()))); got != "in at 10" {
		t.Errorf("got %s", got)
	}
}

// A slowLink lets the tap see a packet some time before WriteBatch returns.
type slowLink struct {
	engine.Link
	tap             *fakeTap
	started, finish chan bool
}

func (l slowLink) WriteBatch(pkts [][]byte) (int, error) {
	stranger := slices.Clone(pkts[0])
	stranger[12]++ // another source address
	l.tap.saw(stranger, after(5))
	l.tap.saw(pkts[0], after(10))
	l.started <- true
	<-l.finish
	return len(pkts), nil
}

// A heldUpTap is asked, and has nothing; then the asker is held up.
type heldUpTap struct {
	fakeTap
	holdUp func() // once
}

func (h *heldUpTap) Next(headers []byte) (int, int64, bool) {
	n, at, ok := h.fakeTap.Next(headers)
	if f := h.holdUp; !ok && f != nil {
		h.holdUp = nil
		f()
	}
	return n, at, ok
}

// A machine that stands still for a second between the look at the tap and the
// one at what was sent makes no packet one that nobody has seen.
func TestPcapHeldUpAfterTheTap(t *testing.T) {
	var out strings.Builder
	now := wallClock()
	p, err := NewPcap(PcapConfig{Out: &out, Now: func() time.Time { return now }, Interface: "veth0"})
	if err != nil {
		t.Fatal(err)
	}
	p.round = time.Hour
	tap := &heldUpTap{}
	link := p.Link(takingLink{}, tap)
	pkt, err := newScript(p).parse("> . 1:1(0) ack 1 win 7").Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	tap.holdUp = func() {
		if _, err := link.WriteBatch([][]byte{pkt}); err != nil {
			t.Error(err)
		}
		tap.saw(pkt, after(10))
		now = now.Add(time.Second)
	}
	p.drain(false)
	if err := p.Close(time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := inShort(readPcap(t, []byte(out.String()))); got != "in at 10" {
		t.Errorf("got %s", got)
	}
}

// The steady state of a capture allocates little more than its output.
func TestPcapAllocatesLittle(t *testing.T) {
	p, err := NewPcap(PcapConfig{Out: discard{}, Now: wallClock})
	if err != nil {
		t.Fatal(err)
	}
	link := p.Link(takingLink{}, nil)
	s := newScript(p)
	seg := s.parse("> . 1:1(0) ack 1 win 7")
	pkt, err := seg.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	e := engine.Event{Kind: engine.EventSegmentOut, Conn: 1, State: engine.Established, Segment: seg, Reason: "data the window allows"}
	batch := [][]byte{pkt}
	one := func() {
		p.Trace(&e)
		if _, err := link.WriteBatch(batch); err != nil {
			t.Error(err)
		}
	}
	for range 5000 {
		one()
	}
	if n := testing.AllocsPerRun(5000, one); n > 0.5 {
		t.Errorf("%v allocations for a packet", n)
	}
	if err := p.Close(time.Minute); err != nil {
		t.Fatal(err)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
