package differ

import (
	"flag"
	"testing"

	"rawtcp/internal/differ"
)

// For `make differ`.
var (
	long  = flag.Duration("differ", 0, "hold conversations for so `long`, and report entries of the list that were never seen")
	first = flag.Uint64("from", 1, "first `seed`")
)

// Whatever gVisor answers otherwise than we do stands in the list.
func TestGvisor(t *testing.T) {
	g, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	differ.Test(t, "gvisor", g, *first, *long)
}
