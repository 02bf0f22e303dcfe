package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// mtu is the largest datagram either host may send, octets.
const mtu = 1500

// maxRTO stays well below 2MSL, or a lost last ACK ends in a RST.
const maxRTO = 10 * time.Second

// maxHeal keeps chaos shorter than TIME-WAIT and every patience, so that an
// orderly talk has no excuse.
const maxHeal = 40 * time.Second

// synRetries and maxKeepAlive bound how long a handshake is tried, and how long
// an idle end waits before it asks.
const (
	synRetries   = 12
	maxKeepAlive = 20 * time.Second
)

// Draw makes the plan of a seed: one in ten without a fault, two with one, the
// others with a swarm of them.
func Draw(seed uint64) Plan {
	return draw(seed, rand.NewPCG(seed, 0x51a1))
}

// draw makes a plan of choices.
func draw(seed uint64, choices rand.Source) Plan {
	d := dice{rand.New(choices)}
	p := Plan{Seed: seed, Heal: d.between(time.Second, maxHeal)}
	p.Path[0] = d.path()
	p.Path[1] = p.Path[0]
	if d.one(3) {
		p.Path[1] = d.path()
	}
	d.faults(&p)
	d.talks(&p)
	d.opening(&p)
	d.limits(&p)
	d.supers(&p)
	d.growth(&p)
	d.pacing(&p)
	return p
}

// growth draws whose buffers grow with the road.
func (d dice) growth(p *Plan) {
	for i := range p.Talks {
		t := &p.Talks[i]
		for h := range t.Conf {
			if c := &t.Conf[h]; d.one(8) {
				c.SendBufferMax, c.ReceiveBufferMax = c.SendBuffer<<d.IntN(5), c.ReceiveBuffer<<d.IntN(5)
			}
		}
		if door := &p.Talks[t.Door].Conf[serverSide]; t.Door < i { // who comes to another's door has its settings
			t.Conf[serverSide].SendBufferMax, t.Conf[serverSide].ReceiveBufferMax = door.SendBufferMax, door.ReceiveBufferMax
		}
	}
}

// pacing draws who spreads over time what it sends, and how fast at most.
func (d dice) pacing(p *Plan) {
	for i := range p.Talks {
		t := &p.Talks[i]
		for h := range t.Conf {
			c := &t.Conf[h]
			if d.one(4) {
				c.Pacing = engine.On
			}
			if d.one(6) {
				c.PacingRate = int64(d.size(20_000, 100_000_000))
			}
		}
		if door := &p.Talks[t.Door].Conf[serverSide]; t.Door < i { // who comes to another's door has its settings
			t.Conf[serverSide].Pacing, t.Conf[serverSide].PacingRate = door.Pacing, door.PacingRate
		}
	}
}

// supers draws whose links cut super-segments. It comes last, and changes nothing
// of what is on the road.
func (d dice) supers(p *Plan) {
	for side := range p.Super {
		if d.one(2) {
			p.Super[side] = d.size(2*mtu, 0xffff)
		}
	}
}

// faults draws what goes wrong.
func (d dice) faults(p *Plan) {
	switch n := d.IntN(10); {
	case n == 0:
		return
	case n <= 2:
		p.Faults = append(p.Faults, d.fault(p.Heal))
	case n == 3:
		p.Faults = d.storm(p.Heal)
	default:
		for range 1 + d.IntN(6) {
			p.Faults = append(p.Faults, d.fault(p.Heal))
		}
		p.Doomed = d.one(15)
	}
	if d.one(12) {
		p.Faults = append(p.Faults, d.rare(p.Heal))
	}
	if p.Doomed {
		p.Faults = append(p.Faults, Fault{Kind: Partition, ID: d.Uint64(), Dir: bothWays, From: d.upTo(p.Heal), To: 1 << 60})
	}
}

// storm is the worst road that has to be lived through.
func (d dice) storm(heal time.Duration) (all []Fault) {
	add := func(f Fault) {
		f.ID, f.Dir, f.To = d.Uint64(), bothWays, heal
		all = append(all, f)
	}
	add(Fault{Kind: Loss, P: d.IntN(601)})
	add(Fault{Kind: Corrupt, P: d.IntN(301)})
	add(Fault{Kind: Reorder, P: d.IntN(501), D: d.between(time.Millisecond, time.Second)})
	add(Fault{Kind: Duplicate, P: d.IntN(301), N: 9})
	return all
}

