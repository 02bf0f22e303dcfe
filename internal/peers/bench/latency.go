package bench

import (
	"context"
	"io"
	"net"
	"slices"
	"time"
)

// latencyContests are one octet there and back, P11.
func latencyContests() []contest {
	c := contest{name: "1-octet ping-pong", laps: exchangesPerRound, setUp: func(s *Session) error { return s.enter(true) }}
	for _, stack := range []string{ourRaw, ourPacket, ourSpinning, goNet, gvisorGSO} {
		c.contenders = append(c.contenders, contender{stack, func(s *Session) (sample, error) {
			return s.play(stack, "pingpong", "echo", func(spec *Spec) { spec.Length, spec.Warm = s.Length*2/5, s.Warm/3 })
		}})
	}
	for _, us := range []string{ourRaw, ourPacket} {
		asked := map[string]*Bound{ourRaw: atMost(1)}[us]
		for _, quantile := range []string{"p50", "p99"} {
			c.comparisons = append(c.comparisons,
				comparison{"P11", c.name + ", " + quantile, quantile, "us", us, goNet, asked},
				comparison{"P11", c.name + ", " + quantile, quantile, "us", us, gvisorGSO, nil})
		}
	}
	c.comparisons = append(c.comparisons,
		comparison{"P11", c.name + ", p50", "p50", "us", ourSpinning, goNet, atMost(0.5)},
		comparison{"P11", c.name + ", p99", "p99", "us", ourSpinning, goNet, nil})
	return []contest{c}
}

// exchangesPerRound is how many turns of each a round has: shorter ones than of
// streams, and more, for there is no window to open, while a stall of the machine
// moves the slowest hundredth of a whole turn.
const exchangesPerRound = 9

// pingpong is the tested side: an octet goes when the one before has come back.
func pingpong(spec Spec) (sample, error) {
	s, err := openStack(spec)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), shortTimeout)
	defer cancel()
	c, err := s.Dial(ctx, spec.Remotes[0])
	if err != nil {
		return nil, err
	}
	if c, ok := c.(interface{ SetNoDelay(bool) error }); ok {
		if err := c.SetNoDelay(true); err != nil {
			return nil, err
		}
	}
	took := make([]time.Duration, 0, 1<<20)
	for start := time.Now(); time.Since(start) < spec.Warm+spec.Length || len(took) == 0; {
		one, err := thereAndBack(c)
		if err != nil {
			return nil, err
		}
		if time.Since(start) > spec.Warm {
			took = append(took, one)
		}
	}
	slices.Sort(took)
	us := func(q float64) float64 { return float64(took[int(q*float64(len(took)))].Nanoseconds()) / 1000 }
	return sample{"p50": us(0.50), "p99": us(0.99)}, nil
}

func thereAndBack(c net.Conn) (time.Duration, error) {
	var octet [1]byte
	start := time.Now()
	if _, err := c.Write(octet[:]); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(c, octet[:])
	return time.Since(start), err
}

// echo is the kernel's side.
func echo(spec Spec) (sample, error) {
	return sample{}, listen(spec, func(c net.Conn) {
		var octet [1]byte
		for {
			if _, err := c.Read(octet[:]); err != nil {
				return
			}
			if _, err := c.Write(octet[:]); err != nil {
				return
			}
		}
	})
}
