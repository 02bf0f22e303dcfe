package bench

import (
	"errors"
	"fmt"

	"rawtcp/internal/e2e/pingbench"
	"rawtcp/internal/netlab"
)

// accuracyContests are the round-trip times that a tool tells, beside those in a
// capture, P13.
func accuracyContests() []contest {
	const work = "RTT told against a capture"
	c := contest{name: work, measure: measureAccuracy}
	for _, q := range []struct {
		metric string
		goal   float64
	}{{"median error", 2}, {"p99 error", 5}} {
		name := work + ", " + q.metric
		c.comparisons = append(c.comparisons,
			comparison{"P13", name, q.metric, "us", "rawtcp", "", atMost(q.goal)},
			comparison{"P13", name, q.metric, "us", "rawtcp", "hping3", nil},
			comparison{"P13", name, q.metric, "us", "rawtcp", "nping", nil})
	}
	return []contest{c}
}

// measureAccuracy runs what make bench-ping runs, in turns. It has a network of
// its own.
func measureAccuracy(s *Session) (series, error) {
	if s.Rawtcp == "" {
		return nil, errors.New("the built command is needed: make build, and -rawtcp bin/rawtcp")
	}
	lab := netlab.New()
	defer lab.Close()
	a, b, err := pingbench.Pair(lab)
	if err != nil {
		return nil, err
	}
	probes := 200
	if s.Quick {
		probes = 10
	}
	c := contest{name: "round-trip times"}
	for _, t := range pingbench.Tools(s.Rawtcp, b.Addr4(), probes) {
		c.contenders = append(c.contenders, contender{t.Name, func(*Session) (sample, error) {
			got, err := t.Measure(a)
			for range 2 { // a busy machine makes libpcap lose packets: then the two do not match
				if err == nil {
					break
				}
				got, err = t.Measure(a)
			}
			if err == nil && got.Answers == 0 {
				err = fmt.Errorf("no answer to %d probes", probes)
			}
			return sample{"median error": got.P50, "p99 error": got.P99}, err
		}})
	}
	return c.turns(s)
}
