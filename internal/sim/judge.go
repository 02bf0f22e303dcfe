package sim

import (
	"errors"
	"slices"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// figure5 is the edge set of RFC 9293 figure 5, and what the text adds: any
// state may end in CLOSED, a half-open connection in LISTEN.
var figure5 = map[[2]engine.State]bool{
	{engine.Closed, engine.SynSent}: true, {engine.Listen, engine.SynReceived}: true,
	{engine.SynSent, engine.SynReceived}: true, {engine.SynSent, engine.Established}: true,
	{engine.SynReceived, engine.Established}: true, {engine.SynReceived, engine.Listen}: true,
	{engine.Established, engine.FinWait1}: true, {engine.Established, engine.CloseWait}: true,
	{engine.FinWait1, engine.FinWait2}: true, {engine.FinWait1, engine.Closing}: true,
	{engine.FinWait2, engine.TimeWait}: true, {engine.Closing, engine.TimeWait}: true,
	{engine.CloseWait, engine.LastAck}: true,
}

// judgeEvent holds an event against the one before it.
func (h *host) judgeEvent(x *watch, e *engine.Event) {
	w := h.w
	// What a segment causes is told after it, with variables from the midst of it.
	whole := e.Kind == engine.EventSegmentIn || e.Kind == engine.EventSegmentOut || e.Kind == engine.EventTimerFired
	if x.known && whole {
		h.judgeVars(x, e)
	}
	switch e.Kind {
	case engine.EventSegmentOut:
		h.judgeOut(x, e)
		h.judgeWar(x, e)
	case engine.EventSegmentIn:
		h.judgeIn(x, e)
		x.empty = e.Segment.Len() == 0
	case engine.EventState:
		if !figure5[[2]engine.State{e.From, e.To}] && e.To != engine.Closed {
			w.fail("I15: conn %d of host %d: %v to %v: %s", x.id, h.id, e.From, e.To, e.Reason)
		}
		if e.To == engine.Closed {
			h.judgeClosed(x, e)
		}
	case engine.EventTimerArmed:
		x.timers[e.Timer] = e.Due
	case engine.EventTimerStopped:
		x.timers[e.Timer] = 0
	case engine.EventTimerFired:
		if x.timers[e.Timer] == 0 || e.At < x.timers[e.Timer] {
			w.fail("I28: conn %d of host %d: %v fired at %v, due at %v", x.id, h.id, e.Timer, e.At, x.timers[e.Timer])
		}
		x.timers[e.Timer] = 0
		x.mayGrow = x.mayGrow || e.Timer == engine.TimerRTO
		x.gaveUp = true
		x.probing = x.probing || e.Timer == engine.TimerProbe
	}
	if e.State != x.state || e.Vars.SndUna != x.vars.SndUna || e.Vars.SndWnd != x.vars.SndWnd || e.Vars.RcvNxt != x.vars.RcvNxt {
		x.war = 0
	}
	x.state = e.State
	if whole {
		x.credit += stepsPerSegment
	}
	if e.Kind == engine.EventTimerFired && e.Timer == engine.TimerRTO || e.Kind == engine.EventICMP {
		x.credit += stepsPerSegment * (1 + e.Vars.Flight/max(1, min(e.Vars.MSS, 64)))
	}
	if whole {
		x.known = e.State != engine.Listen && e.State != engine.Closed
		x.vars = e.Vars
	}
	x.maxWnd = max(x.maxWnd, e.Vars.SndWnd)
}

// judgeVars: sequence variables only move right (I1, I5), and the RTO only
// changes for a reason (I14).
func (h *host) judgeVars(x *watch, e *engine.Event) {
	w, v, was := h.w, &e.Vars, &x.vars
	switch {
	case e.State == engine.Listen || e.State == engine.Closed || v.RTO == 0 || was.RTO == 0:
	case v.SndNxt.Less(v.SndUna):
		w.fail("I1: conn %d of host %d: SND.UNA %v is beyond SND.NXT %v", x.id, h.id, v.SndUna, v.SndNxt)
	case v.SndUna.Less(was.SndUna) || v.SndNxt.Less(was.SndNxt):
		w.fail("I1: conn %d of host %d: SND.UNA or SND.NXT moved left", x.id, h.id)
	case v.ISS != was.ISS || x.state.Synchronized() && v.IRS != was.IRS:
		w.fail("I1: conn %d of host %d: an initial sequence number changed", x.id, h.id)
	case x.state.Synchronized() && v.RcvNxt.Less(was.RcvNxt):
		w.fail("I5: conn %d of host %d: RCV.NXT moved left", x.id, h.id)
	case x.state.Synchronized() && v.RcvNxt.Add(v.RcvWnd).Less(was.RcvNxt.Add(was.RcvWnd)):
		w.fail("I5: conn %d of host %d: the right edge moved left from %v to %v", x.id, h.id,
			was.RcvNxt.Add(was.RcvWnd), v.RcvNxt.Add(v.RcvWnd))
	case v.RTO > maxRTO:
		w.fail("I14: conn %d of host %d: RTO %v", x.id, h.id, v.RTO)
	case v.RTO != was.RTO && e.Kind != engine.EventSegmentIn && !x.mayGrow && x.state.Synchronized():
		w.fail("I14: conn %d of host %d: the RTO went from %v to %v without an ACK or a timeout", x.id, h.id, was.RTO, v.RTO)
	case x.mayGrow && e.Kind != engine.EventSegmentIn && v.RTO != was.RTO && v.RTO != min(2*was.RTO, maxRTO):
		w.fail("I14: conn %d of host %d: a timeout took the RTO from %v to %v", x.id, h.id, was.RTO, v.RTO)
	}
	if v.RTO != was.RTO {
		x.mayGrow = false
	}
	if x.isMurky && x.murky.LessEq(v.SndUna) {
		x.isMurky = false
	}
}

// judgeOut holds a segment that leaves against what the connection is.
func (h *host) judgeOut(x *watch, e *engine.Event) {
	w, s, v := h.w, e.Segment, &e.Vars
	if s.Flags.Has(segment.RST) || e.State == engine.Closed {
		return
	}
	if s.Flags.Has(segment.SYN) {
		h.judgeSYN(x, e)
		return
	}
	switch {
	case !s.Flags.Has(segment.ACK):
		w.fail("I16: conn %d of host %d: no ACK in %v", x.id, h.id, e.State)
	case !e.State.Synchronized() && s.Len() > 0 && !w.plan.Talks[x.end.talk].FastOpen: // its server may answer at once
		w.fail("I16: conn %d of host %d: %d octets in %v", x.id, h.id, s.Len(), e.State)
	case s.Flags.Has(segment.FIN) && e.State != engine.FinWait1 && e.State != engine.Closing && e.State != engine.LastAck:
		w.fail("I16: conn %d of host %d: FIN in %v", x.id, h.id, e.State)
	case s.Ack != v.RcvNxt:
		w.fail("I17: conn %d of host %d: it acknowledges %v, RCV.NXT is %v", x.id, h.id, s.Ack, v.RcvNxt)
	case x.mayStamp && x.peerStamps != s.Options.Has(segment.HasTimestamps):
		w.fail("I16: conn %d of host %d: timestamps %t, agreed %t", x.id, h.id, !x.peerStamps, x.peerStamps)
	case e.Note == engine.NoteChallengeAck && x.challenged != 0 && e.At.Sub(x.challenged) < 500*time.Millisecond:
		w.fail("I22: conn %d of host %d: two challenge ACKs in %v", x.id, h.id, e.At.Sub(x.challenged))
	}
	if e.Note == engine.NoteChallengeAck {
		x.challenged = e.At
	}
	if e.State.Synchronized() || len(s.Payload) > 0 {
		h.judgeWindow(x, e)
		h.judgeData(x, e)
		h.judgeSACK(x, e)
	}
}

// A war is two ends that answer each other's empty segments and get nowhere (L3).
// It is looked for when the last copies of the chaos are gone.
const (
	warSegments = 100
	warTime     = 10 * time.Second
	truce       = 20 * time.Second
)

func (h *host) judgeWar(x *watch, e *engine.Event) {
	if !x.empty || e.Segment.Len() > 0 || h.w.now < h.w.plan.Heal+truce {
		return
	}
	if x.war == 0 || e.At.Sub(x.warFrom) > warTime {
		x.war, x.warFrom = 0, e.At
	}
	if x.war++; x.war > warSegments {
		h.w.fail("L3: conn %d of host %d: %d empty answers in %v: %s", x.id, h.id, x.war, e.At.Sub(x.warFrom), h.w.state())
	}
}

// An incarnation is the beginning of a connection between two addresses.
type incarnation struct {
	id  uint64
	iss segment.Seq
	at  engine.Time
}

// isnCycle is less than the time in which the clock of initial sequence numbers
// goes half around (RFC 6528 section 3; ours ticks every 64 ns).
const isnCycle = 120 * time.Second

// judgeISN: a new connection between the same addresses begins above the one
// before it (I27).
func (h *host) judgeISN(x *watch, e *engine.Event) {
	if h.w.plan.Talks[x.end.talk].Conf[h.side].ISN != nil {
		return
	}
	tuple := fourTuple{e.Local, e.Remote}
	was, there := h.isns[tuple]
	if there && was.id == e.Conn {
		return
	}
	iss := e.Segment.Seq
	if there && e.At.Sub(was.at) < isnCycle && iss.LessEq(was.iss) {
		h.w.fail("I27: conn %d of host %d begins with %v, the one before it with %v", x.id, h.id, iss, was.iss)
	}
	h.isns[tuple] = incarnation{e.Conn, iss, e.At}
}

func (h *host) judgeSYN(x *watch, e *engine.Event) {
	s := e.Segment
	h.judgeISN(x, e)
	if e.State != engine.SynSent && e.State != engine.SynReceived {
		h.w.fail("I16: conn %d of host %d: SYN in %v", x.id, h.id, e.State)
	}
	x.mayStamp, x.maySACK = s.Options.Has(segment.HasTimestamps), s.Options.Has(segment.HasSACKPermitted)
	if s.Flags.Has(segment.ACK) {
		x.edge, x.edgeKnown = s.Ack.Add(int(s.Window)), true
	}
}

// judgeWindow: the window field says the window (I17), and the edge that the
// peer was told never moves left (I5).
func (h *host) judgeWindow(x *watch, e *engine.Event) {
	s, v := e.Segment, &e.Vars
	told := int(s.Window) << v.RcvScale
	unit := 1 << v.RcvScale
	if (v.RcvWnd < told || told+unit <= v.RcvWnd) && s.Window != 0xffff {
		h.w.fail("I17: conn %d of host %d: window %d, RCV.WND %d", x.id, h.id, told, v.RcvWnd)
	}
	edge := s.Ack.Add(told)
	// by less than a unit it may: RFC 7323 section 2.4
	if x.edgeKnown && edge.Add(unit-1).Less(x.edge) && s.Window != 0xffff {
		h.w.fail("I5: conn %d of host %d: advertised edge %v, before it %v", x.id, h.id, edge, x.edge)
	}
	if !x.edgeKnown || x.edge.Less(edge) {
		x.edge, x.edgeKnown = edge, true
	}
}

// judgeData: the octets are those of the application (I7), new ones stay in
// both windows (I2, I3, I4), and the peer did offer that much.
func (h *host) judgeData(x *watch, e *engine.Event) {
	w, s, v := h.w, e.Segment, &e.Vars
	if s.Len() == 0 {
		return
	}
	at := s.Seq.Sub(v.ISS) - 1
	if at < 0 || at+len(s.Payload) > x.end.sent || string(s.Payload) != string(stream(x.end.talk, h.side, at, len(s.Payload))) {
		w.fail("I7: conn %d of host %d: octets %d to %d are not what the application wrote", x.id, h.id, at, at+len(s.Payload))
		return
	}
	if s.Seq.Less(v.SndUna) {
		w.fail("I1: conn %d of host %d: it sends %v, which is acknowledged up to %v", x.id, h.id, s.Seq, v.SndUna)
	}
	if s.Seq.Less(x.vars.SndNxt) { // again
		x.repeated.add(s.Seq, s.End())
		x.murky, x.isMurky = v.SndNxt, true
		return
	}
	end := s.Seq.Add(len(s.Payload))
	switch {
	case v.SndUna.Add(v.SndWnd).Less(end):
		w.fail("I3: conn %d of host %d: new data to %v, the window ends at %v", x.id, h.id, end, v.SndUna.Add(v.SndWnd))
	case x.maxWnd+1 < v.Flight:
		w.fail("I2: conn %d of host %d: %d octets in flight, the widest window was %d", x.id, h.id, v.Flight, x.maxWnd)
	case !x.isMurky && !x.probing && len(s.Payload) > 0 && v.Flight > v.Cwnd+v.MSS:
		w.fail("I4: conn %d of host %d: %d octets in flight, the congestion window is %d", x.id, h.id, v.Flight, v.Cwnd)
	case v.Cwnd < 1 || largest(s) > v.MSS && e.Note != engine.NoteMTUProbe:
		w.fail("I4: conn %d of host %d: congestion window %d, %d octets, MSS %d", x.id, h.id, v.Cwnd, largest(s), v.MSS)
	case s.SegmentSize > 0 && len(s.Payload) > w.plan.Super[h.side]:
		w.fail("I4: conn %d of host %d: a super-segment of %d octets, the link takes %d", x.id, h.id, len(s.Payload), w.plan.Super[h.side])
	}
	x.probing = false
	h.judgePace(x, e)
	if peer := &w.ends[x.end.talk][1-h.side]; peer.c != nil && !w.tainted {
		// in numbers relative to ours: a box on the road may shift them
		if y := peer.at.watches[peer.c.ID()]; y != nil && y.edgeKnown && y.edge.Sub(y.vars.IRS) < end.Sub(v.ISS) {
			w.fail("I2: conn %d of host %d: new data to octet %d, the peer never offered more than to %d", x.id, h.id,
				end.Sub(v.ISS), y.edge.Sub(y.vars.IRS))
		}
	}
}

// judgePace: new data leaves no faster than its rate but for a burst, sixteen
// milliseconds of a timer that was late, and some segments that do not wait for the
// pacer (I29).
func (h *host) judgePace(x *watch, e *engine.Event) {
	rate := h.w.plan.Talks[x.end.talk].Conf[h.side].PacingRate
	if rate <= 0 {
		return
	}
	mss := int64(e.Vars.MSS)
	ahead, slack := x.paced.Sub(e.At), rate*17/1000+6*mss
	if ahead > time.Duration(slack*int64(time.Second)/rate) {
		h.w.fail("I29: conn %d of host %d: %d octets leave %v before the rate of %d allows it", x.id, h.id, len(e.Segment.Payload), ahead, rate)
	}
	x.paced = max(x.paced, e.At).Add(time.Duration(int64(len(e.Segment.Payload)) * int64(time.Second) / rate))
}

// largest is the payload of a segment, or of the largest that a super-segment is cut into.
func largest(s *segment.Segment) int {
	if s.SegmentSize > 0 {
		return min(len(s.Payload), int(s.SegmentSize))
	}
	return len(s.Payload)
}

// judgeSACK: what we report, we hold, and the latest arrival first (I9).
func (h *host) judgeSACK(x *watch, e *engine.Event) {
	w, s, v := h.w, e.Segment, &e.Vars
	x.arrived.forget(v.RcvNxt)
	blocks := s.Options.Blocks()
	if !s.Options.Has(segment.HasSACK) || len(blocks) == 0 {
		return
	}
	if !x.maySACK || !x.peerSACK {
		w.fail("I9: conn %d of host %d: SACK was not agreed", x.id, h.id)
	}
	if b := blocks[0]; b.End.LessEq(s.Ack) || len(blocks) > 1 && blocks[1].Start.LessEq(b.Start) && b.End.LessEq(blocks[1].End) {
		if b.Start.Less(v.IRS) && !w.tainted && !w.plan.repeats(x.end.talk) || !b.Start.Less(b.End) {
			w.fail("I9: conn %d of host %d: DSACK %v of nothing", x.id, h.id, b)
		}
		blocks = blocks[1:] // RFC 2883
	}
	for i, b := range blocks {
		if slices.ContainsFunc(blocks[:i], func(a segment.SACKBlock) bool { return a.Start.Less(b.End) && b.Start.Less(a.End) }) {
			w.fail("I9: conn %d of host %d: SACK block %d, %v, overlaps one before it", x.id, h.id, i, b)
			return
		}
		if !b.Start.Less(b.End) || b.Start.LessEq(s.Ack) || !x.arrived.cover(b.Start, b.End) {
			w.fail("I9: conn %d of host %d: SACK block %d, %v, of what is not held beyond %v: %v", x.id, h.id, i, b, s.Ack, x.arrived)
			return
		}
	}
	if x.latestDue && len(blocks) > 0 && v.RcvNxt.Less(x.latest) &&
		(x.latest.Less(blocks[0].Start) || blocks[0].End.LessEq(x.latest)) {
		w.fail("I9: conn %d of host %d: the first SACK block %v has not the latest arrival %v", x.id, h.id, blocks[0], x.latest)
	}
	x.latestDue = false
}

// judgeIn holds what a segment did against what it was allowed to.
func (h *host) judgeIn(x *watch, e *engine.Event) {
	s, v := e.Segment, &e.Vars
	// The first SYN that is taken says what is agreed on. That of a peer that has begun
	// anew is refused, and one that comes again says nothing: a box may have changed it.
	refused := e.Note == engine.NotePAWS || e.Note == engine.NoteUnacceptable || e.State == engine.SynSent
	if s.Flags.Has(segment.SYN) && !x.state.Synchronized() && !refused && !x.agreed {
		x.peerStamps, x.peerSACK = s.Options.Has(segment.HasTimestamps), s.Options.Has(segment.HasSACKPermitted)
		x.agreed = true
	}
	if !x.known && e.State.Synchronized() { // a SYN cookie came back: nothing was seen of this connection before
		x.guess(s, h.w.tainted)
	}
	if !x.known {
		return
	}
	if !x.state.Synchronized() {
		x.wl1 = s.Seq
	} else {
		h.judgeAcceptance(x, e)
		h.judgeSample(x, e)
	}
	if s.Flags.Has(segment.RST) && e.State == engine.Closed {
		x.resetBy = true
		exact := s.Seq == x.vars.RcvNxt
		if x.state == engine.SynSent {
			// Its ACK is acceptable: all of our SYN, or of a SYN with data that part.
			exact = s.Flags.Has(segment.ACK) && x.vars.ISS.Less(s.Ack) && s.Ack.LessEq(x.vars.SndNxt)
		}
		if !exact {
			h.w.fail("I20: conn %d of host %d: a RST at %v ended it, RCV.NXT was %v", x.id, h.id, s.Seq, x.vars.RcvNxt)
		}
	}
	if len(s.Payload) > 0 && e.State.Synchronized() {
		h.judgeArrival(x, e)
	}
	x.ackedAt = 0 // a later report may bring another sample
	if x.vars.SndUna.Less(v.SndUna) {
		x.ackedAt = e.At
	}
	if s.Options.Has(segment.HasSACK) || e.Note == engine.NoteDupAck {
		x.murky, x.isMurky = v.SndNxt, true
	}
	x.repeated.forget(v.SndUna)
}

// guess says what a handshake that was not seen has agreed on, by the segment that
// completed it: a cookie remembers more only with timestamps. A box that adds
// them to a SYN-ACK has the peer believe what was never agreed.
func (x *watch) guess(s *segment.Segment, tainted bool) {
	stamps := s.Options.Has(segment.HasTimestamps)
	x.mayStamp, x.peerStamps = stamps && !tainted, stamps
	x.maySACK, x.peerSACK = stamps || tainted, stamps || tainted
	x.guessed, x.wl1 = true, s.Seq
}

// judgeArrival notes what there is to report (I9). What was here already and lies
// beyond a hole is to be told first like what is new: the first block is that
// of "the segment which triggered this ACK" (RFC 2018 section 4), behind the
// D-SACK block if there is one (RFC 2883 section 4).
func (h *host) judgeArrival(x *watch, e *engine.Event) {
	s, v := e.Segment, &e.Vars
	start, end := segment.MaxSeq(s.Seq, v.RcvNxt), s.Seq.Add(len(s.Payload))
	inWindow := segment.MinSeq(end, x.vars.RcvNxt.Add(x.vars.RcvWnd))
	again := e.Note == engine.NoteDuplicate && start.Less(inWindow)
	if again && !h.w.tainted && !x.arrived.cover(start, inWindow) {
		h.w.fail("I9: conn %d of host %d: %v counts as a duplicate, and only %v was here beyond %v", x.id, h.id, s, x.arrived, v.RcvNxt)
	}
	x.arrived.add(start, end)
	x.arrived.forget(v.RcvNxt)
	if again || e.Note == engine.NoteOutOfOrder {
		x.latest, x.latestDue = start, true
	}
}

// judgeAcceptance is the table of RFC 9293 section 3.10.7.4: what fails it
// changes nothing (I19). Nothing forged may change anything.
func (h *host) judgeAcceptance(x *watch, e *engine.Event) {
	w, s, v, was := h.w, e.Segment, &e.Vars, &x.vars
	fits := func(seq segment.Seq) bool { return seq.InWindow(was.RcvNxt, was.RcvWnd) }
	ok := fits(s.Seq) || s.Len() > 0 && fits(s.End().Add(-1)) || s.Seq == was.RcvNxt && (s.Len() == 0 || s.Flags.Has(segment.ACK))
	if s.Flags.Has(segment.RST) {
		ok = s.Seq == was.RcvNxt
	}
	changed := v.RcvNxt != was.RcvNxt || v.SndUna != was.SndUna || v.SndWnd != was.SndWnd || e.State != x.state
	switch {
	case changed && !ok && e.State != engine.Closed:
		w.fail("I19: conn %d of host %d: a segment outside the window did something: %v, was %v, RCV.NXT %v WND %d", x.id, h.id, s, x.state, was.RcvNxt, was.RcvWnd)
	case changed && w.forged:
		w.fail("I19: conn %d of host %d: a forged segment did something: %v in %v", x.id, h.id, s, x.state)
	case v.SndWnd != was.SndWnd && v.SndUna == was.SndUna && s.Seq.Less(x.wl1):
		w.fail("I19: conn %d of host %d: the window of an old segment was taken: %v", x.id, h.id, s)
	case was.SndNxt.Less(v.SndUna):
		w.fail("I1: conn %d of host %d: what was not sent is acknowledged", x.id, h.id)
	case v.SndUna != was.SndUna && v.SndUna != s.Ack:
		w.fail("I1: conn %d of host %d: SND.UNA %v is not the ACK %v", x.id, h.id, v.SndUna, s.Ack)
	case s.Flags.Has(segment.RST) && !ok && e.State == engine.Closed:
		w.fail("I20: conn %d of host %d: a RST beside RCV.NXT ended it", x.id, h.id)
	case was.RcvNxt.Add(was.RcvWnd + 1).Less(v.RcvNxt): // one more for a FIN
		w.fail("I5: conn %d of host %d: RCV.NXT %v went beyond the window", x.id, h.id, v.RcvNxt)
	}
	if v.SndWnd != was.SndWnd || v.SndUna != was.SndUna {
		x.wl1 = s.Seq
	}
	h.judgeFIN(x, e)
}

// judgeFIN: nobody hears a FIN before all that lies before it has come.
func (h *host) judgeFIN(x *watch, e *engine.Event) {
	heard := func(s engine.State) bool {
		return s == engine.CloseWait || s == engine.Closing || s == engine.LastAck || s == engine.TimeWait
	}
	if heard(e.State) && !heard(x.state) && !h.w.tainted {
		sent := h.w.ends[x.end.talk][1-h.side].sent
		if got := e.Vars.RcvNxt.Sub(e.Vars.IRS) - 2; got != sent {
			h.w.fail("I15: conn %d of host %d: end of data after %d octets, the peer wrote %d", x.id, h.id, got, sent)
		}
	}
}

// judgeSample: no round trip is shorter than the road, or made of a segment
// that was sent twice without a timestamp to tell which (I25).
func (h *host) judgeSample(x *watch, e *engine.Event) {
	w, v, was := h.w, &e.Vars, &x.vars
	if v.SRTT == was.SRTT || w.tainted {
		return
	}
	road := w.plan.Path[0].Delay + w.plan.Path[1].Delay
	least := road - road/16 - 2*time.Millisecond // clocks drift, timestamps tick
	if v.SRTT < least && !x.mayRepeat(w) {
		w.fail("I25: conn %d of host %d: SRTT %v, the road takes %v", x.id, h.id, v.SRTT, road)
	}
	if !(x.mayStamp && x.peerStamps) && !e.Segment.Options.Has(segment.HasSACK) && was.SndUna.Less(v.SndUna) && x.repeated.cover(was.SndUna, v.SndUna) {
		w.fail("I25: conn %d of host %d: a sample from what was sent twice", x.id, h.id)
	}
}

// mayRepeat reports whether a handshake that lost its place in the SYN cache may
// have begun anew with the same, chosen, ISN: the peer's answer to the one before
// then measures too little.
func (x *watch) mayRepeat(w *world) bool {
	return w.plan.Talks[x.end.talk].Conf[x.end.side].ISN != nil && w.plan.Limits[x.end.side].HalfOpen > 0
}

// judgeClosed: an end has a cause (I26), and nothing is left (I13).
func (h *host) judgeClosed(x *watch, e *engine.Event) {
	if x.end.c == nil || x.end.c.ID() != x.id {
		return
	}
	err := x.end.c.Err()
	switch {
	case errors.Is(err, engine.ErrReset) && !x.resetBy && !x.end.closed:
		h.w.fail("I26: conn %d of host %d: %v without a RST", x.id, h.id, err)
	case errors.Is(err, engine.ErrTimeout) && !x.gaveUp:
		h.w.fail("I26: conn %d of host %d: %v without a timer", x.id, h.id, err)
	case errors.Is(err, engine.ErrAborted) && !x.end.closed:
		h.w.fail("I26: conn %d of host %d: %v, and nobody did", x.id, h.id, err)
	}
}

// judgePacket holds the wire form of what leaves: it reads back, fits, and
// answers nothing that must not be answered (I16, I18).
func (w *world) judgePacket(h *host, pkt []byte) {
	s := &w.back
	switch err := s.Parse(pkt); {
	case err != nil || s.Checksum != segment.ChecksumOK:
		w.fail("I16: host %d sends what reads back as %v, checksum %v", h.id, err, s.Checksum)
	case len(pkt) > mtu:
		w.fail("I16: host %d sends %d octets", h.id, len(pkt))
	case w.mute:
		w.fail("I18: host %d answers a packet that was damaged: %v", h.id, s)
	case w.noReset && s.Flags.Has(segment.RST):
		w.fail("I18: host %d answers a RST with a RST", h.id)
	}
}

// judge holds, once all is quiet, that whoever waits for something has a timer
// that will end the wait (I11, I12), and who does not has none (I13).
func (h *host) judge() {
	for _, x := range h.touched {
		x.stirs = false
		if h.w.violation == "" && x.end.c != nil && x.end.c.ID() == x.id && !h.paused {
			h.judgeTimers(x)
			h.judgeReport(x)
			h.judgeWork(x)
			h.audit(x)
		}
	}
	h.touched = h.touched[:0]
	if h.w.violation == "" {
		h.judgeMemory()
	}
}

// judgeReport: what arrives beyond a hole is told at once, whatever else there is
// to say (I9; RFC 2018 section 4, RFC 5681 section 4.2).
func (h *host) judgeReport(x *watch) {
	if x.latestDue && x.maySACK && x.peerSACK && !x.guessed && x.state.Synchronized() && x.vars.RcvNxt.LessEq(x.latest) {
		h.w.fail("I9: conn %d of host %d: nothing tells the peer that %v has arrived", x.id, h.id, x.latest)
	}
	x.latestDue = false
}

// stepsPerSegment is how much work a segment may cost on the average, in turns of
// the engine's loops: some logarithms of queues of thousands. What one
// segment saves, a later one may spend: a cumulative ACK takes off the queue what
// many segments put there.
const stepsPerSegment = 100

// judgeWork: nobody can make the engine walk long queues over and over (I24). A
// timeout and a smaller path MTU may walk them once.
func (h *host) judgeWork(x *watch) {
	steps := x.end.c.Steps()
	if x.credit -= max(0, steps-x.steps); x.credit < 0 {
		h.w.fail("I24: conn %d of host %d: %d steps more than %d for each segment", x.id, h.id, -x.credit, stepsPerSegment)
	}
	x.steps = steps
}

// auditCost is how long queues may be to be recounted after every event: longer
// ones are recounted once in as many events as makes the cost per event the same.
const auditCost = 32

// audit has the engine recount its queues (I8, I10, I13, I23).
func (h *host) audit(x *watch) {
	if x.auditIn--; x.auditIn > 0 {
		return
	}
	x.auditIn = x.end.c.Queued() / auditCost
	if err := x.end.c.Audit(); err != nil {
		h.w.fail("I10: conn %d of host %d: %v", x.id, h.id, err)
	}
}

// leastHeld is what each connection may hold in each direction beside Limits.Memory.
const leastHeld = 4096

// judgeMemory: what all connections hold together stays within its bounds, and
// their sum is that of a recount (I23), which is taken so seldom that it costs
// little.
func (h *host) judgeMemory() {
	most, held := h.w.plan.Limits[h.side].Memory, h.stack.Buffered()
	if most > 0 && held > most+2*leastHeld*h.stack.Conns() {
		h.w.fail("I23: host %d: %d octets are held for %d connections, and %d are allowed", h.id, held, h.stack.Conns(), most)
	}
	if h.auditIn--; h.auditIn > 0 {
		return
	}
	h.auditIn = h.stack.Conns() + auditCost
	if err := h.stack.Audit(); err != nil {
		h.w.fail("I23: host %d: %v", h.id, err)
	}
}

func (h *host) judgeTimers(x *watch) {
	w, now := h.w, h.clock(h.w.now)
	in := x.end.c.Info(now)
	rto, probe, reorder, persist := x.timers[engine.TimerRTO], x.timers[engine.TimerProbe], x.timers[engine.TimerReorder], x.timers[engine.TimerPersist]
	finWaits := (in.State == engine.FinWait1 || in.State == engine.Closing || in.State == engine.LastAck) && in.Vars.Flight == 0
	switch {
	case in.State == engine.Closed:
		for k, due := range x.timers {
			if due != 0 {
				w.fail("I13: conn %d of host %d: %v is armed in CLOSED", x.id, h.id, engine.TimerKind(k))
			}
		}
	case in.State == engine.TimeWait:
		if x.timers[engine.TimerTimeWait] == 0 {
			w.fail("I11: conn %d of host %d: nothing ends TIME-WAIT", x.id, h.id)
		}
	case in.Vars.Flight > 0 && rto == 0 && probe == 0 && reorder == 0:
		w.fail("I11: conn %d of host %d: %d octets outstanding and no timer in %v", x.id, h.id, in.Vars.Flight, in.State)
	case in.Vars.Flight > 0 && rto > max(now, x.timers[engine.TimerPace]).Add(maxRTO):
		w.fail("I11: conn %d of host %d: the retransmission timer is due in %v", x.id, h.id, rto.Sub(now))
	case in.Vars.Flight > 0 && x.ackedAt == now && rto != 0 && rto < now.Add(in.Vars.RTO):
		w.fail("I14: conn %d of host %d: an ACK of new octets left the timer due in %v, RTO %v", x.id, h.id, rto.Sub(now), in.Vars.RTO)
	case in.Vars.Flight == 0 && (rto != 0 || probe != 0):
		w.fail("I13: conn %d of host %d: nothing outstanding and a retransmission timer in %v", x.id, h.id, in.State)
	case in.State.Synchronized() && in.Vars.Flight == 0 && (in.SendQueue > 0 || finWaits) && persist == 0 && x.timers[engine.TimerHold] == 0 && x.timers[engine.TimerPace] == 0:
		w.fail("I12: conn %d of host %d: %d octets wait, window %d, and no timer in %v", x.id, h.id, in.SendQueue, in.Vars.SndWnd, in.State)
	case in.ReceiveQueue > mostHeld(&w.plan.Talks[x.end.talk].Conf[h.side])+1<<in.Vars.RcvScale:
		w.fail("I23: conn %d of host %d: %d octets wait to be read", x.id, h.id, in.ReceiveQueue)
	case in.Stats.OverlapMismatch > 0 && !w.tainted:
		w.fail("I7: conn %d of host %d: an octet arrived twice with two values", x.id, h.id)
	}
}

// mostHeld is how large a receive buffer may become.
func mostHeld(c *engine.ConnConfig) int { return max(c.ReceiveBuffer, c.ReceiveBufferMax) }
