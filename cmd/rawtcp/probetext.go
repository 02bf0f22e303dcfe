package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"rawtcp/internal/dossier"
	"rawtcp/internal/probe"
	"rawtcp/internal/trace"
)

const helpProbe = `usage: rawtcp probe [flags] HOST:PORT
Judges a host's TCP: a battery of behaviour tests, each with what was seen, a
verdict (pass, note, fail, vulnerable, unknown) and the clause that decides.

rows    --list (show them)   --only A3,C2   --group C,D   --fast (under 20 s)
        --full (slow timers too, under 5 min)   --intrusive [--authorized]
        --service http|https|ssh|smtp|echo|none|raw:TEXT (by the port)
        --listen PORT (rows in which the host connects to us)   --rate N
two     --diff A B: rows that differ; each is HOST:PORT or a file of --json
where   -4 -6 -I IFACE -s, --source ADDR -w, --timeout D
        --guard auto|socket|nft|none --io raw|packet
output  -v (ladders) -vv -q -n -j, --json --pcap FILE|- --report FILE.html
        --force -S, --absolute-seq --color WHEN --time rel|delta|abs|epoch

All flags, one by one: rawtcp help probe. Exit codes: rawtcp help exit-codes.
Examples:
  rawtcp probe example.com:443
  rawtcp probe --only C2,A3 -v 192.0.2.7:22
  rawtcp probe --full --report host.html --pcap host.pcapng [2001:db8::7]:80
`

func probeBanner(t target, remote netip.AddrPort, source netip.Addr, service probe.Service, rows int, guard string) string {
	name := t.String()
	if name != remote.String() {
		name += " (" + remote.Addr().String() + ")"
	}
	return fmt.Sprintf("PROBE %s, service %s, %s, src %s, guard %s", name, service.Name, plural(uint64(rows), "row"), source, guard)
}

func mannersText(rate, conns int) string {
	text := fmt.Sprintf("at most %s a second, ", plural(uint64(rate), "packet"))
	if conns == 1 {
		return text + "one connection at a time"
	}
	return text + fmt.Sprintf("%d connections at a time", conns)
}

// probeListText is a line for each row, and its question.
func probeListText(rows []*probe.Row) string {
	var b strings.Builder
	group := ""
	for _, r := range rows {
		if title := groupTitle(r); title != group {
			fmt.Fprintf(&b, "%s\n", title)
			group = title
		}
		fmt.Fprintf(&b, "%-4s%-26s %-3s %6v  %s\n", r.ID, r.Name, r.Risk, r.Takes, r.Clauses[0])
		fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(wrap(r.Question, 74), "\n  ", "\n    "))
	}
	b.WriteString("\nrisk: s safe, d needs a service with data, t slow, i intrusive, l host connects\n")
	return b.String()
}

// A probeLook is how rows are shown to people.
type probeLook struct {
	columns int // of the terminal; 0: lines may be of any length
	verbose int
	ladder  trace.LadderConfig
}

var verdictColors = map[probe.Verdict]string{
	probe.Pass: "\x1b[32m", probe.Note: "\x1b[36m", probe.Fail: "\x1b[31m", probe.Vulnerable: "\x1b[1;31m", probe.Unknown: "\x1b[33m",
}

// row is a row in one line. What is no pass is told to its end, with the clause
// that decides, even if that takes more than the line.
func (l probeLook) row(r *probe.Result) string {
	const margin = 4 + 11 // behind the id and the verdict
	verdict := fmt.Sprintf("%-10s", r.Verdict)
	if l.ladder.Color {
		verdict = verdictColors[r.Verdict] + verdict + "\x1b[0m"
	}
	text := r.Row.Name + ": " + string(trace.AppendEscaped(nil, []byte(r.Text)))
	rule := r.Rule.String()
	switch {
	case rule != "" && (l.columns == 0 || l.verbose > 0 || r.Verdict != probe.Pass):
		text += " [" + rule + "]"
	case l.columns > 0 && r.Verdict == probe.Pass:
		text = shorten(text, l.columns-margin-1)
	}
	if l.columns > 2*margin {
		text = strings.ReplaceAll(wrap(text, l.columns-margin-1), "\n  ", "\n"+strings.Repeat(" ", margin+1))
	}
	line := fmt.Sprintf("%-4s%s %s\n", r.Row.ID, verdict, text)
	if l.verbose == 0 {
		return line
	}
	return line + l.evidence(r)
}

// shorten cuts a text between words and says so.
func shorten(text string, room int) string {
	if utf8.RuneCountInString(text) <= room {
		return text
	}
	cut := strings.LastIndexByte(text[:max(room-3, 0)], ' ')
	return text[:max(cut, 0)] + " ..."
}

// evidence is what was observed, and the ladder.
func (l probeLook) evidence(r *probe.Result) string {
	const margin = "    "
	var b strings.Builder
	for _, f := range r.Facts {
		text := f.Name + ": " + string(trace.AppendEscaped(nil, []byte(f.Text)))
		if l.columns > 0 {
			text = strings.ReplaceAll(wrap(text, l.columns-len(margin)-2), "\n", "\n"+margin)
		}
		b.WriteString(margin + text + "\n")
	}
	cfg := l.ladder
	cfg.Verbose = l.verbose - 1
	if l.columns > 0 {
		cfg.Width = l.columns - len(margin)
	}
	for line := range strings.Lines(dossier.Ladder(r, cfg)) {
		b.WriteString(margin + line)
	}
	return b.String()
}

func probeSummaryText(report *probe.Report, remote string) string {
	var parts []string
	for _, v := range probe.Verdicts {
		if n := report.Count(v); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	text := fmt.Sprintf("--- %s ---\n%s in %v", remote, plural(uint64(len(report.Results)), "row"), report.Took.Round(100*time.Millisecond))
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	if report.Cut {
		text += "; ended early"
	}
	if bar, n := report.ErrorBar(); n > 1 {
		text += fmt.Sprintf("\ntimes may be off by %s: so much differ the round trips of %s", durationText(bar), plural(uint64(n), "handshake"))
	}
	if report.Resent > 0 {
		text += fmt.Sprintf("\n%s sent again for want of an answer: the path loses", plural(uint64(report.Resent), "segment"))
	}
	return text
}
