package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"rawtcp/internal/trace"
)

// Every word that rawtcp shows to people, and that is not a ladder's, is here.

const helpShort = `usage: rawtcp COMMAND [flags] [arguments]

  connect HOST:PORT            open a connection of hand-built segments, shown
  listen [ADDR]:PORT           accept connections
  ping HOST:PORT...            measure round trips with TCP's own SYN
  probe HOST:PORT              judge a host's TCP, row by row
  proxy LOCAL:PORT HOST:PORT   carry any program's connections
  explain FILE...              what a capture shows: ladders, states, findings
  report FILE -o REPORT.html   a run as one page to attach to a ticket
  demo                         see it work: no root, no set-up, nothing left
  doctor                       what this machine allows, and what to mend

rawtcp COMMAND --help shows a command, rawtcp help the rest.
`

const helpMain = `usage: rawtcp COMMAND [flags] [arguments]
A TCP endpoint of its own, in user space: every segment is built by hand and
shown, every state and timer too; the kernel's TCP is kept silent meanwhile.

  connect HOST:PORT            open a connection
  listen [ADDR]:PORT           accept connections
  ping HOST:PORT...            measure round trips with TCP's own SYN
  probe HOST:PORT              judge a host's TCP, row by row
  proxy LOCAL:PORT HOST:PORT   carry any program's connections
  explain FILE...              what a capture shows: ladders, states, findings
  report FILE -o REPORT.html   a run as one page to attach to a ticket
  demo                         see it work: no root, no set-up, nothing left
  doctor                       what this machine allows, and what to mend
  version                      what this is
  help COMMAND                 every flag of a command with its variable
  help exit-codes              what the exit codes mean

Flags may stand before or after the target. Sending needs CAP_NET_RAW:
  sudo setcap cap_net_raw+ep $(command -v rawtcp)

Examples:
  rawtcp demo
  rawtcp connect --send 'GET / HTTP/1.0\r\n\r\n' example.com:80
  rawtcp listen --echo :7777
`

const helpConnect = `usage: rawtcp connect [flags] HOST:PORT | HOST PORT | [V6]:PORT | HOST:SERVICE
Handshake, data if you like, close; each segment and state as it happens.

data    --send TEXT (\r\n, \x00)   --send-file F   --out FILE (what comes back)
        --cat (stdin and stdout, as netcat)   --wait D (for an answer, 2 s)
        --hold D (stay open)   -c N, -i D (N times, D apart)
open    --syn-retries N (6)  --connect-timeout D (127 s)  --keepalive [I,I,C]
close   --close fin|half|rst|none  --time-wait D|full (one RTO)  --msl D (30 s)
shape   --mss N --wscale N --window N --ttl N --tos N --isn N
        --sack on|off --timestamps on|off --ecn on|off
where   -4 -6 -I IFACE -s, --source ADDR --source-port N -w, --timeout D
        --guard auto|socket|nft|none --io raw|packet
output  -v -vv --explain -q -n -j, --json --pcap FILE|- --report FILE.html
        --color auto|always|never --time rel|delta|abs|epoch -S, --absolute-seq
        --show --force

All flags, one by one: rawtcp help connect. Exit codes: rawtcp help exit-codes.
Examples:
  rawtcp connect example.com:80
  rawtcp connect --send 'HEAD / HTTP/1.0\r\n\r\n' -v example.com http
  rawtcp connect --sack off --pcap - 192.0.2.7:22 | wireshark -k -i -
`

const helpListen = `usage: rawtcp listen [flags] [ADDR]:PORT
Accepts connections, many at once; each line is tagged with its peer. Without
an address, or with [::], it serves IPv4 and IPv6.

data    --echo (default) | --discard | --send TEXT | --send-file F
        --cat (one connection to stdin and stdout)
        --to HOST:PORT (carry each on over the kernel's TCP, see proxy)
accept  --count N (then exit)  --backlog N (128)  --mute (answer no SYN)
        --syn-delay D (before the SYN-ACK)  --keepalive [IDLE,INTERVAL,COUNT]
close   --close fin|rst|none  --time-wait D|full (one RTO)  --msl D (30 s)
shape   --mss N --wscale N --window N --ttl N --tos N --isn N
        --sack on|off --timestamps on|off --ecn on|off
where   -4 -6 -I IFACE -s, --source ADDR -w, --timeout D
        --guard auto|socket|nft|none --io raw|packet
output  -v -vv --explain -q -n -j, --json --pcap FILE|- --report FILE.html
        --color auto|always|never --time rel|delta|abs|epoch -S, --absolute-seq
        --show --force

All flags, one by one: rawtcp help listen. Exit codes: rawtcp help exit-codes.
Examples:
  rawtcp listen :7777
  rawtcp listen --send 'hello\n' --count 1 127.0.0.1:7777
  rawtcp listen 8080 --to localhost:80
`

