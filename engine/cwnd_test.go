package engine

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rawtcp/segment"
)

var update = flag.Bool("update", false, "write the curves of testdata/cwnd anew instead of comparing")

// A curve is one story of a congestion window: what it shows, what the path does,
// and how often the sender is looked at.
type curve struct {
	name, about string
	path        coursePath
	octets      int // the application's first write, 0: without end
	sample      time.Duration
	from, to    time.Duration // which part is shown, since the handshake
	again       time.Duration // when the application writes on, 0: never
}

const (
	mbit10     = 1_250_000 // octets per second
	courseMSS  = 1448
	courseRTT  = 100 * time.Millisecond
	plotColumn = 56
)

// losing loses the nth data segments, counted from 1.
func losing(nth ...int) func(*course, *segment.Segment) fate {
	return func(c *course, _ *segment.Segment) (f fate) {
		for _, n := range nth {
			f.lost = f.lost || c.data == n
		}
		return f
	}
}

// during does something to what enters the path in a stretch of time.
func during(from, to time.Duration, what fate) func(*course, *segment.Segment) fate {
	return func(c *course, _ *segment.Segment) fate {
		if at := c.now.Sub(c.began); at >= from && at < to {
			return what
		}
		return fate{}
	}
}

// delayed holds back what enters the path in a stretch of time until its end.
func delayed(from, to time.Duration) func(*course, *segment.Segment) fate {
	return func(c *course, _ *segment.Segment) fate {
		if at := c.now.Sub(c.began); at >= from && at < to {
			return fate{late: to - at}
		}
		return fate{}
	}
}

var curves = []curve{
	{
		name: "slow-start", about: "Slow start on a clean path: the window doubles each round trip of 100 ms (RFC 5681 section 3.1).",
		path: coursePath{cfg: ConnConfig{Congestion: "reno"}}, sample: 50 * ms, to: 650 * ms,
	},
	{
		name: "hystart", about: "A queue builds up behind 10 Mbit/s: round trips grow, HyStart++ slows slow start down to a quarter\n" +
			"and ends it after five round trips, without a loss (RFC 9406). The pipe holds 86 segments.",
		path: coursePath{rate: mbit10, cfg: ConnConfig{Congestion: "reno"}}, sample: 200 * ms, to: 6 * time.Second,
	},
	{
		name: "hystart-off", about: "The same path with a queue of 200 kB and without HyStart++: slow start overshoots, the queue overflows and\n" +
			"hundreds of segments are lost at once.",
		path: coursePath{rate: mbit10, queue: 200_000, cfg: ConnConfig{Congestion: "reno", HyStart: Off}}, sample: 100 * ms, to: 2500 * ms,
	},
	{
		name: "reno-loss", about: "One segment is lost in slow start: Reno halves, and then adds a segment per round trip (RFC 5681 section 3.1).",
		path: coursePath{fate: losing(100), cfg: ConnConfig{Congestion: "reno"}}, sample: 100 * ms, to: 3 * time.Second,
	},
	{
		name: "cubic-loss", about: "Two losses 4 s apart: CUBIC keeps 7/10, comes back along the concave part of the curve, and beyond the old\n" +
			"window along the convex one (RFC 9438 section 4).",
		path: coursePath{fate: losing(100, 4000), cfg: ConnConfig{Congestion: "cubic"}}, sample: 200 * ms, to: 12 * time.Second,
	},
	{
		name: "prr", about: "A fast recovery, looked at every 4 ms (about three segments of 10 Mbit/s): the flight shrinks in proportion\n" +
			"to what arrives and meets ssthresh after one round trip (RFC 6937).",
		path:   coursePath{rate: mbit10, fate: losing(140), cfg: ConnConfig{Congestion: "reno"}},
		sample: 4 * ms, from: 440 * ms, to: 640 * ms,
	},
	{
		name: "timeout", about: "The path loses everything for 700 ms: timeouts back off, then slow start leads to half of the flight and\n" +
			"congestion avoidance goes on from there (RFC 5681 section 3.1).",
		path: coursePath{fate: during(300*ms, 1000*ms, fate{lost: true}), cfg: ConnConfig{Congestion: "reno"}}, sample: 100 * ms, to: 3500 * ms,
	},
	{
		name: "spurious-timeout", about: "The path holds everything back for 700 ms and loses nothing: the timeout proves needless with the first ACK,\n" +
			"and the window comes back without a burst (RFC 3522, RFC 4015).",
		path: coursePath{fate: delayed(300*ms, 1000*ms), cfg: ConnConfig{Congestion: "reno"}}, sample: 50 * ms, to: 1250 * ms,
	},
	{
		name: "ecn", about: "A queue that marks above 60 kB: the window is reduced once per round trip without a loss (RFC 3168, RFC 9438).",
		path:   coursePath{rate: mbit10, mark: 60_000, cfg: ConnConfig{Congestion: "cubic", ECN: On}, server: ConnConfig{ECN: On}},
		sample: 100 * ms, to: 5 * time.Second,
	},
	{
		name: "idle-restart", about: "300 segments, a pause of some seconds, and 300 more: the window restarts at ten segments, and slow start leads back\n" +
			"(RFC 5681 section 4.1).",
		path: coursePath{cfg: ConnConfig{Congestion: "reno"}}, octets: 300 * courseMSS, sample: 100 * ms, again: 3 * time.Second, to: 3900 * ms,
	},
	{
		name: "window-limited", about: "The receiver offers no more than 30 segments: a window that is not used does not grow beyond twice the flight.",
		path:   coursePath{cfg: ConnConfig{Congestion: "reno"}, server: ConnConfig{ReceiveBuffer: 30 * courseMSS}},
		sample: 50 * ms, to: 1000 * ms,
	},
}

