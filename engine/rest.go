package engine

import (
	"net/netip"
	"slices"
	"time"

	"rawtcp/segment"
)

// A rest is what is left of a connection in TIME-WAIT that no application has any
// more: enough to make it anew should the peer say something, which it seldom
// does. See Stack.Retire.
type rest struct {
	id            uint64
	local, remote netip.AddrPort
	cfg           *ConnConfig
	iss, sndNxt   segment.Seq
	irs, rcvNxt   segment.Seq
	edge          segment.Seq
	ts            timestamps
	rto           time.Duration
	due           Time // when TIME-WAIT is over
	created       Time
	challenge     Time   // when the last challenge ACK left
	written       uint64 // octets, and the largest window they were sent into: both for oldestACK
	maxWnd        int32
	mtu, mss      int32
	rcvScale      uint8
	sndScale      uint8
	sack, passive bool
	revived       bool // it is a connection again, or was
}

// rests are all of a stack, by their sockets and by the time they are over.
type rests struct {
	stack *Stack
	v4    map[key4]*rest
	v6    map[key6]*rest
	queue restQueue
	node  timerNode // of all of them
	spare []*rest
}

// Retire lets go of a connection in TIME-WAIT that its application is done with.
// For the peer nothing changes until TIME-WAIT is over, and events tell of it as
// before; but it holds a fraction of the memory, and that of c is given back as
// by Recycle: nobody may use c any more. It reports false, and c stays what it
// is, if c is not in TIME-WAIT, has still to acknowledge something, or holds
// octets that were not read.
func (s *Stack) Retire(c *Conn) bool {
	if c.stack != s || c.state != TimeWait || c.acksDue > 0 || c.rcv.buf.readable > 0 || c.timers[TimerTimeWait] == 0 {
		return false
	}
	r := &s.rests
	e := r.take()
	*e = rest{
		id: c.id, local: c.local, remote: c.remote, cfg: c.cfg, iss: c.snd.iss, sndNxt: c.snd.nxt,
		irs: c.rcv.irs, rcvNxt: c.rcv.nxt, edge: c.rcv.edge, ts: c.ts, rto: c.rtt.rto(), due: c.timers[TimerTimeWait],
		created: c.created, written: c.traffic.BytesWritten, maxWnd: int32(c.snd.maxWnd), mtu: int32(c.mtu), mss: int32(c.snd.mss), rcvScale: c.rcv.scale, sndScale: c.snd.scale,
		sack: c.sack, passive: c.passive,
	}
	if c.cold != nil {
		e.challenge = c.cold.challenge
	}
	r.add(e)
	s.remove(c)
	c.state = Closed // for Recycle; nobody is told
	s.Recycle(c)
	return true
}

// InUse reports whether there is a connection between two sockets, or a TIME-WAIT
// after one.
func (s *Stack) InUse(local, remote netip.AddrPort) bool {
	return s.conns.find(local, remote) != nil || s.rests.find(local, remote) != nil
}

// find returns the connection between two sockets, nil if there is none. One that
// was retired is made anew.
func (s *Stack) find(local, remote netip.AddrPort) *Conn {
	if c := s.conns.find(local, remote); c != nil {
		return c
	}
	if e := s.rests.find(local, remote); e != nil {
		return s.revive(e)
	}
	return nil
}

// revive makes the connection in TIME-WAIT that e stands for.
func (s *Stack) revive(e *rest) *Conn {
	c := s.spares.takeConn()
	c.stack, c.id, c.local, c.remote, c.cfg = s, e.id, e.local, e.remote, e.cfg
	c.node.owner = c
	c.state, c.passive, c.sack, c.readClosed = TimeWait, e.passive, e.sack, true
	c.mtu, c.link, c.created, c.lastRecv = int(e.mtu), e.mtu, e.created, e.created
	c.peer.scale = -1
	c.startAt(e.iss)
	c.snd.una, c.snd.nxt, c.snd.mss, c.snd.scale, c.snd.fin = e.sndNxt, e.sndNxt, int(e.mss), e.sndScale, finSent
	c.snd.buf.start, c.snd.buf.limit = e.sndNxt, e.cfg.SendBuffer
	c.traffic.BytesWritten, c.snd.maxWnd = e.written, int(e.maxWnd)
	c.rcv.irs, c.rcv.nxt, c.rcv.edge, c.rcv.scale = e.irs, e.rcvNxt, e.edge, e.rcvScale
	c.rcv.fin, c.rcv.finAt = true, e.rcvNxt.Add(-1)
	c.rcv.buf.nxt, c.rcv.buf.limit = c.rcv.finAt, max(e.cfg.ReceiveBuffer, 2<<e.rcvScale)
	c.ts = e.ts
	c.rtt.init(e.rto, e.rto, e.cfg.MaxRTO)
	if e.challenge != 0 {
		c.rare().challenge = e.challenge
	}
	c.newController(e.cfg.InitialWindow)
	s.rests.remove(e)
	s.add(c)
	c.timers[TimerTimeWait] = e.due
	s.schedule(c)
	return c
}

