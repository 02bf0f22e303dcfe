package engine

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"rawtcp/segment"
)

// Two ways lead to the state a conversation begins in. reach takes the road of
// real segments; construct puts the connection there by hand. Every conversation
// is performed on the constructed one, after differences has found none between
// the two.

// reach brings the play to its given state by real segments.
func (k *play) reach() error {
	g := k.s.given
	if g.state == Closed {
		k.now = k.zero
		return nil
	}
	if g.passive || g.state == Listen {
		l, err := k.stack.Listen(k.now, k.local, func(netip.Addr) int { return k.mtu }, k.cfg)
		if err != nil {
			return err
		}
		k.listener = l
	}
	if err := k.handshake(g); err != nil {
		return err
	}
	if err := k.parting(g); err != nil {
		return err
	}
	if got := k.state('a'); got != g.state {
		return fmt.Errorf("the real segments lead to %s", got)
	}
	p := k.party('a')
	p.changes, p.told, k.sent = nil, 0, nil
	return nil
}

// handshake goes on the road as far as ESTABLISHED.
func (k *play) handshake(g given) error {
	syn := fmt.Sprintf("S 0:0(0) win %d <%s>", g.window, g.options)
	if !g.passive {
		syn = fmt.Sprintf("S. 0:0(0) ack 1 win %d <%s>", g.window, g.options)
	}
	switch {
	case g.state == Listen:
		k.now = k.zero
		return nil
	case g.passive && g.state == SynReceived:
		if err := k.say(syn); err != nil {
			return err
		}
		k.now = k.zero
		return nil
	case g.passive:
		if err := k.say(syn); err != nil {
			return err
		}
		k.now = k.zero
		if err := k.say(fmt.Sprintf(". 1:1(0) ack 1 win %d%s", g.window, k.stamp())); err != nil {
			return err
		}
		k.listener.Accept()
		return nil
	}
	c, err := k.stack.Dial(k.now, k.local, k.party('a').remote, k.mtu, k.cfg.Conn)
	if err != nil {
		return err
	}
	k.party('a').conn = c
	if err := k.drain(); err != nil {
		return err
	}
	k.now = k.zero
	if g.state == SynSent {
		return nil
	}
	if g.state == SynReceived { // a simultaneous open
		syn = fmt.Sprintf("S 0:0(0) win %d <%s>", g.window, g.options)
	}
	return k.say(syn)
}

// parting goes on from ESTABLISHED.
func (k *play) parting(g given) error {
	ours := func() error {
		c := k.party('a').conn
		if g.closed {
			c.Close(k.now)
		} else {
			c.CloseWrite(k.now)
		}
		return k.drain()
	}
	acks := func() error { return k.say(". 1:1(0) ack 2" + k.stamp()) }
	fin := func() error { return k.say("F. 1:1(0) ack 1" + k.stamp()) }
	lastFIN := func() error { return k.say("F. 1:1(0) ack 2" + k.stamp()) }
	road := map[State][]func() error{
		FinWait1: {ours}, FinWait2: {ours, acks}, CloseWait: {fin}, Closing: {ours, fin}, LastAck: {fin, ours},
		TimeWait: {ours, acks, lastFIN},
	}
	for _, walk := range road[g.state] {
		if err := walk(); err != nil {
			return err
		}
	}
	return nil
}

// say delivers a segment of the peer and takes what the engine answers.
func (k *play) say(text string) error {
	if err := k.receive(&step{label: 'a', rest: text}); err != nil {
		return err
	}
	return k.drain()
}

// stamp is the option that goes with timestamps in use.
func (k *play) stamp() string {
	if c := k.party('a').conn; c != nil && c.ts.on || k.listener != nil && k.listener.scratch.ts.on {
		return " <nop,nop,TS val 1 ecr 0>"
	}
	return ""
}

// construct puts the play into its given state by hand.
func (k *play) construct() error {
	g := k.s.given
	if g.state == Closed {
		k.now = k.zero
		return nil
	}
	syn, _, err := segment.ParseText("S 0:0(0) <" + g.options + ">")
	if err != nil {
		return err
	}
	syn.Window = uint16(g.window)
	syn.Seq = k.irs
	if !g.passive && g.state != SynReceived {
		syn.Flags |= segment.ACK
	}
	if g.passive || g.state == Listen {
		if k.listener, err = k.stack.Listen(k.now, k.local, func(netip.Addr) int { return k.mtu }, k.cfg); err != nil {
			return err
		}
	}
	switch {
	case g.state == Listen:
		k.now = k.zero
		return nil
	case g.passive && g.state == SynReceived:
		k.constructEntry(&syn)
		k.now = k.zero
		return nil
	}
	start := k.now
	c, err := k.stack.newConn(start, k.local, k.party('a').remote, k.mtu, k.config())
	if err != nil {
		return err
	}
	k.party('a').conn = c
	k.stack.add(c)
	k.constructSYN(c, start)
	k.now = k.zero
	switch g.state {
	case SynSent:
	case SynReceived:
		k.constructCrossed(c, &syn)
	default:
		k.constructEstablished(c, &syn, start)
		k.constructParting(c)
		k.stack.schedule(c)
	}
	k.party('a')
	return nil
}

