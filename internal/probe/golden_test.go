package probe_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/probe"
)

// A cell is one of the golden row: what a Linux host with default settings was
// seen to do, and how a run of the battery shows it.
type cell struct {
	row   string
	peer  string // what answers behind the port: one of peers
	linux string // what was measured, in words

	outcome string            // or outcomes, between "|"
	facts   map[string]string // expressions for facts of the row
	absent  string            // a fact that has to be missing
	timer   *timer
}

// A timer is a series of times that the host keeps.
type timer struct {
	fact string

	// gaps are the settings of the host's timer, one after the other; a time of
	// the fact is the sum of those before it. Linux rounds a timer up to a slot of
	// its wheel, which is an eighth of the timer wide at most (kernel/time/timer.c).
	gaps  []time.Duration
	wheel bool // whether it does
	rto   bool // whether the gaps are RTOs after a round trip of no time

	count int // how many times there have to be; 0: at least as many as gaps
}

// rtos are n timeouts that double; the first is 200 ms, and a tick of the clock.
func rtos(n int) (gaps []time.Duration) { return doubling(204*time.Millisecond, n) }

// longer is by how much a first RTO is longer that a round trip went into: the
// mean is the round trip and four times the deviation twice that, or 200 ms
// (RFC 6298 section 2.2, and Linux's minimum).
func longer(trip time.Duration) time.Duration {
	return trip + max(0, 2*trip-200*time.Millisecond)
}

func doubling(first time.Duration, n int) (gaps []time.Duration) {
	for range n {
		gaps = append(gaps, first)
		first *= 2
	}
	return gaps
}

// slack is how far from the truth a time may be.
func slack(d time.Duration) time.Duration { return max(d*3/100, 5*time.Millisecond) }

// late is how much later than it should the timer of a host on a busy machine may
// run out. The median of many runs knows no such excuse.
const late = 100 * time.Millisecond

// bounds are those of a distance between two times.
func (x *timer) bounds(i int) (earliest, latest time.Duration) {
	gap := x.gaps[i]
	earliest, latest = gap-slack(gap), gap+slack(gap)
	if x.wheel {
		latest += gap / 8
	}
	return earliest, latest
}

// check holds the times of a fact to those of the timer of a host that has seen
// round trips of up to trip. stalled is how long the machine stood still about a
// time of the fact.
func (x *timer) check(times []time.Duration, trip time.Duration, stalled func(time.Duration) time.Duration) error {
	if len(times) < len(x.gaps) || x.count > 0 && len(times) != x.count {
		return fmt.Errorf("%d times came: %v", len(times), times)
	}
	last := time.Duration(0)
	for i := range x.gaps {
		still := stalled(last) + stalled(times[i])
		earliest, latest := x.bounds(i)
		earliest, latest = earliest-still, latest+still
		if x.rto {
			latest += longer(trip) << i
		}
		if x.wheel {
			latest += late
		}
		got := times[i] - last
		if got < earliest || got > latest {
			return fmt.Errorf("distance %d is %v, want %v to %v (the host saw round trips of up to %v)", i+1, got, earliest, latest, trip)
		}
		last = times[i]
	}
	return nil
}

// settles holds the medians of many runs to the settings.
func (x *timer) settles(runs [][]time.Duration) error {
	for i := range x.gaps {
		var gaps []time.Duration
		for _, times := range runs {
			gap := times[i]
			if i > 0 {
				gap -= times[i-1]
			}
			gaps = append(gaps, gap)
		}
		slices.Sort(gaps)
		earliest, latest := x.bounds(i)
		if got := gaps[len(gaps)/2]; got < earliest || got > latest {
			return fmt.Errorf("the median of distance %d is %v, want %v to %v", i+1, got, earliest, latest)
		}
	}
	return nil
}