const helpDemo = `usage: rawtcp demo [flags]
Makes two private network namespaces joined by a cable, starts a web server on
the kernel's own TCP in one of them, and fetches its page from the other with
rawtcp connect. Needs no root where user namespaces are allowed, sends nothing
outside, and leaves nothing behind.

output  -v -vv --explain -q -j, --json --pcap FILE|- --report FILE.html --force
        --color auto|always|never --time rel|delta|abs|epoch -S, --absolute-seq
shape   --mss N --wscale N --window N --ttl N --tos N --isn N
        --sack on|off --timestamps on|off --ecn on|off   -4 -6

All flags, one by one: rawtcp help demo.

Examples:
  rawtcp demo
  rawtcp demo --explain
  rawtcp demo --json | jq .
`

const helpDoctor = `usage: rawtcp doctor [flags]
What this machine allows, tried where it can be tried: capabilities, ways to
keep the kernel silent, firewall rules that hide answers, offloads, clock.
A line each: ok, warn or fail, and what to do. Exit code 1 if something fails.

        -j, --json   --color auto|always|never

Examples:
  rawtcp doctor
  sudo rawtcp doctor
  rawtcp doctor --json | jq 'select(.status != "ok")'
`

const helpReport = `usage: rawtcp report [flags] FILE... -o REPORT.html
Makes one HTML file of a run: summary, ladder, sequence graph, timers, states,
options, segments, and the command that repeats it. The file needs no network,
works without scripts, and can be attached to a ticket. FILE holds the JSON
Lines of a run (-j), or is a capture of any tool; - is stdin. Several files make
one report: both ends of a talk, or a run before and after a change.

        -o, --output FILE|-   --force
        --conn N, --stream N (only this connection)
        --svg DIR|NAME.svg (ladder and graphs as SVG: NAME-ladder.svg ...)

All flags, one by one: rawtcp help report.

Examples:
  rawtcp demo -j | rawtcp report - -o demo.html
  rawtcp report client.pcap server.pcap -o both.html
  rawtcp report --conn 3 --svg pictures talk.pcapng
`

const helpExplain = `usage: rawtcp explain [flags] FILE...
What a capture (pcap or pcapng of any tool, also with gzip; - is stdin) shows:
every TCP connection, the states of both ends, what was sent again and why, who
closed, who sent the RST. No privilege is needed, and nothing is sent.

pick    --host ADDR   --port N   --stream N (as in the table; tcp.stream + 1)
show    --ladder auto|all|none   -v, --verbose (payload)   -S, --absolute-seq
        --time rel|delta|abs|epoch   -j, --json   --color auto|always|never

In the ladder the client is left and the server right, a number is that of the
frame, <== and ==> are sent again, and CLIENT/SERVER are the states. Findings
are marked by weight: - how it went, * unusual, ! costs time, !! breaks.

Examples:
  rawtcp explain capture.pcapng
  sudo tcpdump -i any -w - tcp | rawtcp explain --ladder all -
  rawtcp explain -j x.pcap | jq 'select(.type == "finding" and .conn == 3)'
`

const helpVersion = `usage: rawtcp version
Prints the version, the commit and the Go release it was built with.

Examples:
  rawtcp version
  rawtcp --version
  rawtcp -V
`

const helpHelp = `usage: rawtcp help [COMMAND|exit-codes]
All flags of a command with their environment variables, or the exit codes.

Examples:
  rawtcp help connect
  rawtcp help listen
  rawtcp help exit-codes
`

const helpExitCodes = `exit code
    0  did what was asked: handshake and the asked-for close;
       of a series, at least one connection got its reply
    1  the network said no: not one connection of a series got its reply;
       doctor: something fails; probe: a row is fail or vulnerable
    2  usage or bad configuration; nothing was sent
    6  name not resolved
    7  refused: RST to our SYN, or ICMP unreachable
   28  timed out
   45  interface, source address or route cannot be used, or the port is taken
   56  reset or broken after ESTABLISHED
   70  internal error
   74  an output file could not be written; the connection itself was finished
   77  a capability is missing; the message says which and what grants it
  130  SIGINT before a result
  143  SIGTERM or SIGHUP before a result
`

// errorText is an error as stderr shows it.
func errorText(command string, err error) string {
	name := "rawtcp"
	if command != "" && codeOf(err) == exitUsage {
		name += " " + command
	}
	text := name + ": " + err.Error()
	if codeOf(err) == exitUsage {
		return text + " (see " + name + " --help)"
	}
	if hint := hintOf(err); hint != "" {
		text += "\nhint: " + hint
	}
	return text
}

