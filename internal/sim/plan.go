package sim

import (
	"fmt"
	"strings"
	"time"

	"rawtcp/engine"
)

// A Plan is all that happens in one run. It is plain data: a shrunk plan is a
// copy with things left out.
type Plan struct {
	Seed   uint64
	Path   [2]Path // from host 0, from host 1
	Faults []Fault
	Talks  []Talk
	Heal   time.Duration // when the faults end
	Doomed bool          // they do not: the road stays cut
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
	Opener       int // the host that dials
	Simultaneous bool
	Start        time.Duration
	Cookies      engine.CookieMode    // of the listener
	FastOpen     bool                 // data on the SYN, once there is a cookie
	Conf         [2]engine.ConnConfig // by host
	Apps         [2]App               // by host
}

// unruly says that an application may end the connection before all is said.
func (t *Talk) unruly() bool { return t.Apps[0].End != endOrderly || t.Apps[1].End != endOrderly }

// octets is how much the talk wants to move.
func (t *Talk) octets() int { return t.Apps[0].Send + t.Apps[1].Send }

// String tells the plan to a person.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, chaos for %v", p.Seed, p.Heal)
	if p.Doomed {
		b.WriteString(", then cut for good")
	}
	for i, d := range p.Path {
		fmt.Fprintf(&b, "\n  road from host %d: delay %v, rate %d B/s, queue %d B", i, d.Delay, d.Rate, d.Queue)
	}
	for _, f := range p.Faults {
		fmt.Fprintf(&b, "\n  fault %v", f)
	}
	for i := range p.Talks {
		t := &p.Talks[i]
		if t.Absent {
			continue
		}
		fmt.Fprintf(&b, "\n  talk %d: v6 %t, opened by %d (both: %t) at %v, cookies %d, fast open %t", i, t.V6, t.Opener, t.Simultaneous, t.Start, t.Cookies, t.FastOpen)
		for h := range t.Apps {
			c := &t.Conf[h]
			fmt.Fprintf(&b, "\n    host %d: %v\n      isn %v sack %d ts %d ecn %d scale %d mss %d buffers %d/%d nodelay %t delack %v %s",
				h, t.Apps[h], c.ISN, c.SACK, c.Timestamps, c.ECN, c.WindowScale, c.MSS, c.SendBuffer, c.ReceiveBuffer,
				c.NoDelay, c.DelayedAck, c.Congestion)
		}
	}
	return b.String()
}
