package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"rawtcp/internal/ping"
	"rawtcp/internal/trace"
	"rawtcp/segment"
)

// Every word and every key that `rawtcp ping` writes is here.

const helpPing = `usage: rawtcp ping [flags] HOST:PORT... | HOST PORT
Round trips measured with TCP's own SYN, between the kernel's timestamps of
what left and what came. Each probe is one SYN, never repeated; SYN-ACK and RST
are answers. Our RST ends each probe, so that the peer keeps nothing.

probes  -c N (default: until Ctrl-C)  -i D (interval, 1 s)  -W D (wait, 1 s)
        --full (whole handshake, closed with FIN)  --live (histogram)
shape   --mss N --wscale N --window N --ttl N --tos N --isn N
        --sack on|off --timestamps on|off --ecn on|off
where   -4 -6 -I IFACE -s, --source ADDR --source-port N -w, --timeout D
        --guard auto|socket|nft|none --io raw|packet
output  -v -vv -q -n -j, --json --pcap FILE|- --color auto|always|never
        --time rel|delta|abs|epoch -S, --absolute-seq --show --force

All flags, one by one: rawtcp help ping. Exit codes: rawtcp help exit-codes.
Examples:
  rawtcp ping example.com:443
  rawtcp ping -c 1000 -i 0.01 -q 192.0.2.7:80 192.0.2.8:80
  rawtcp ping --full --live example.com https
`

// pingBanner says what will happen.
func pingBanner(name target, t ping.Target, iface string, mtu int, guard string) string {
	host := name.host
	if address := t.Remote.Addr().String(); host != address {
		host += " (" + address + ")"
	}
	return fmt.Sprintf("PING %s port %d, src %s, %s mtu %d, guard %s", host, name.port, t.Local, iface, mtu, guard)
}

// probeText is the line of one event.
func probeText(e *ping.Event, wait time.Duration) string {
	switch e.Kind {
	case ping.Lost:
		return fmt.Sprintf("no answer from %s seq=%d within %v", e.Remote, e.Seq, wait)
	case ping.Unreachable:
		return fmt.Sprintf("ICMP %s from %s seq=%d to %s time=%s", trace.ICMPText(e.ICMP), e.ICMP.From, e.Seq, e.Remote, pingTime(e.RTT))
	case ping.Failed:
		return fmt.Sprintf("cannot send to %s seq=%d: %v", e.Remote, e.Seq, e.Err)
	}
	text := answerText(e)
	switch e.Kind {
	case ping.Refused:
		text += " (refused)"
	case ping.Late:
		text += " (late: not counted)"
	case ping.Duplicate:
		text += " (duplicate)"
	}
	if !e.Kernel {
		text += " (time without kernel timestamps)"
	}
	return text
}

// answerText is "SYN-ACK from 192.0.2.7:80 seq=1 ttl=64 win=65160 mss=1460 time=0.113 ms".
func answerText(e *ping.Event) string {
	var b strings.Builder
	s := e.Segment
	fmt.Fprintf(&b, "%s from %s seq=%d ttl=%d", flagsOf(s), e.Remote, e.Seq, s.TTL)
	if s.Flags.Has(segment.SYN) {
		fmt.Fprintf(&b, " win=%d", s.Window)
		if s.Options.Has(segment.HasMSS) {
			fmt.Fprintf(&b, " mss=%d", s.Options.MSS)
		}
	}
	return b.String() + " time=" + pingTime(e.RTT)
}

func pingTime(d time.Duration) string { return fmt.Sprintf("%.3f ms", msOf(d)) }

