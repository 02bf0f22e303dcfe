package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"rawtcp/internal/netlab"
)

// For `make bulk`: how many seeds, from which one, and how much each way.
var (
	bulkSeeds  = flag.Int("bulk", 4, "how many `seeds` of the bulk transfer to run; their roles and families take turns")
	bulkFrom   = flag.Uint64("bulkfrom", 1, "first `seed`")
	bulkOctets = flag.Int64("bulkoctets", 128<<10, "`octets` each way")
)

// terrible is a wire that loses every tenth packet, and harms others.
var terrible = netlab.Impairment{Loss: 0.1, Reorder: 0.05, Duplicate: 0.01, Corrupt: 0.01}

// bulkPatience bounds one seed: at 10 % loss a window hardly opens.
const bulkPatience = 10 * time.Minute

// A bulk is one transfer there and back. Its seed is that of the octets and of
// the relay.
type bulk struct {
	seed   uint64
	listen bool // our role; else connect
	family family
}

func (b bulk) String() string {
	role := "connect"
	if b.listen {
		role = "listen"
	}
	return fmt.Sprintf("%-7s %s seed %3d", role, b.family, b.seed)
}

// Octets there and back against the kernel's TCP, over a terrible wire.
func TestBulkOverATerribleWire(t *testing.T) {
	for i := range *bulkSeeds {
		b := bulk{seed: *bulkFrom + uint64(i), listen: i%2 == 1, family: []family{v4, v6}[i/2%2]}
		t.Run(b.String(), func(t *testing.T) {
			t.Parallel()
			there, here, r := netlab.RelayPair(t, netlab.RelayConfig{Seed: b.seed, AtoB: terrible, BtoA: terrible})
			ctx, cancel := context.WithTimeout(t.Context(), bulkPatience)
			defer cancel()
			start := time.Now()
			sum, err := b.carry(ctx, t, here, there)
			equal := err == nil && sum == netlab.PatternSum(b.seed, *bulkOctets)
			t.Logf("%v: %d octets each way in %.1f s, SHA-256 equal: %v", b, *bulkOctets, time.Since(start).Seconds(), equal)
			if !equal {
				t.Errorf("%v: %v", b, err)
			}
			for _, d := range []netlab.Direction{netlab.AtoB, netlab.BtoA} {
				if c := r.Counters(d); c.Lost == 0 {
					t.Errorf("the wire %s lost nothing: %+v", d, c)
				}
			}
		})
	}
}

// carry sends the octets to a peer that echoes, and returns the sum of what came back.
func (b bulk) carry(ctx context.Context, t *testing.T, here, there *netlab.Host) ([32]byte, error) {
	if b.listen {
		return b.carryFromKernel(ctx, t, here, there)
	}
	echo := there.MustServe(t, netlab.Echo)
	sum := sha256.New()
	var stderr bytes.Buffer
	cmd := here.Command(ctx, rawtcp, "connect", "--cat", target(b.family.of(there), echo.Port()))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = netlab.Pattern(b.seed, *bulkOctets), sum, &stderr
	if err := cmd.Run(); err != nil {
		tail := stderr.Bytes()
		return [32]byte{}, fmt.Errorf("%w\n%s", err, tail[max(0, len(tail)-4000):])
	}
	return [32]byte(sum.Sum(nil)), nil
}

// carryFromKernel is carry with the kernel's TCP as the active side.
func (b bulk) carryFromKernel(ctx context.Context, t *testing.T, here, there *netlab.Host) ([32]byte, error) {
	l := listen(t, here, ":7000", "--echo", "--count", "1", "-q")
	c, err := there.Dial(ctx, netip.AddrPortFrom(b.family.of(here), 7000))
	if err != nil {
		return [32]byte{}, err
	}
	defer c.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(end); err != nil {
			return [32]byte{}, err
		}
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(c, netlab.Pattern(b.seed, *bulkOctets))
		if err == nil {
			err = c.CloseWrite()
		}
		sent <- err
	}()
	sum := sha256.New()
	if _, err := io.Copy(sum, c); err != nil {
		return [32]byte{}, fmt.Errorf("%w\n%s", err, l.text())
	}
	if err := <-sent; err != nil {
		return [32]byte{}, err
	}
	if code := l.wait(); code != 0 {
		return [32]byte{}, fmt.Errorf("listen ended with %d\n%s", code, l.text())
	}
	return [32]byte(sum.Sum(nil)), nil
}
