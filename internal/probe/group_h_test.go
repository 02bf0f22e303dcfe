package probe_test

var answersH = answers{
	"H1": {engine: "random", kernel: "random"},
	"H2": {engine: "private", kernel: "private"},
	"H3": {engine: "zero", kernel: "zero"},
	"H4": {engine: "printed", kernel: "printed"},
	"H5": {engine: "alike", kernel: "alike"},
}

var breakagesH []breakage
