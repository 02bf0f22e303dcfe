package probe_test

import (
	"flag"
	"maps"
	"testing"
)

// A target is a host that differs from the golden row, and the rows that have to
// say so: written down before the battery is asked.
type target struct {
	name    string
	sysctls map[string]string
	changed map[string]string // outcome by row, of the whole catalogue
}

var targets = []target{
	{
		name:    "no timestamps",
		sysctls: map[string]string{"net.ipv4.tcp_timestamps": "0"},
		changed: map[string]string{
			"B9":  "unknown: the host does not use timestamps",
			"B10": "unknown: the host does not use timestamps",
			"C17": "unknown: the host does not use timestamps",
			"C18": "unknown: the host does not use timestamps",
		},
	},
	{
		name:    "no window scale",
		sysctls: map[string]string{"net.ipv4.tcp_window_scaling": "0"},
		changed: map[string]string{"B7": "off", "B8": "not-offered"},
	},
	{
		name:    "syn cookies always",
		sysctls: map[string]string{"net.ipv4.tcp_syncookies": "2"},
		changed: map[string]string{"A2": "cookie", "A4": "synack-new", "A6": "cookie"},
	},
	{name: "no sack", sysctls: map[string]string{"net.ipv4.tcp_sack": "0"}, changed: map[string]string{}},
	{name: "rfc 1337", sysctls: map[string]string{"net.ipv4.tcp_rfc1337": "1"}, changed: map[string]string{}},
	{name: "fin-wait-2 of 10 s", sysctls: map[string]string{"net.ipv4.tcp_fin_timeout": "10"}, changed: map[string]string{}},
	{name: "ecn", sysctls: map[string]string{"net.ipv4.tcp_ecn": "1"}, changed: map[string]string{}},
	// 3, and for services that do not ask for it, too.
	{name: "fast open", sysctls: map[string]string{"net.ipv4.tcp_fastopen": "1027"}, changed: map[string]string{}},
	{name: "reno", sysctls: map[string]string{"net.ipv4.tcp_congestion_control": "reno"}, changed: map[string]string{}},
	{name: "no duplicate ACK limit", sysctls: map[string]string{"net.ipv4.tcp_invalid_ratelimit": "0"}, changed: map[string]string{}},
}

// alsoChanged adds rows of a group to what a target has to change.
func alsoChanged(name string, changed map[string]string) {
	for i := range targets {
		if targets[i].name == name {
			maps.Copy(targets[i].changed, changed)
			return
		}
	}
	panic("no target " + name)
}

var everyRow = flag.Bool("everyrow", false, "ask each target and each broken host for every row, not only for those that change and a few more")

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
				if err := k.there.Sysctl(key, value); err != nil {
					t.Fatal(err)
				}
			}
			for _, service := range services {
				expected := target.expected(service)
				if len(expected) > 0 {
					want(t, k.probe(t, k.serve(t, service), service, keys(expected)...), expected)
				}
			}
		})
	}
}

// expected are the outcomes of the rows with a service.
func (target target) expected(service string) map[string]string {
	out := map[string]string{}
	for id, a := range allAnswers() {
		if a.kernel == "" || a.slow && !*everyRow || (a.service == "" && service != "echo") || (a.service != "" && a.service != service) {
			continue
		}
		key, changes := target.changed[id]
		switch {
		case changes:
			out[id] = key
		case *everyRow:
			out[id] = a.kernel
		}
	}
	if !*everyRow && service == "echo" {
		table := allAnswers()
		for _, id := range sample {
			if _, changes := out[id]; !changes {
				out[id] = table[id].kernel
			}
		}
	}
	return out
}