func msOf(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// pingSummaryText is the end of one target's series.
func pingSummaryText(remote string, s *ping.Stats) string {
	return "--- " + remote + " ---\n" + pingCounts(s) + "\n" + pingSpread(s)
}

// pingCounts is "5 sent, 3 answered (1 refused), 1 lost (20%), 1 late".
func pingCounts(s *ping.Stats) string {
	answered := fmt.Sprintf("%d answered", s.Received())
	if s.Refused > 0 {
		answered += fmt.Sprintf(" (%d refused)", s.Refused)
	}
	parts := []string{
		fmt.Sprintf("%d sent", s.Sent), answered,
		fmt.Sprintf("%d lost (%.3g%%)", s.Lost, s.LossPercent()),
		fmt.Sprintf("%d late", s.Late),
	}
	for _, more := range []struct {
		n    int
		word string
	}{{s.Unreachable, "unreachable"}, {s.Failed, "not sent"}, {s.Duplicates, "duplicate"}, {s.Waiting(), "still open"}} {
		if more.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", more.n, more.word))
		}
	}
	return strings.Join(parts, ", ")
}

// pingSpread is empty for a series without an answer.
func pingSpread(s *ping.Stats) string {
	t := &s.Times
	if t.Count() == 0 {
		return ""
	}
	return fmt.Sprintf("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\nrtt p50/p95/p99 = %.3f/%.3f/%.3f ms",
		msOf(t.Min()), msOf(t.Mean()), msOf(t.Max()), msOf(t.Deviation()),
		msOf(t.Quantile(0.50)), msOf(t.Quantile(0.95)), msOf(t.Quantile(0.99)))
}

// pingStatus is the answer to SIGQUIT, in one line.
func pingStatus(remote string, s *ping.Stats) string {
	text := remote + ": " + pingCounts(s)
	if t := &s.Times; t.Count() > 0 {
		text += fmt.Sprintf(", min/avg/p99/max = %.3f/%.3f/%.3f/%.3f ms", msOf(t.Min()), msOf(t.Mean()), msOf(t.Quantile(0.99)), msOf(t.Max()))
	}
	return text
}

// A probeLine is the JSON line of one event of a ping.
type probeLine struct {
	Type   string `json:"type"` // "probe"
	Conn   int    `json:"conn"` // number of the target: 1, 2, 3 …
	TimeUS int64  `json:"t_us"`
	Seq    int    `json:"seq"` // number of the target's probe: 1, 2, 3 …
	Local  string `json:"local"`
	Remote string `json:"remote"`
	Result string `json:"result"` // reply, refused, unreachable, lost, late, duplicate or failed

	RTTUS         *float64 `json:"rtt_us"`           // null: nothing came
	Stamps        string   `json:"stamps,omitempty"` // of rtt_us: "kernel" or "program"
	Flags         string   `json:"flags,omitempty"`  // of the answer, in tcpdump's letters
	TTL           uint8    `json:"ttl,omitempty"`
	Win           *uint16  `json:"win,omitempty"` // as on the wire
	MSS           *uint16  `json:"mss,omitempty"` // octets
	WScale        *uint8   `json:"wscale,omitempty"`
	SACKPermitted bool     `json:"sack_permitted,omitempty"`
	Timestamps    bool     `json:"timestamps,omitempty"`

	From     string `json:"from,omitempty"` // who sent the ICMP error
	ICMPType *uint8 `json:"icmp_type,omitempty"`
	Code     *uint8 `json:"code,omitempty"`
	Text     string `json:"text,omitempty"` // the ICMP error in words, or why nothing was sent
}

func newProbeLine(e *ping.Event, at int64) probeLine {
	line := probeLine{
		Type: "probe", Conn: e.Target + 1, TimeUS: at, Seq: e.Seq,
		Local: e.Local.String(), Remote: e.Remote.String(), Result: string(e.Kind),
	}
	switch e.Kind {
	case ping.Lost:
		return line
	case ping.Failed:
		line.Text = e.Err.Error()
		return line
	}
	line.RTTUS = us(e.RTT)
	line.Stamps = "program"
	if e.Kernel {
		line.Stamps = "kernel"
	}
	if m := e.ICMP; m != nil {
		typ, code := m.Type, m.Code
		line.From, line.ICMPType, line.Code, line.Text = m.From.String(), &typ, &code, trace.ICMPText(m)
	}
	if e.Segment != nil {
		line.answer(e.Segment)
	}
	return line
}

