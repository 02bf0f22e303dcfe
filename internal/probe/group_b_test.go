package probe_test

var answersB = answers{
	"B1":  {engine: "ignored", kernel: "ignored"},
	"B2":  {engine: "ignored", kernel: "ignored"},
	"B3":  {engine: "default", kernel: "default", service: "http"},
	"B4":  {engine: "minimum", kernel: "honoured", service: "http"},
	"B5":  {engine: "direct", kernel: "direct"},
	"B6":  {engine: "ignored", kernel: "ignored", service: "http"},
	"B7":  {engine: "taken", kernel: "taken"},
	"B8":  {engine: "honest", kernel: "honest", service: "http"},
	"B9":  {engine: "dropped", kernel: "accepted"},
	"B10": {engine: "right", kernel: "right"},
	"B11": {engine: "ignored", kernel: "ignored"},
	"B12": {engine: "dropped", kernel: "dropped"},
	"B13": {engine: "acked", kernel: "acked"},
	"B14": {engine: "ignored", kernel: "md5-dropped"},
	"B15": {engine: "works", kernel: "works"},
	"B16": {engine: "all", kernel: "all"},
}

var breakagesB []breakage
