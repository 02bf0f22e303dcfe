package netlab

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// start is when the virtual time of lane tests begins.
var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func testLane(t *testing.T, seed uint64, i Impairment) *lane {
	t.Helper()
	if err := i.validate(); err != nil {
		t.Fatal(err)
	}
	return newLane(seed, AtoB, i)
}

// numbered is a frame with a UDP datagram of 1,000 octets in all that carries n.
func numbered(n int) []byte {
	payload := make([]byte, 1000-ipv4Len)
	payload[6] = 1 // a wrong checksum: not an unfinished one
	binary.BigEndian.PutUint64(payload[8:], uint64(n))
	return datagram(v4a, v4b, unix.IPPROTO_UDP, payload)
}

// number reads back what numbered wrote.
func number(frame []byte) int {
	return int(binary.BigEndian.Uint64(frame[ethernetLen+ipv4Len+8:]))
}

// A departure is a frame that left a lane.
type departure struct {
	n  int
	at time.Duration // after start
}

// feed admits n numbered frames, one every gap, and returns all departures in order.
func feed(l *lane, n int, gap time.Duration) (out []departure) {
	drain := func(until time.Time) {
		for {
			due, ok := l.next()
			if !ok || due.After(until) {
				return
			}
			frame, _ := l.pop(due)
			out = append(out, departure{number(frame), due.Sub(start)})
			l.sent(nil)
		}
	}
	for i := range n {
		now := start.Add(time.Duration(i) * gap)
		drain(now)
		l.admit(now, numbered(i))
	}
	drain(start.Add(time.Hour))
	return out
}

// near reports whether got of n trials fits probability p: within four
// standard deviations, which a right generator misses once in 16,000 seeds.
func near(got uint64, n int, p float64) bool {
	sigma := math.Sqrt(float64(n) * p * (1 - p))
	return math.Abs(float64(got)-float64(n)*p) <= 4*sigma
}

func TestRatesAreAsAsked(t *testing.T) {
	const n = 100_000
	i := Impairment{Loss: 0.1, Duplicate: 0.05, Corrupt: 0.02, Reorder: 0.03}
	l := testLane(t, 1, i)
	out := feed(l, n, time.Millisecond)
	c := l.counters
	passed := n - int(c.Lost)
	for _, tc := range []struct {
		what string
		got  uint64
		of   int
		p    float64
	}{
		{"lost", c.Lost, n, i.Loss},
		{"duplicated", c.Duplicated, passed, i.Duplicate},
		{"corrupted", c.Corrupted, passed, i.Corrupt},
		{"reordered", c.Reordered, passed, i.Reorder},
	} {
		if !near(tc.got, tc.of, tc.p) {
			t.Errorf("%d of %d %s, want about %v", tc.got, tc.of, tc.what, tc.p)
		}
	}
	if c.Packets != n || c.Octets != n*1000 || c.Largest != 1000 {
		t.Errorf("counted %d packets, %d octets, largest %d", c.Packets, c.Octets, c.Largest)
	}
	if want := c.Packets - c.Lost + c.Duplicated; uint64(len(out)) != want || c.Sent != want {
		t.Errorf("%d frames left, %d counted, want %d", len(out), c.Sent, want)
	}
}

func TestZeroImpairmentForwardsAtOnce(t *testing.T) {
	l := testLane(t, 1, Impairment{})
	for i, d := range feed(l, 1000, time.Microsecond) {
		if d.n != i || d.at != time.Duration(i)*time.Microsecond {
			t.Fatalf("frame %d left as number %d at %v", d.n, i, d.at)
		}
	}
}

func TestSeedDeterminesAll(t *testing.T) {
	i := Impairment{Loss: 0.2, Duplicate: 0.2, Reorder: 0.2, Jitter: time.Millisecond, Delay: time.Millisecond}
	run := func(seed uint64) []departure { return feed(testLane(t, seed, i), 1000, 100*time.Microsecond) }
	equal := func(a, b []departure) bool {
		if len(a) != len(b) {
			return false
		}
		for i := range a {
			if a[i] != b[i] {
				return false
			}
		}
		return true
	}
	if !equal(run(1), run(1)) {
		t.Error("one seed, two outcomes")
	}
	if equal(run(1), run(2)) {
		t.Error("two seeds, one outcome")
	}
	a, b := newLane(1, AtoB, Impairment{}).draw(), newLane(1, BtoA, Impairment{}).draw()
	if a == b {
		t.Error("both directions draw the same")
	}
}

// TestKnobsAreIndependent: adding duplicates must not change which packets are lost.
func TestKnobsAreIndependent(t *testing.T) {
	lost := func(i Impairment) map[int]bool {
		missing := make(map[int]bool)
		for n := range 1000 {
			missing[n] = true
		}
		for _, d := range feed(testLane(t, 9, i), 1000, time.Millisecond) {
			delete(missing, d.n)
		}
		return missing
	}
	plain, more := lost(Impairment{Loss: 0.1}), lost(Impairment{Loss: 0.1, Duplicate: 0.5, Corrupt: 0, Jitter: time.Microsecond})
	if len(plain) == 0 || len(plain) != len(more) {
		t.Fatalf("%d and %d packets lost", len(plain), len(more))
	}
	for n := range plain {
		if !more[n] {
			t.Errorf("packet %d is lost only without duplicates", n)
		}
	}
}

