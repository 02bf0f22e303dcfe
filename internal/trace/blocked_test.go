package trace

import (
	"os"
	"testing"
	"time"

	"rawtcp/engine"
)

// A pipe that nobody reads, or a terminal that was stopped, does not delay a
// segment: the transfer finishes, what did not fit is counted, and the end is
// told of the stuck reader after the time that it was given.
func TestABlockedOutputDelaysNothing(t *testing.T) {
	const octets = 16 << 20
	for _, s := range []struct {
		name  string
		start func(t *testing.T, pipe *os.File, link engine.Link) (engine.Tracer, engine.Link, sink)
	}{
		{"ladder", func(_ *testing.T, pipe *os.File, link engine.Link) (engine.Tracer, engine.Link, sink) {
			l := NewLadder(LadderConfig{Out: pipe, Now: time.Now, Verbose: 2})
			return l, link, l
		}},
		{"explain", func(_ *testing.T, pipe *os.File, link engine.Link) (engine.Tracer, engine.Link, sink) {
			l := NewLadder(LadderConfig{Out: pipe, Now: time.Now, Verbose: 2})
			return NewExplain(l), link, l
		}},
		{"json", func(_ *testing.T, pipe *os.File, link engine.Link) (engine.Tracer, engine.Link, sink) {
			j := NewJSONLines(pipe)
			return j, link, j
		}},
		{"pcap", func(t *testing.T, pipe *os.File, link engine.Link) (engine.Tracer, engine.Link, sink) {
			p, err := NewPcap(PcapConfig{Out: pipe, Now: time.Now, Interface: "sim0"})
			if err != nil {
				t.Fatal(err)
			}
			return p, p.Link(link, nil), p
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			reader, pipe, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close() // lets the writer's goroutine go
			defer pipe.Close()
			var out sink
			open, _ := bulkTransfer(t, octets, func(link engine.Link) (engine.Tracer, engine.Link) { return nil, link })
			// Enough for a pcap of more than its queue: some octets, several times.
			stuck := time.Duration(0)
			rounds := 1
			if s.name == "pcap" {
				rounds = 3
			}
			var tracer engine.Tracer
			for range rounds {
				wall, _ := bulkTransfer(t, octets, func(link engine.Link) (engine.Tracer, engine.Link) {
					if p, ok := out.(*Pcap); ok {
						return tracer, p.Link(link, nil)
					}
					if out == nil {
						tracer, link, out = s.start(t, pipe, link)
					}
					return tracer, link
				})
				stuck = max(stuck, wall)
			}
			t.Logf("without a sink %v, with a blocked one at most %v, %d records lost", open, stuck, out.Lost())
			if stuck > 20*open+30*time.Second {
				t.Errorf("the transfer took %v, without a sink %v", stuck, open)
			}
			if out.Lost() == 0 {
				t.Error("nothing was lost: the pipe was not full")
			}
			start := time.Now()
			const patience = 50 * time.Millisecond
			if err := out.Close(patience); err == nil {
				t.Error("Close knows nothing of the stuck reader")
			}
			if took := time.Since(start); took < patience || took > 30*time.Second {
				t.Errorf("Close took %v", took)
			}
		})
	}
}

// A sink is what all outputs have in common.
type sink interface {
	Lost() uint64
	Close(time.Duration) error
}

// A pipe whose reader has gone fails once, and the transfer goes on.
func TestAClosedOutputDelaysNothing(t *testing.T) {
	reader, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	reader.Close()
	j := NewJSONLines(pipe)
	bulkTransfer(t, 1<<20, func(link engine.Link) (engine.Tracer, engine.Link) { return j, link })
	<-j.Failed()
	if j.Err() == nil || j.Lost() == 0 || j.Close(time.Minute) == nil {
		t.Errorf("error %v, %d lines lost", j.Err(), j.Lost())
	}
}
