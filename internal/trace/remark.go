package trace

import (
	"time"

	"rawtcp/engine"
)

// A remark is one comment of a packet, as what it is made of: it becomes text
// when the packet is written. Kind is that of a change of state or of a timer;
// all others are text.
type remark struct {
	kind     engine.EventKind
	from, to engine.State
	timer    engine.TimerKind
	due      time.Duration // from the event on
	text     string
}

// happening is a change of state, a timer or an ICMP message as a remark.
func happening(e *engine.Event) (remark, bool) {
	r := remark{kind: e.Kind}
	switch e.Kind {
	case engine.EventState:
		r.from, r.to, r.text = e.From, e.To, e.Reason
	case engine.EventTimerArmed:
		r.timer, r.due = e.Timer, e.Due.Sub(e.At)
	case engine.EventTimerFired, engine.EventTimerStopped:
		r.timer = e.Timer
	case engine.EventICMP:
		r.text = "ICMP " + ICMPText(e.ICMP) + " from " + e.ICMP.From.String()
	default:
		return remark{}, false
	}
	return r, true
}

// appendText appends the remark for people to read.
func (r *remark) appendText(b []byte) []byte {
	switch r.kind {
	case engine.EventState:
		b = append(append(append(b, r.from.String()...), " -> "...), r.to.String()...)
		if r.text != "" {
			b = append(b, ": "...)
		}
		return appendComment(b, r.text)
	case engine.EventTimerArmed:
		b = r.appendTimer(b, " armed, due in ")
		return append(b, r.due.Round(time.Microsecond).String()...)
	case engine.EventTimerFired:
		return r.appendTimer(b, " fired")
	case engine.EventTimerStopped:
		return r.appendTimer(b, " stopped")
	}
	return appendComment(b, r.text)
}

func (r *remark) appendTimer(b []byte, what string) []byte {
	b = append(b, "timer "...)
	for _, letter := range []byte(r.timer.String()) {
		if letter == '_' {
			letter = ' '
		}
		b = append(b, letter)
	}
	return append(b, what...)
}

// appendComment appends text as a comment can hold it: an option of the format
// has a length of 16 bits.
func appendComment(b []byte, text string) []byte {
	const longest = 1000
	text = safe(text)
	return append(b, text[:min(len(text), longest)]...)
}
