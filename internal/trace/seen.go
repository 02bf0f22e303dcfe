package trace

import (
	"rawtcp/engine"
	"rawtcp/segment"
)

// Seen writes the line of a segment of somebody else's connection, as a capture
// has it. e is as if the side that opened it told it; tag stands before the
// arrow, and states, if they are news, on the right.
func (l *Ladder) Seen(e *engine.Event, tag, states string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.time.since(e.At)
	l.tagWidth = max(l.tagWidth, len(tag))
	mark, color := segmentMark(e, noteOf(e))
	if again := e.Note.Resent() || e.Note == "spurious_retransmission"; again && e.Kind == engine.EventSegmentIn {
		mark = markAgainIn
	} else if again {
		mark = markAgain
	}
	l.begin(e.At, tag, mark, color)
	l.body(e, states)
	l.end()
	if l.cfg.Verbose >= 1 && len(e.Segment.Payload) > 0 && e.Segment.Checksum != segment.ChecksumUnknown {
		l.beginContinued()
		l.line = appendSnippet(l.line, e.Segment.Payload, l.room())
		l.end()
	}
}

// Between writes a line between those of segments: a timer that must have fired.
func (l *Ladder) Between(e *engine.Event, tag, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.time.since(e.At)
	l.tagWidth = max(l.tagWidth, len(tag))
	l.begin(e.At, tag, markTimer, colorQuiet)
	l.words(safe(text))
	l.end()
}