func (k *play) config() ConnConfig {
	if k.listener != nil {
		return *k.listener.conn
	}
	return k.cfg.Conn
}

// constructEntry is a SYN that was answered and no more: SYN-RECEIVED of a passive open.
func (k *play) constructEntry(syn *segment.Segment) {
	l := k.listener
	remote := k.party('a').remote
	e := &synEntry{listener: l, id: 1, iss: k.iss, tos: l.conn.TOS, at: k.now, mtu: uint16(k.mtu), key: k.stack.secrets.tableKey(k.local, remote)}
	e.set(k.local, remote, k.irs, peerInfo(syn), syn.Options.TSVal)
	e.note(synAnswered, true)
	l.cache.entries[e.key] = e
	l.common.halfOpen.Store(1)
	k.stack.common.census.halfOpen.Store(1)
	l.cache.waiting[0].push(e)
	k.stack.common.lastID.Store(1)
	k.stack.counters.PacketsIn = 1
	l.schedule()
}

// constructSYN is SYN-SENT: our SYN is out and its timer runs.
func (k *play) constructSYN(c *Conn, start Time) {
	c.state = SynSent
	c.snd.nxt = k.iss.Add(1)
	c.snd.sent.push(sentRange{start: k.iss, end: c.snd.nxt, at: start, flags: segment.SYN})
	if k.s.given.passive {
		return
	}
	c.progressAt = start
	c.timers[TimerRTO] = start.Add(c.cfg.InitialRTO)
	if c.cfg.ConnectTimeout > 0 {
		c.timers[TimerUser] = start.Add(c.cfg.ConnectTimeout)
	}
	c.traffic.SegmentsOut = 1
	k.stack.schedule(c)
}

// constructCrossed is SYN-RECEIVED by a simultaneous open: our SYN-ACK is out.
func (k *play) constructCrossed(c *Conn, syn *segment.Segment) {
	c.learn(k.now, k.irs, peerInfo(syn), syn.Options.TSVal)
	c.ecn.on = c.cfg.ECN == On && c.peer.ecn
	c.state = SynReceived
	c.answered = true
	c.snd.wnd, c.snd.maxWnd = int(syn.Window), int(syn.Window)
	c.snd.wl1 = k.irs
	r := &c.snd.sent.ranges()[0]
	r.at, r.everResent = k.now, true
	c.ts.lastAck = c.rcv.nxt
	c.timers[TimerRTO] = k.now.Add(c.cfg.InitialRTO)
	c.traffic.SegmentsIn, c.traffic.SegmentsOut = 1, 2
	k.stack.counters.PacketsIn = 1
	k.stack.schedule(c)
}

// constructEstablished is ESTABLISHED, with the handshake's last ACK sent or taken.
func (k *play) constructEstablished(c *Conn, syn *segment.Segment, start Time) {
	g := k.s.given
	c.learn(start.Add(g.rtt), k.irs, peerInfo(syn), syn.Options.TSVal)
	c.ecn.on = c.cfg.ECN == On && c.peer.ecn
	c.passive = g.passive
	c.state = Established
	c.timers = timers{}
	c.lastRecv = c.created
	c.snd.una = k.iss.Add(1)
	c.snd.sent.ack(c.snd.una, &delivery{now: k.now, rack: &rack{}})
	c.snd.wl1 = k.irs
	c.snd.wnd = g.window
	if g.passive {
		c.snd.wnd <<= c.snd.scale
		c.snd.wl1 = k.irs.Add(1)
		c.lastRecv = k.now
		if c.ts.on {
			c.ts.recent, c.ts.recentAt = 1, k.now
		}
		c.progressAt = 0
	}
	c.snd.maxWnd = c.snd.wnd
	c.rtt.sample(g.rtt)
	c.loss.rack = rack{order: 1, fack: c.snd.una, delivered: true, rtt: g.rtt}
	c.loss.rack.minRTT.add(k.now, g.rtt)
	c.loss.probe.sampled = g.rtt > 0
	c.newController(c.cfg.InitialWindow)
	c.traffic.SegmentsIn, c.traffic.SegmentsOut = 1, 2
	if g.passive {
		c.traffic.SegmentsOut = 0
	}
	k.stack.counters.PacketsIn = c.traffic.SegmentsIn
	if g.passive {
		k.stack.counters.PacketsIn++
	}
	c.touchKeepAlive(k.now)
}