// connectBanner says what will happen, before it does.
func connectBanner(t target, remote, local, iface string, port uint16, mtu int, guard string) string {
	name := t.host
	if t.host != remote {
		name += " (" + remote + ")"
	}
	return fmt.Sprintf("CONNECT %s port %d, src %s, %s mtu %d, guard %s", name, port, local, iface, mtu, guard)
}

// listenBanner says that the port is ours.
func listenBanner(local netip.AddrPort, guard string, mute bool) string {
	text := fmt.Sprintf("listening on %s, guard %s", local, guard)
	if mute {
		text += ", mute: no SYN is answered"
	}
	return text
}

// summaryText is the end of a connection in a few lines, in ping's manner.
func summaryText(s trace.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s ---\n", s.Remote)
	fmt.Fprintf(&b, "%s: %s\n", s.Result, closeText(s))
	b.WriteString(countsText(s) + "\n")
	if times := timesText(s); times != "" {
		b.WriteString(times + "\n")
	}
	if s.Peer != nil {
		b.WriteString("peer " + peerText(s.Peer) + "\n")
	}
	b.WriteString("states " + strings.Join(s.States, " > "))
	return b.String()
}

func countsText(s trace.Summary) string {
	text := fmt.Sprintf("segments: %d sent, %d received, %d retransmitted; bytes: %d sent, %d received",
		s.SegmentsSent, s.SegmentsReceived, s.Retransmits, s.BytesSent, s.BytesReceived)
	if s.LocalDrops > 0 {
		text += fmt.Sprintf("\n%s lost in this host's own receive queue, not on the network", plural(s.LocalDrops, "packet"))
	}
	return text
}

// closeText says who ended it, and how.
func closeText(s trace.Summary) string {
	who := map[string]string{"local": "we", "peer": "the peer"}[s.Close.First]
	switch s.Close.How {
	case "fin":
		if s.Result == trace.ResultReset {
			return fmt.Sprintf("%s closed first; then %s", who, originText(s.RST, "RST"))
		}
		return who + " closed first, with FIN"
	case "rst":
		if s.Close.First == "peer" {
			return originText(s.RST, "RST")
		}
		return "we sent RST"
	case "icmp":
		return originText(s.ICMP, "")
	case "timeout":
		return "no answer"
	}
	return "left open"
}

// originText is "RST from 10.0.0.2 ttl 63 after 1.2 ms".
func originText(o *trace.Origin, what string) string {
	if o == nil {
		return what
	}
	if o.Text != "" {
		what = "ICMP " + o.Text
	}
	text := what + " from " + o.From
	if o.TTL != 0 {
		text += fmt.Sprintf(" ttl %d", o.TTL)
	}
	return text + " after " + durationText(time.Duration(o.AfterUS)*time.Microsecond)
}

func timesText(s trace.Summary) string {
	var parts []string
	add := func(name string, us *int64) {
		if us != nil {
			parts = append(parts, name+" "+durationText(trace.Duration(us)))
		}
	}
	add("syn rtt", s.SYNRTTUS)
	add("handshake", s.HandshakeUS)
	add("teardown", s.TeardownUS)
	return strings.Join(parts, ", ")
}

func peerText(p *trace.Peer) string {
	parts := []string{"mss none"}
	if p.MSS != nil {
		parts[0] = fmt.Sprintf("mss %d", *p.MSS)
	}
	if p.WScale != nil {
		parts = append(parts, fmt.Sprintf("wscale %d", *p.WScale))
	}
	for _, o := range []struct {
		name string
		has  bool
	}{{"sack", p.SACKPermitted}, {"timestamps", p.Timestamps}, {"ecn", p.ECN}} {
		if o.has {
			parts = append(parts, o.name)
		}
	}
	return strings.Join(append(parts, fmt.Sprintf("window %d", p.Window)), ", ")
}

// lineText is the end of one of many connections.
func lineText(s trace.Summary) string {
	return fmt.Sprintf("%s %s: %s; %d bytes in, %d out, %d retransmitted",
		s.Remote, s.Result, closeText(s), s.BytesReceived, s.BytesSent, s.Retransmits)
}

// totalText is the end of a run of many connections.
func totalText(name string, s trace.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s ---\n", name)
	var results []string
	for _, r := range []string{trace.ResultClosed, trace.ResultRefused, trace.ResultTimeout, trace.ResultReset, trace.ResultUnreachable, trace.ResultInterrupted} {
		if n := s.Results[r]; n > 0 {
			results = append(results, fmt.Sprintf("%d %s", n, r))
		}
	}
	b.WriteString(plural(uint64(s.Connections), "connection"))
	if len(results) > 0 {
		b.WriteString(": " + strings.Join(results, ", "))
	}
	b.WriteString("\n" + countsText(s))
	if r := s.SYNRTT; r != nil {
		fmt.Fprintf(&b, "\nsyn rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms",
			ms(r.MinUS), ms(r.AvgUS), ms(r.MaxUS), ms(r.MdevUS))
	}
	return b.String()
}

