package probe_test

var answersP = answers{
	"P3": {engine: "direct", kernel: "direct"},
	"P4": {engine: "none", kernel: "none"},
}

var breakagesP []breakage
