package probe_test

import "time"

var answersA = answers{
	"A1": {engine: "open", kernel: "open"},
	"A2": {engine: "backoff", kernel: "backoff", slow: true, fact: "synack_at", times: []time.Duration{
		1030 * time.Millisecond, 3090 * time.Millisecond, 7280 * time.Millisecond, 15400 * time.Millisecond, 31500 * time.Millisecond}},
	"A3": {engine: "same", kernel: "same"},
	"A4": {engine: "ack", kernel: "ack"},
	"A5": {engine: "reset", kernel: "reset"},
	"A6": {engine: "listen", kernel: "listen"},
	"A7": {engine: "syn-only", kernel: "syn-only"},
	"A8": {engine: "exact", kernel: "exact"},
	"A9": {engine: "exact", kernel: "exact"},

	"A11": {engine: "works", kernel: "works"},
	"A12": {engine: "backoff", kernel: "backoff", slow: true},
}

var breakagesA []breakage
