package engine

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

const testMSS = 1000

func mustController(t testing.TB, name string, mss, segments int) Controller {
	t.Helper()
	c, err := newController(&ConnConfig{Congestion: name}, mss, segments, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ackOf(now Time, acked, inFlight int, srtt time.Duration) Ack {
	return Ack{Now: now, Acked: acked, InFlight: inFlight, SRTT: srtt}
}

// A ccRun sends bulk data through a Controller: each round the whole window
// leaves at once and comes back as ACKs of two segments, one round trip later.
type ccRun struct {
	c   Controller
	now Time
	rtt time.Duration
}

// round acknowledges a window and returns the window after it, in segments.
func (r *ccRun) round() int {
	r.now = r.now.Add(r.rtt)
	for left := r.c.Window() / testMSS * testMSS; left > 0; {
		acked := min(left, 2*testMSS)
		left -= acked
		r.c.OnAck(ackOf(r.now, acked, left, r.rtt))
	}
	return r.c.Window() / testMSS
}

func (r *ccRun) rounds(n int) (windows []int) {
	for range n {
		windows = append(windows, r.round())
	}
	return windows
}

func TestUnknownController(t *testing.T) {
	for _, name := range []string{"", "bbr", "Cubic"} {
		if c, err := newController(&ConnConfig{Congestion: name}, testMSS, 10, nil); err == nil {
			t.Errorf("newController(%q) = %T, want an error", name, c)
		}
	}
}

func TestSlowStartDoubles(t *testing.T) {
	for _, name := range []string{"reno", "cubic"} {
		r := &ccRun{mustController(t, name, testMSS, 10), 1, 50 * ms}
		if got, want := r.rounds(5), []int{20, 40, 80, 160, 320}; !slices.Equal(got, want) {
			t.Errorf("%s: windows %v, want %v", name, got, want)
		}
	}
}

// All ACKs of a round arrive before the sender can send again: growth must not
// depend on the flight at each ACK.
func TestSlowStartLimitsOneACK(t *testing.T) {
	for _, name := range []string{"reno", "cubic"} {
		for limit, want := range map[int]int{1: 11, 2: 12, 0: 18, 100: 20} { // the default is 8
			c, err := newController(&ConnConfig{Congestion: name, ABCLimit: limit}, testMSS, 10, nil)
			if err != nil {
				t.Fatal(err)
			}
			c.OnAck(ackOf(1, 10*testMSS, 0, 50*ms))
			if got := c.Window(); got != want*testMSS {
				t.Errorf("%s: one ACK of ten segments opened the window to %d, want %d segments (L=%d)", name, got, want, limit)
			}
			c.OnAck(ackOf(2, 300, 10*testMSS, 50*ms))
			if got := c.Window(); want < 20 && got != want*testMSS+300 {
				t.Errorf("%s: window %d after 300 octets more, want %d", name, got, want*testMSS+300)
			}
		}
	}
}

// A receiver that merges eight segments before TCP sees them acknowledges them
// with one ACK. Slow start doubles all the same with the default L, and grows by a
// quarter with the L=2 of RFC 3465 section 2.3.
func TestABCLimitAndMergedSegments(t *testing.T) {
	const merged = 8 * testMSS
	for _, name := range []string{"reno", "cubic"} {
		for limit, want := range map[int][]int{0: {20, 40, 80, 160, 320}, 8: {20, 40, 80, 160, 320}, 2: {14, 18, 24, 30, 38}} {
			c, err := newController(&ConnConfig{Congestion: name, ABCLimit: limit}, testMSS, 10, nil)
			if err != nil {
				t.Fatal(err)
			}
			var windows []int
			for now := Time(1); len(windows) < len(want); now = now.Add(50 * ms) {
				for left := c.Window(); left > 0; left -= merged {
					c.OnAck(ackOf(now, min(left, merged), max(0, left-merged), 50*ms))
				}
				windows = append(windows, c.Window()/testMSS)
			}
			if !slices.Equal(windows, want) {
				t.Errorf("%s with L=%d: windows %v, want %v", name, limit, windows, want)
			}
		}
	}
}

func TestUnusedWindowDoesNotGrow(t *testing.T) {
	for _, name := range []string{"reno", "cubic"} {
		t.Run(name, func(t *testing.T) {
			c := mustController(t, name, testMSS, 10)
			now := Time(1)
			trickle := func() {
				t.Helper()
				want := c.Window()
				for range 100 {
					now = now.Add(time.Second)
					c.OnAck(ackOf(now, testMSS, 2*testMSS, 50*ms))
				}
				if c.Window() != want {
					t.Errorf("window grew from %d to %d with three segments in flight", want, c.Window())
				}
			}
			trickle() // slow start
			c.OnLoss(now, 20*testMSS)
			trickle() // congestion avoidance
		})
	}
}

// A full-sized sender cannot use the fraction of a segment at the end of the window.
func TestFractionOfASegmentDoesNotStopGrowth(t *testing.T) {
	for _, name := range []string{"reno", "cubic"} {
		c := mustController(t, name, testMSS, 10)
		c.OnLoss(1, 30*testMSS+700)
		before, now := c.Window(), Time(1)
		for range 400 {
			now = now.Add(50 * ms)
			flight := c.Window() / testMSS * testMSS
			c.OnAck(ackOf(now, testMSS, flight-testMSS, 50*ms))
		}
		if c.Window() < before+4*testMSS {
			t.Errorf("%s: window went from %d to %d only", name, before, c.Window())
		}
	}
}

func TestRestartAfterIdle(t *testing.T) {
	for _, name := range []string{"reno", "cubic"} {
		r := &ccRun{mustController(t, name, testMSS, 10), 1, 50 * ms}
		r.rounds(3)
		r.c.OnRestart(r.now)
		if got := r.c.Window(); got != 10*testMSS {
			t.Errorf("%s: window %d after idle, want the initial one", name, got)
		}
		r.c.OnRTO(r.now, 4*testMSS)
		r.c.OnRestart(r.now)
		if got := r.c.Window(); got != testMSS {
			t.Errorf("%s: restart opened the window to %d", name, got)
		}
	}
}

func TestTimeoutInARowKeepsThreshold(t *testing.T) {
	for name, want := range map[string]int{"reno": 20 * testMSS, "cubic": 28 * testMSS} {
		r := &ccRun{mustController(t, name, testMSS, 10), 1, 50 * ms}
		r.rounds(2)
		for _, flight := range []int{40, 1, 1} { // only the retransmission is in flight later
			r.c.OnRTO(r.now, flight*testMSS)
			if r.c.Window() != testMSS || r.c.Ssthresh() != want {
				t.Errorf("%s: window %d ssthresh %d, want %d %d", name, r.c.Window(), r.c.Ssthresh(), testMSS, want)
			}
		}
		// RFC 3465 section 2.3: L is one segment after a timeout.
		r.c.OnAck(ackOf(r.now.Add(r.rtt), 40*testMSS, 0, r.rtt))
		if got := r.c.Window(); got != 2*testMSS {
			t.Errorf("%s: window %d after the first ACK, want two segments", name, got)
		}
		r.c.OnRTO(r.now, 10*testMSS)
		if r.c.Ssthresh() >= want {
			t.Errorf("%s: a timeout after progress left ssthresh at %d", name, r.c.Ssthresh())
		}
	}
}

func TestSlowStartStopsAtThreshold(t *testing.T) {
	for _, name := range []string{"reno", "cubic"} {
		c := mustController(t, name, testMSS, 10)
		c.OnRTO(1, 10*testMSS+300)
		for c.Window() < c.Ssthresh() {
			c.OnAck(ackOf(2, testMSS, c.Window()-testMSS, 50*ms))
		}
		if c.Window() != c.Ssthresh() || c.Window()%testMSS == 0 {
			t.Errorf("%s: window %d, want exactly the threshold %d", name, c.Window(), c.Ssthresh())
		}
	}
}

// Whatever arrives, the windows stay between one segment and what TCP can use.
func TestControllerExtremes(t *testing.T) {
	sizes := []int{math.MinInt, -1, 0, 1, 535, testMSS, 1 << 30, 1 << 40, math.MaxInt}
	times := []Time{math.MinInt64, -1, 0, 1, 1e9, 1 << 60, math.MaxInt64}
	rtts := []time.Duration{math.MinInt64, -1, 0, 1, ms, time.Hour, math.MaxInt64}
	for _, name := range []string{"reno", "cubic"} {
		for _, mss := range []int{math.MinInt, 0, 1, 48, 1460, 65535, math.MaxInt} {
			for _, segments := range []int{math.MinInt, 0, 10, math.MaxInt} {
				c := mustController(t, name, mss, segments)
				step := 0
				check := func(what string, args ...any) {
					step++
					least := min(max(mss, 1), 65535)
					if c.Window() < least || c.Window() > maxWindow || c.Ssthresh() < least || c.Ssthresh() > maxWindow {
						t.Fatalf("%s mss %d segments %d, step %d %s: window %d ssthresh %d",
							name, mss, segments, step, fmt.Sprintf(what, args...), c.Window(), c.Ssthresh())
					}
				}
				check("start")
				for _, now := range times {
					for _, a := range sizes {
						for _, rtt := range rtts {
							c.OnAck(ackOf(now, a, sizes[step%len(sizes)], rtt))
							check("OnAck(%d, %d, %d)", now, a, rtt)
							c.OnAck(ackOf(now, 1<<30, 1<<30, rtt))
							check("OnAck bulk")
						}
						c.OnLoss(now, a)
						check("OnLoss(%d, %d)", now, a)
						if step%3 == 0 {
							c.OnRTO(now, a)
							check("OnRTO(%d, %d)", now, a)
							c.OnRestart(now)
							check("OnRestart(%d)", now)
						}
					}
				}
			}
		}
	}
}

// A needless reduction can be taken back when nothing is under way any more.
func TestWindowIsNeverBelowOneSegment(t *testing.T) {
	for _, name := range []string{"reno", "cubic"} {
		c, err := newController(&ConnConfig{Congestion: name}, testMSS, 10, nil)
		if err != nil {
			t.Fatal(err)
		}
		for step, happen := range []func(){
			func() { c.OnLoss(1, 10*testMSS) }, func() { c.OnSpurious(2, 0) },
			func() { c.OnRTO(3, 10*testMSS) }, func() { c.OnSpurious(4, 1) },
			func() { c.OnECN(5, 1) }, func() { c.OnLoss(6, 1) }, func() { c.OnRestart(7) },
		} {
			if happen(); c.Window() < testMSS || c.Ssthresh() < testMSS {
				t.Errorf("%s, step %d: window %d, threshold %d", name, step, c.Window(), c.Ssthresh())
			}
		}
	}
}
