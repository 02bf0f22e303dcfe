package probe_test

import (
	"flag"
	"maps"
	"slices"
	"testing"
	"time"

	"rawtcp/internal/netlab"
	"rawtcp/internal/probe"
	"rawtcp/internal/simnet"
)

// An answer is the outcome of a row at hosts we know. Each group has a table of
// its own, in group_a_test.go and so on.
type answer struct {
	engine  string // our own, in virtual time; "": not tried
	kernel  string // Linux with default settings: the golden row; "": not tried, or only in the campaign
	service string // "echo" (default), "http" or "none"
	slow    bool   // by the kernel only in the campaign: it takes real time
}

type answers map[string]answer

var groupAnswers = []answers{answersA, answersB, answersC, answersD, answersE, answersF, answersG, answersH, answersP}

// allAnswers are those of every group.
func allAnswers() answers {
	all := answers{}
	for _, group := range groupAnswers {
		maps.Copy(all, group)
	}
	return all
}

// of returns the expected outcomes of the rows with a service, as pick has them.
func (a answers) of(service string, pick func(answer) string) map[string]string {
	out := map[string]string{}
	for id, x := range a {
		if x.service == "" {
			x.service = "echo"
		}
		if key := pick(x); key != "" && x.service == service {
			out[id] = key
		}
	}
	return out
}

func byEngine(x answer) string { return x.engine }

func byKernel(x answer) string {
	if x.slow {
		return ""
	}
	return x.kernel
}

func keys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

var services = []string{"echo", "http", "none"}

// TestEngine holds the battery against our own engine in virtual time.
func TestEngine(t *testing.T) {
	for _, service := range services {
		for _, v6 := range []bool{false, true} {
			expected := allAnswers().of(service, byEngine)
			if len(expected) > 0 {
				want(t, subject{v6: v6, service: service}.probe(t, keys(expected)...), expected)
			}
		}
	}
}

var losses = flag.Int("losses", 3, "how many lossy roads TestLossIsNoFault takes")

// TestLossIsNoFault: a path that loses 5 % each way makes no good host a bad one.
func TestLossIsNoFault(t *testing.T) {
	unknown, rows := 0, 0
	for seed := range uint64(*losses) {
		for _, service := range services {
			expected := allAnswers().of(service, byEngine)
			if len(expected) == 0 {
				continue
			}
			s := subject{seed: seed, service: service, road: simnet.PathConfig{Loss: 0.05, Delay: 10 * time.Millisecond}}
			r := s.probe(t, keys(expected)...)
			for _, res := range r.Results {
				if res.Verdict.Bad() && res.Key != expected[res.Row.ID] {
					t.Errorf("seed %d: %s", seed, evidence(r, res.Row.ID))
				}
				if rows++; res.Verdict == probe.Unknown {
					unknown++
				}
				if res.Key != expected[res.Row.ID] {
					t.Logf("seed %d: %s %q %s", seed, res.Row.ID, res.Key, res.Text)
				}
			}
		}
	}
	t.Logf("%d of %d rows unknown", unknown, rows)
}

// TestKernel holds the battery against the kernel's TCP, the groups side by side.
func TestKernel(t *testing.T) {
	t.Parallel()
	k := newKernelHost(t)
	ports := map[string]uint16{}
	for _, service := range services {
		ports[service] = k.serve(t, service)
	}
	t.Run("groups", func(t *testing.T) {
		for i, table := range groupAnswers {
			for _, service := range services {
				expected := table.of(service, byKernel)
				if len(expected) == 0 {
					continue
				}
				t.Run(string("ABCDEFGHP"[i])+" "+service, func(t *testing.T) {
					t.Parallel()
					want(t, k.probe(t, ports[service], service, keys(expected)...), expected)
				})
			}
		}
	})
}

// serve starts a service on the kernel's TCP.
func (k *kernelHost) serve(t *testing.T, service string) uint16 {
	t.Helper()
	switch service {
	case "http":
		port, err := k.there.ServeHTTP(0, webPage)
		if err != nil {
			t.Fatal(err)
		}
		return port
	case "none":
		return k.there.MustServe(t, netlab.Discard).Port()
	}
	return k.there.MustServe(t, netlab.Echo).Port()
}

// TestLanes: rows that run side by side answer the same, and sooner.
func TestLanes(t *testing.T) {
	expected := allAnswers().of("echo", byEngine)
	var one, four time.Duration
	for lanes, took := range map[int]*time.Duration{1: &one, 4: &four} {
		r := subject{lanes: lanes}.probe(t, keys(expected)...)
		want(t, r, expected)
		*took = r.Took
	}
	if four > one {
		t.Errorf("four lanes took %v, one %v", four, one)
	}
}
