package e2e

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"rawtcp/internal/netlab"
)

// 200 connections at once into one `rawtcp listen`, none lost.
func TestTwoHundredConnectionsAtOnce(t *testing.T) {
	const count = 200
	both(t, func(t *testing.T, f family) {
		a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
		l := listen(t, b, ":7000", "--echo", "--count", fmt.Sprint(count), "-q")
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		var all sync.WaitGroup
		open := make(chan struct{}) // closed when every connection stands
		var ready sync.WaitGroup
		ready.Add(count)
		for i := range count {
			all.Go(func() {
				c, err := a.Dial(ctx, netip.AddrPortFrom(f.of(b), 7000))
				ready.Done()
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				defer c.Close()
				<-open
				want := strings.Repeat(fmt.Sprintf("connection %d ", i), 100)
				if _, err := io.WriteString(c, want); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
				c.CloseWrite()
				if got, err := io.ReadAll(c); err != nil || string(got) != want {
					t.Errorf("connection %d: %d octets came back, %v", i, len(got), err)
				}
			})
		}
		ready.Wait()
		close(open)
		all.Wait()
		if code := l.wait(); code != 0 {
			t.Errorf("listen ended with %d\n%s", code, l.text())
		}
	})
}

// 1,000 connections one after another, none lost, no RST.
func TestThousandConnectionsOneAfterAnother(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
		echo := b.MustServe(t, netlab.Echo)
		c := record(t, b, "eth0")
		r := mustRun(t, a, nil, "connect", target(f.of(b), echo.Port()), "-c", "1000", "-i", "0", "--time-wait", "10ms", "--json", "-q")
		t.Logf("1000 connections in %v", r.took)
		eventually(t, patience, "1000 accepted", func() bool { return echo.Accepted() == 1000 })
		if !strings.Contains(r.stdout, `"conn":"all"`) {
			t.Errorf("no summary of all: %s", r.stdout[max(0, len(r.stdout)-500):])
		}
		c.wantNoRST(f.of(a))
	})
}