func TestDelayAndJitter(t *testing.T) {
	l := testLane(t, 1, Impairment{Delay: 50 * time.Millisecond, Jitter: 20 * time.Millisecond})
	least, most, last := time.Hour, time.Duration(0), -1
	for _, d := range feed(l, 10_000, 10*time.Millisecond) {
		if d.n != last+1 {
			t.Fatalf("frame %d after %d: jitter alone must keep the order", d.n, last)
		}
		last = d.n
		took := d.at - time.Duration(d.n)*10*time.Millisecond
		least, most = min(least, took), max(most, took)
	}
	if least < 30*time.Millisecond || least > 31*time.Millisecond || most > 70*time.Millisecond || most < 69*time.Millisecond {
		t.Errorf("took from %v to %v, want from 30 ms to 70 ms", least, most)
	}
}

func TestReorderOvertakes(t *testing.T) {
	l := testLane(t, 1, Impairment{Reorder: 0.1, ReorderDelay: 10 * time.Millisecond})
	overtaken, last := 0, -1
	for _, d := range feed(l, 10_000, time.Millisecond) {
		if d.n < last {
			overtaken++
		}
		last = max(last, d.n)
		if took := d.at - time.Duration(d.n)*time.Millisecond; took != 0 && took != 10*time.Millisecond {
			t.Fatalf("frame %d took %v", d.n, took)
		}
	}
	if uint64(overtaken) != l.counters.Reordered || !near(l.counters.Reordered, 10_000, 0.1) {
		t.Errorf("%d frames were overtaken, %d counted", overtaken, l.counters.Reordered)
	}
}

func TestRateAndQueue(t *testing.T) {
	// 8 Mbit/s carry a frame of 1,000 octets a millisecond; two arrive in that time.
	l := testLane(t, 1, Impairment{Rate: 8_000_000, Queue: 10_000})
	out := feed(l, 2000, 500*time.Microsecond)
	for i, d := range out {
		if want := time.Duration(i+1) * time.Millisecond; d.at < want-time.Microsecond || d.at > want+time.Microsecond {
			t.Fatalf("frame %d left at %v, want %v: the line was idle or too fast", i, d.at, want)
		}
		if waited := d.at - time.Duration(d.n)*500*time.Microsecond; waited > 11*time.Millisecond {
			t.Fatalf("frame %d waited %v: longer than a queue of 10 frames", d.n, waited)
		}
	}
	if got := int(l.counters.Overflowed); got+len(out) != 2000 || got < 970 || got > 1000 {
		t.Errorf("%d overflowed, %d left", got, len(out))
	}
}

func TestRateTakesAFrameLargerThanTheQueue(t *testing.T) {
	l := testLane(t, 1, Impairment{Rate: 8_000_000, Queue: 10})
	if out := feed(l, 3, time.Second); len(out) != 3 {
		t.Errorf("%d of 3 frames passed an idle line", len(out))
	}
}

func TestWaitingIsBounded(t *testing.T) {
	l := testLane(t, 1, Impairment{Delay: time.Hour})
	for i := range mostWaiting + 5 {
		l.admit(start, numbered(i))
	}
	if len(l.waiting) != mostWaiting || l.counters.Overflowed != 5 {
		t.Errorf("%d wait, %d overflowed", len(l.waiting), l.counters.Overflowed)
	}
}

func TestDropHook(t *testing.T) {
	n := 0
	var l *lane
	third := func(packet []byte) bool {
		_ = l.impairment.Load() // the hook may use the lane
		l.sent(nil)
		if len(packet) != 1000 || packet[0] != 0x45 {
			t.Errorf("the hook got %d octets that begin with %#02x, want the IP packet", len(packet), packet[0])
		}
		n++
		return n == 3
	}
	l = testLane(t, 1, Impairment{Drop: third})
	out := feed(l, 5, time.Millisecond)
	if len(out) != 4 || out[2].n != 3 || l.counters.Dropped != 1 {
		t.Errorf("%v left, %d dropped; want all but number 2", out, l.counters.Dropped)
	}
}

func TestUpkeepIsUnharmed(t *testing.T) {
	l := testLane(t, 1, Impairment{Loss: 1, Corrupt: 1, Duplicate: 1, Delay: time.Hour, Rate: 1})
	frame := datagram(v6a, v6b, unix.IPPROTO_ICMPV6, []byte{135, 0, 0, 0})
	l.admit(start, bytes.Clone(frame))
	if got, _ := l.pop(start); !bytes.Equal(got, frame) {
		t.Errorf("got %x, want %x at once", got, frame)
	}
	if _, ok := l.pop(start.Add(time.Hour)); ok || l.counters.Unharmed != 1 || l.counters.Packets != 0 {
		t.Errorf("%+v", l.counters)
	}
}

func TestValidateRefusesNonsense(t *testing.T) {
	for _, i := range []Impairment{
		{Loss: -0.1}, {Loss: 1.1}, {Loss: math.NaN()}, {Duplicate: 2}, {Corrupt: -1}, {Reorder: math.Inf(1)},
		{Delay: -1}, {Jitter: -1}, {Rate: -1}, {Queue: -1}, {ReorderDelay: -1},
	} {
		if err := i.validate(); err == nil {
			t.Errorf("%+v was accepted", i)
		}
	}
}