// constructParting goes from ESTABLISHED into the states of a close.
func (k *play) constructParting(c *Conn) {
	g := k.s.given
	c.state = g.state
	ours := g.state == FinWait1 || g.state == FinWait2 || g.state == Closing || g.state == LastAck || g.state == TimeWait
	theirs := g.state == CloseWait || g.state == Closing || g.state == LastAck || g.state == TimeWait
	acked := g.state == FinWait2 || g.state == TimeWait
	if ours {
		k.constructOurFIN(c, acked)
	}
	if theirs {
		c.rcv.fin, c.rcv.finAt = true, k.irs.Add(1)
		c.rcv.nxt = k.irs.Add(2)
		c.rcv.edge = segment.MaxSeq(c.rcv.edge, c.rcv.nxt)
		k.heard(c)
		c.traffic.SegmentsOut++
	}
	if g.state == TimeWait {
		c.timers = timers{}
		c.snd.buf, c.snd.sent = sendBuffer{start: c.snd.buf.start}, sentQueue{}
		c.restartTimeWait(k.now)
	}
	if !g.passive || g.state != Established { // we have said nothing since our SYN-ACK
		c.advertise()
		c.ts.lastAck = c.rcv.nxt
	}
}

// constructOurFIN sends our FIN, and acked says that the peer has it.
func (k *play) constructOurFIN(c *Conn, acked bool) {
	c.readClosed = k.s.given.closed
	c.snd.fin = finSent
	c.snd.nxt = k.iss.Add(2)
	c.snd.lastData = k.now
	c.progressAt = k.now
	c.traffic.SegmentsOut++
	if acked {
		c.snd.sent.push(sentRange{start: k.iss.Add(1), end: c.snd.nxt, at: k.now, flags: segment.FIN})
		c.snd.sent.ack(c.snd.nxt, &delivery{now: k.now, rack: &rack{}})
		c.snd.una = c.snd.nxt
		c.snd.round, c.snd.roundEnd = c.snd.round+1, c.snd.nxt
		c.loss.rack.fack, c.loss.rack.order = c.snd.una, c.snd.sent.order
		c.loss.rack.rtt = 0
		k.heard(c)
		c.cc.OnAck(Ack{Now: k.now, Acked: 1, SRTT: c.rtt.srtt, Round: int(c.snd.round)})
		if c.readClosed {
			c.timers[TimerFinWait2] = k.now.Add(c.cfg.FinWait2)
		}
		return
	}
	c.snd.sent.push(sentRange{start: k.iss.Add(1), end: c.snd.nxt, at: k.now, flags: segment.FIN})
	c.timers[TimerRTO] = k.now.Add(c.rtt.rto())
	c.armProbe(k.now)
}

// heard is one more segment of the peer, at its next sequence number.
func (k *play) heard(c *Conn) {
	c.traffic.SegmentsIn++
	k.stack.counters.PacketsIn++
	c.lastRecv = k.now
	c.snd.wl1 = k.irs.Add(1)
	c.snd.wnd = 65535 << c.snd.scale
	c.snd.maxWnd = max(c.snd.maxWnd, c.snd.wnd)
	if c.ts.on {
		c.ts.recent, c.ts.recentAt = 1, k.now
	}
}

// scratchFields hold what is left over from the last call and means nothing.
var scratchFields = map[string]bool{
	"Stack.event": true, "Stack.held": true, "Stack.meta": true, "Stack.parsed": true, "Stack.optionScratch": true,
	"Stack.now": true, "Stack.spares": true, "sentQueue.steps": true, "Listener.scratch": true, "StackConfig.Tracer": true, "Conn.ackReason": true, "Conn.ackNote": true,
}

// differences compares two stacks field by field, through pointers, maps and
// interfaces. Empty slices are alike; of functions only whether there is one.
func differences(a, b *Stack) []string {
	d := differ{seen: map[[2]uintptr]bool{}}
	d.compare("stack", reflect.ValueOf(a), reflect.ValueOf(b))
	return d.found
}

type differ struct {
	seen  map[[2]uintptr]bool
	found []string
}

func (d *differ) differ(path string, a, b reflect.Value) {
	d.found = append(d.found, fmt.Sprintf(" %s: %v constructed, %v real", path, a, b))
}