// rare draws a fault that ends connections.
func (d dice) rare(heal time.Duration) Fault {
	f := Fault{Kind: []FaultKind{Mangle, Crash, Quit}[d.IntN(3)], ID: d.Uint64(), Dir: d.IntN(2), From: d.upTo(heal), To: heal, N: d.IntN(2)}
	if f.Kind == Mangle {
		f.Dir, f.P = d.IntN(3), d.size(2, 300)
	}
	return f
}

// talks draws who talks: a few at length, or a crowd in brief.
func (d dice) talks(p *Plan) {
	if d.one(3) {
		p.Clients = 1 + d.IntN(8)
	}
	if d.one(3) {
		d.crowd(p)
		return
	}
	talks := 1
	if d.one(3) {
		talks = 1 + d.IntN(16)
	}
	for i := range talks {
		p.Talks = append(p.Talks, d.talk(p, i))
	}
}

// crowd is many short talks, at several doors or all at one, some with the
// addresses of one before.
func (d dice) crowd(p *Plan) {
	doors, backlog, open := 1+d.IntN(8), 0, time.Duration(0)
	if d.one(3) {
		backlog, open = 1+d.IntN(4), d.upTo(p.Heal)
	}
	again := d.one(3)
	for i := range 8 + d.IntN(57) {
		t := d.talk(p, i)
		for h := range t.Apps {
			d.brief(&t.Apps[h])
		}
		if i >= doors || again { // an older one has opened the door, with its settings
			k := i % doors
			t.Opener, t.Simultaneous = clientSide, false
			t.Door, t.Backlog, t.AcceptFrom = k, backlog, open
			if i >= doors {
				t.V6, t.Conf[serverSide] = p.Talks[k].V6, p.Talks[k].Conf[serverSide]
			}
			t.Apps[serverSide].First, t.Apps[clientSide].First = false, true
			if t.Apps[clientSide].WaitEnd && t.Apps[serverSide].WaitEnd {
				t.Apps[clientSide].WaitEnd = false
			}
		}
		if c := &t.Conf[serverSide]; !p.mortal() { // whoever knocks, it will not wait for ever, and not give up early
			c.KeepAliveIdle = d.between(2*time.Second, maxKeepAlive)
			c.Retries, c.SYNRetries, c.KeepAliveCount, c.UserTimeout = 30, synRetries, 20, 0
		}
		if again {
			for h := range t.Conf {
				t.Conf[h].ISN = nil
			}
			if old := i - doors; old >= 0 && d.one(2) {
				t.Tuple, t.Client = p.Talks[old].Tuple, p.Talks[old].Client
			}
		}
		p.Talks = append(p.Talks, t)
	}
}

// brief makes an application one of few words.
func (d dice) brief(a *App) {
	a.Send = d.size(0, 3000)
	if d.one(6) {
		a.Send = d.size(0, 20_000)
	}
	a.Chunk = max(1, a.Send/8, min(a.Chunk, a.Send))
}

// opening draws how listeners answer. A SYN cookie is not sent again when it is
// lost, so that only a talk that may end badly, or a road without faults, has it.
func (d dice) opening(p *Plan) {
	for i := range p.Talks {
		t := &p.Talks[i]
		if t.Door != i || slices.ContainsFunc(p.Talks[i+1:], func(o Talk) bool { return o.Door == i }) {
			continue // one listener for several, who may not all be forgiving
		}
		if d.one(16) {
			t.SYNDelay = d.between(time.Millisecond, 500*time.Millisecond)
		}
		if forgiving := t.unruly() || len(p.Faults) == 0 && len(p.Talks) == 1; !forgiving || t.Simultaneous || !d.one(2) {
			continue
		}
		t.Conf[1-t.Opener].ISN = nil
		if t.Cookies = engine.CookieMode(d.IntN(3)); t.Cookies != engine.CookiesAlways {
			t.HalfOpen = 1 + d.IntN(8)
		}
		if !t.Simultaneous && d.one(4) {
			t.FastOpen, t.Conf[t.Opener].FastOpen = true, engine.On
		}
	}
}

