package engine_test

import (
	"fmt"
	"net/netip"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// Two stacks, a wire that is a slice, and a clock that is a variable: the core
// needs nothing else.
func Example() {
	now := engine.Time(1)
	client := engine.NewStack(engine.StackConfig{Secret: [32]byte{1}})
	server := engine.NewStack(engine.StackConfig{Secret: [32]byte{2}})
	a, b := netip.MustParseAddrPort("198.18.0.1:1000"), netip.MustParseAddrPort("198.18.0.2:80")
	cfg := engine.ConnConfig{Timestamps: engine.Off, SACK: engine.Off, WindowScale: -1}

	l, _ := server.Listen(now, b, func(netip.Addr) int { return 1500 }, engine.ListenConfig{Conn: cfg})
	c, _ := client.Dial(now, a, b, 1500, cfg)
	c.Write(now, []byte("hello"))
	c.CloseWrite(now)

	for range 3 { // round trips of 20 ms
		carry(now, client, server, ">")
		now = now.Add(10 * time.Millisecond)
		carry(now, server, client, "<")
		now = now.Add(10 * time.Millisecond)
	}
	p := make([]byte, 10)
	n, _ := l.Accept().Read(now, p)
	fmt.Printf("%s, %s\n", p[:n], c.State())
	// Output:
	// > S 0
	// < S. 0
	// > FP. 5
	// < . 0
	// hello, FIN-WAIT-2
}

// carry moves what one stack has to say to the other.
func carry(now engine.Time, from, to *engine.Stack, arrow string) {
	var s segment.Segment
	for from.Transmit(now, &s) {
		fmt.Println(arrow, s.Flags, len(s.Payload))
		pkt, _ := s.Append(nil)
		to.Deliver(now, pkt, 0)
	}
}
