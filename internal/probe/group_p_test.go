package probe_test

import (
	"strings"
	"testing"

	"rawtcp/internal/netlab"
)

var answersP = answers{
	"P3": {engine: "direct", kernel: "direct"},
	"P4": {engine: "none", kernel: "none"},
}

var breakagesP []breakage

// TestPathChanges: who changes a segment is named by the hop that saw it, and the
// rows that rely on the field do not blame the host.
func TestPathChanges(t *testing.T) {
	t.Parallel()
	r := newRouted(t)
	port := r.there.MustServe(t, netlab.Echo).Port()
	const behind = "at or before hop 2 (198.18.1.2), behind hop 1 ("
	for _, tt := range []struct {
		name, rules string
		says        []string
		outcomes    map[string]string
	}{
		{name: "nobody", outcomes: map[string]string{"P3": "intact", "P4": "none", "B9": "accepted"}},
		{
			"MSS", `chain forward { type filter hook forward priority 0; tcp flags & (syn|rst) == syn tcp option maxseg size set 1300; }`,
			[]string{"SYN: mss 1460 to 1300 " + behind}, map[string]string{"P3": "changed"},
		},
		{
			"options", `chain forward { type filter hook forward priority 0; tcp flags & syn == syn reset tcp option timestamp; }`,
			[]string{"SYN: timestamps option 8", "to nothing " + behind},
			map[string]string{"P3": "changed", "B9": "unknown: the host does not use timestamps"},
		},
		{
			"DSCP", `chain forward { type filter hook forward priority 0; ip dscp set cs0; }`,
			[]string{"SYN: dscp 10 to 0 " + behind}, map[string]string{"P3": "changed"},
		},
		{
			"ECN", `chain forward { type filter hook forward priority 0; ip ecn set not-ect; }`,
			[]string{"SYN: ecn ECT(0) to Not-ECT " + behind}, map[string]string{"P3": "changed"},
		},
		{
			"ECN flags", `chain forward { type filter hook forward priority 0; tcp flags & (syn|ecn) == syn|ecn tcp flags set syn; }`,
			[]string{"SYN: flags SEW to S " + behind}, map[string]string{"P3": "changed"},
		},
		{
			"TTL", `chain forward { type filter hook forward priority 0; ip daddr THERE ip ttl set 64; }`,
			[]string{"ttl: the host answers a hop limit of 2"}, map[string]string{"P3": "changed"},
		},
		{
			"RST", `chain forward { type filter hook forward priority 0; tcp flags & psh == psh reject with tcp reset; }`,
			[]string{"P4", "at hop 2, behind hop 1 ("},
			map[string]string{"P4": "box", "C2": "unknown: changed on the path: a RST came with ttl 64, and the SYN-ACK with ttl 62"},
		},
	} {
		nft(t, r.first, "table ip box\ndelete table ip box\ntable ip box { "+strings.ReplaceAll(tt.rules, "THERE", r.there.Addr4().String())+"; }")
		report := r.probe(t, port, "echo", keys(tt.outcomes)...)
		want(t, report, tt.outcomes)
		seen := evidence(report, "P3") + evidence(report, "P4")
		for _, text := range tt.says {
			if !strings.Contains(seen, text) {
				t.Errorf("%s: no %q in\n%s", tt.name, text, seen)
			}
		}
	}
}
