package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"rawtcp/engine"
	"rawtcp/internal/ping"
	"rawtcp/internal/trace"
	"rawtcp/segment"
)

func TestPingTargets(t *testing.T) {
	good := map[string][]target{
		"h:80":                  {{"h", 80}},
		"h 80":                  {{"h", 80}},
		"::1 80":                {{"::1", 80}},
		"h:80 [::1]:81":         {{"h", 80}, {"::1", 81}},
		"h:80 h:81 192.0.2.1:1": {{"h", 80}, {"h", 81}, {"192.0.2.1", 1}},
	}
	for line, want := range good {
		if got, err := pingTargets(strings.Fields(line)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", line, got, err)
		}
	}
	for _, line := range []string{"", "h", "h:80 h:80", "h:80 i", "h:80 i:81 j"} {
		if got, err := pingTargets(strings.Fields(line)); codeOf(err) != exitUsage {
			t.Errorf("%q: %v, %v", line, got, err)
		}
	}
}

// What cannot be done is refused before anything is sent.
func TestPingUsage(t *testing.T) {
	for line, want := range map[string]string{
		"ping":                            "no target",
		"ping h:80 -i 0":                  "want at least 2ms",
		"ping h:80 -i 1ms":                "want at least 2ms",
		"ping h:80 -W 0":                  "above zero",
		"ping h:80 -c 0":                  "want a number",
		"ping h:80 --live":                "needs a terminal",
		"ping h:80 --live --json":         "terminal to itself",
		"ping 192.0.2.1:1 [::1]:1 --show": "name one",
	} {
		var out, errOut bytes.Buffer
		code := run(t.Context(), append([]string{"rawtcp"}, strings.Fields(line)...), strings.NewReader(""), &out, &errOut)
		if code != exitUsage || !strings.Contains(errOut.String(), want) {
			t.Errorf("%s: exit %d, %q; want %q", line, code, errOut.String(), want)
		}
	}
}

func pingEvent(kind ping.Kind) *ping.Event {
	return &ping.Event{
		Kind: kind, Seq: 3, Local: netip.MustParseAddrPort("198.18.0.1:50000"), Remote: netip.MustParseAddrPort("198.18.0.2:80"),
		RTT: 113482 * time.Nanosecond, Kernel: true,
		Segment: &segment.Segment{Flags: segment.SYN | segment.ACK, TTL: 64, Window: 65160, Options: segment.Options{Set: segment.HasMSS, MSS: 1460}},
		ICMP:    &engine.ICMP{From: netip.MustParseAddr("198.18.0.9"), Type: 3, Code: 1},
		Err:     errors.New("no buffer space"),
	}
}

func TestProbeText(t *testing.T) {
	const answer = "SYN-ACK from 198.18.0.2:80 seq=3 ttl=64 win=65160 mss=1460 time=0.113 ms"
	for kind, want := range map[ping.Kind]string{
		ping.Reply:       answer,
		ping.Late:        answer + " (late: not counted)",
		ping.Duplicate:   answer + " (duplicate)",
		ping.Lost:        "no answer from 198.18.0.2:80 seq=3 within 1s",
		ping.Unreachable: "ICMP host unreachable from 198.18.0.9 seq=3 to 198.18.0.2:80 time=0.113 ms",
		ping.Failed:      "cannot send to 198.18.0.2:80 seq=3: no buffer space",
	} {
		if got := probeText(pingEvent(kind), time.Second); got != want {
			t.Errorf("%s\n  %s\nwant\n  %s", kind, got, want)
		}
	}
	refused := pingEvent(ping.Refused)
	refused.Segment = &segment.Segment{Flags: segment.RST | segment.ACK, TTL: 63}
	refused.Kernel = false
	if got := probeText(refused, time.Second); got != "RST from 198.18.0.2:80 seq=3 ttl=63 time=0.113 ms (refused) (time without kernel timestamps)" {
		t.Error(got)
	}
}

func TestProbeLine(t *testing.T) {
	lost, _ := json.Marshal(newProbeLine(pingEvent(ping.Lost), 5))
	if want := `{"type":"probe","conn":1,"t_us":5,"seq":3,"local":"198.18.0.1:50000","remote":"198.18.0.2:80","result":"lost","rtt_us":null}`; string(lost) != want {
		t.Errorf("%s", lost)
	}
	reply, _ := json.Marshal(newProbeLine(pingEvent(ping.Reply), 5))
	if !strings.Contains(string(reply), `"rtt_us":113.482,"stamps":"kernel","flags":"S.","ttl":64,"win":65160,"mss":1460`) {
		t.Errorf("%s", reply)
	}
}

func TestPingSums(t *testing.T) {
	s := ping.Stats{Sent: 10, Replies: 4, Refused: 1, Lost: 2, Late: 1, Unreachable: 1, Duplicates: 3}
	if got := pingCounts(&s); got != "10 sent, 5 answered (1 refused), 2 lost (22.2%), 1 late, 1 unreachable, 3 duplicate, 1 still open" {
		t.Error(got)
	}
	for want, s := range map[string]ping.Stats{
		trace.ResultClosed:      s,
		trace.ResultRefused:     {Sent: 2, Refused: 1, Lost: 1},
		trace.ResultUnreachable: {Sent: 2, Unreachable: 1, Lost: 1},
		trace.ResultTimeout:     {Sent: 2, Late: 1, Lost: 1},
		trace.ResultInterrupted: {Sent: 1},
	} {
		if got := pingResult(&s); got != want {
			t.Errorf("%+v: %s, want %s", s, got, want)
		}
	}
}

// No picture is wider than the terminal, in either character set.
func TestHistogram(t *testing.T) {
	var s ping.Stats
	for i := range 1000 {
		s.Times.Add(time.Duration(100+i%300) * time.Microsecond)
		s.Sent++
		s.Replies++
	}
	for _, utf := range []bool{false, true} {
		lines := targetLines("198.18.0.2:80", &s, 10, 60, utf)
		if len(lines) != 13 {
			t.Fatalf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
		}
		longest := 0
		for _, line := range lines[3:] {
			longest = max(longest, utf8.RuneCountInString(line))
			if !utf && len(line) != utf8.RuneCountInString(line) {
				t.Errorf("%q is not ASCII", line)
			}
		}
		if longest != 60 {
			t.Errorf("the longest bar ends in column %d", longest)
		}
	}
	if got := bar(1, 1000, 50, true); got != "▏" {
		t.Errorf("a single one is drawn as %q", got)
	}
}