// goldenCells are all that was measured. The words are those of the measurement.
var goldenCells = []cell{
	{row: "A1", peer: "nginx", linux: "SYN-ACK", outcome: "open"},
	{
		row: "A2", peer: "nginx", linux: "1.03, 3.09, 7.28, 15.4, 31.5 s, then quiet (5, no RST)", outcome: "backoff", absent: "end",
		timer: &timer{fact: "synack_at", gaps: doubling(time.Second, 5), wheel: true, count: 5},
	},
	{row: "A3", peer: "nginx", linux: "SYN-ACK, same ISN", outcome: "same"},
	{row: "A4", peer: "nginx", linux: "ACK for old seq", outcome: "ack"},
	{row: "A5", peer: "nginx", linux: "RST, seq right", outcome: "reset"},
	{row: "A6", peer: "nginx", linux: "stops", outcome: "listen"},
	{row: "A7", peer: "nginx", linux: "SYN-ACK, payload not acked", outcome: "syn-only", facts: map[string]string{"acknowledged": "^0 of 5$"}},
	{
		row: "A8", peer: "nginx", linux: "SYN+FIN -, SYN+RST -, FIN -, null -, ACK RST, SYN-ACK RST", outcome: "exact",
		facts: map[string]string{"syn_fin": "^nothing$", "syn_rst": "^nothing$", "fin": "^nothing$", "null": "^nothing$", "ack": "^RST$", "syn_ack": "^RST$"},
	},
	{row: "A9", peer: "nginx", linux: "all exact, R none", outcome: "exact"},

	{row: "B1", peer: "nginx", linux: "SYN-ACK both", outcome: "ignored"},
	{row: "B2", peer: "nginx", linux: "SYN-ACK (ignored), alive", outcome: "ignored"},
	{row: "B3", peer: "nginx", linux: "536", outcome: "default", facts: map[string]string{"largest": "^536 octets$"}},
	{
		row: "B4", peer: "nginx", linux: "minimum 48, others exact", outcome: "honoured",
		facts: map[string]string{"largest": "^1:48 48:48 88:88 256:256 536:536 1000:1000$"},
	},
	{row: "B7", peer: "nginx", linux: "SYN-ACK, own wscale 10", outcome: "taken", facts: map[string]string{"own_shift": "^10$"}},
	{row: "B9", peer: "echo", linux: "accepted", outcome: "accepted"},
	{row: "B11", peer: "echo", linux: "SYN-ACK", outcome: "ignored"},
	{row: "B12", peer: "echo", linux: "silent", outcome: "dropped"},
	{row: "B13", peer: "echo", linux: "acked", outcome: "acked"},
	{
		row: "B14", peer: "nginx", linux: "MD5 silent drop, AO SYN-ACK", outcome: "md5-dropped",
		facts: map[string]string{"md5": "^nothing$", "ao": "^SYN-ACK$"},
	},

	{row: "C1", peer: "echo", linux: "dead", outcome: "dead"},
	{row: "C2", peer: "echo", linux: "challenge", outcome: "challenge"},
	{row: "C3", peer: "echo", linux: "silent", outcome: "silent"},
	{row: "C4", peer: "echo", linux: "dead", outcome: "dead"},
	{row: "C5", peer: "echo", linux: "challenge", outcome: "challenge"},
	{row: "C6", peer: "echo", linux: "challenge", outcome: "challenge"},
	{row: "C7", peer: "echo", linux: "ACK, not accepted", outcome: "refused"},
	{row: "C8", peer: "echo", linux: "ACK, not accepted", outcome: "refused"},
	{row: "C9", peer: "echo", linux: "silent", outcome: "silent"},
	{row: "C10", peer: "echo", linux: "ACK", outcome: "acked"},
	{row: "C11", peer: "echo", linux: "SEQ=SND.NXT ACK=RCV.NXT, no data", outcome: "exact", facts: map[string]string{"challenges": "^3 of 3$"}},
	// Ten at the same moment: the host lets one pass in half a second.
	{row: "C12", peer: "echo", linux: "3 answers to 20 in 0.4 s", outcome: "limited", facts: map[string]string{"challenges": "^[1-3] to 10$"}},
	{row: "C14", peer: "echo", linux: "dup ACK, then ACK covering FIN", outcome: "queued"},
	{row: "C17", peer: "echo", linux: "ACK, not accepted", outcome: "refused"},

	{
		row: "D1", peer: "nginx", linux: ".21 .65 1.48 3.14 6.47 13.1 s (208 ms x 2^n), up to 54 s seen", outcome: "backoff",
		timer: &timer{fact: "repeated_at", gaps: rtos(8), wheel: true, rto: true},
	},
	{
		row: "D1", peer: "nginx", linux: "SACK offered: TLP 5 ms", outcome: "backoff",
		facts: map[string]string{"probe_after": "ms$"}, // D2 measures it
	},
	{
		row: "D2", peer: "nginx", linux: "5 ms after the flight (10 segments), new data, only if we offered SACK", outcome: "new",
		facts: map[string]string{"without_sack": "^none$", "flight": "^14480 octets$"},
		timer: &timer{fact: "probe_after", gaps: []time.Duration{5 * time.Millisecond}},
	},
	{
		row: "D3", peer: "nginx", linux: "hole sent 1 ms after 4 SACKs", outcome: "rack",
		timer: &timer{fact: "after_three", gaps: []time.Duration{time.Millisecond}},
	},
	{row: "D4", peer: "nginx", linux: "new data sent", outcome: "both"},
	{
		row: "D7", peer: "nginx", linux: ".28 .78 1.6 3.3 6.6 13.3 26.6 s (busy run); len 0, seq UNA-1", outcome: "backoff",
		facts: map[string]string{"form": "^0 octets at -1$"},
		timer: &timer{fact: "waits", gaps: rtos(7), wheel: true, rto: true}, // it waits anew after each answer of ours
	},
	{row: "D10", peer: "echo", linux: "both ACKed", outcome: "both"},

	{
		row: "E1", peer: "nginx", linux: "10 x 1460 = 14600", outcome: "ten",
		facts: map[string]string{"segments": "^64:10 536:10 1460:10$"},
	},
	{
		row: "E6", peer: "sink", linux: "first 12 segments ACKed in <2 ms", outcome: "at-once|delayed", // by then it has read, or not
		facts: map[string]string{"first_delayed": "^(|octet 1[3-9]|octet 2[0-9])$"},
		timer: &timer{fact: "median", gaps: []time.Duration{0}},
	},
	{row: "E7", peer: "echo", linux: "immediate duplicate ACK", outcome: "at-once"},
	{
		row: "E8", peer: "echo", linux: "[3,4]; [6,7][3,4]; [9,10][6,7][3,4]", outcome: "exact",
		facts: map[string]string{"at_3": `^\[3,4\]$`, "at_6": `^\[6,7\] \[3,4\]$`, "at_9": `^\[9,10\] \[6,7\] \[3,4\]$`},
	},
	{row: "E9", peer: "echo", linux: "[1,3] first", outcome: "reported", facts: map[string]string{"blocks": `^\[1,3\]`}},
	{row: "E10", peer: "nginx", linux: "500-byte retransmit inside edge", outcome: "inside", facts: map[string]string{"again": "^500 octets at 0$"}},

	{row: "F1", peer: "nginx", linux: "FIN-ACK", outcome: "fin", facts: map[string]string{"fin": "^F[.], 0 octets$"}},
	{row: "F2", peer: "echo", linux: "data, then FIN", outcome: "data"},
	{row: "F3", peer: "closer", linux: "RST", outcome: "reset"},
	{row: "F4", peer: "nginx", linux: "RST", outcome: "reset"},
	{
		row: "F5", peer: "nginx", linux: "ACK at 58 s, RST at 63 s (60 s)", outcome: "ends",
		facts: map[string]string{"after_58s": "^ACK$", "after_1m3s": "^RST$", "fin_wait_2": "^between 58s and 1m3s$"},
	},
	{
		row: "F6", peer: "nginx", linux: "replays restart 2MSL: still ACK at 66 s", outcome: "shorter",
		facts: map[string]string{"time_wait": "^between 55s and 1m5s$", "asked_twice": `^ACK after 1m([6-9]|1\d)s$`},
	},
	{
		row: "F7", peer: "nginx", linux: "seq > SYN-ACK, seq < ACK", outcome: "newer",
		facts: map[string]string{"higher": "^SYN-ACK$", "lower": "^ACK$"},
	},
	{row: "F8", peer: "nginx", linux: "assassinated (tcp_rfc1337=0)", outcome: "assassinated"},
	{
		row: "F9", peer: "echo", linux: ".28 .78 1.5 3.1 6.6 13.3 26.6 54 s (busy run)", outcome: "backoff",
		timer: &timer{fact: "repeated_at", gaps: rtos(8), wheel: true, rto: true},
	},

	{row: "G1", peer: "echo", linux: "ECE", outcome: "agreed"},
	{row: "G5", peer: "echo", linux: "ECE only: classic (tcp_ecn=2)", outcome: "classic", facts: map[string]string{"code": "^001$"}},
	{row: "G6", peer: "echo", linux: "none by default", outcome: "none"},
	{row: "G6", peer: "fast open", linux: "8-byte cookie with sysctl 3", outcome: "cookie", facts: map[string]string{"cookie": "^8 octets$"}},
	{row: "G8", peer: "echo", linux: "plain socket: not echoed", outcome: "plain"},

	{row: "H1", peer: "echo", linux: "same tuple 15.625/us, varied random", outcome: "random", facts: map[string]string{"same_port": `^15\.6[0-9]?/us$`}},
	{row: "H2", peer: "echo", linux: "1000 Hz, random offset per tuple", outcome: "private", facts: map[string]string{"rate": "^(99[89].*|100[012]?|1000|1001|1002) Hz$"}},
}

