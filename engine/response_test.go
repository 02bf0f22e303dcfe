package engine

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func TestExplore(t *testing.T) {
	for _, name := range []string{"reno", "cubic"} {
		for _, rtt := range []time.Duration{100 * ms, 400 * ms, 800 * ms} {
			for _, p := range []float64{0.001, 0.005, 0.02} {
				for _, mode := range []string{"random", "every"} {
					start := time.Now()
					total, secs := 0, 0.0
					var rto uint64
					for seed := range uint64(2) {
						path := coursePath{rtt: rtt, cfg: ConnConfig{Congestion: name, SendBuffer: 1 << 22}, server: ConnConfig{ReceiveBuffer: 1 << 22}}
						if mode == "random" {
							path.loss = p
						} else {
							path.every = int(1 / p)
						}
						c := newCourse(t, seed, path, -1)
						span := rtt * 2000
						c.run(span / 4)
						total += c.run(span)
						secs += span.Seconds()
						rto += c.a.stats().Timeouts
					}
					w := float64(total) / secs * rtt.Seconds() / 1448
					reno := math.Sqrt(1.5 / p)
					cub := 1.054 * math.Pow(rtt.Seconds(), .75) / math.Pow(p, .75)
					fmt.Printf("%s rtt %v p %v %s: W %.1f reno %.1f (%.2f) cubic %.1f (%.2f) rto %d %v\n", name, rtt, p, mode, w, reno, w/reno, cub, w/cub, rto, time.Since(start).Round(ms))
				}
			}
		}
	}
}
