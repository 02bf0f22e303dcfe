package probe_test

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"rawtcp/internal/probe"
)

// A box is a router that changes what passes, and what the battery has to say of
// it: written down beforehand.
//
//	here --- first: the box --- second --- there
type box struct {
	name     string
	nft      string            // rules of a chain; THERE is the host
	iptables string            // or arguments
	outcomes map[string]string // rows that name the box
	says     []string          // in their evidence
	excused  string            // rows that would blame the host: unknown, changed on the path
}

const (
	forwarded = "type filter hook forward priority 0; "
	behind    = "at or before hop 2 (198.18.1.2), behind hop 1 ("
	unblamed  = "unknown: changed on the path: "
)

var boxes = []box{
	{name: "nobody"},
	{
		name: "MSS by nft", nft: "tcp flags & (syn|rst) == syn tcp option maxseg size set 1300",
		outcomes: map[string]string{"P3": "changed", "B5": "clamped"},
		says:     []string{"SYN: mss 1460 to 1300 " + behind, "1460 to 1300 at or before hop 2"},
		excused:  "E1",
	},
	{
		name: "TCPMSS", iptables: "-t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1300",
		outcomes: map[string]string{"P3": "changed", "B5": "clamped"},
		says:     []string{"SYN: mss 1460 to 1300 " + behind},
		excused:  "E1",
	},
	{
		name: "timestamps by nft", nft: "tcp flags & syn == syn reset tcp option timestamp",
		outcomes: map[string]string{"P3": "changed"},
		says:     []string{"SYN: timestamps option 8", "to nothing " + behind},
		excused:  "B9 B10 C17 C18 G9 H2",
	},
	{
		name: "TCPOPTSTRIP timestamp", iptables: "-t mangle -A FORWARD -p tcp --syn -j TCPOPTSTRIP --strip-options timestamp",
		outcomes: map[string]string{"P3": "changed"},
		says:     []string{"SYN: timestamps option 8", "to nothing " + behind},
		excused:  "B9 B10 C17 C18 G9 H2",
	},
	{
		name: "TCPOPTSTRIP sack-permitted", iptables: "-t mangle -A FORWARD -p tcp --syn -j TCPOPTSTRIP --strip-options sack-permitted",
		outcomes: map[string]string{"P3": "changed"},
		says:     []string{"SYN: sack permitted to nothing " + behind},
		excused:  "D2 D3 D5 E8 E9 G9",
	},
	{
		name: "TCPOPTSTRIP wscale", iptables: "-t mangle -A FORWARD -p tcp --syn -j TCPOPTSTRIP --strip-options wscale",
		outcomes: map[string]string{"P3": "changed"},
		says:     []string{"SYN: wscale 7 to nothing " + behind},
		excused:  "B7 B8 G9",
	},
	{
		name: "TCPOPTSTRIP mss", iptables: "-t mangle -A FORWARD -p tcp --syn -j TCPOPTSTRIP --strip-options mss",
		outcomes: map[string]string{"P3": "changed", "B5": "stripped"},
		says:     []string{"SYN: mss 1460 to nothing " + behind},
		excused:  "B4 E1",
	},
	{
		name: "TCPOPTSTRIP md5", iptables: "-t mangle -A FORWARD -p tcp --syn -j TCPOPTSTRIP --strip-options 19",
		excused: "B14", // P3 has no such option: the row's own SYN finds it
	},
	{
		name: "TCPOPTSTRIP fast open", iptables: "-t mangle -A FORWARD -p tcp --syn -j TCPOPTSTRIP --strip-options 34",
		excused: "G6 G7", // a host that gives no cookie may never have been asked
	},
	{
		name: "TCPOPTSTRIP mptcp", iptables: "-t mangle -A FORWARD -p tcp --syn -j TCPOPTSTRIP --strip-options 30",
		excused: "G8",
	},
	{
		name: "unknown options dropped", nft: "tcp flags & syn == syn tcp option 158 exists drop",
		excused: "B1",
	},
	{
		name: "TTL", nft: "ip daddr THERE ip ttl set 64",
		outcomes: map[string]string{"P3": "changed"},
		says:     []string{"ttl: the host answers a hop limit of 2"},
	},
	{
		name: "TTL target", iptables: "-t mangle -A PREROUTING -d THERE -m ttl --ttl-gt 2 -j TTL --ttl-set 64",
		// Only what has hops to spare is rewritten: no router can tell, and no row minds.
	},
	{
		name: "DSCP", nft: "ip dscp set cs0",
		outcomes: map[string]string{"P3": "changed"},
		says:     []string{"SYN: dscp 10 to 0 " + behind},
	},
	{
		name: "ECN bleached", nft: "ip ecn set not-ect",
		outcomes: map[string]string{"P3": "changed", "G4": "bleached"},
		says:     []string{"SYN: ecn ECT(0) to Not-ECT " + behind, "at or before hop 2, 198.18.1.2"},
		excused:  "G2",
	},
	{
		name: "ECN marked", nft: "ip ecn != not-ect ip ecn set ce",
		outcomes: map[string]string{"P3": "changed", "G4": "marked"},
		says:     []string{"SYN: ecn ECT(0) to CE " + behind},
		excused:  "G2",
	},
	{
		name: "ECN flags", nft: "tcp flags & (syn|ecn) == syn|ecn tcp flags set syn",
		outcomes: map[string]string{"P3": "changed"},
		says:     []string{"SYN: flags SEW to S " + behind},
		excused:  "G1 G2 G5",
	},
	{
		name: "forged RST", nft: "tcp flags & psh == psh reject with tcp reset",
		outcomes: map[string]string{"P4": "box"},
		says:     []string{"at hop 2, behind hop 1 ("},
		excused:  "C2",
	},
}

