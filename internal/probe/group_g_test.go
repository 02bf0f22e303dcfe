package probe_test

var answersG = answers{
	"G1": {engine: "declined", kernel: "agreed"},
	"G2": {engine: "no-ecn", kernel: "echoed"},
	"G3": {engine: "works", kernel: "works"},
	"G4": {engine: "unseen", kernel: "unseen"},
	"G5": {engine: "no-ecn", kernel: "classic"},
	"G6": {engine: "none", kernel: "none"},
	"G7": {engine: "not-offered", kernel: "not-offered"},
	"G8": {engine: "plain", kernel: "plain"},
	"G9": {engine: "exact", kernel: "exact"},
}

var breakagesG []breakage
