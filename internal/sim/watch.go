package sim

import (
	"rawtcp/engine"
	"rawtcp/segment"
)

// A watch is what the judge remembers of one connection of one host. It takes
// nothing from the engine but its events and snapshots.
type watch struct {
	id      uint64
	end     *end // whose talk it is
	known   bool // vars and state are of an event before
	state   engine.State
	vars    engine.Vars
	timers  [engine.NumTimers]engine.Time
	war     int         // empty segments that answered empty ones without progress
	warFrom engine.Time // since when
	empty   bool        // the last segment in was one
	steps   int         // of the engine, up to the last judgement
	credit  int         // steps it may take
	auditIn int         // events until the next audit
	stirs   bool        // is in the host's list of touched

	edge       segment.Seq // right edge of the widest window advertised
	edgeKnown  bool
	maxWnd     int
	mayStamp   bool // our SYN or SYN-ACK had timestamps
	peerStamps bool
	maySACK    bool
	peerSACK   bool
	agreed     bool        // the peer's SYN was taken
	guessed    bool        // nothing was seen of the handshake: it may or may not have agreed on SACK
	repeated   spans       // what was retransmitted and is not acknowledged
	arrived    spans       // what arrived beyond RCV.NXT
	latest     segment.Seq // of the last arrival beyond a hole, new or not
	latestDue  bool        // the next SACK has to begin with it
	murky      segment.Seq // until SND.UNA is here, the flight is not all in the network
	isMurky    bool
	challenged engine.Time
	mayGrow    bool        // the RTO: a timer fired or an ACK came since the last event
	resetBy    bool        // a RST that was accepted
	gaveUp     bool        // a timer fired that may end it
	wl1        segment.Seq // no later than the segment of the last window update
	ackedAt    engine.Time // when new octets were last acknowledged
	probing    bool        // a loss probe is due, which may pass the congestion window
	paced      engine.Time // when all new data so far would have left at the pacing rate
}

// watch returns what is remembered of an event's connection, nil if it is not of a talk.
func (h *host) watch(e *engine.Event) *watch {
	for uint64(len(h.watches)) <= e.Conn {
		h.watches = append(h.watches, nil)
	}
	if h.watches[e.Conn] == nil {
		talk := h.w.talkOf(e.Local, e.Remote)
		if talk < 0 {
			return nil
		}
		h.watches[e.Conn] = &watch{id: e.Conn, end: &h.w.ends[talk][h.side]}
	}
	return h.watches[e.Conn]
}

// Trace implements engine.Tracer: it judges the event.
func (h *host) Trace(e *engine.Event) {
	if h.w.rec != nil {
		h.w.rec.event(h.w.now, h.id, e)
	}
	if e.Conn == 0 {
		return
	}
	x := h.watch(e)
	if x == nil {
		return // a stranger's
	}
	if !x.stirs {
		x.stirs = true
		h.touched = append(h.touched, x)
	}
	h.judgeEvent(x, e)
}
