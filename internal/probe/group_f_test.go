package probe_test

var answersF = answers{
	"F1":  {engine: "fin", kernel: "fin", service: "http"},
	"F2":  {engine: "data", kernel: "data"},
	"F3":  {engine: "reset", kernel: "reset", service: "http"},
	"F4":  {engine: "reset", kernel: "reset", service: "http"},
	"F5":  {engine: "ends", kernel: "ends", service: "http", slow: true},
	"F6":  {engine: "shorter", kernel: "shorter", service: "http", slow: true},
	"F7":  {engine: "newer", kernel: "newer", service: "http"},
	"F8":  {engine: "protected", kernel: "assassinated", service: "http"},
	"F9":  {engine: "backoff", kernel: "backoff", slow: true},
	"F10": {engine: "time-wait", kernel: "time-wait", service: "http"},
}

var breakagesF []breakage
