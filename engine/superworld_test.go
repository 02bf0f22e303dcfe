package engine_test

import (
	"context"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
)

// A countingLink counts the super-segments that it is given, and takes none with
// segments beyond a limit that can shrink.
type countingLink struct {
	engine.SegmentingLink
	mu     sync.Mutex
	supers int
	limit  int // largest datagram
}

func (l *countingLink) WriteSegments(pkts [][]byte, sizes []int) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, pkt := range pkts {
		largest := len(pkt)
		if sizes[i] > 0 {
			l.supers++
			largest = min(largest, sizes[i]+ipAndTCP(pkt))
		}
		if largest > l.limit {
			n, err := l.SegmentingLink.WriteSegments(pkts[:i], sizes[:i])
			if err == nil {
				err = os.NewSyscallError("sendmmsg", syscall.EMSGSIZE)
			}
			return n, err
		}
	}
	return l.SegmentingLink.WriteSegments(pkts, sizes)
}

// ipAndTCP is the length of a packet's headers.
func ipAndTCP(pkt []byte) int {
	ip := 40
	if pkt[0]>>4 == 4 {
		ip = 20
	}
	return ip + int(pkt[ip+12]>>4)*4
}

func (l *countingLink) Route(remote, local netip.Addr) (netip.Addr, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	source, _, err := l.SegmentingLink.Route(remote, local)
	return source, l.limit, err
}

// superWorld is a world whose ports cut super-segments; the client's counts them.
func superWorld(t *testing.T, path simnet.PathConfig, f func(w *world, link *countingLink)) {
	link := &countingLink{limit: 1500}
	bubble(t, worldConfig{path: path, super: 0xffff, seed: 7, tracer: true, link: func(l engine.Link) engine.Link {
		link.SegmentingLink = l.(engine.SegmentingLink)
		return link
	}}, func(w *world) { f(w, link) })
}

// A host hands super-segments to a link that takes them, and all that is lost,
// damaged, doubled and out of order on the way is mended by the segment.
func TestHostSendsSuperSegments(t *testing.T) {
	for name, path := range map[string]simnet.PathConfig{
		"perfect": {},
		"bad": {Delay: 5 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.02, Duplicate: 0.01, Corrupt: 0.01, Reorder: 0.02,
			ReorderBy: 3 * time.Millisecond, Bandwidth: 10_000_000},
		"narrow": {Delay: 2 * time.Millisecond, MTU: 1000, ICMP: true},
		"silent": {Delay: 2 * time.Millisecond, MTU: 1300},
	} {
		t.Run(name, func(t *testing.T) {
			for _, remote := range []netip.AddrPort{web, web6} {
				if name == "narrow" && remote == web6 {
					continue // no IPv6 path is so narrow
				}
				superWorld(t, path, func(w *world, link *countingLink) {
					l := w.listen(engine.ListenConfig{})
					client, err := w.client.Dial(context.Background(), remote, engine.DialConfig{})
					if err != nil {
						w.t.Fatal(err)
					}
					server, err := l.AcceptConn()
					if err != nil {
						w.t.Fatal(err)
					}
					pour(w.t, client, server, 1, 1<<20)
					pour(w.t, server, client, 2, 1<<18)
					if link.supers < 20 {
						w.t.Errorf("%d super-segments for %d octets", link.supers, 1<<20)
					}
				})
			}
		})
	}
}

// When the link's own limit shrinks, the error is about a super-segment that is
// longer than any MTU: what counts are its segments.
func TestLinkMTUShrinksUnderSuperSegments(t *testing.T) {
	superWorld(t, simnet.PathConfig{}, func(w *world, link *countingLink) {
		client, server := w.pair()
		link.mu.Lock()
		link.limit = 1300
		link.mu.Unlock()
		start := time.Now()
		pour(w.t, client, server, 1, 1<<20)
		if took := time.Since(start); took > 2*time.Second {
			w.t.Errorf("the transfer took %v: the stack did not learn the new MTU", took)
		}
		if n := w.log.count("client", "message too long"); n == 0 || n > 64 {
			w.t.Errorf("%d packets were too long", n)
		}
	})
}
