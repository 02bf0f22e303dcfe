package engine_test

import (
	"fmt"
	"net/netip"
	"time"

	"rawtcp/engine"
	"rawtcp/segment"
)

// A program of one's own around the core: its clock jumps from one deadline to
// the next, and its link, a queue of packets with a delay, loses the first one.
func Example_outside() {
	type packet struct {
		due  engine.Time
		to   int
		data []byte
	}
	link, sent, now := []packet(nil), 0, engine.Time(time.Second)
	stacks := [2]*engine.Stack{engine.NewStack(engine.StackConfig{}), engine.NewStack(engine.StackConfig{})}
	a, b := netip.MustParseAddrPort("198.18.0.1:1000"), netip.MustParseAddrPort("198.18.0.2:80")
	l, _ := stacks[1].Listen(now, b, func(netip.Addr) int { return 1500 }, engine.ListenConfig{})
	c, _ := stacks[0].Dial(now, a, b, 1500, engine.ConnConfig{})
	c.Write(now, []byte("over my own link"))
	c.CloseWrite(now)

	for c.State() != engine.Closed {
		for from, s := range stacks {
			for seg := (segment.Segment{}); s.Transmit(now, &seg); sent++ {
				if data, _ := seg.Append(nil); sent > 0 {
					link = append(link, packet{now.Add(30 * time.Millisecond), 1 - from, data})
				}
			}
		}
		now = now.Add(time.Hour)
		for _, s := range stacks {
			if due := s.Deadline(); due != 0 {
				now = min(now, due)
			}
		}
		if len(link) > 0 && link[0].due <= now {
			now = link[0].due
			stacks[link[0].to].Deliver(now, link[0].data, 0)
			link = link[1:]
		}
		stacks[0].Advance(now)
		stacks[1].Advance(now)
		if peer := l.Accept(); peer != nil {
			p := make([]byte, 100)
			n, _ := peer.Read(now, p)
			fmt.Printf("after %v: %s\n", now.Sub(engine.Time(time.Second)), p[:n])
			peer.Close(now)
		}
	}
	fmt.Printf("%s after %v, %d segments\n", c.State(), now.Sub(engine.Time(time.Second)), sent)
	// Output:
	// after 1.09s: over my own link
	// CLOSED after 1m1.12s, 6 segments
}
