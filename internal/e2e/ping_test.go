package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rawtcp/internal/netlab"
	"rawtcp/segment"
)

// A pingLine is what the tests read of a JSON line of ping.
type pingLine struct {
	Type, Result, Remote, Stamps, Flags, From, Text string
	Conn                                            any
	Seq                                             int
	RTTUS                                           *float64 `json:"rtt_us"`
	MSS                                             *int
	Schema                                          string
	Ping                                            struct {
		Sent, Replies, Refused, Unreachable, Lost, Late, Failed, Open, Duplicates int
		RTT                                                                       *struct {
			Min float64 `json:"min_us"`
			Max float64 `json:"max_us"`
			P50 float64 `json:"p50_us"`
		}
	}
}

// ping runs `rawtcp ping --json`, wants the exit code, and returns the lines.
func ping(t *testing.T, h *netlab.Host, code int, args ...string) []pingLine {
	t.Helper()
	r := run(t, h, nil, append([]string{"ping", "--json"}, args...)...)
	if r.code != code {
		t.Fatalf("rawtcp ping %v: want exit %d, got %s", args, code, r)
	}
	return pingLines(t, r.stdout)
}

func pingLines(t *testing.T, out string) []pingLine {
	t.Helper()
	var lines []pingLine
	for text := range strings.Lines(out) {
		var line pingLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 || lines[0].Type != "start" || lines[0].Schema != "rawtcp/1" {
		t.Fatalf("no start line in\n%s", out)
	}
	if last := lines[len(lines)-1]; last.Type != "summary" || last.Conn != "all" {
		t.Fatalf("the last line is no summary of all\n%s", out)
	}
	return lines
}

// results are those of the probes, in the order of their lines, as "seq result".
func results(lines []pingLine) []string {
	var all []string
	for _, l := range lines {
		if l.Type == "probe" {
			all = append(all, fmt.Sprintf("%d %s", l.Seq, l.Result))
		}
	}
	return all
}

func wantResults(t *testing.T, lines []pingLine, want ...string) {
	t.Helper()
	if got := results(lines); !slices.Equal(got, want) {
		t.Errorf("the probes ended as %q, want %q", got, want)
	}
}

// pingTTL tells our segments from those of our kernel.
const pingTTL = 77

// wantOwnRSTs ends the capture: every RST from our host is one that rawtcp sent,
// and there are n.
func (c *capture) wantOwnRSTs(f family, n int) {
	c.t.Helper()
	c.stop()
	field := map[family]string{v4: "ip", v6: "ipv6"}
	ttl := map[family]string{v4: "ip.ttl", v6: "ipv6.hlim"}
	local := map[family]string{v4: "198.18.0.1", v6: "2001:db8::1"}
	filter := fmt.Sprintf("tcp.flags.reset==1 && %s.src==%s", field[f], local[f])
	out, err := exec.Command("tshark", "-n", "-r", c.file, "-Y", filter, "-T", "fields", "-e", ttl[f]).Output()
	if err != nil {
		c.t.Fatal(err)
	}
	ttls := strings.Fields(string(out))
	own := slices.DeleteFunc(slices.Clone(ttls), func(s string) bool { return s != fmt.Sprint(pingTTL) })
	if len(own) != n || len(own) != len(ttls) {
		c.t.Errorf("want %d RSTs of our own and none of the kernel: hop limits %v", n, ttls)
	}
}

// A reply is measured by the kernel on both sides, and the peer is left with nothing.
func TestPing(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
	both(t, func(t *testing.T, f family) {
		echo := b.MustServe(t, netlab.Echo)
		c := record(t, b, "eth0")
		lines := ping(t, a, 0, "-c", "5", "-i", "0.01", "--ttl", fmt.Sprint(pingTTL), target(f.of(b), echo.Port()))
		wantResults(t, lines, "1 reply", "2 reply", "3 reply", "4 reply", "5 reply")
		for _, l := range lines {
			if l.Type == "probe" && (l.Stamps != "kernel" || l.Flags != "S." || *l.RTTUS <= 0 || *l.RTTUS > 1e6 || l.MSS == nil) {
				t.Errorf("%+v", l)
			}
		}
		last := lines[len(lines)-1]
		if p := last.Ping; p.Sent != 5 || p.Replies != 5 || p.Lost != 0 || p.RTT == nil || p.RTT.Min > p.RTT.P50 || p.RTT.P50 > p.RTT.Max {
			t.Errorf("%+v", last)
		}
		wantNoPeerSockets(t, b)
		if n := echo.Accepted(); n != 0 {
			t.Errorf("%d half-open probes were accepted", n)
		}
		c.wantOwnRSTs(f, 5)
	})
}

// A closed port answers too.
func TestPingRefused(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{})
	both(t, func(t *testing.T, f family) {
		r := mustRun(t, a, nil, "ping", "-c", "2", "-i", "0.01", target(f.of(b), 9))
		if strings.Count(r.stdout, "RST from "+target(f.of(b), 9)) != 2 || !strings.Contains(r.stdout, "2 answered (2 refused), 0 lost (0%)") {
			t.Error(r)
		}
		wantResults(t, ping(t, a, 0, "-c", "1", target(f.of(b), 9)), "1 refused")
	})
}

