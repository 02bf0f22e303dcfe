package trace

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// An Explain is a ladder with a narrator: after each step stand one or two
// plain sentences that say what the segment does, why the state changes, and
// what would happen if the segment were lost. A thing that comes again is told
// more briefly. All of it is made from the event stream alone.
type Explain struct {
	ladder *Ladder

	mu    sync.Mutex
	tales map[uint64]*tale
}

// NewExplain makes a narrator for a ladder, which shows the events too. The
// ladder stays the caller's: Close it, not the narrator.
func NewExplain(l *Ladder) *Explain {
	return &Explain{ladder: l, tales: map[uint64]*tale{}}
}

// Trace implements engine.Tracer.
func (x *Explain) Trace(e *engine.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ladder.Trace(e)
	t := x.tales[e.Conn]
	if t == nil {
		t = &tale{seen: map[string]bool{}, una: e.Vars.SndUna, wnd: -1}
		if e.Conn != 0 && (e.Kind == engine.EventState || !gone(e.State)) {
			x.tales[e.Conn] = t
		}
	}
	x.ladder.explain(strings.Join(t.tell(e), " "))
	if e.Kind == engine.EventState && gone(e.To) {
		delete(x.tales, e.Conn)
	}
}

// A tale is what the narrator remembers of one connection.
type tale struct {
	seen    map[string]bool
	covered int // changes of state that the segment before them has explained

	active  bool // we opened it
	crossed bool // both sides opened at once
	opened  bool // it reached ESTABLISHED
	owed    debt // what our next ACK answers

	una    segment.Seq // SND.UNA after the event before
	wnd    int         // the peer's window after the event before; -1: not known yet
	acks   int         // what our last ACK said, relative
	early  int         // octets of data that our SYN carried
	taken  bool        // the peer's SYN carried data that counts
	tooBig bool        // a path that takes smaller packets only was the last news

	wait    [maxTimers]time.Duration // how long each timer was last armed for
	fired   engine.TimerKind
	fresh   bool // the timer fired has not led to anything yet
	icmpAt  engine.Time
	ecn     bool // both sides can read congestion marks
	probing bool // a keep-alive or window probe of ours waits for its answer

	heard engine.Time   // when the peer last sent something
	idle  time.Duration // for how long it may be silent; 0: no keep-alives

	bye farewell
}

const maxTimers = int(engine.NumTimers)

// A farewell is how the connection is being closed.
type farewell struct {
	finOut, finIn     bool
	first             string // who sent the first FIN
	oursRode          bool   // the ACK of our FIN came with the peer's FIN
	theirsRode        bool   // our ACK of the peer's FIN left with our FIN
	crossed           bool   // neither had seen the other's FIN
	timeWait          bool
	reset             bool // a RST ended it, and that was told
	acknowledgedPeers bool
}

// A debt is what our next ACK answers.
type debt uint8

const (
	oweNothing debt = iota
	oweSYNACK
	oweData
	oweGap // data that fills a hole
	oweOld // what was here already
	oweFIN
	oweOldFIN
	oweStranger // what is outside of the window
	oweOldSYNACK
	oweSYN // a SYN that came again
)

// tell returns the sentences for one event.
func (t *tale) tell(e *engine.Event) []string {
	var text []string
	switch e.Kind {
	case engine.EventSegmentOut:
		text = append(t.tellOut(e), t.tellECN(e)...)
		t.fresh = false
	case engine.EventSegmentIn:
		t.fresh = false
		t.heard = e.At
		text = append(t.tellIn(e), t.tellECN(e)...)
		t.covered = 0
		for i := range e.Follows {
			if e.Follows[i].Kind == engine.EventState {
				t.covered++
			}
		}
	case engine.EventState:
		text = t.tellState(e)
	case engine.EventTimerArmed:
		t.wait[e.Timer] = e.Due.Sub(e.At)
		if e.Timer == engine.TimerKeepAlive && t.idle == 0 {
			t.idle = t.wait[e.Timer]
		}
	case engine.EventTimerFired:
		text = t.tellTimer(e)
	case engine.EventICMP:
		text = t.tellICMP(e)
	case engine.EventDrop:
		text = tellDrop(e)
	case engine.EventLocal:
		text = []string{"This happened on our own host, not on the wire; if a segment was lost by it, a timer sends it again."}
	}
	if e.Conn != 0 && e.Kind != engine.EventDrop {
		t.una, t.wnd = e.Vars.SndUna, e.Vars.SndWnd
	}
	return text
}

// once reports whether this is the first time that a thing is told.
func (t *tale) once(what string) bool {
	if t.seen[what] {
		return false
	}
	t.seen[what] = true
	return true
}

// full is the first sentence, and the first time the second as well.
func (t *tale) full(what, always, first string) []string {
	if t.once(what) && first != "" {
		return []string{always, first}
	}
	return []string{always}
}

// change returns the states before and after a segment that came in.
func (t *tale) change(e *engine.Event) (from, to engine.State) {
	from, to = e.State, e.State
	for i := range e.Follows {
		if f := &e.Follows[i]; f.Kind == engine.EventState {
			if from == e.State {
				from = f.From
			}
			to = f.To
		}
	}
	return from, to
}

// arming is how long a segment that came in makes a timer wait, 0 if it does not.
func arming(e *engine.Event, timer engine.TimerKind) time.Duration {
	for i := range e.Follows {
		if f := &e.Follows[i]; f.Kind == engine.EventTimerArmed && f.Timer == timer {
			return f.Due.Sub(f.At)
		}
	}
	return 0
}

// octets is "1 octet" or "5 octets".
func octets(n int) string {
	if n == 1 {
		return "1 octet"
	}
	return strconv.Itoa(n) + " octets"
}

// span names the octets of a payload by their numbers in the stream.
func span(first, n int) string {
	if n == 1 {
		return "octet " + strconv.Itoa(first)
	}
	return "octets " + strconv.Itoa(first) + " to " + strconv.Itoa(first+n-1)
}

// timeText is a time as the narrator says it: three digits are enough.
func timeText(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		text := d.Round(time.Second).String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		return text
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Microsecond).String()
}

func relative(s, base segment.Seq) int { return int(s.Uint32() - base.Uint32()) }
