package probe_test

import (
	"maps"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/probe"
)

// A variant is our engine with other settings, and the rows that have to say so.
type variant struct {
	name    string
	subject subject
	changed map[string]string
}

var variants = []variant{
	{"no tail loss probes", subject{conn: engine.ConnConfig{LossProbe: engine.Off}}, map[string]string{"D2": "none"}},
	{
		"no SACK", subject{conn: engine.ConnConfig{SACK: engine.Off}},
		map[string]string{"D2": "not-offered", "D3": "not-offered", "D5": "newreno", "E8": "not-offered", "E9": "not-offered", "G9": "partly"},
	},
	{"no DSACK", subject{conn: engine.ConnConfig{DSACK: engine.Off}}, map[string]string{"E9": "unreported"}},
	{"no timestamps", subject{conn: engine.ConnConfig{Timestamps: engine.Off}}, map[string]string{"G9": "partly", "H2": "none"}},
	{"no window scale", subject{conn: engine.ConnConfig{WindowScale: -1}}, map[string]string{"G9": "partly"}},
	{"ECN", subject{conn: engine.ConnConfig{ECN: engine.On}}, map[string]string{"G1": "agreed", "G2": "echoed", "G5": "classic"}},
	{"Fast Open", subject{listen: engine.ListenConfig{FastOpen: 16}}, map[string]string{"G6": "cookie", "G7": "accepted"}},
	{"an initial window of 4", subject{conn: engine.ConnConfig{InitialWindow: 4}}, map[string]string{
		"E1": "fewer", "D5": "unknown: the first flight", "E3": "unknown: the first flight",
	}},
	{"an initial window of 20", subject{conn: engine.ConnConfig{InitialWindow: 20}}, map[string]string{"E1": "more"}},
	{"an ACK for each segment", subject{conn: engine.ConnConfig{AckPolicy: engine.AckEvery}}, map[string]string{"E6": "at-once"}},
	{"a RST ends TIME-WAIT", subject{conn: engine.ConnConfig{TimeWaitRST: engine.On}}, map[string]string{"F8": "assassinated"}},
	{"a TIME-WAIT of 4 minutes", subject{conn: engine.ConnConfig{MSL: 2 * time.Minute}}, map[string]string{"F6": "full"}},
	{"Reno", subject{conn: engine.ConnConfig{Congestion: "reno"}}, map[string]string{"E5": "reno"}},
	{"keep-alives", subject{conn: engine.ConnConfig{KeepAliveIdle: 20 * time.Second}}, map[string]string{"D9": "probes"}},
	{"FIN-WAIT-2 for ever", subject{conn: engine.ConnConfig{FinWait2: -1}}, map[string]string{"F5": "holds"}},
	{"always SYN cookies", subject{listen: engine.ListenConfig{Cookies: engine.CookiesAlways}}, map[string]string{
		"D2": "none", "D3": "not-offered", "D5": "newreno", "G9": "partly", "H1": "unclocked", "H4": "partly",
	}},
}

// TestVariants: a setting of the host is found by its rows and by no other.
func TestVariants(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			for _, service := range services {
				expected := map[string]string{}
				for id, key := range allAnswers().of(service, byEngine) {
					changed, changes := v.changed[id]
					if changes {
						key = changed
					}
					// Groups A to C have variants of their own.
					if changes || *everyRow && id[0] > 'C' {
						expected[id] = key
					}
				}
				if len(expected) > 0 {
					s := v.subject
					s.service = service
					want(t, s.probe(t, keys(expected)...), expected)
				}
			}
		})
	}
}

// TestFinWait2IsMeasured: the time is the host's, not the template's.
func TestFinWait2IsMeasured(t *testing.T) {
	s := subject{service: "http", conn: engine.ConnConfig{FinWait2: 10 * time.Second, TimeWait: 40 * time.Second}}
	facts := map[string]string{}
	for _, res := range s.probe(t, "F5", "F6").Results {
		maps.Copy(facts, factsOf(res))
	}
	for name, text := range map[string]string{"fin_wait_2": "between 8s and 12s", "time_wait": "between 32s and 55s"} {
		if facts[name] != text {
			t.Errorf("%s is %q, want %q", name, facts[name], text)
		}
	}
}

func factsOf(r probe.Result) map[string]string {
	facts := map[string]string{}
	for _, f := range r.Facts {
		facts[f.Name] = f.Text
	}
	return facts
}