// dropNth loses the numbered ones, from 1, of the segments that have just these flags.
func dropNth(flags segment.Flags, numbers ...int32) func([]byte) bool {
	var seen atomic.Int32
	return func(packet []byte) bool {
		var s segment.Segment
		return s.Parse(packet) == nil && s.Flags&(segment.SYN|segment.ACK|segment.RST|segment.FIN) == flags &&
			slices.Contains(numbers, seen.Add(1))
	}
}

// A dropped SYN is lost: it is not sent again, and never becomes a slow answer.
func TestPingDroppedSYN(t *testing.T) {
	for _, way := range [][]string{nil, {"--full"}} {
		both(t, func(t *testing.T, f family) {
			t.Parallel()
			a, b, r := netlab.RelayPair(t, netlab.RelayConfig{})
			echo := b.MustServe(t, netlab.Echo)
			if err := r.Set(netlab.AtoB, netlab.Impairment{Drop: dropNth(segment.SYN, 2, 4)}); err != nil {
				t.Fatal(err)
			}
			c := record(t, b, "eth0")
			lines := ping(t, a, 0, append([]string{"-c", "5", "-i", "0.1", "-W", "4", target(f.of(b), echo.Port())}, way...)...)
			wantResults(t, lines, "1 reply", "3 reply", "5 reply", "2 lost", "4 lost")
			if p := lines[len(lines)-1].Ping; p.Lost != 2 || p.Late != 0 || p.RTT.Max > 990_000 { // a SYN is sent again after a second
				t.Errorf("%+v", p)
			}
			syns := 0
			for _, line := range c.end() {
				if strings.Contains(line, "[SYN]") {
					syns++
				}
			}
			if syns != 3 {
				t.Errorf("%d SYNs came through, want 3", syns)
			}
		})
	}
}

// Where only the SYN-ACK was lost, the peer would repeat it for a minute, after
// one second and after three: our RST ends that.
func TestPingDroppedSYNACK(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		t.Parallel()
		a, b, r := netlab.RelayPair(t, netlab.RelayConfig{})
		echo := b.MustServe(t, netlab.Echo)
		if err := r.Set(netlab.BtoA, netlab.Impairment{Drop: dropNth(segment.SYN|segment.ACK, 1, 2)}); err != nil {
			t.Fatal(err)
		}
		lines := ping(t, a, 0, "-c", "2", "-i", "2.5", "-W", "2", target(f.of(b), echo.Port()))
		wantResults(t, lines, "1 lost", "2 reply")
		wantNoPeerSockets(t, b)
	})
}

// What comes after the wait is late: no loss, and not among the times.
func TestPingLate(t *testing.T) {
	const delay = 3 * time.Second // long enough after the wait, and long enough before the end
	for _, way := range [][]string{nil, {"--full"}} {
		both(t, func(t *testing.T, f family) {
			t.Parallel()
			a, b, r := netlab.RelayPair(t, netlab.RelayConfig{})
			echo := b.MustServe(t, netlab.Echo)
			if err := r.Set(netlab.BtoA, netlab.Impairment{Delay: delay}); err != nil {
				t.Fatal(err)
			}
			if err := b.Sysctl("net.ipv4.tcp_synack_retries", "0"); err != nil { // or its second one came a second later
				t.Fatal(err)
			}
			lines := ping(t, a, 1, append([]string{"-c", "2", "-i", "5", "-W", "0.2", target(f.of(b), echo.Port())}, way...)...)
			wantResults(t, lines, "1 lost", "1 late", "2 lost")
			if p := lines[len(lines)-1].Ping; p.Lost != 1 || p.Late != 1 || p.Replies != 0 || p.RTT != nil {
				t.Errorf("%+v", p)
			}
			for _, l := range lines {
				if l.Result == "late" && l.Type == "probe" && *l.RTTUS < float64(delay.Microseconds()) {
					t.Errorf("late after %v us", *l.RTTUS)
				}
			}
		})
	}
}

// A network that doubles packets does not double replies.
func TestPingDuplicate(t *testing.T) {
	a, b, r := netlab.RelayPair(t, netlab.RelayConfig{})
	echo := b.MustServe(t, netlab.Echo)
	if err := r.Set(netlab.BtoA, netlab.Impairment{Duplicate: 1}); err != nil {
		t.Fatal(err)
	}
	lines := ping(t, a, 0, "-c", "2", "-i", "2", target(b.Addr4(), echo.Port()))
	if p := lines[len(lines)-1].Ping; p.Sent != 2 || p.Replies != 2 || p.Duplicates < 1 {
		t.Errorf("%+v", p)
	}
}