// limits draws what the connections of a host may keep together.
func (d dice) limits(p *Plan) {
	forgiving := true
	for i := range p.Talks {
		forgiving = forgiving && p.excused(i)
	}
	for side := range p.Limits {
		l := &p.Limits[side]
		if d.one(6) {
			l.Memory = max(1, p.wanted(side)>>d.IntN(8))
			d.watchful(p)
		}
		if !forgiving || !d.one(3) {
			continue // one talk more than may be would end badly
		}
		for _, limit := range []*int{&l.HalfOpen, &l.Conns, &l.Orphans, &l.TimeWaits} {
			if d.one(3) {
				*limit = 1 + d.IntN(8)
			}
		}
		if l.HalfOpen == 0 || d.one(2) {
			continue
		}
		for i := range p.Talks { // or nobody is answered by a cookie
			if p.Talks[i].Opener != side {
				p.Talks[i].Conf[side].ISN = nil
			}
		}
	}
}

// wanted is how much the ends of a side would hold at most.
func (p *Plan) wanted(side int) (octets int) {
	for i := range p.Talks {
		t := &p.Talks[i]
		c := &t.Conf[side]
		octets += min(t.Apps[side].Send, c.SendBuffer) + min(t.Apps[1-side].Send, c.ReceiveBuffer)
	}
	return octets
}

// watchful has all ends ask for a peer that is silent: it may have been reset
// for lack of memory, by a RST that was lost.
func (d dice) watchful(p *Plan) {
	for i := range p.Talks {
		for side := range p.Talks[i].Conf {
			c := &p.Talks[i].Conf[side]
			c.UserTimeoutOption = engine.Default // or the peer's puts keep-alives off
			if c.KeepAliveIdle == 0 {
				c.KeepAliveIdle = maxKeepAlive
			}
		}
	}
}

// dice are what a seed is drawn with.
type dice struct{ *rand.Rand }

func (d dice) one(in int) bool { return d.IntN(in) == 0 }

func (d dice) upTo(most time.Duration) time.Duration { return time.Duration(d.Int64N(int64(most) + 1)) }

// between is uniform in the logarithm: small and large are as likely.
func (d dice) between(least, most time.Duration) time.Duration {
	for least < most/2 && d.one(2) {
		least *= 2
	}
	return min(most, least+d.upTo(least))
}

// size is like between.
func (d dice) size(least, most int) int {
	for least < most/2 && !d.one(4) {
		least = max(1, 2*least)
	}
	return min(most, least+d.IntN(least+1))
}

func (d dice) path() Path {
	p := Path{Queue: d.size(20_000, 1<<20)}
	switch d.IntN(8) {
	case 0: // none at all
	case 1:
		p.Delay = d.between(100*time.Millisecond, 4*time.Second)
	default:
		p.Delay = d.between(10*time.Microsecond, 100*time.Millisecond)
	}
	if d.one(2) {
		p.Rate = d.size(20_000, 100_000_000)
	}
	return p
}

// usual are the faults that a talk has to survive.
var usual = [...]FaultKind{Loss, Burst, AckLoss, Duplicate, Jitter, Reorder, Detour, Corrupt, Partition, Police, BlackHole,
	SmallMTU, Unreachable, Merge, Split, Overlap, Strip, Clamp, Shift, Bleach, MarkCE, Forge, Flood, Drift, Leap, Refuse, Pause}

