package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rawtcp/engine"
)

// A Plan is all that happens in one run. It is plain data: a shrunk plan is a
// copy with things left out.
type Plan struct {
	Seed    uint64
	Clients int     // hosts on the first side, 0: one; the second has one
	Path    [2]Path // from the clients, from the server
	Faults  []Fault
	Talks   []Talk
	Limits  [2]engine.Limits // of all connections of a host together, by side
	Super   [2]int           // the largest super-segment that a host's link cuts, by side, octets; 0: none
	Heal    time.Duration    // when the faults end
	Doomed  bool             // they do not: the road stays cut
	Fates   []byte           // what the faults' dice show, until they are used up; nil: their IDs say
}

// A Path is what one direction of the road is like on a good day.
type Path struct {
	Delay time.Duration
	Rate  int // octets a second, 0: no limit
	Queue int // octets that wait for their turn at most
}

// A Talk is one connection and the two applications that use it.
type Talk struct {
	Absent       bool // left out; the others keep their ports and streams
	V6           bool
	Client       int // which host of the first side
	Tuple        int // number of the dialler's port; that of an earlier talk: its addresses once more
	Door         int // number of the listener's port; talks with one door share its settings
	Opener       int // the side that dials
	Simultaneous bool
	Start        time.Duration
	Cookies      engine.CookieMode    // of the listener
	FastOpen     bool                 // data on the SYN, once there is a cookie
	HalfOpen     int                  // of the listener, 0: its default
	SYNDelay     time.Duration        // of the listener
	Backlog      int                  // of the listener, 0: its default
	AcceptFrom   time.Duration        // its application accepts nobody before
	CutAt        time.Duration        // a box on the road forgets the connection, 0: never
	CutAnswers   bool                 // and answers for it with a RST
	Conf         [2]engine.ConnConfig // by side
	Apps         [2]App               // by side
}

// unruly says that an application may end the connection before all is said.
func (t *Talk) unruly() bool {
	return t.CutAt > 0 || t.Apps[0].End != endOrderly || t.Apps[1].End != endOrderly
}

// bakes says that the listener may answer by SYN cookies.
func (t *Talk) bakes() bool {
	return t.Cookies == engine.CookiesAlways || t.HalfOpen > 0 && t.Cookies == engine.CookiesWhenFull
}

// excused says that not all of a talk has to arrive.
func (p *Plan) excused(talk int) bool { return p.mortal() || p.rationed() || p.Talks[talk].unruly() }

// repeats says that other talks have the addresses of this one. What was said in
// one of them may come late, and counts as old octets of this: nobody can tell, for
// behind 2 GiB numbers below the initial one are a connection's own.
func (p *Plan) repeats(talk int) bool {
	n := 0
	for i := range p.Talks {
		if p.Talks[i].Tuple == p.Talks[talk].Tuple {
			n++
		}
	}
	return n > 1
}

// rationed says that connections may have to make room for others.
func (p *Plan) rationed() bool {
	return slices.ContainsFunc(p.Limits[:], func(l engine.Limits) bool { return l.HalfOpen+l.Conns+l.Orphans+l.TimeWaits > 0 })
}

// mortal says that every connection may have to give up.
func (p *Plan) mortal() bool { return p.Doomed || p.has(Mangle) || p.has(Crash) || p.has(Quit) }

func (p *Plan) has(k FaultKind) bool {
	return slices.ContainsFunc(p.Faults, func(f Fault) bool { return f.Kind == k })
}

// octets is how much the talk wants to move.
func (t *Talk) octets() int { return t.Apps[0].Send + t.Apps[1].Send }

// String tells the plan to a person.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %d clients, chaos for %v", p.Seed, max(1, p.Clients), p.Heal)
	if p.Doomed {
		b.WriteString(", then cut for good")
	}
	for i, d := range p.Path {
		fmt.Fprintf(&b, "\n  road from host %d: delay %v, rate %d B/s, queue %d B", i, d.Delay, d.Rate, d.Queue)
	}
	for _, f := range p.Faults {
		fmt.Fprintf(&b, "\n  fault %v", f)
	}
	for side, l := range p.Limits {
		if l != (engine.Limits{}) {
			fmt.Fprintf(&b, "\n  limits of side %d: %d octets, half-open %d, connections %d, orphans %d, TIME-WAITs %d",
				side, l.Memory, l.HalfOpen, l.Conns, l.Orphans, l.TimeWaits)
		}
	}
	for i := range p.Talks {
		t := &p.Talks[i]
		if t.Absent {
			continue
		}
		fmt.Fprintf(&b, "\n  talk %d: client %d, v6 %t, tuple %d, door %d, opened by %d (both: %t) at %v, cookies %d, half-open %d, delay %v, backlog %d from %v, cut at %v (answered: %t), fast open %t",
			i, t.Client, t.V6, t.Tuple, t.Door, t.Opener, t.Simultaneous, t.Start, t.Cookies, t.HalfOpen, t.SYNDelay, t.Backlog, t.AcceptFrom, t.CutAt, t.CutAnswers, t.FastOpen)
		for h := range t.Apps {
			c := &t.Conf[h]
			fmt.Fprintf(&b, "\n    host %d: %v\n      isn %v sack %d ts %d ecn %d scale %d mss %d buffers %d/%d nodelay %t delack %v policy %d pacing %d/%d %s",
				h, t.Apps[h], c.ISN, c.SACK, c.Timestamps, c.ECN, c.WindowScale, c.MSS, c.SendBuffer, c.ReceiveBuffer,
				c.NoDelay, c.DelayedAck, c.AckPolicy, c.Pacing, c.PacingRate, c.Congestion)
		}
	}
	return b.String()
}
