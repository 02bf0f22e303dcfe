package probe_test

import (
	"errors"
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rawtcp/internal/probe"
	"rawtcp/internal/probe/conformance"
)

// A target is a host that differs from the golden row, and the rows that have to
// say so: written down before the battery is asked.
type target struct {
	name    string
	sysctls map[string]string
	changed map[string]deviation // by row, of the whole catalogue
	facts   map[string]string    // by row: what its facts have to say
	newer   bool                 // not every kernel has the setting: one that refuses it is no such host
}

// A deviation is the outcome of a row that a setting changes.
type deviation struct {
	outcome string
	why     string // a clause that follows "because"
}

const noStamps = "unknown: the host does not use timestamps"

var targets = append([]target{
	{name: "no changes"}, // the golden row itself
	{
		name:    "tcp_rfc1337=1",
		sysctls: map[string]string{"net.ipv4.tcp_rfc1337": "1"},
		changed: map[string]deviation{"F8": {"protected", "a RST in TIME-WAIT is dropped (RFC 1337)"}},
	},
	{
		name:    "tcp_fin_timeout=10",
		sysctls: map[string]string{"net.ipv4.tcp_fin_timeout": "10"},
		changed: map[string]deviation{"F5": {"ends", "FIN-WAIT-2 ends as before, but sooner: after 10 s instead of 60 s"}},
		facts:   map[string]string{"F5": "fin_wait_2: between 8s and 12s"},
	},
	{
		name:    "tcp_sack=0",
		sysctls: map[string]string{"net.ipv4.tcp_sack": "0"},
		changed: map[string]deviation{
			"D2": {"not-offered", "Linux sends tail loss probes only on connections with SACK"},
			"D3": {"not-offered", "there are no reports to detect a loss by"},
			"D5": {"newreno", "only duplicate and partial ACKs are left"},
			"E8": {"not-offered", "there are no blocks"},
			"E9": {"not-offered", "there are no blocks"},
			"G9": {"partly", "SACK-permitted by itself is not agreed to"},
		},
	},
	{
		name:    "tcp_timestamps=0",
		sysctls: map[string]string{"net.ipv4.tcp_timestamps": "0"},
		changed: map[string]deviation{
			"B9":  {noStamps, "there is nothing to leave out"},
			"B10": {noStamps, "there is nothing to echo"},
			"C17": {noStamps, "PAWS wants timestamps"},
			"C18": {noStamps, "PAWS wants timestamps"},
			"G9":  {"partly", "timestamps by themselves are not agreed to"},
			"H2":  {"none", "there is no clock to see"},
		},
	},
	{
		name:    "tcp_window_scaling=0",
		sysctls: map[string]string{"net.ipv4.tcp_window_scaling": "0"},
		changed: map[string]deviation{
			"B7": {"off", "the SYN-ACK has no shift"},
			"B8": {"not-offered", "our shift is not used"},
			"G9": {"partly", "a window scale by itself is not agreed to"},
		},
	},
	{
		name: "tcp_ecn=1", sysctls: map[string]string{"net.ipv4.tcp_ecn": "1"}, // asks for ECN when it connects itself, and answers as before
	},
	{
		name:    "tcp_ecn=3",
		sysctls: map[string]string{"net.ipv4.tcp_ecn": "3"},
		newer:   true,
		changed: map[string]deviation{"G5": {"accecn", "the kernel agrees to Accurate ECN (RFC 9768)"}},
	},
	{
		name: "tcp_fastopen=3", sysctls: map[string]string{"net.ipv4.tcp_fastopen": "3"}, // the service does not ask for it
	},
	{
		name:    "tcp_fastopen=1027",
		sysctls: map[string]string{"net.ipv4.tcp_fastopen": "1027"},
		changed: map[string]deviation{
			"G6": {"cookie", "3, and 1024 for services that do not ask for it: a cookie comes"},
			"G7": {"accepted", "data with the cookie is taken"},
		},
	},
	{
		name:    "tcp_syncookies=2",
		sysctls: map[string]string{"net.ipv4.tcp_syncookies": "2"},
		changed: map[string]deviation{
			"A2":  {"cookie", "the host remembers nothing of the SYN, and does not repeat its answer"},
			"A4":  {"synack-new", "each SYN is the first"},
			"A10": {"always", "they are what the row looks for"},
			"A6":  {"cookie", "there is nothing that a RST could end"},
			"B4":  {"minimum", "a cookie knows four MSS only, of which 536 is the least"},
			"D3":  {"not-offered", "without timestamps a cookie has no room for SACK-permitted"},
			"D5":  {"newreno", "without timestamps a cookie has no room for SACK-permitted"},
			"E1":  {"more", "ten segments of the cookie's MSS are more than ten of ours"},
			"G9":  {"partly", "without timestamps a cookie has no room for the other options"},
			"H1":  {"unclocked", "the number is the cookie"},
			"H4":  {"partly", "there is no schedule of SYN-ACKs, and no clock of numbers to print"},
		},
	},
	{
		name:    "tcp_invalid_ratelimit=0",
		sysctls: map[string]string{"net.ipv4.tcp_invalid_ratelimit": "0"},
		changed: map[string]deviation{"C12": {"unlimited", "every bad segment is answered"}},
	},
}, congestionTargets()...)

