package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A Report is what a run found.
type Report struct {
	Machine Machine       `json:"machine"`
	Calm    Calm          `json:"calm"`
	Tally   Tally         `json:"tally"`
	Rounds  int           `json:"rounds"`
	Length  time.Duration `json:"length_ns"` // of one measurement
	Warm    time.Duration `json:"warm_ns"`   // before it
	TestCPU string        `json:"test_cpu"`
	PeerCPU string        `json:"peer_cpu"`
	Began   time.Time     `json:"began"`
	Took    time.Duration `json:"took_ns"`
	Only    []string      `json:"only,omitempty"`
	Rows    []Row         `json:"rows"`
}

// heading is the first line of both tables.
var heading = []string{"goal", "work", "unit", "ours", "figure", "peer", "figure", "peer's spread", "ratio", "quartiles", "asked", "verdict"}

// cells are a row as both tables show it.
func (r Row) cells() []string {
	peer, figure, spread, ratio, quartiles := "-", "-", "-", "-", number(r.Ours.Low)+" to "+number(r.Ours.High)
	if r.Peer != nil {
		peer, figure, spread = r.Peer.Name, number(r.Peer.Median), fmt.Sprintf("%.0f %%", 100*r.Peer.Spread)
		ratio, quartiles = number(r.Ratio.Median), number(r.Ratio.Low)+" to "+number(r.Ratio.High)
	}
	asked := "-"
	if r.Bound != nil {
		asked = r.Bound.String()
	}
	return []string{r.Goal, r.Work, r.Unit, r.Ours.Name, number(r.Ours.Median), peer, figure, spread, ratio, quartiles, asked, r.Verdict()}
}

// Print writes the table for a terminal.
func (r Report) Print(w io.Writer) {
	fmt.Fprintln(w, r.Machine)
	fmt.Fprintln(w, r.Tally)
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, strings.Join(heading, "\t"))
	for _, row := range r.Rows {
		fmt.Fprintln(tab, strings.Join(row.cells(), "\t"))
	}
	tab.Flush()
	fmt.Fprintln(w, r.score())
}

// score counts the rows that something was asked of.
func (r Report) score() string {
	met, missed := 0, []string{}
	for _, row := range r.Rows {
		switch row.Verdict() {
		case "met":
			met++
		case "MISSED":
			missed = append(missed, row.Goal)
		}
	}
	text := fmt.Sprintf("%d of %d rows with a bound meet it", met, met+len(missed))
	if len(missed) > 0 {
		text += "; missed by rows of " + strings.Join(slices.Compact(missed), ", ")
	}
	return text
}