// Several targets at once, of both families; one of them is silent.
func TestPingSeveralTargets(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
	echo := b.MustServe(t, netlab.Echo)
	reject(t, b, "tcp dport 99 drop")
	silent := target(b.Addr4(), 99)
	open4, open6, closed := target(b.Addr4(), echo.Port()), target(b.Addr6(), echo.Port()), target(b.Addr4(), 9)
	lines := ping(t, a, 0, "-c", "3", "-i", "0.05", "-W", "3", open4, open6, closed, silent)
	got := map[string]string{}
	for _, l := range lines {
		if l.Type == "summary" && l.Conn != "all" {
			got[l.Remote] = fmt.Sprint(l.Ping.Sent, l.Ping.Replies, l.Ping.Refused, l.Ping.Lost, " ", l.Result)
		}
	}
	want := map[string]string{open4: "3 3 0 0 closed", open6: "3 3 0 0 closed", closed: "3 0 3 0 refused", silent: "3 0 0 3 timeout"}
	for remote, numbers := range want {
		if got[remote] != numbers {
			t.Errorf("%s: %q, want %q", remote, got[remote], numbers)
		}
	}
	if p := lines[len(lines)-1].Ping; p.Sent != 12 || p.Replies != 6 || p.Refused != 3 || p.Lost != 3 {
		t.Errorf("%+v", p)
	}
}

// reject gives h's firewall a rule for what comes in.
func reject(t *testing.T, h *netlab.Host, rule string) {
	t.Helper()
	rules := "table inet t {\nchain c {\ntype filter hook input priority 0;\n" + rule + ";\n}\n}\n"
	if r := runProgram(t, h, strings.NewReader(rules), "nft", "-f", "-"); r.code != 0 {
		t.Fatal(r)
	}
}

// An ICMP error is told with its sender.
func TestPingICMP(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{})
	reject(t, b, "tcp dport 81 reject with icmpx type admin-prohibited")
	both(t, func(t *testing.T, f family) {
		for _, way := range [][]string{nil, {"--full"}} {
			lines := ping(t, a, 1, append([]string{"-c", "2", "-i", "0.05", target(f.of(b), 81)}, way...)...)
			wantResults(t, lines, "1 unreachable", "2 unreachable")
			if l := lines[1]; l.From != f.of(b).String() || !strings.Contains(l.Text, "prohibited") {
				t.Errorf("%+v", l)
			}
		}
	})
}

// A whole connection is closed with FINs, and nobody sends a RST.
func TestPingFull(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
	both(t, func(t *testing.T, f family) {
		echo := b.MustServe(t, netlab.Echo)
		c := record(t, b, "eth0")
		lines := ping(t, a, 0, "--full", "-c", "5", "-i", "0.02", target(f.of(b), echo.Port()))
		wantResults(t, lines, "1 reply", "2 reply", "3 reply", "4 reply", "5 reply")
		for _, l := range lines {
			if l.Type == "probe" && l.Stamps != "kernel" {
				t.Errorf("%+v", l)
			}
		}
		eventually(t, patience, "5 connections are accepted", func() bool { return echo.Accepted() == 5 })
		wantNoPeerSockets(t, b)
		c.wantNoRST(f.of(a))
		wantResults(t, ping(t, a, 0, "--full", "-c", "1", target(f.of(b), 9)), "1 refused")
	})
}

// SIGQUIT says where things stand and goes on; Ctrl-C ends it with the sums.
func TestPingSignals(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{})
	echo := b.MustServe(t, netlab.Echo)
	for _, way := range [][]string{nil, {"--full"}} {
		p := start(t, a, nil, "seq=2", rawtcp, append([]string{"ping", "-i", "0.05", target(b.Addr4(), echo.Port())}, way...)...)
		p.signal(syscall.SIGQUIT)
		eventually(t, patience, "a status line", func() bool { return strings.Contains(p.text(), "min/avg/p99/max") })
		at := strings.Count(p.text(), "SYN-ACK from")
		eventually(t, patience, "it goes on", func() bool { return strings.Count(p.text(), "SYN-ACK from") > at })
		p.signal(os.Interrupt)
		if code := p.wait(); code != 0 || !strings.Contains(p.text(), "rtt p50/p95/p99") {
			t.Errorf("exit %d\n%s", code, p.text())
		}
	}
	reject(t, b, "tcp dport 99 drop")
	p := start(t, a, nil, "PING", rawtcp, "ping", "-W", "60", target(b.Addr4(), 99))
	p.signal(os.Interrupt)
	if code := p.wait(); code != 130 || !strings.Contains(p.text(), "0 lost (0%), 0 late, 1 still open") {
		t.Errorf("exit %d\n%s", code, p.text())
	}
}

// The deadline of the run ends it without an answer too, and that is exit code 1.
func TestPingDeadline(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{})
	reject(t, b, "tcp dport 99 drop")
	lines := ping(t, a, 1, "-w", "4", "-W", "0.5", "-i", "1", target(b.Addr4(), 99))
	if p := lines[len(lines)-1].Ping; p.Sent < 2 || p.Sent > 9 || p.Lost == 0 {
		t.Errorf("%+v", p)
	}
}
