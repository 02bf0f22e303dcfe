package sim

import (
	"math/rand/v2"
	"testing"
	"time"
)

// hostile are roads that are worse than any that is believed in. On each of them
// nothing wrong may arrive and no invariant break, and once the road is good,
// all that was promised has to come.
var hostile = []struct {
	name   string
	faults []Fault
}{
	{"loss of 60 %", []Fault{{Kind: Loss, P: 600}}},
	{"corruption of 30 %", []Fault{{Kind: Corrupt, P: 300}}},
	{"reordering of 50 %", []Fault{{Kind: Reorder, P: 500, D: time.Second}}},
	{"every packet tenfold", []Fault{{Kind: Duplicate, P: 1000, N: 9}}},
	{"a thousand copies", []Fault{{Kind: Duplicate, P: 2, N: 999}}},
	{"all of these", []Fault{{Kind: Loss, P: 600}, {Kind: Corrupt, P: 300}, {Kind: Reorder, P: 500, D: 300 * time.Millisecond},
		{Kind: Duplicate, P: 500, N: 9}}},
	{"no ACK arrives", []Fault{{Kind: AckLoss, P: 1000}}},
	{"a burst in every second", []Fault{{Kind: Burst, P: 100, N: 20}}},
	{"one octet at a time", []Fault{{Kind: Split, N: 1}, {Kind: Reorder, P: 300, D: 10 * time.Millisecond}}},
	{"every second octet", []Fault{{Kind: Split, N: 1}, {Kind: Loss, P: 500}}},
	{"segments of 60 KB", []Fault{{Kind: Merge, D: 20 * time.Millisecond}, {Kind: Loss, P: 100}}},
	{"minutes of jitter in seconds", []Fault{{Kind: Jitter, D: 5 * time.Second}, {Kind: Detour, D: 2 * time.Second}}},
	{"a hole for all that is large", []Fault{{Kind: BlackHole, N: 600}}},
	{"a narrow tunnel that says so", []Fault{{Kind: SmallMTU, N: 600}, {Kind: Clamp, N: 300}}},
	{"half is unreachable", []Fault{{Kind: Unreachable, P: 500, N: 3}}},
	{"a policer at 20 KB/s", []Fault{{Kind: Police, D: 100 * time.Millisecond, N: 2000}}},
	{"a firewall that rewrites", []Fault{{Kind: Shift, ID: 0x1234_5678_9abc_def1}, {Kind: Strip, N: 3}, {Kind: Bleach}}},
	{"every packet is marked", []Fault{{Kind: MarkCE, P: 1000}}},
	{"guesses and floods", []Fault{{Kind: Forge, D: time.Millisecond}, {Kind: Flood, D: time.Millisecond}}},
	{"a machine that sleeps", []Fault{{Kind: Leap, D: 20 * time.Second}, {Kind: Pause, D: 0}, {Kind: Drift, N: 50_000}}},
	{"cut in both directions", []Fault{{Kind: Partition}}},
}

// hostilePlan is a plan of a seed whose road is bad in one way.
func hostilePlan(seed uint64, faults []Fault) Plan {
	d := dice{rand.New(rand.NewPCG(seed, 0xbad))}
	p := Plan{Seed: seed, Heal: d.between(5*time.Second, maxHeal)}
	p.Path[0], p.Path[1] = d.path(), d.path()
	for i, f := range faults {
		if f.ID += uint64(i) + seed<<8; f.To == 0 {
			f.To = p.Heal
		}
		if f.Kind != Drift && f.Kind != Pause && f.Kind != Leap {
			f.Dir = bothWays
		}
		if f.Kind == Strip || f.Kind == Shift {
			f.To = 1 << 60
		}
		p.Faults = append(p.Faults, f)
	}
	if seed%4 == 3 {
		d.crowd(&p)
		return p
	}
	for len(p.Talks) < 3 {
		if t := d.talk(&p, len(p.Talks)); !t.unruly() {
			p.Talks = append(p.Talks, t)
		}
	}
	return p
}

func TestHostileRoads(t *testing.T) {
	for _, test := range hostile {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(8) {
				p := hostilePlan(seed, test.faults)
				if r := Run(&p, nil); r.Violation != "" {
					t.Errorf("%s\n%v", r.Violation, &p)
				}
			}
		})
	}
}

// clean is a plan of one transfer from the server on a road that nothing is wrong with.
func clean(delay time.Duration, rate, queue, buffer, octets int) Plan {
	p := Plan{Heal: time.Millisecond}
	for i := range p.Path {
		p.Path[i] = Path{Delay: delay, Rate: rate, Queue: queue}
	}
	t := Talk{Opener: clientSide}
	for i := range t.Apps {
		t.Apps[i] = App{Chunk: 1 << 16, ReadChunk: 1 << 16}
		t.Conf[i].SendBuffer, t.Conf[i].ReceiveBuffer, t.Conf[i].MaxRTO = 4*buffer, buffer, maxRTO
	}
	t.Apps[serverSide].Send = octets
	p.Talks = []Talk{t}
	return p
}

// On a clean road a transfer takes what the road or the window has (L7).
func TestCleanRoadIsFilled(t *testing.T) {
	const headers, payload = 52, 1448
	for _, test := range []struct {
		delay         time.Duration
		rate, buffer  int
		octets, queue int
	}{
		{5 * time.Millisecond, 1_000_000, 1 << 18, 10_000_000, 1 << 18},
		{50 * time.Millisecond, 1_000_000, 1 << 19, 40_000_000, 1 << 19},
		{20 * time.Millisecond, 10_000_000, 1 << 20, 60_000_000, 1 << 20},
		{100 * time.Millisecond, 0, 1 << 16, 20_000_000, 0},
		{10 * time.Millisecond, 0, 1 << 20, 200_000_000, 0},
	} {
		for _, congestion := range []string{"reno", "cubic"} {
			switch {
			case test.rate == 0 && congestion == "reno":
				continue // the window is the limit, whatever the algorithm
			case raceDetector && test.octets > 10_000_000:
				continue // make test has all of them without it
			}
			p := clean(test.delay, test.rate, test.queue, test.buffer, test.octets)
			p.Talks[0].Conf[serverSide].Congestion = congestion
			r := Run(&p, nil)
			best := float64(test.buffer) / (2 * test.delay).Seconds()
			if test.rate > 0 {
				best = min(best, float64(test.rate)*payload/(payload+headers))
			}
			got := float64(test.octets) / r.Done.Seconds()
			if r.Violation != "" || got < 0.95*best {
				t.Errorf("%s, %v, %d B/s, window %d: %.0f B/s of %.0f (%.3f) %s", congestion, test.delay, test.rate, test.buffer,
					got, best, got/best, r.Violation)
			}
		}
	}
}