// phase names what the sender does.
func (c *Conn) phase() string {
	switch {
	case c.loss.timeout:
		return "timeout"
	case c.loss.recovery:
		return "recovery"
	case c.cc.Window() < c.cc.Ssthresh():
		if r, ok := c.cc.(*reno); ok && r.hystart.baseline != 0 {
			return "CSS"
		}
		return "slow start"
	}
	return "avoidance"
}

// draw runs the story and returns its picture.
func (v *curve) draw(t *testing.T) string {
	v.path.rtt = courseRTT
	v.path.cfg.SendBuffer = 1 << 22
	if v.path.server.ReceiveBuffer == 0 {
		v.path.server.ReceiveBuffer = 1 << 22
	}
	octets := v.octets
	if octets == 0 {
		octets = -1
	}
	c := newCourse(t, 1, v.path, octets)
	type point struct {
		at                     time.Duration
		cwnd, ssthresh, flight float64
		phase                  string
	}
	var points []point
	most := 1.0
	for at := time.Duration(0); at <= v.to; at += v.sample {
		c.runUntil(c.began.Add(at))
		if at == v.again {
			c.left = v.octets
		}
		p := point{at: at, cwnd: float64(c.a.window()) / courseMSS, ssthresh: float64(c.a.cc.Ssthresh()) / courseMSS,
			flight: float64(c.a.inFlight()) / courseMSS, phase: c.a.phase()}
		if at >= v.from {
			points = append(points, p)
			most = max(most, p.cwnd, p.flight)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n# flight, | congestion window, s ssthresh; in segments of %d octets\n\n%6s %-10s %6s %6s %6s\n", v.about, courseMSS, "ms", "", "cwnd", "ssth", "flight")
	for _, p := range points {
		ssthresh, column := "-", func(w float64) int { return int(w / most * (plotColumn - 1)) }
		bar := []byte(strings.Repeat("#", column(p.flight)) + strings.Repeat(" ", plotColumn))[:plotColumn]
		if p.ssthresh < maxWindow/courseMSS {
			ssthresh = fmt.Sprintf("%.1f", p.ssthresh)
			if at := column(p.ssthresh); at < plotColumn {
				bar[at] = 's'
			}
		}
		bar[column(p.cwnd)] = '|'
		fmt.Fprintf(&b, "%6d %-10s %6.1f %6s %6.1f  %s\n", p.at.Milliseconds(), p.phase, p.cwnd, ssthresh, p.flight, strings.TrimRight(string(bar), " "))
	}
	s := c.a.stats()
	fmt.Fprintf(&b, "\n%d segments sent, %d of them again; %d fast recoveries, %d timeouts, %d undone; most in the queue %d octets\n",
		s.SegmentsOut, s.Retransmits, s.FastRecoveries, s.Timeouts, s.SpuriousRecoveries, c.queued)
	return b.String()
}

// TestCurves holds the congestion window over time to the pictures in
// testdata/cwnd, each of which was read against what the RFC predicts. Write them
// anew with -update, and read them again.
func TestCurves(t *testing.T) {
	for _, v := range curves {
		t.Run(v.name, func(t *testing.T) {
			file := filepath.Join("testdata", "cwnd", v.name+".txt")
			got := v.draw(t)
			if *update {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; go test ./engine -run TestCurves -update writes it", err)
			}
			if string(want) != got {
				t.Errorf("the curve is another one:\n%s\nwant\n%s", got, want)
			}
		})
	}
}