func (d *differ) compare(path string, a, b reflect.Value) {
	switch a.Kind() {
	case reflect.Pointer:
		d.pointer(path, a, b)
	case reflect.Interface:
		switch {
		case a.IsNil() || b.IsNil():
			if a.IsNil() != b.IsNil() {
				d.differ(path, a, b)
			}
		case a.Elem().Type() != b.Elem().Type():
			d.differ(path, a, b)
		default:
			d.compare(path, a.Elem(), b.Elem())
		}
	case reflect.Struct:
		for i := range a.NumField() {
			name := a.Type().Field(i).Name
			if !scratchFields[a.Type().Name()+"."+name] {
				d.compare(path+"."+name, a.Field(i), b.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			d.differ(path, a, b)
			return
		}
		for i := range a.Len() {
			d.compare(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i))
		}
	case reflect.Map:
		if a.Len() != b.Len() {
			d.differ(path, a, b)
			return
		}
		for it := a.MapRange(); it.Next(); {
			other := b.MapIndex(it.Key())
			if !other.IsValid() {
				d.differ(path, a, b)
				return
			}
			d.compare(path+"[…]", it.Value(), other)
		}
	case reflect.Func:
		if a.IsNil() != b.IsNil() {
			d.differ(path, a, b)
		}
	default:
		if !a.Equal(b) {
			d.differ(path, a, b)
		}
	}
}

func (d *differ) pointer(path string, a, b reflect.Value) {
	if a.IsNil() || b.IsNil() {
		if a.IsNil() != b.IsNil() {
			d.differ(path, a, b)
		}
		return
	}
	pair := [2]uintptr{a.Pointer(), b.Pointer()}
	if !d.seen[pair] {
		d.seen[pair] = true
		d.compare(path, a.Elem(), b.Elem())
	}
}

// TestConstructedStatesAreReal compares the two ways for every state, both ways
// to open, both ways to close, and what can be agreed on a SYN.
func TestConstructedStatesAreReal(t *testing.T) {
	settings := map[string][]setting{
		"plain":      nil,
		"timestamps": {{name: "Timestamps", value: "on"}, {name: "WindowScale", value: "7"}, {name: "ECN", value: "on"}},
		"timers":     {{name: "KeepAliveIdle", value: "10s"}, {name: "ConnectTimeout", value: "5s"}, {name: "LossProbe", value: "on"}},
		"cubic":      {{name: "Congestion", value: "cubic"}, {name: "ReceiveBuffer", value: "5000"}, {name: "TOS", value: "16"}},
	}
	for name, set := range settings {
		for state := Closed; state <= TimeWait; state++ {
			for ways := range 8 {
				g := given{state: state, passive: ways&1 != 0, closed: ways&2 != 0, options: "mss 1000,sackOK", window: 65535}
				if name == "timestamps" {
					g.options = "mss 1200,sackOK,TS val 1 ecr 0,nop,wscale 3"
				}
				if ways&4 != 0 {
					g.rtt = 100e6
				}
				if g.passive && state == SynSent {
					continue
				}
				s := &script{settings: set, given: g}
				for _, at := range stages {
					made, err1 := newPlay(s, at)
					real, err2 := newPlay(s, at)
					if err1 != nil || err2 != nil {
						t.Fatal(err1, err2)
					}
					if err := made.construct(); err != nil {
						t.Fatal(err)
					}
					if err := real.reach(); err != nil {
						t.Fatalf("%s, %s %d on %s: %v", name, state, ways, at.name, err)
					}
					for _, d := range differences(made.stack, real.stack) {
						t.Errorf("%s, %s %d on %s:%s", name, state, ways, at.name, d)
					}
				}
			}
		}
	}
}

func TestDifferencesAreFound(t *testing.T) {
	make := func() *play {
		k, err := newPlay(&script{given: given{state: Established, options: "mss 1000", window: 65535}}, stages[0])
		if err != nil || k.construct() != nil {
			t.Fatal(err)
		}
		return k
	}
	for _, change := range []func(*Conn){
		func(c *Conn) { c.snd.una = c.snd.una.Add(1) },
		func(c *Conn) { c.timers[TimerPersist] = 1 },
		func(c *Conn) { c.cc.(*reno).counted = 1 },
		func(c *Conn) { c.loss.rack.mult++ },
		func(c *Conn) { c.rcv.buf.holes = &holes{spans: []span{{}}} },
		func(c *Conn) { c.stack.remove(c) },
	} {
		a, b := make(), make()
		if d := differences(a.stack, b.stack); len(d) != 0 {
			t.Fatal(d)
		}
		change(b.party('a').conn)
		if len(differences(a.stack, b.stack)) == 0 {
			t.Error("a difference is not found")
		}
	}
}