// peers are the services of the golden row, and what the battery takes each for.
var peers = []struct {
	name, service string
	start         func(*kernelHost, *testing.T) uint16
}{
	{"nginx", "http", (*kernelHost).nginx},
	{"echo", "echo", func(k *kernelHost, t *testing.T) uint16 { return k.serve(t, "echo") }},
	{"sink", "none", func(k *kernelHost, t *testing.T) uint16 { return k.serve(t, "none") }},
	// It closes with data unread.
	{"closer", "http", func(k *kernelHost, t *testing.T) uint16 { return k.serve(t, "http") }},
	{"fast open", "echo", func(k *kernelHost, t *testing.T) uint16 {
		if err := k.there.Sysctl("net.ipv4.tcp_fastopen", "1027"); err != nil { // 3, and for services that do not ask for it
			t.Fatal(err)
		}
		return k.serve(t, "echo")
	}},
}

// forget has the host remember no round trips of earlier connections (tcp_metrics):
// one late ACK of ours would make all later timeouts longer.
func (k *kernelHost) forget(t *testing.T) {
	t.Helper()
	if err := k.there.Sysctl("net.ipv4.tcp_no_metrics_save", "1"); err != nil {
		t.Fatal(err)
	}
}

// nginx starts one with a page of 8 MB and returns its port.
func (k *kernelHost) nginx(t *testing.T) uint16 {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatalf("nginx is missing: apt-get install nginx: %v", err)
	}
	const port = 80
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	for name, text := range map[string]string{
		"index.html": page,
		"nginx.conf": fmt.Sprintf(`user root; daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	server { listen %[2]d; listen [::]:%[2]d; root %[1]s; }
}`, dir, port),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := k.there.Command(t.Context(), program, "-e", "stderr", "-p", dir, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	k.await(t, port)
	return port
}

var golden = flag.Int("golden", 0, "how many times TestGolden runs all that the kernel answers, slow rows too")

var goldenApart = flag.Duration("goldenapart", 20*time.Second, "how long after one run of TestGolden the next begins, in namespaces of its own")

// smoke are the rows of a run in which nobody asks for the campaign: quick ones
// that a busy machine answers as any other.
var smoke = []string{"A1", "A3", "A7", "B3", "F3", "G1", "G6"}

// TestGolden is the campaign: every measured cell of the golden row, again and
// again, slow rows side by side. Runs do not begin together: the timers of a host
// grow with the time that a handshake took, and so with our own business.
func TestGolden(t *testing.T) {
	scores := newScores(t)
	t.Run("runs", func(t *testing.T) {
		for run := range max(*golden, 1) {
			t.Run(strconv.Itoa(run+1), func(t *testing.T) {
				t.Parallel()
				time.Sleep(time.Duration(run) * *goldenApart)
				goldenRun(t, scores)
			})
		}
	})
	t.Logf("\n%s", scores.text(max(*golden, 1)))
	for i, c := range goldenCells {
		if c.timer != nil && len(scores.times[i]) > 0 {
			if err := c.timer.settles(scores.times[i]); err != nil {
				t.Errorf("%s (%s): %v", c.row, c.linux, err)
			}
		}
	}
}

// goldenRun asks every peer for its rows, each peer on a host of its own.
func goldenRun(t *testing.T, scores *scores) {
	began := time.Now()
	t.Run("peers", func(t *testing.T) {
		for _, peer := range peers {
			t.Run(peer.name, func(t *testing.T) {
				t.Parallel()
				var rows []string
				for _, c := range goldenCells {
					if c.peer == peer.name && !slices.Contains(rows, c.row) && (*golden > 0 || slices.Contains(smoke, c.row)) {
						rows = append(rows, c.row)
					}
				}
				if len(rows) == 0 {
					return
				}
				k := newKernelHost(t)
				k.forget(t)
				w := newWitness(t, k.there)
				port := peer.start(k, t)
				scores.take(t, peer.name, w, scores.trials(t, k, port, peer.service, rows))
			})
		}
	})
	t.Logf("a run in %v", time.Since(began).Round(time.Second))
}

// A trial is what became of a row in a battery that began at some moment.
type trial struct {
	*probe.Result
	began time.Time
}

// at is when something happened that the trial says happened at d.
func (x trial) at(d time.Duration) time.Time { return x.began.Add(d) }

// scores are how often each cell was reproduced.
type scores struct {
	meter *stallMeter
	mu    sync.Mutex
	hits  []int               // by cell
	times [][][]time.Duration // by cell, by run: the times of its timer
	off   time.Duration       // how far a time of ours was off that of the host's own interface, at most
	again map[string]int      // by row: how many trials did not count, since the machine stood still
}

func newScores(t *testing.T) *scores {
	return &scores{
		meter: newStallMeter(t), hits: make([]int, len(goldenCells)), times: make([][][]time.Duration, len(goldenCells)),
		again: map[string]int{},
	}
}

// trials asks a host for rows. A quick row is asked again, whatever it has said,
// if this machine stood still meanwhile; a slow one finds no minute without that.
func (s *scores) trials(t *testing.T, k *kernelHost, port uint16, service string, rows []string) (all []trial) {
	tries, patience := 60, 4*time.Minute
	if *golden == 0 {
		tries, patience = 2, time.Second
	}
	report := k.probe(t, port, service, rows...)
	for i := range report.Results {
		x := trial{&report.Results[i], k.began}
		end := time.Now().Add(patience)
		for range tries {
			if x.Row.Risk&probe.Slow != 0 || s.meter.during(x.at(x.Began), x.at(x.Began+x.Took)) <= calm || time.Now().After(end) {
				break
			}
			s.mu.Lock()
			s.again[x.Row.ID]++
			s.mu.Unlock()
			s.meter.await(end)
			x = trial{&k.probe(t, port, service, x.Row.ID).Results[0], k.began}
		}
		all = append(all, x)
	}
	return all
}

// take holds trials against the cells of a peer.
func (s *scores) take(t *testing.T, peer string, w *witness, trials []trial) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range goldenCells {
		at := slices.IndexFunc(trials, func(x trial) bool { return x.Row.ID == c.row })
		if c.peer != peer || at < 0 {
			continue
		}
		x := trials[at]
		times, err := c.check(x, w, s.meter)
		if err != nil {
			t.Errorf("%s (%s): %v\n%s", c.row, c.linux, err, evidence(&probe.Report{Results: []probe.Result{*x.Result}}, c.row))
			continue
		}
		s.hits[i]++
		if c.timer != nil {
			s.times[i] = append(s.times[i], times)
		}
	}
	s.off = max(s.off, w.off)
}