// Markdown writes docs/benchmarks.md.
func (r Report) Markdown(w io.Writer) {
	fmt.Fprintf(w, "# Benchmarks\n\nWritten by `make bench` on %s in %v. A missed goal is a row like every other.\n\n",
		r.Began.UTC().Format("2006-01-02 15:04 UTC"), r.Took.Round(time.Second))
	fmt.Fprintf(w, "**%s.**\n\n## Machine\n\n%v. %v\n\n| what | version |\n|---|---|\n", r.score(), r.Machine, r.Tally)
	for _, name := range slices.Sorted(maps.Keys(r.Machine.Versions)) {
		fmt.Fprintf(w, "| %s | %s |\n", name, r.Machine.Versions[name])
	}
	fmt.Fprintf(w, method, r.Rounds, turnsPerRound, r.Length, exchangesPerRound, r.Length*2/5, lapsPerRound, slicesPerLap, slice,
		100*r.Calm.Limit, 100*MaxSpread, r.Machine.Congestion, r.Warm, r.TestCPU, r.PeerCPU)
	fmt.Fprintf(w, "\n## Results\n")
	goal, missed := "", false
	for _, row := range r.Rows {
		if row.Goal != goal {
			pointTo(w, goal, missed)
			goal, missed = row.Goal, false
			fmt.Fprintf(w, "\n### %s: %s\n\n| %s |\n|%s\n", goal, subjects[goal], strings.Join(heading[1:], " | "), strings.Repeat("---|", len(heading)-1))
		}
		cells := row.cells()[1:]
		if row.Verdict() == "MISSED" {
			cells[len(cells)-1], missed = "**missed**", true
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
	pointTo(w, goal, missed)
	fmt.Fprint(w, "\n", repeatIt)
}

// pointTo says where to read why a goal was missed.
func pointTo(w io.Writer, goal string, missed bool) {
	if !missed || len(reasons[goal]) == 0 {
		return
	}
	var links []string
	for _, name := range reasons[goal] {
		links = append(links, fmt.Sprintf("[%s](adr/%s.md)", name, name))
	}
	fmt.Fprintf(w, "\nWhere the time goes, and what was tried: %s.\n", strings.Join(links, ", "))
}

// reasons are the decisions in docs/adr that tell where the time of a goal's work goes.
var reasons = map[string][]string{
	"P1":  {"0024-what-parsing-costs"},
	"P2":  {"0024-what-parsing-costs"},
	"P3":  {"0011-vector-code-for-the-checksum"},
	"P4":  {"0019-a-driver-for-many-handshakes", "0027-small-packets-by-the-thousand"},
	"P5":  {"0022-who-waited-goes-first"},
	"P6":  {"0027-small-packets-by-the-thousand"},
	"P7":  {"0016-super-segments", "0026-what-bulk-transfer-need-not-pay"},
	"P8":  {"0020-batches-and-no-ring-for-receiving", "0023-a-ring-of-small-slots"},
	"P9":  {"0018-shards-of-a-host", "0026-what-bulk-transfer-need-not-pay"},
	"P10": {"0023-a-ring-of-small-slots"},
	"P11": {"0022-who-waited-goes-first"},
	"P12": {"0012-memory-of-a-stack"},
}

// subjects say what each goal is about.
var subjects = map[string]string{
	"P1":  "parsing",
	"P2":  "building",
	"P3":  "the checksum",
	"P4":  "connections, 64 at a time",
	"P5":  "connections, one at a time",
	"P6":  "half-open probes",
	"P7":  "one stream, sending, offloads on",
	"P8":  "one stream, receiving, offloads on",
	"P9":  "sixteen streams",
	"P10": "one stream, offloads off",
	"P11": "one octet there and back",
	"P12": "memory of an idle connection",
	"P13": "accuracy of round-trip times",
	"P14": "allocations",
	"P15": "processor time",
}

const method = `
## Method

- **Ratios in one run.** Absolute figures hold on no other machine. Every row comes from contenders that took turns. One turn of each is a lap, every second lap in the
  opposite order, A B B A; several laps are a round, and the figure of a round is the median of its laps. A ratio is that of two figures of one round; the table has its median
  over %d rounds, and the quartiles beside it.
- **Laps.** Streams, connections and probes: %d laps a round, each turn %v. One octet there and back: %d of %v. The codec: %d, and in each %d slices of %v of every contender
  in turns, whose median is the figure. Round-trip times: one, of 200 probes.
- **Calm.** On a virtual machine others take the processors away, which the kernel counts. A lap in which they had more than %.1f %% of the time it needed is played again after a
  rest, as long as patience lasts and at most as many laps as were wanted; the calmest are kept. Nothing but that count decides it. What it came to stands under Machine.
- **A restless machine is not published.** The spread of a contender is the distance between the quartiles of its rounds, as a share of the median. If one of the peers of
  a row with a bound has a spread above %.0f %%, the contest is held again, twice at most; then the run is printed, this file is not written, and the command fails.
- **The road** is a veth pair between two network namespaces of one kernel, MTU 1500, %s on the kernel's side, no metrics remembered between turns. gVisor has a
  namespace of its own in which the kernel has no address. Each turn has a port that no other had.
- **Each side is a process of its own.** Before %v after the first octet nothing counts (a third of that where single octets go). The tested side, and the codec, is pinned to processor %s, the
  kernel's side to processor %s; with sixteen streams the tested side may use both. A sender's rate is what arrived on the other side.
- **Peers.** *Go net* is the kernel's TCP through package net, in the very program that runs ours. *gvisor* is netstack on a packet socket as runsc sets it up (recvmmsg,
  socket buffers of 4 MiB, windows tuned), its GRO on for streams; with host GSO super-segments of 64 KiB pass in both directions. *iperf3* is the distribution's. Our side is ` + "`engine.Host`" + ` on
  ` + "`rawsock`" + ` with no setting changed, over the raw socket and over the packet socket.
- **Memory** is weighed once: nothing in it depends on the clock. The kernel's figure is by how much all its slabs grew, for the other ends of the very connections that ours are.
- **CPU** is that of the tested process by getrusage, its system calls included. What the softirq does in another's name is not in it.
`

const repeatIt = `## How to repeat it

    make bench                     # all of it, twelve minutes, or up to twenty-five if the machine is restless; writes this file
    make bench BENCH='-only P7,P8' # some goals; writes nothing
    make bench BENCH='-json'       # the same as JSON on standard output

It needs root, or a host that allows user namespaces, and installs iperf3 and hping3 if they are missing and it may. Its traffic stays in namespaces of its own.
`
