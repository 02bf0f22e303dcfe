package probe_test

import (
	"testing"

	"rawtcp/engine"
)

var answersE = answers{
	"E1":  {engine: "ten", kernel: "ten", service: "http"},
	"E3":  {engine: "bytes", kernel: "bytes", service: "http"},
	"E6":  {engine: "delayed", kernel: "at-once", service: "none"},
	"E7":  {engine: "at-once", kernel: "at-once"},
	"E8":  {engine: "exact", kernel: "exact"},
	"E9":  {engine: "reported", kernel: "reported"},
	"E10": {engine: "beyond", kernel: "inside", service: "http"},
	"E11": {engine: "waits", kernel: "waits", service: "http"},
	"E13": {engine: "unknown: the host and its service take more", kernel: "unknown: the host and its service take more", slow: true},
}

var breakagesE []breakage

// TestWindowUpdate: a host whose buffers can be filled opens its window in large
// steps.
func TestWindowUpdate(t *testing.T) {
	s := subject{conn: engine.ConnConfig{SendBuffer: 16 << 10, ReceiveBuffer: 32 << 10}}
	want(t, s.probe(t, "E13"), map[string]string{"E13": "large"})
}
