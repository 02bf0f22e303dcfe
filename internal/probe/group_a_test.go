package probe_test

var answersA = answers{
	"A3": {engine: "same", kernel: "same"},
}

var breakagesA []breakage
