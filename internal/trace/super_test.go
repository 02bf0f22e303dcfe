package trace

import (
	"strings"
	"testing"

	"rawtcp/engine"
)

// A super-segment is several segments to whoever counts, and its line says how many,
// and that the checksum is yet to be finished.
func TestSuperSegmentIsSeveral(t *testing.T) {
	var before, after Summary
	text := jsonOf(t, func(j *JSONLines) {
		c := NewCollector()
		s := newScript(Tee{j, c})
		s.send(engine.Event{Kind: engine.EventSegmentOut, Segment: s.parse("> P. 1:1001(1000) ack 1 win 7")})
		before, _ = c.Peek(1)
		seg := s.parse("> . 1001:4501(3500) ack 1 win 7")
		seg.SegmentSize = 1000
		s.send(engine.Event{Kind: engine.EventSegmentOut, Segment: seg})
		after, _ = c.Peek(1)
	})
	if before.SegmentsSent != 1 || after.SegmentsSent != 5 || after.BytesSent != 4500 {
		t.Errorf("%d segments, then %d with %d octets", before.SegmentsSent, after.SegmentsSent, after.BytesSent)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, `"len":3500,"segments":4,`) || !strings.Contains(last, `"checksum":"partial"`) {
		t.Errorf("the line is %s", last)
	}
	if strings.Count(text, `"segments"`) != 1 {
		t.Errorf("another segment is told as several:\n%s", text)
	}
}
