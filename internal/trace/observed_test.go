package trace

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"rawtcp/engine"
	"rawtcp/internal/capture"
	"rawtcp/internal/flow"
	"rawtcp/segment"
)

// An observer sees the packets of one side of a story as a capture would, and
// what the engine says of each.
type observer struct {
	tracker *flow.Tracker
	frame   uint64
	seen    flow.Event // of the last packet
	states  [2]engine.State
	ends    [2]flow.End
	history [][2]engine.State // the states after each packet
	differs func(e *engine.Event, ours engine.State, notes flow.Notes)
	compare int
}

// Trace implements engine.Tracer.
func (o *observer) Trace(e *engine.Event) {
	switch e.Kind {
	case engine.EventSegmentIn, engine.EventSegmentOut:
		o.add(e, e.Segment)
	case engine.EventDrop:
		var s segment.Segment
		if s.Parse(e.Packet) == nil {
			o.add(e, &s)
		}
	}
}

func (o *observer) add(e *engine.Event, s *segment.Segment) {
	o.frame++
	whole := *s // of ours, the checksum is made later, and right
	if e.Kind == engine.EventSegmentOut {
		whole.Checksum = segment.ChecksumOK
	}
	o.tracker.Add(flow.Moment{Frame: o.frame, At: int64(e.At)}, &whole, capture.Detail{Kept: len(s.Payload), IPLen: 40 + len(s.Payload)})
	o.history = append(o.history, o.states)
	if e.Conn == 0 || e.Kind == engine.EventDrop {
		return
	}
	o.compare++
	side := flow.Local
	if o.ends[side].Addr != e.Local {
		side = flow.Remote
	}
	o.differs(e, o.states[side], o.seen.Notes)
}

// compareWith holds the states to those that the capture of the same packets
// shows.
func (o *observer) compareWith(t *testing.T, plot string, file []byte) {
	t.Helper()
	in, err := capture.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	reader := &observer{}
	tracker := flow.New(reader, 0)
	var p capture.Packet
	for in.Next(&p) == nil {
		var s segment.Segment
		d, err := new(capture.Decoder).Segment(&p, &s)
		if err != nil {
			continue // what the engine could not read either
		}
		tracker.Add(flow.Moment{Frame: p.Frame, At: p.At}, &s, d)
		reader.history = append(reader.history, reader.states)
	}
	if len(o.history) == 0 || !slices.Equal(o.history, reader.history) {
		t.Errorf("%s: the capture shows\n%v, the engine's events\n%v", plot, reader.history, o.history)
	}
}

// Segment implements flow.Sink.
func (o *observer) Segment(e *flow.Event) {
	o.seen = *e
	for side := range o.states {
		o.states[side] = e.Conn.Ends[side].State
		o.ends[side].Addr = e.Conn.Ends[side].Addr
	}
}

// Gone implements flow.Sink.
func (o *observer) Gone(*flow.Conn) {}

// What an observer cannot know, or not yet: the plot, if it is in one alone, the
// engine's state, and the observer's at the same segment.
var unknowable = map[string]string{
	"SYN-RECEIVED, not LISTEN":                         "a SYN that was not answered yet may have been ignored: the observer waits for the SYN-ACK, which is the next segment",
	"open-backlog-full: SYN-RECEIVED, not ESTABLISHED": "a listener without room ignores the ACK of the handshake, and says nothing",
	"open-backlog-full: SYN-RECEIVED, not CLOSED":      "the engine tells the state that it sends its RST from",
	"close-time-wait-rst: TIME-WAIT, not CLOSED":       "RFC 9293 closes for an RST in TIME-WAIT, and RFC 1337, which the engine follows, does not",
	"close-data-after: CLOSED, not FIN-WAIT-2":         "whether the application still reads shows in the RST, which is the next segment",
}

// The tracker's state of our side is the engine's at every segment of every
// plot, seen from both sides and in both families; and what the engine sent again
// is known as such.
func TestTrackerStatesAreTheEngines(t *testing.T) {
	found, compared := map[string]int{}, map[engine.State]bool{}
	segments := 0
	for _, p := range plots {
		for _, v6 := range []bool{false, true} {
			s := newStory(t, v6)
			var observers [2]*observer
			for side := range s.stacks {
				o := &observer{}
				observers[side] = o
				o.tracker = flow.New(o, 0)
				o.differs = func(e *engine.Event, ours engine.State, notes flow.Notes) {
					segments++
					compared[ours] = ours == e.State || compared[ours]
					if ours != e.State {
						d := fmt.Sprintf("%s, not %s", e.State, ours)
						if unknowable[d] == "" {
							d = p.name + ": " + d
						}
						found[d]++
						if unknowable[d] == "" {
							t.Errorf("%s v6=%v side %d conn %d, %v %s: the engine is in %s", p.name, v6, side, e.Conn, e.Kind == engine.EventSegmentOut, e.Segment, d)
						}
					}
					if e.Kind == engine.EventSegmentOut && e.Note.Resent() != notes.Has(flow.Resent) {
						t.Errorf("%s v6=%v side %d conn %d, %s: the engine's note is %q, the observer's %q", p.name, v6, side, e.Conn, e.Segment, e.Note, notes.Names())
					}
				}
				s.stacks[side] = engine.NewStack(engine.StackConfig{Secret: [32]byte{byte(side + 1)}, Tracer: Tee{s.views[side].tee, o}})
			}
			p.play(s)
			s.run()
			for side, o := range observers {
				s.views[side].end()
				o.compareWith(t, p.name, s.views[side].outs["pcap"].Bytes())
			}
		}
	}
	t.Logf("%d segments", segments)
	for _, s := range []engine.State{engine.SynSent, engine.SynReceived, engine.Established, engine.FinWait1, engine.FinWait2, engine.CloseWait, engine.Closing, engine.LastAck, engine.TimeWait} {
		if !compared[s] {
			t.Errorf("no segment was in %v", s)
		}
	}
	for d := range unknowable {
		if found[d] == 0 {
			t.Errorf("%q is listed and never found", d)
		}
	}
	for _, d := range slices.Sorted(maps.Keys(found)) {
		t.Logf("%4d %s: %s", found[d], d, unknowable[d])
	}
}
