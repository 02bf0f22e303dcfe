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

func init() {
	alsoChanged("no timestamps", map[string]string{"G9": "partly"})
	alsoChanged("no window scale", map[string]string{"G9": "partly"})
	alsoChanged("no sack", map[string]string{"G9": "partly"})
	alsoChanged("syn cookies always", map[string]string{"G9": "partly"})
	alsoChanged("fast open", map[string]string{"G6": "cookie", "G7": "accepted"})
}
