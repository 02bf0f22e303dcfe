package probe_test

import (
	"os/exec"
	"strings"
	"testing"

	"rawtcp/internal/netlab"
)

// A routed host is a kernel host behind two routers.
//
//	here --- first --- second --- there
type routed struct {
	kernelHost
	first, second *netlab.Host
}

func newRouted(t *testing.T) *routed {
	t.Helper()
	lab := netlab.NewTest(t)
	r := &routed{first: lab.MustHost(t, "first"), second: lab.MustHost(t, "second")}
	r.here, r.there = lab.MustHost(t, "here"), lab.MustHost(t, "there")
	chain := []*netlab.Host{r.here, r.first, r.second, r.there}
	links := make([]*netlab.Link, len(chain)-1)
	for i := range links {
		var err error
		if links[i], err = lab.Join(chain[i], chain[i+1], netlab.LinkConfig{}); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.first.Forward())
	must(r.second.Forward())
	for _, router := range []*netlab.Host{r.first, r.second} { // or it tells only so many senders so often
		must(router.Sysctl("net.ipv4.icmp_ratelimit", "0"))
	}
	for i, h := range chain {
		for j, l := range links {
			dst := l.A.Addr4.Masked()
			switch {
			case j > i:
				must(h.AddRoute(dst, links[i].B.Addr4.Addr()))
			case j < i-1:
				must(h.AddRoute(dst, links[i-1].A.Addr4.Addr()))
			}
		}
	}
	return r
}

// nft gives a host a rule set.
func nft(t *testing.T, h *netlab.Host, rules string) {
	t.Helper()
	program, err := exec.LookPath("nft")
	if err != nil {
		t.Fatalf("nft is missing: apt-get install nftables: %v", err)
	}
	cmd := h.Command(t.Context(), program, "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
}

// TestMSSOnPath: who changes the MSS of a SYN is named by the hop that saw it.
func TestMSSOnPath(t *testing.T) {
	t.Parallel()
	r := newRouted(t)
	port := r.there.MustServe(t, netlab.Echo).Port()
	expect := func(outcome, fact string) {
		t.Helper()
		report := r.probe(t, port, "echo", "B5")
		want(t, report, map[string]string{"B5": outcome})
		if text := evidence(report, "B5"); !strings.Contains(text, fact) {
			t.Errorf("no %q in\n%s", fact, text)
		}
	}
	expect("intact", "")
	nft(t, r.first, `table ip clamp { chain forward { type filter hook forward priority 0; tcp flags & (syn|rst) == syn tcp option maxseg size set 1300; }; }`)
	expect("clamped", "1460 to 1300 at or before hop 2")
}
