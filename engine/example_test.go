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

// fixedWindow is a congestion control of the application's own: a window that
// never changes, for a path that nobody shares. Embedding a Controller would give
// it the methods it does not care for.
type fixedWindow struct{ octets int }

func (w fixedWindow) OnAck(engine.Ack)            {}
func (w fixedWindow) OnLoss(engine.Time, int)     {}
func (w fixedWindow) OnECN(engine.Time, int)      {}
func (w fixedWindow) OnRTO(engine.Time, int)      {}
func (w fixedWindow) OnSpurious(engine.Time, int) {}
func (w fixedWindow) OnRestart(engine.Time)       {}
func (w fixedWindow) Window() int                 { return w.octets }
func (w fixedWindow) Ssthresh() int               { return w.octets }

// A connection with a congestion control of the application's own: four segments
// leave at once, and no more.
func ExampleController() {
	now := engine.Time(1)
	client, server := engine.NewStack(engine.StackConfig{Secret: [32]byte{1}}), engine.NewStack(engine.StackConfig{Secret: [32]byte{2}})
	a, b := netip.MustParseAddrPort("198.18.0.1:1000"), netip.MustParseAddrPort("198.18.0.2:80")
	plain := engine.ConnConfig{Timestamps: engine.Off, SACK: engine.Off, WindowScale: -1}
	server.Listen(now, b, func(netip.Addr) int { return 1500 }, engine.ListenConfig{Conn: plain})

	plain.Controller = func(mss, _ int) engine.Controller { return fixedWindow{4 * mss} }
	c, _ := client.Dial(now, a, b, 1500, plain)
	c.Write(now, make([]byte, 100_000))
	carry(now, client, server, ">")
	carry(now, server, client, "<")
	carry(now, client, server, ">")
	// Output:
	// > S 0
	// < S. 0
	// > . 1460
	// > . 1460
	// > . 1460
	// > . 1460
}