func (l *probeLine) answer(s *segment.Segment) {
	l.Flags, l.TTL = s.Flags.String(), s.TTL
	if !s.Flags.Has(segment.SYN) {
		return
	}
	window := s.Window
	l.Win = &window
	if s.Options.Has(segment.HasMSS) {
		mss := s.Options.MSS
		l.MSS = &mss
	}
	if s.Options.Has(segment.HasWindowScale) {
		scale := s.Options.WindowScale
		l.WScale = &scale
	}
	l.SACKPermitted = s.Options.Has(segment.HasSACKPermitted)
	l.Timestamps = s.Options.Has(segment.HasTimestamps)
}

// us is microseconds to the nanosecond.
func us(d time.Duration) *float64 {
	n := math.Round(float64(d)) / 1000
	return &n
}

// A pingSummary is the JSON summary of a target, or of all: the keys of every
// summary, and the series.
type pingSummary struct {
	trace.Summary
	Ping pingSeries `json:"ping"`
}

// A pingSeries is the sums of a ping. Sent is the sum of what follows it, up to
// Open.
type pingSeries struct {
	Sent        int        `json:"sent"`
	Replies     int        `json:"replies"` // SYN-ACKs in time
	Refused     int        `json:"refused"` // RSTs in time
	Unreachable int        `json:"unreachable"`
	Lost        int        `json:"lost"`
	Late        int        `json:"late"`
	Failed      int        `json:"failed"`
	Open        int        `json:"open"` // undecided when the run ended
	Duplicates  int        `json:"duplicates"`
	LossPercent float64    `json:"loss_percent"`
	RTT         *pingTimes `json:"rtt"` // of replies and refused; null: none
}

// A pingTimes is how the round-trip times are spread.
type pingTimes struct {
	MinUS  *float64 `json:"min_us"`
	AvgUS  *float64 `json:"avg_us"`
	MaxUS  *float64 `json:"max_us"`
	MdevUS *float64 `json:"mdev_us"`
	P50US  *float64 `json:"p50_us"`
	P95US  *float64 `json:"p95_us"`
	P99US  *float64 `json:"p99_us"`
}

func newPingSummary(conn any, s *ping.Stats) pingSummary {
	line := pingSummary{Summary: trace.Summary{Type: "summary", Conn: conn, Result: pingResult(s), States: []string{}}}
	line.Close = trace.Close{First: "none", How: "none"}
	line.SegmentsSent, line.SegmentsReceived = uint64(s.SegmentsSent), uint64(s.SegmentsReceived)
	line.Ping = pingSeries{
		Sent: s.Sent, Replies: s.Replies, Refused: s.Refused, Unreachable: s.Unreachable, Lost: s.Lost,
		Late: s.Late, Failed: s.Failed, Open: s.Waiting(), Duplicates: s.Duplicates, LossPercent: s.LossPercent(),
	}
	if t := &s.Times; t.Count() > 0 {
		line.Ping.RTT = &pingTimes{
			us(t.Min()), us(t.Mean()), us(t.Max()), us(t.Deviation()),
			us(t.Quantile(0.50)), us(t.Quantile(0.95)), us(t.Quantile(0.99)),
		}
		median := t.Quantile(0.50).Microseconds()
		line.SYNRTTUS = &median
	}
	return line
}

// pingResult is the word for a series: the best that happened.
func pingResult(s *ping.Stats) string {
	switch {
	case s.Replies > 0:
		return trace.ResultClosed
	case s.Refused > 0:
		return trace.ResultRefused
	case s.Unreachable > 0:
		return trace.ResultUnreachable
	case s.Lost+s.Late+s.Failed == 0:
		return trace.ResultInterrupted
	}
	return trace.ResultTimeout
}

// betterResult is the better of two words of pingResult.
func betterResult(a, b string) string {
	for _, r := range []string{trace.ResultClosed, trace.ResultRefused, trace.ResultUnreachable, trace.ResultInterrupted} {
		if a == r || b == r {
			return r
		}
	}
	return trace.ResultTimeout
}