// over ends a rest whose time has come. Where somebody listens, the connection
// itself tells of it.
func (s *Stack) over(now Time, e *rest) {
	if s.interest != 0 {
		s.revive(e).Advance(now)
		return
	}
	s.rests.remove(e)
	s.leftTimeWait()
}

func (r *rests) init(s *Stack) {
	r.stack, r.v4, r.v6 = s, map[key4]*rest{}, map[key6]*rest{}
	r.node.owner = r
}

func (r *rests) len() int { return len(r.v4) + len(r.v6) }

func (r *rests) take() *rest {
	last := len(r.spare) - 1
	if last < 0 {
		return new(rest)
	}
	e := r.spare[last]
	r.spare = r.spare[:last]
	return e
}

func (r *rests) find(local, remote netip.AddrPort) *rest {
	switch {
	case r.len() == 0:
		return nil
	case bothIPv4(local, remote):
		return r.v4[toKey4(local, remote)]
	}
	return r.v6[toKey6(local, remote)]
}

func (r *rests) add(e *rest) {
	if bothIPv4(e.local, e.remote) {
		r.v4[toKey4(e.local, e.remote)] = e
	} else {
		r.v6[toKey6(e.local, e.remote)] = e
	}
	r.stack.common.census.conns.Add(1)
	r.queue.push(restDue{e.due, e})
	r.schedule()
}

// remove takes e out of the table. In the queue it may stay until it comes first.
func (r *rests) remove(e *rest) {
	e.revived = true
	r.stack.common.census.conns.Add(-1)
	if bothIPv4(e.local, e.remote) {
		delete(r.v4, toKey4(e.local, e.remote))
	} else {
		delete(r.v6, toKey6(e.local, e.remote))
	}
	r.schedule()
}

// schedule sets the timer to the rest that is due first.
func (r *rests) schedule() {
	for len(r.queue) > 0 && r.queue[0].rest.revived {
		e := r.queue.pop().rest
		if len(r.spare) < maxSpareConns {
			r.spare = append(r.spare, e)
		}
	}
	due := Time(0)
	if len(r.queue) > 0 {
		due = r.queue[0].due
	}
	r.stack.timers.set(&r.node, due)
}

// Advance ends those whose time has come.
func (r *rests) Advance(now Time) {
	for len(r.queue) > 0 && r.queue[0].due <= now {
		r.stack.over(now, r.queue[0].rest)
	}
	r.schedule()
}

// all returns the rests by age.
func (r *rests) all() []*rest {
	var list []*rest
	for _, due := range r.queue {
		if !due.rest.revived {
			list = append(list, due.rest)
		}
	}
	slices.SortFunc(list, func(a, b *rest) int { return int(a.id) - int(b.id) })
	return list
}

// A restQueue is a binary heap. Most rests are due in the order they came in, so
// that to push costs one comparison.
type restQueue []restDue

type restDue struct {
	due  Time
	rest *rest
}

func (q *restQueue) push(d restDue) {
	*q = append(*q, d)
	h := *q
	for i := len(h) - 1; i > 0 && h[i].due < h[(i-1)/2].due; i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
}

func (q *restQueue) pop() restDue {
	h := *q
	first, last := h[0], len(h)-1
	h[0] = h[last]
	h[last] = restDue{}
	*q = h[:last]
	for i := 0; ; {
		least := i
		for k := 2*i + 1; k <= 2*i+2 && k < last; k++ {
			if h[k].due < h[least].due {
				least = k
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