// TestBoxes: who changes a segment is named by the hop that saw it, and the rows
// that rely on what was changed do not blame the host.
func TestBoxes(t *testing.T) {
	t.Parallel()
	for _, b := range boxes {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			r := newRouted(t)
			b.install(t, r)
			seen := ""
			for _, service := range services {
				expected := b.expected(service)
				if len(expected) == 0 {
					continue
				}
				report := r.probe(t, r.serve(t, service), service, keys(expected)...)
				b.judge(t, report, expected)
				for id := range b.outcomes {
					seen += evidence(report, id)
				}
			}
			for _, text := range b.says {
				if !strings.Contains(seen, text) {
					t.Errorf("no %q in\n%s", text, seen)
				}
			}
		})
	}
}

// routedAnswers are what the kernel behind two routers answers otherwise.
var routedAnswers = map[string]string{"B5": "intact", "G4": "intact", "P3": "intact"}

// expected are the outcomes of the rows with a service.
func (b box) expected(service string) map[string]string {
	out := allAnswers().of(service, byKernel)
	maps.Copy(out, routedAnswers)
	if service != "echo" {
		for id := range routedAnswers {
			delete(out, id)
		}
	}
	excused := strings.Fields(b.excused)
	for id := range out {
		switch key, changes := b.outcomes[id]; {
		case probe.Find(id).Risk&probe.Passive != 0: // nobody is routed to where they wait
			delete(out, id)
		case changes:
			out[id] = key
		case slices.Contains(excused, id):
			out[id] = unblamed
		case !*everyRow && !slices.Contains([]string{"A1", "C2", "P3", "P4", "B5", "G4"}, id):
			delete(out, id)
		}
	}
	return out
}

// judge compares. Any row may be excused, but none may blame the host.
func (b box) judge(t *testing.T, report *probe.Report, expected map[string]string) {
	t.Helper()
	got := outcomes(report)
	for id, key := range expected {
		_, named := b.outcomes[id]
		switch {
		case got[id] == key, key == unblamed && strings.HasPrefix(got[id], unblamed):
		case !named && key != unblamed && strings.HasPrefix(got[id], unblamed):
			t.Logf("%s is excused: %s", id, got[id])
		default:
			t.Errorf("%s: %q, want %q\n%s", id, got[id], key, evidence(report, id))
		}
	}
}

// install makes the first router the box.
func (b box) install(t *testing.T, r *routed) {
	t.Helper()
	there := r.there.Addr4().String()
	if b.nft != "" {
		nft(t, r.first, "table ip box { chain forward { "+forwarded+strings.ReplaceAll(b.nft, "THERE", there)+"; }; }")
	}
	if b.iptables == "" {
		return
	}
	program, err := exec.LookPath("iptables")
	if err != nil {
		t.Fatalf("iptables is missing: apt-get install iptables: %v", err)
	}
	args := append([]string{"-w"}, strings.Fields(strings.ReplaceAll(b.iptables, "THERE", there))...)
	if out, err := r.first.Command(t.Context(), program, args...).CombinedOutput(); err != nil {
		t.Fatalf("iptables %s: %v\n%s", b.iptables, err, out)
	}
}
