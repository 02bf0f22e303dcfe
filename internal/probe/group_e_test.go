package probe_test

import (
	"slices"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
	"rawtcp/segment"
)

var answersE = answers{
	"E1":  {engine: "ten", kernel: "ten", service: "http"},
	"E2":  {engine: "restarts", kernel: "kept", slow: true}, // by default this one has BBR
	"E3":  {engine: "bytes", kernel: "bytes", service: "http"},
	"E4":  {engine: "refused", kernel: "refused", service: "http"},
	"E5":  {engine: "cubic", kernel: "rate", service: "http", slow: true},
	"E6":  {engine: "delayed", kernel: "at-once|delayed", service: "none"}, // as the service is fast or slow to read
	"E7":  {engine: "at-once", kernel: "at-once"},
	"E8":  {engine: "exact", kernel: "exact"},
	"E9":  {engine: "reported", kernel: "reported"},
	"E10": {engine: "beyond", kernel: "inside", service: "http"},
	"E11": {engine: "waits", kernel: "waits", service: "http"},
	"E12": {engine: "first", kernel: "last"},
	"E13": {engine: "large", kernel: "large", slow: true},
}

var breakagesE = []breakage{
	{
		name: "sends no ACK of what is early",
		host: broken{toUs: func(_ *broken, s *segment.Segment) *segment.Segment {
			early := s.Options.Blocks()
			if s.Flags == segment.ACK && s.Len() == 0 && len(early) > 0 && s.Ack.Less(early[0].Start) {
				return nil
			}
			return s
		}},
		found: map[string]string{"E7": "none", "E8": "unknown: data beyond a gap", "E12": "unknown: data beyond a gap", "B10": "unknown: no ACK came"},
	},
	{
		name: "tells SACK blocks that are one octet off",
		host: broken{toUs: func(_ *broken, s *segment.Segment) *segment.Segment {
			for i := range s.Options.Blocks() {
				s.Options.SACK[i].End, s.Options.Raw = s.Options.SACK[i].End.Add(1), nil
			}
			return s
		}},
		found: map[string]string{"E8": "shifted", "E9": "unreported"},
	},
	{
		name: "tells the oldest SACK block first",
		host: broken{toUs: func(_ *broken, s *segment.Segment) *segment.Segment {
			slices.Reverse(s.Options.Blocks())
			if s.Options.SACKCount > 0 {
				s.Options.Raw = nil
			}
			return s
		}},
		found: map[string]string{"E8": "order"},
	},
	{
		name: "takes a small window for a large one",
		host: broken{toIt: func(_ *broken, s *segment.Segment) *segment.Segment {
			if !s.Flags.Any(segment.SYN|segment.RST) && s.Window > 0 && s.Window < 1000 {
				s.Window = 65535
			}
			return s
		}},
		found: map[string]string{"B8": "exceeded", "E11": "exceeded"},
	},
}

// TestWindowUpdate: a host whose buffers can be filled opens its window in large
// steps.
func TestWindowUpdate(t *testing.T) {
	s := subject{conn: engine.ConnConfig{SendBuffer: 16 << 10, ReceiveBuffer: 32 << 10}}
	want(t, s.probe(t, "E13"), map[string]string{"E13": "large"})
	s = subject{road: simnet.PathConfig{Delay: 10 * time.Millisecond, Bandwidth: 40 << 10}} // on which a megabyte takes longer than patience
	want(t, s.probe(t, "E13"), map[string]string{"E13": "large"})
}