// check says what of a trial is not as the cell has it, and returns the times of
// its timer.
func (c *cell) check(x trial, w *witness, meter *stallMeter) ([]time.Duration, error) {
	if !slices.Contains(strings.Split(c.outcome, "|"), x.Key) || x.Verdict == probe.Unknown {
		return nil, fmt.Errorf("the outcome is %q (%s), want %q", x.Key, x.Text, c.outcome)
	}
	facts := factsOf(*x.Result)
	for name, form := range c.facts {
		if !regexp.MustCompile(form).MatchString(facts[name]) {
			return nil, fmt.Errorf("%s is %q, want %s", name, facts[name], form)
		}
	}
	if c.absent != "" && facts[c.absent] != "" {
		return nil, fmt.Errorf("%s is %q, want nothing of the kind", c.absent, facts[c.absent])
	}
	if c.timer == nil {
		return nil, nil
	}
	for _, f := range x.Facts {
		if f.Name == c.timer.fact {
			start := x.start(f.Times)
			stalled := func(d time.Duration) time.Duration { return meter.around(x.at(start + d)) }
			if err := c.timer.check(f.Times, w.longestTrip(x), stalled); err != nil {
				return nil, err
			}
			return f.Times, w.vouch(x, start, f.Times, stalled)
		}
	}
	return nil, fmt.Errorf("there is no fact %s", c.timer.fact)
}

