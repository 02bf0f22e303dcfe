package e2e

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"rawtcp/internal/netlab"
)

// patience is how long something may take that takes a moment: no more than a
// bound for the hopeless case, on a machine that is slow and busy besides.
const patience = time.Minute

// bad is the wire of the transfers below.
var bad = netlab.Impairment{Loss: 0.05, Reorder: 0.02, Duplicate: 0.01, Corrupt: 0.01}

const transfer = 10 << 20

// 10 MiB out and 10 MiB back through `connect --cat` over a bad wire.
func TestConnectCatOverABadWire(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		a, b, r := netlab.RelayPair(t, netlab.RelayConfig{AtoB: bad, BtoA: bad})
		echo := b.MustServe(t, netlab.Echo)
		out := filepath.Join(t.TempDir(), "back")
		res := runTo(t, a, out, netlab.Pattern(7, transfer), "connect", "--cat", target(f.of(b), echo.Port()))
		if res.code != 0 {
			t.Fatalf("%s", res)
		}
		checkSum(t, out, 7)
		checkHarm(t, r)
	})
}

// 10 MiB each way through `listen --echo` over a bad wire, driven by the kernel's TCP.
func TestListenEchoOverABadWire(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		a, b, r := netlab.RelayPair(t, netlab.RelayConfig{AtoB: bad, BtoA: bad})
		l := listen(t, b, ":7000", "--echo", "--count", "1", "-q")
		c := dialKernel(t, a, f.of(b), 7000)
		var writer sync.WaitGroup
		writer.Go(func() {
			if _, err := io.Copy(c, netlab.Pattern(8, transfer)); err != nil {
				t.Errorf("send: %v", err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Errorf("half-close: %v", err)
			}
		})
		sum := sha256.New()
		n, err := io.Copy(sum, c)
		writer.Wait()
		if err != nil || n != transfer || !bytes.Equal(sum.Sum(nil), sumOf(8)) {
			t.Fatalf("%d octets came back, %v\n%s", n, err, l.text())
		}
		if code := l.wait(); code != 0 {
			t.Errorf("listen ended with %d\n%s", code, l.text())
		}
		checkHarm(t, r)
	})
}

func sumOf(seed uint64) []byte {
	sum := netlab.PatternSum(seed, transfer)
	return sum[:]
}

// runTo is run with stdout in a file.
func runTo(t *testing.T, h *netlab.Host, file string, stdin io.Reader, args ...string) result {
	t.Helper()
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var stderr bytes.Buffer
	cmd := h.Command(t.Context(), rawtcp, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, out, &stderr
	start := time.Now()
	err = cmd.Run()
	tail := stderr.Bytes()
	return result{code: exitCode(err), stderr: string(tail[max(0, len(tail)-4000):]), took: time.Since(start)}
}

func checkSum(t *testing.T, file string, seed uint64) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil || n != transfer || !bytes.Equal(sum.Sum(nil), sumOf(seed)) {
		t.Errorf("%d octets came back, or not the same ones (%v)", n, err)
	}
}

// checkHarm makes sure that the wire was as bad as it should be.
func checkHarm(t *testing.T, r *netlab.Relay) {
	t.Helper()
	for _, d := range []netlab.Direction{netlab.AtoB, netlab.BtoA} {
		if c := r.Counters(d); c.Lost == 0 || c.Duplicated == 0 || c.Corrupted == 0 || c.Reordered == 0 {
			t.Errorf("%s: %+v", d, c)
		}
	}
}
