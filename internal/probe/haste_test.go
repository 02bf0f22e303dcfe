package probe_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/probe"
	"rawtcp/internal/puppet"
	"rawtcp/internal/simnet"
)

// departures are when what we have sent left.
type departures []time.Duration

func (d *departures) Trace(e *engine.Event) {
	if e.Kind == engine.EventSegmentOut {
		*d = append(*d, time.Duration(e.At))
	}
}

// crowded runs rows about a host's timers beside quick ones that always have something
// to send.
func crowded(t *testing.T, rate, lanes int, delay time.Duration) (*probe.Report, departures) {
	var left departures
	s := subject{service: "http", rate: rate, lanes: lanes, road: simnet.PathConfig{Delay: delay}, tracer: &left}
	rows := []string{"D7", "D3"}
	for _, row := range probe.Rows() {
		// C12 sends ten packets together, which no rate of ten has if two are kept.
		if row.Risk&(probe.Slow|probe.Passive|probe.Intrusive) == 0 && row.ID != "D3" && row.ID != "C12" {
			rows = append(rows, row.ID)
		}
	}
	return s.probe(t, rows...), left
}

// TestHaste: where many wait to send, each probe of a closed window is answered at
// once, the row about SACK is as fast as alone, and no second has more packets than
// it may have.
func TestHaste(t *testing.T) {
	const delay = time.Millisecond
	for rate, lanes := range map[int]int{10: 8, 100: 40} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			r, left := crowded(t, rate, lanes, delay)
			want(t, r, map[string]string{"D7": "backoff", "D3": "rack"})
			for i := range r.Results {
				if res := &r.Results[i]; (res.Row.ID == "D3" || res.Row.ID == "D7") && res.Tries != 1 {
					t.Errorf("%s was tried %d times\n%s", res.Row.ID, res.Tries, evidence(r, res.Row.ID))
				}
				if res := &r.Results[i]; res.Row.ID == "D7" {
					answeredWithin(t, res, 2*delay)
				}
			}
			full := 0
			for i := range left[rate:] {
				gap := left[i+rate] - left[i]
				if gap < time.Second {
					t.Fatalf("%d packets left within %v", rate+1, gap)
				}
				if gap < 1500*time.Millisecond {
					full++
				}
			}
			t.Logf("%d packets in %v, %d of them in full seconds", len(left), r.Took, full)
			if full < 5*rate {
				t.Errorf("%d packets in full seconds: nobody had to wait", full)
			}
		})
	}
}

// TestSlowStart: a handshake that took long, since the address had to be found or a
// machine was busy, makes no later row too slow for the host's timers.
func TestSlowStart(t *testing.T) {
	expected := answersD.of("http", byEngine)
	r := subject{service: "http", slow: 400 * time.Millisecond}.probe(t, keys(expected)...)
	want(t, r, expected)
	for _, res := range r.Results {
		if res.Row.Risk&probe.Slow == 0 && res.Tries != 1 {
			t.Errorf("%s was tried %d times", res.Row.ID, res.Tries)
		}
	}
}

// TestSlowHandshakes: an answer is one, though it comes sooner than that of the
// handshake did, which took long for a reason of its own.
func TestSlowHandshakes(t *testing.T) {
	expected := map[string]string{"A1": "open", "D3": "rack", "D4": answersD.of("http", byEngine)["D4"]}
	r := subject{service: "http", falter: 5 * time.Millisecond}.probe(t, keys(expected)...)
	want(t, r, expected)
	for _, res := range r.Results {
		if res.Tries != 1 {
			t.Errorf("%s was tried %d times", res.Row.ID, res.Tries)
		}
	}
}

// answeredWithin checks that something left soon after each probe of the closed
// window had come.
func answeredWithin(t *testing.T, r *probe.Result, soon time.Duration) {
	t.Helper()
	probes := 0
	closed := false
	for i, rec := range r.Record {
		e := rec.Event
		if e.Kind == engine.EventSegmentOut && e.Segment.Window == 0 {
			closed = true
			continue
		}
		if !closed || e.Kind != engine.EventSegmentIn || !e.Segment.Seq.Less(e.Vars.RcvNxt) {
			continue
		}
		at := slices.IndexFunc(r.Record[i:], func(rec puppet.Record) bool { return rec.Event.Kind == engine.EventSegmentOut })
		if at < 0 {
			continue
		}
		probes++
		if waited := time.Duration(r.Record[i+at].Event.At - e.At); waited > soon {
			t.Errorf("probe %d waited for its answer for %v\n%v", probes, waited, e.Segment)
		}
	}
	if probes < 6 {
		t.Errorf("%d probes of the closed window came", probes)
	}
}