// start finds what times count from: they are those of arrivals. It returns the
// beginning of the trial if they are not, for a median for instance.
func (x trial) start(times []time.Duration) time.Duration {
	var came []time.Duration
	for _, rec := range x.Record {
		if e := rec.Event; e.Kind == engine.EventSegmentIn {
			came = append(came, time.Duration(e.At-1))
		}
	}
	for _, at := range slices.Backward(came) {
		start := at - times[len(times)-1]
		if !slices.ContainsFunc(times, func(d time.Duration) bool { return !slices.Contains(came, start+d) }) {
			return start
		}
	}
	return x.Began
}

// text is a table of the cells, with the times of their timers.
func (s *scores) text(runs int) string {
	var b strings.Builder
	for i, c := range goldenCells {
		if *golden == 0 && !slices.Contains(smoke, c.row) {
			continue
		}
		fmt.Fprintf(&b, "%-4s%-10s%3d of %d  %s\n", c.row, c.peer, s.hits[i], runs, c.linux)
		if n := s.again[c.row]; n > 0 && (i == 0 || goldenCells[i-1].row != c.row) {
			fmt.Fprintf(&b, "      asked again %d times, since the machine stood still\n", n)
		}
		if c.timer == nil || len(s.times[i]) == 0 {
			continue
		}
		want := time.Duration(0)
		for n, gap := range c.timer.gaps {
			var at []time.Duration
			for _, times := range s.times[i] {
				at = append(at, times[n])
			}
			slices.Sort(at)
			want += gap
			fmt.Fprintf(&b, "      %-14s %2d  set to %-8s measured %s to %s, median %s\n", c.timer.fact, n+1, seconds(want), seconds(at[0]), seconds(at[len(at)-1]), seconds(at[len(at)/2]))
		}
	}
	fmt.Fprintf(&b, "times of ours were off those of the host's own interface by %v at most\n", s.off)
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.4gs", d.Seconds()) }