// congestionTargets are hosts with each congestion control that the kernel lets a
// namespace choose. The golden row has BBR.
func congestionTargets() (list []target) {
	const file = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
	names, err := os.ReadFile(file)
	if err != nil {
		names = []byte("reno") // every kernel has it
	}
	for _, name := range strings.Fields(string(names)) {
		list = append(list, target{
			name: "tcp_congestion_control=" + name, sysctls: map[string]string{"net.ipv4.tcp_congestion_control": name},
			changed: congestionChanges[name],
		})
	}
	return list
}

var congestionChanges = map[string]map[string]deviation{
	"reno": {
		"E2": {"restarts", "tcp_slow_start_after_idle, which BBR does without"},
		"E5": {"reno", "it is"},
	},
	"cubic": {
		"E2": {"restarts", "tcp_slow_start_after_idle, which BBR does without"},
		"E5": {"cubic", "it is"},
	},
}

var (
	everyRow = flag.Bool("everyrow", false, "ask each target and each broken host for every row, not only for those that change and a few more")
	slowRows = flag.Bool("slowrows", false, "with -everyrow: the slow rows too that a target does not change")
	record   = flag.Bool("record", false, "take down what the targets answer, for docs/probe.md")
)

// sample are rows that no target changes: a battery that follows its template
// would still be right about them.
var sample = []string{"A1", "A3", "B1", "C2"}

// TestTargets: verdicts follow the host and not the template.
func TestTargets(t *testing.T) {
	t.Parallel()
	for _, target := range targets {
		t.Run(target.name, func(t *testing.T) {
			t.Parallel()
			k := newKernelHost(t)
			for key, value := range target.sysctls {
				err := k.there.Sysctl(key, value)
				if target.newer && errors.Is(err, syscall.EINVAL) {
					t.Logf("this kernel has no %s", target.name)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, service := range services {
				expected := target.expected(service, *everyRow)
				if len(expected) == 0 {
					continue
				}
				r := k.probePatiently(t, k.serve(t, service), service, keys(expected))
				want(t, r, expected)
				target.checkFacts(t, r)
				takeDown(t, target.stack(), kernelName()+", "+target.settings(), r)
			}
		})
	}
}

// probePatiently is probe that asks a row again that says that this machine was too
// busy to ask it.
func (k *kernelHost) probePatiently(t *testing.T, port uint16, service string, rows []string) *probe.Report {
	t.Helper()
	r := k.probe(t, port, service, rows...)
	for range 3 {
		for i := range r.Results {
			if res := &r.Results[i]; res.Verdict == probe.Unknown && res.Text == probe.TooSlow {
				*res = k.probe(t, port, service, res.Row.ID).Results[0]
			}
		}
	}
	return r
}

// stack is the name of a target in the answers.
func (target target) stack() string {
	if target.sysctls == nil {
		return "Linux"
	}
	return "Linux " + target.name
}

func (target target) settings() string {
	if target.sysctls == nil {
		return "settings as they come"
	}
	return target.name
}

// kernelName is "Linux 6.18.44".
func kernelName() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		panic(err)
	}
	release, _, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), "-")
	return "Linux " + release
}

const answersFile = "testdata/answers.json"

var taking sync.Mutex

// takeDown records what a target answered, if that is asked for.
func takeDown(t *testing.T, name, about string, r *probe.Report) {
	t.Helper()
	if !*record {
		return
	}
	taking.Lock()
	defer taking.Unlock()
	if err := conformance.Record(answersFile, name, about, r); err != nil {
		t.Error(err)
	}
}

// checkFacts holds facts of a report to those of a target.
func (target target) checkFacts(t *testing.T, r *probe.Report) {
	t.Helper()
	for i := range r.Results {
		fact, has := target.facts[r.Results[i].Row.ID]
		if has && !strings.Contains(evidence(r, r.Results[i].Row.ID), fact) {
			t.Errorf("no %q in\n%s", fact, evidence(r, r.Results[i].Row.ID))
		}
	}
}

// expected are the outcomes of the rows with a service: of every row that is quick,
// or of those that change and a few more.
func (target target) expected(service string, every bool) map[string]string {
	out := allAnswers().of(service, func(a answer) string { return a.kernel })
	maps.DeleteFunc(out, func(id, _ string) bool { return !target.asks(id, every) })
	for id := range out {
		if d, changes := target.changed[id]; changes {
			out[id] = d.outcome
		}
	}
	return out
}

// asks reports whether a target is asked for a row.
func (target target) asks(id string, every bool) bool {
	_, changes := target.changed[id]
	slow := allAnswers()[id].slow
	switch {
	case every:
		return changes || !slow || *slowRows
	case slow:
		return false
	}
	return changes || slices.Contains(sample, id)
}
