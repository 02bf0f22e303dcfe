package netlab_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"

	"rawtcp/internal/netlab"
)

// Two hosts, an echo server on the kernel's TCP, and a line that loses every tenth packet.
func ExampleLab_Relay() {
	lab := netlab.New()
	defer lab.Close()
	a, err := lab.Host("a")
	if err != nil {
		panic(err)
	}
	b, err := lab.Host("b")
	if err != nil {
		panic(err)
	}
	bad := netlab.Impairment{Loss: 0.1}
	if _, err := lab.Relay(a, b, netlab.RelayConfig{Seed: 1, AtoB: bad, BtoA: bad}); err != nil {
		panic(err)
	}
	server, err := b.Serve(0, netlab.Source(1, 100_000))
	if err != nil {
		panic(err)
	}
	c, err := a.Dial(context.Background(), netip.AddrPortFrom(b.Addr4(), server.Port()))
	if err != nil {
		panic(err)
	}
	defer c.Close()
	n, err := io.Copy(io.Discard, c)
	fmt.Println(n, "octets,", err)
	// Output: 100000 octets, <nil>
}
