package probe_test

import "time"

// linuxRTOs are when Linux sends something again that nobody acknowledges.
var linuxRTOs = []time.Duration{
	213 * time.Millisecond, 647 * time.Millisecond, 1480 * time.Millisecond, 3140 * time.Millisecond,
	6500 * time.Millisecond, 13160 * time.Millisecond, 26400 * time.Millisecond,
}

var answersD = answers{
	"D1": {engine: "backoff", kernel: "backoff", service: "http", slow: true, fact: "repeated_at", times: linuxRTOs},
	"D2": {engine: "new", kernel: "new", service: "http"},
	"D3": {engine: "rack", kernel: "rack", service: "http"},
	"D4": {engine: "both", kernel: "both", service: "http"},
	"D5": {engine: "sack", kernel: "sack", service: "http"},
	// Without a delay on the path it is chance whether Linux takes the ACK for one
	// of the retransmission.
	"D6":  {engine: "f-rto", service: "http"},
	"D7":  {engine: "backoff", kernel: "backoff", service: "http", slow: true, fact: "probes_at", times: linuxRTOs},
	"D8":  {engine: "recovers", kernel: "recovers", service: "http"},
	"D9":  {engine: "quiet", kernel: "probes", slow: true},
	"D10": {engine: "both", kernel: "both"},
	"D11": {engine: "alive", kernel: "alive", slow: true},
}

var breakagesD []breakage