func ms(us int64) float64 { return float64(us) / 1000 }

func plural(n uint64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// durationText is milliseconds up to ten seconds, as ping has it, then seconds.
func durationText(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.3f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// timeWaitText says that TIME-WAIT was not kept for as long as it should be.
func timeWaitText(msl time.Duration) string {
	return fmt.Sprintf("TIME-WAIT cut short: one RTO instead of 2MSL (%v); --time-wait full keeps it", 2*msl)
}

// demoIntro says what the demo is about to show.
func demoIntro(server netip.Addr) string {
	return fmt.Sprintf(`Two network namespaces, joined by a virtual cable. In one, a web server on the
kernel's own TCP (%s). In the other, rawtcp: each segment it sends is
built by hand, each one it receives is judged by a state machine of its own.
`, server)
}

// demoOutro shows what the web server said, and what to try next.
func demoOutro(page []byte) string {
	head, body, _ := bytes.Cut(page, []byte("\r\n\r\n"))
	status, _, _ := bytes.Cut(head, []byte("\r\n"))
	return fmt.Sprintf(`
the server said  "%s"
and its page     "%s"
next: rawtcp demo --explain, rawtcp demo --mss 200, rawtcp connect --help`,
		trace.AppendEscaped(nil, status), trace.AppendEscaped(nil, bytes.TrimSpace(body)))
}

const noticeWaiting = "waiting for the peer's FIN; Ctrl-C ends it"

// lostText says that a slow reader has missed lines.
func lostText(what string, n uint64) string {
	return fmt.Sprintf("rawtcp: %s of the %s were not written: its reader is too slow", plural(n, "record"), what)
}

// wrap breaks a text at blanks.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case column+1+len(word) > width:
			b.WriteString("\n  ")
			column = 2
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

// errAlreadyThere is why an output file is not opened.
var errAlreadyThere = errors.New("file exists; --force overwrites it")

const helpProxy = `usage: rawtcp proxy [flags] LOCAL:PORT HOST:PORT
Any program through a hand-built TCP: accepts connections on LOCAL:PORT with the
kernel's TCP and carries each over a connection of its own making to HOST:PORT.
A half-close or a reset on one side becomes the same on the other. For the
mirror of it see rawtcp help listen.

run     -c, --count N (then exit)   -w, --timeout D
open    --syn-retries N (6)  --connect-timeout D (127 s)  --keepalive [I,I,C]
close   --time-wait D|full (one RTO)  --msl D (30 s)
shape   --mss N --wscale N --window N --ttl N --tos N --isn N
        --sack on|off --timestamps on|off --ecn on|off
where   -4 -6 -I IFACE -s, --source ADDR --guard auto|socket|nft|none
        --io raw|packet
output  -v -vv --explain -q -n -j, --json --pcap FILE|- --report FILE.html
        --color WHEN --time rel|delta|abs|epoch -S, --absolute-seq
        --show --force

All flags, one by one: rawtcp help proxy. Exit codes: rawtcp help exit-codes.
Examples:
  rawtcp proxy 127.0.0.1:8080 example.com:80
  rawtcp proxy --mss 536 --sack off 127.0.0.1:2222 192.0.2.7:22
  rawtcp proxy -q --pcap web.pcapng '[::1]:8080' '[2001:db8::7]:80'
`

// proxyBanner says that programs can connect.
func proxyBanner(local string, t target, remote netip.AddrPort, source netip.Addr, iface string, mtu int, guard string) string {
	name := t.String()
	if name != remote.String() {
		name += " (" + remote.Addr().String() + ")"
	}
	return fmt.Sprintf("listening on %s for %s, src %s, %s mtu %d, guard %s", local, name, source, iface, mtu, guard)
}

// carriedText says which connection carries which.
func carriedText(near string, local, remote net.Addr) string {
	return fmt.Sprintf("%s is carried by %s > %s", near, local, remote)
}

// notCarriedText says why somebody who connected got a RST.
func notCarriedText(near string, err error) string {
	return fmt.Sprintf("%s was reset: %v", near, err)
}

// brokenText says why both sides of a carried connection were reset.
func brokenText(near string, local net.Addr, err error) string {
	return fmt.Sprintf("%s, carried by %s: both sides were reset: %v", near, local, err)
}

// proxyLineText is the end of one of many connections to the same peer.
func proxyLineText(s trace.Summary) string {
	return fmt.Sprintf("%s %s: %s; %d bytes in, %d out, %d retransmitted",
		s.Local, s.Result, closeText(s), s.BytesReceived, s.BytesSent, s.Retransmits)
}