// fault draws one fault that ends before heal.
func (d dice) fault(heal time.Duration) Fault {
	f := Fault{Kind: usual[d.IntN(len(usual))], ID: d.Uint64(), Dir: d.IntN(3), To: heal}
	if d.one(2) {
		f.From = d.upTo(heal)
		f.To = f.From + d.upTo(heal-f.From)
	}
	f.P = d.size(2, 600)
	switch f.Kind {
	case Burst:
		f.P, f.N = d.size(2, 100), d.size(20, 800)
	case Duplicate:
		f.P, f.N = d.size(2, 300), 1
		if d.one(4) {
			f.N = 1 + d.IntN(9)
		} else if d.one(16) {
			f.P, f.N = 1, 999
		}
	case Detour:
		f.D = d.between(time.Millisecond, 2*time.Second)
	case Police:
		f.D = d.between(10*time.Millisecond, time.Second)
		f.N = d.size(3000, 1_000_000)
	case Unreachable:
		f.N = d.IntN(13)
	case Clamp:
		f.N, f.Dir, f.From, f.To = d.size(64, 1400), bothWays, 0, 1<<60
	case Shift:
		f.Dir, f.From, f.To = bothWays, 0, 1<<60
	case Flood:
		f.D, f.Dir = d.between(2*time.Millisecond, time.Second), d.IntN(2)
	case Leap:
		f.D, f.Dir, f.From = d.between(time.Millisecond, 20*time.Second), d.IntN(2), d.upTo(heal)
	case Jitter, Reorder:
		f.D = d.between(100*time.Microsecond, 5*time.Second)
	case BlackHole, SmallMTU:
		f.N = 552 + d.IntN(mtu-552)
	case Merge:
		f.D = d.between(time.Microsecond, 10*time.Millisecond)
	case Split:
		f.N = d.size(1, 1400)
	case Strip:
		f.N, f.Dir, f.From, f.To = d.IntN(1<<6), bothWays, 0, 1<<60
	case Forge:
		f.D = d.between(10*time.Millisecond, time.Second)
	case Drift:
		f.N, f.Dir = d.IntN(1001)-500, d.IntN(2)
		if d.one(4) {
			f.N *= 100
		}
	case Refuse, Pause:
		f.Dir = d.IntN(2)
		f.From = d.upTo(heal)
		f.To = min(heal, f.From+d.between(time.Millisecond, 20*time.Second))
	}
	return f
}

func (d dice) talk(p *Plan, i int) Talk {
	t := Talk{V6: d.one(3), Opener: d.IntN(2), Simultaneous: d.one(12), Client: d.IntN(max(1, p.Clients)), Tuple: i, Door: i}
	if i > 0 {
		t.Start = d.upTo(p.Heal)
	}
	ending := endOrderly
	if d.one(4) {
		ending = ending + 1 + Ending(d.IntN(int(numEndings)-1))
	}
	for h := range t.Apps {
		t.Apps[h] = d.app(p)
	}
	t.Apps[d.IntN(2)].End = ending
	if d.one(6) { // a request and its answer, behind a half-close
		t.Apps[1-t.Opener].WaitEnd = true
	} else if d.one(4) {
		t.Apps[0].Turns, t.Apps[1].Turns = true, true
		t.Apps[t.Opener].First = true
	}
	if t.Simultaneous {
		t.Opener = 0
	}
	if d.one(24) {
		t.CutAt, t.CutAnswers = 1+d.upTo(p.Heal), d.one(2)
	}
	if d.one(12) {
		t.AcceptFrom = d.upTo(p.Heal)
	}
	if p.has(Mangle) { // nothing ends by itself if nothing can be trusted
		t.Apps[0].End, t.Apps[1].End = endAbortAt, endAbortAt
	}
	for h := range t.Conf {
		t.Conf[h] = d.conf(p, &t)
	}
	return t
}

func (d dice) app(p *Plan) App {
	a := App{Send: d.size(1, 200_000), Chunk: d.size(1, 20_000), ReadChunk: d.size(200, 20_000), At: d.upTo(p.Heal)}
	switch d.IntN(10) {
	case 0:
		a.Send = 0
	case 1, 2, 3:
		a.Send = d.size(10_000, 400_000)
	}
	a.Chunk = max(a.Chunk, a.Send/2000)
	a.ReadChunk = max(a.ReadChunk, 200_000/500)
	if d.one(5) {
		a.Pause = d.between(100*time.Microsecond, 200*time.Millisecond)
		a.Chunk = max(a.Chunk, a.Send/200)
	}
	if d.one(6) {
		a.ReadPause = d.between(time.Millisecond, 300*time.Millisecond)
		a.ReadChunk = max(a.ReadChunk, 2000)
	}
	if d.one(8) {
		a.ReadFrom = d.upTo(p.Heal)
	}
	return a
}

