package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// bulkContests are one stream and sixteen, with offloads and without, P7 to P10,
// and with them what a segment allocates and an octet costs, P14 and P15.
func bulkContests() []contest {
	all := []contest{sendContest(), receiveContest()}
	for _, direction := range []string{"send", "receive"} {
		all = append(all, sixteenContest(direction))
	}
	for _, direction := range []string{"send", "receive"} {
		all = append(all, bareContest(direction))
	}
	return all
}

const rate = "Gbit/s"

func sendContest() contest {
	const work = "one stream, send"
	c := bulk(work, "send", 1, true, ourRaw, ourPacket, goNet, iperf3, gvisorGSO, gvisorNoGSO, rawCeiling)
	c.comparisons = []comparison{
		{"P7", work, rate, rate, ourPacket, goNet, atLeast(1)},
		{"P7", work, rate, rate, ourPacket, gvisorGSO, atLeast(2.2)},
		{"P7", work, rate, rate, ourPacket, iperf3, nil},
		{"P7", work, rate, rate, ourRaw, rawCeiling, atLeast(0.65)},
		{"P7", work, rate, rate, ourRaw, gvisorNoGSO, atLeast(2.5)},
		{"P7", work, rate, rate, ourRaw, goNet, nil},
	}
	c.comparisons = append(c.comparisons, costs(work)...)
	return c
}

func receiveContest() contest {
	const work = "one stream, receive"
	c := bulk(work, "receive", 1, true, ourRaw, ourPacket, goNet, iperf3, gvisorGSO)
	for _, us := range []string{ourRaw, ourPacket} {
		c.comparisons = append(c.comparisons,
			comparison{"P8", work, rate, rate, us, gvisorGSO, atLeast(1.2)},
			comparison{"P8", work, rate, rate, us, goNet, atLeast(0.65)},
			comparison{"P8", work, rate, rate, us, iperf3, nil})
	}
	c.comparisons = append(c.comparisons, costs(work)...)
	return c
}

// turnsPerRound is how many turns each has in a round: the median of three stands
// one that a stall spoiled.
const turnsPerRound = 3

// sixteenContest is sixteen streams at a time, and two processors for them.
func sixteenContest(direction string) contest {
	work := "sixteen streams, " + direction
	c := bulk(work, direction, 16, true, ourPacket, goNet, gvisorGSO)
	c.comparisons = []comparison{
		{"P9", work, rate, rate, ourPacket, gvisorGSO, atLeast(1.5)},
		{"P9", work, rate, rate, ourPacket, goNet, nil},
	}
	return c
}

// bareContest is one stream over a road where nobody cuts or sums for us.
func bareContest(direction string) contest {
	work := "one stream, offloads off, " + direction
	c := bulk(work, direction, 1, false, ourRaw, ourPacket, goNet, iperf3, gvisorGSO)
	asked := map[string]float64{"send": 1, "receive": 0.95}[direction]
	c.comparisons = []comparison{
		{"P10", work, rate, rate, ourPacket, goNet, atLeast(asked)},
		{"P10", work, rate, rate, ourPacket, gvisorGSO, atLeast(1.8)},
		{"P10", work, rate, rate, ourPacket, iperf3, nil},
		{"P10", work, rate, rate, ourRaw, goNet, nil},
	}
	return c
}

// costs are the rows of P14 and P15 that a contest with one stream makes.
func costs(work string) []comparison {
	var rows []comparison
	for _, us := range []string{ourRaw, ourPacket} {
		rows = append(rows, comparison{"P14", work, allocations, allocations, us, "", atMost(noAllocation)})
	}
	for _, us := range []string{ourRaw, ourPacket} {
		for _, peer := range []string{goNet, gvisorGSO} {
			rows = append(rows, comparison{"P15", work, cpuTime, cpuTime, us, peer, nil})
		}
	}
	return rows
}

const (
	allocations = "allocations/segment"
	cpuTime     = "CPU s/GB"

	// noAllocation is what the runtime's own housekeeping may come to.
	noAllocation = 0.001
)

// bulk is a contest of streams that send or receive.
func bulk(name, direction string, streams int, offload bool, names ...string) contest {
	c := contest{name: name, laps: turnsPerRound, setUp: func(s *Session) error { return s.enter(offload) }}
	role := map[string]string{"send": "sink", "receive": "source"}[direction]
	for _, stack := range names {
		role := role
		if stack == rawCeiling {
			role = noRole
		}
		run := func(s *Session) (sample, error) {
			got, err := s.play(stack, direction, role, func(spec *Spec) { spec.Streams, spec.Wide = streams, streams > 1 })
			if arrived, ok := got["peer "+rate]; ok && direction == "send" {
				got[rate] = arrived // what was written is not yet what arrived
			}
			return got, err
		}
		if stack == iperf3 {
			run = func(s *Session) (sample, error) { return s.playIperf(direction, streams) }
		}
		c.contenders = append(c.contenders, contender{stack, run})
	}
	return c
}

// playIperf runs iperf3 on both sides.
func (s *Session) playIperf(direction string, streams int) (sample, error) {
	to, port := remotes(s.lab.toTested)[0].String(), strconv.Itoa(int(s.nextPort()))
	server, err := s.startProgram(s.lab.kernel, s.peerCPU, "iperf3", "-s", "-1", "--forceflush", "-B", to, "-p", port)
	if err != nil {
		return nil, err
	}
	defer server.kill()
	for line := ""; !strings.HasPrefix(line, "Server listening"); {
		if line, err = server.stdout.ReadString('\n'); err != nil {
			return nil, fmt.Errorf("iperf3 -s: %w", server.wait())
		}
	}
	args := []string{"-c", to, "-p", port, "-J", "-i", "0.2", "-P", strconv.Itoa(streams),
		"-t", strconv.Itoa(int(math.Ceil((s.Warm + s.Length).Seconds())))}
	if direction == "receive" {
		args = append(args, "-R")
	}
	client, err := s.startProgram(s.lab.tested, s.testCPU, "iperf3", args...)
	if err != nil {
		return nil, err
	}
	defer client.kill()
	out, err := client.output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return iperfRate(out, s.Warm)
}

// iperfRate reads the rate after the warm part out of iperf3's JSON.
func iperfRate(out []byte, warm time.Duration) (sample, error) {
	var told struct {
		Intervals []struct {
			Sum struct {
				Start, Seconds, Bytes float64
			}
		}
	}
	if err := json.Unmarshal(out, &told); err != nil {
		return nil, err
	}
	var octets, seconds float64
	for _, i := range told.Intervals {
		if i.Sum.Start >= warm.Seconds() {
			octets, seconds = octets+i.Sum.Bytes, seconds+i.Sum.Seconds
		}
	}
	if seconds == 0 {
		return nil, fmt.Errorf("iperf3 told of no time after the first %v", warm)
	}
	return sample{rate: 8 * octets / seconds / 1e9}, nil
}
