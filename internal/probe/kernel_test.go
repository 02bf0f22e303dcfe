package probe_test

import (
	"maps"
	"slices"
	"testing"

	"rawtcp/internal/netlab"
)

// kernelAnswers is the golden row: what a Linux host with default settings answers.
var kernelAnswers = map[string]string{
	"A3": "same",
	"C1": "dead",
	"C2": "challenge",
}

func keys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// TestKernel holds the battery against the kernel's TCP.
func TestKernel(t *testing.T) {
	k := newKernelHost(t)
	server := k.there.MustServe(t, netlab.Echo)
	want(t, k.probe(t, server.Port(), "echo", keys(kernelAnswers)...), kernelAnswers)
}