func (d dice) conf(p *Plan, t *Talk) engine.ConnConfig {
	isn := segment.MakeSeq(d.isn())
	c := engine.ConnConfig{
		ISN: &isn, SACK: d.toggle(4), DSACK: d.toggle(6), Timestamps: d.toggle(3), LossProbe: d.toggle(4), ECN: engine.Off,
		SendBuffer: d.size(1000, 1<<20), ReceiveBuffer: d.size(1000, 1<<20), NoDelay: d.one(3),
		Congestion: []string{"cubic", "reno"}[d.IntN(2)], MaxRTO: maxRTO, SYNRetries: synRetries, Retries: 30,
		KeepAliveInterval: 5 * time.Second, KeepAliveCount: 20,
	}
	if d.one(3) {
		c.ECN = engine.On
	}
	if d.one(4) {
		c.WindowScale = []int{-1, 1, 7, 14}[d.IntN(4)]
	}
	if d.one(5) {
		c.MSS = []int{-1, 64, 100, 536, 1300}[d.IntN(5)]
	}
	if d.one(4) {
		c.DelayedAck = []time.Duration{-1, time.Millisecond, 200 * time.Millisecond, 499 * time.Millisecond, 0, 0}[d.IntN(6)]
		if c.DelayedAck == 0 {
			c.AckPolicy = engine.AckQuick
		}
	}
	if d.one(5) {
		c.InitialWindow = 1 + d.IntN(20)
	}
	mortal := t.unruly() || p.mortal()
	if d.one(5) || mortal {
		c.KeepAliveIdle = d.between(2*time.Second, maxKeepAlive)
	}
	if mortal {
		c.Retries, c.SYNRetries, c.KeepAliveCount = 8, 5, 5
	}
	if mortal && d.one(4) {
		c.UserTimeout = d.between(5*time.Second, time.Minute)
	}
	if p.has(Leap) {
		c.TimeWait = 5 * time.Minute // or what is left of it is too short for the peer's last words
	}
	d.rareConf(p, &c)
	return c
}

// toggle is off once in so many times.
func (d dice) toggle(in int) engine.Switch {
	if d.one(in) {
		return engine.Off
	}
	return engine.Default
}

// isn is near an edge of the sequence space more often than not.
func (d dice) isn() uint32 {
	if d.one(4) {
		return d.Uint32()
	}
	return []uint32{0, 1 << 31, 1<<32 - 1, 1<<31 - 1}[d.IntN(4)] - uint32(d.size(1, 100_000)) + uint32(d.IntN(3))
}

// rareConf draws the settings that seldom matter.
func (d dice) rareConf(p *Plan, c *engine.ConnConfig) {
	if d.one(6) {
		c.MinRTO = d.between(20*time.Millisecond, time.Second)
	}
	if d.one(6) {
		c.InitialRTO = d.between(200*time.Millisecond, 3*time.Second)
	}
	if d.one(8) {
		c.Window = d.size(1000, c.ReceiveBuffer)
	}
	if d.one(8) {
		c.TimeWaitRST = engine.On
	}
	c.HyStart, c.PathMTU = d.toggle(4), d.toggle(4)
	c.Cork = d.one(8)
	if d.one(6) && !p.has(Crash) { // a user timeout of the peer's puts keep-alives off, and so the news of a crash (L5)
		c.UserTimeoutOption = engine.On
	}
	if d.one(6) {
		c.Accounts = engine.On
	}
	if d.one(4) {
		c.ABCLimit = 1 + d.IntN(8)
	}
	if d.one(8) {
		c.TTL, c.TOS = uint8(1+d.IntN(255)), uint8(d.IntN(64)<<2)
	}
	if d.one(8) {
		c.SYNOptions = []segment.Kind{segment.KindNOP, segment.KindWindowScale, segment.KindTimestamps, segment.KindMSS,
			segment.KindNOP, segment.KindSACKPermitted}
	}
}
