package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The metrics of an idle connection, in octets.
const (
	heap = "octets of heap"
	slab = "octets of kernel slab"
)

// memoryContests are what a hundred thousand idle connections hold, P12.
func memoryContests() []contest {
	const work = "an idle connection of many"
	c := contest{name: work, measure: measureMemory, comparisons: []comparison{
		{"P12", work, heap, "octets", ourRaw, "", atMost(1536)},
		{"P12", work, heap, "octets", ourRaw, kernelSlab, atMost(1. / 3)},
		{"P12", work, heap, "octets", ourRaw, gvisorGSO, atMost(0.25)},
	}}
	return []contest{c}
}

// kernelSlab is the contender that is the kernel's side of the very connections
// that ours are the other ends of.
const kernelSlab = "kernel, slab"

// idleConnections is how many there are.
const idleConnections = 100_000

// measureMemory weighs once: nothing in it depends on the clock, and the kernel
// would fill the slabs that an earlier round has left.
func measureMemory(s *Session) (series, error) {
	got, count := series{}, idleConnections
	if s.Quick {
		count = 200
	}
	for _, stack := range []string{ourRaw, gvisorGSO} {
		s.progress("%d idle connections of %s", count, stack)
		held, err := s.hold(stack, count)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", stack, err)
		}
		got.add(stack, sample{heap: held[heap]})
		if stack == ourRaw {
			got.add(kernelSlab, sample{heap: held[slab]})
		}
	}
	return got, nil
}

// hold has a stack accept count connections of the kernel's and returns what one
// of them holds on each side. The kernel's side is several processes if one may
// not have so many descriptors.
func (s *Session) hold(stack string, count int) (sample, error) {
	s.leave()
	if err := s.enter(true); err != nil {
		return nil, err
	}
	link, host := s.lab.toTested, s.lab.tested
	if stack == gvisorGSO {
		link, host = s.lab.toNetstack, s.lab.netstack
	}
	spec := Spec{Stack: stack, Work: "hold", Local: link.A.Addr4.Addr(), Count: count, Length: time.Minute}
	for _, a := range remotes(link) {
		spec.Remotes = append(spec.Remotes, netip.AddrPortFrom(a, idlePort))
	}
	subject, err := s.start(host, s.testCPU, spec)
	if err != nil {
		return nil, err
	}
	defer subject.kill()
	if err := subject.ready(); err != nil {
		return nil, err
	}
	before, err := slabSize()
	if err != nil {
		return nil, err
	}
	share, err := descriptors()
	if err != nil {
		return nil, err
	}
	for left := count; left > 0; left -= share {
		spec := spec
		spec.Stack, spec.Work, spec.Count = goNet, "call", min(left, share)
		caller, err := s.start(s.lab.kernel, s.peerCPU, spec)
		if err != nil {
			return nil, err
		}
		defer caller.kill()
		if _, err := caller.result(); err != nil { // it has them all, and keeps them
			return nil, err
		}
		defer caller.end()
	}
	got, err := subject.result()
	if err != nil {
		return nil, err
	}
	after, err := slabSize()
	got[slab] = float64(after-before) / float64(count)
	return got, errors.Join(err, subject.end())
}

const idlePort = 7

// descriptors is how many connections one process may have.
func descriptors() (int, error) {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return int(min(limit.Max, 1<<20)) - 100, err
}

// slabSize is how many octets the kernel's slabs hold, those of other programs'
// too.
func slabSize() (int, error) {
	text := field("/proc/meminfo", "Slab")
	kib, err := strconv.Atoi(strings.TrimSuffix(text, " kB"))
	if err != nil {
		return 0, fmt.Errorf("read Slab in /proc/meminfo: %w", err)
	}
	return kib << 10, nil
}

// hold is the tested side: it accepts, reads an octet of each, and weighs them.
func hold(spec Spec) (sample, error) {
	s, err := openStack(spec)
	if err != nil {
		return nil, err
	}
	l, err := s.Listen(netip.AddrPortFrom(spec.Local, idlePort))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	held = make([]net.Conn, 0, spec.Count)
	before := liveHeap()
	if err := tellReady(); err != nil {
		return nil, err
	}
	for len(held) < spec.Count {
		c, err := l.Accept()
		if err != nil {
			return nil, fmt.Errorf("accept: %w", err)
		}
		var octet [1]byte
		if _, err := io.ReadFull(c, octet[:]); err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		held = append(held, c)
	}
	time.Sleep(500 * time.Millisecond) // delayed ACKs are out, and buffers given back
	after := liveHeap()
	return sample{heap: float64(after-before) / float64(spec.Count)}, nil
}

// liveHeap is what the garbage collector finds alive, in octets.
func liveHeap() int {
	runtime.GC()
	runtime.GC() // finalizers and pools of the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// call is the kernel's side: it opens connections from its addresses in turn and
// writes an octet on each.
func call(spec Spec) (sample, error) {
	const atATime = 16
	to := netip.AddrPortFrom(spec.Local, idlePort)
	todo := make(chan netip.Addr, spec.Count)
	for i := range spec.Count {
		todo <- spec.Remotes[i%len(spec.Remotes)].Addr()
	}
	close(todo)
	var calling sync.WaitGroup
	broken := make(chan error, atATime)
	for range atATime {
		calling.Go(func() {
			for from := range todo {
				if err := callOnce(from, to); err != nil {
					broken <- err
					return
				}
			}
		})
	}
	calling.Wait()
	select {
	case err := <-broken:
		return nil, err
	default:
	}
	return sample{}, nil
}

// held keeps the connections of hold and of call until the process ends.
var (
	held   []net.Conn
	heldMu sync.Mutex
)

func callOnce(from netip.Addr, to netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(context.Background(), shortTimeout)
	defer cancel()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), KeepAlive: -1, Control: lateBind}
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, "tcp4", to.String())
	if err != nil {
		return err
	}
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	heldMu.Lock()
	defer heldMu.Unlock()
	held = append(held, c)
	return nil
}

// lateBind lets the kernel choose the port when it knows the peer, and not when
// the address is bound: so there are as many ports as pairs need.
func lateBind(_, _ string, raw syscall.RawConn) error {
	var err error
	controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	return errors.Join(controlErr, err)
}
