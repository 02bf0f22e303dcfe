package kernel_test

import (
	"flag"
	"testing"

	"rawtcp/internal/differ"
	"rawtcp/internal/differ/kernel"
	"rawtcp/internal/netlab"
)

// For `make differ`.
var (
	long  = flag.Duration("differ", 0, "hold conversations for so `long`, and report entries of the list that were never seen")
	first = flag.Uint64("from", 1, "first `seed`")
)

func TestMain(m *testing.M) { netlab.Main(m) }

// Whatever the kernel answers otherwise than we do stands in the list.
func TestKernel(t *testing.T) {
	k, err := kernel.New(netlab.NewTest(t))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	differ.Test(t, "kernel", k, *first, *long)
}
