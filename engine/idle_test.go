package engine_test

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
	"rawtcp/segment"
)

// mostIdle is how much of the heap an idle connection may hold, in octets.
const mostIdle = 1536

// idleConns is how many ends of connections one process holds in these tests.
// The race detector makes them slow and no smaller.
var idleConns = map[bool]int{false: 100_000, true: 10_000}[raceDetector]

// heapInUse is what the garbage collector finds alive.
func heapInUse() int {
	runtime.GC()
	runtime.GC() // finalizers and pools of the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// spareRoom is what belongs to no connection: tables that grow by doubling have
// more room than they need, and a busy machine leaves longer queues behind.
const spareRoom = 1 << 20

func wantSmall(t *testing.T, before int) {
	t.Helper()
	grown := heapInUse() - before
	t.Logf("%d octets of heap for each of %d idle connections, %d of them engine.Conn", grown/idleConns, idleConns, unsafe.Sizeof(engine.Conn{}))
	if grown > idleConns*mostIdle+spareRoom {
		t.Errorf("%d octets of heap for an idle connection, want at most %d", grown/idleConns, mostIdle)
	}
}

// A hundred thousand connections of two cores, half IPv4 and half IPv6, each
// after an exchange: the buffers it used are given back.
func TestIdleConnectionOfTheCore(t *testing.T) {
	before := heapInUse()
	stacks := [2]*engine.Stack{engine.NewStack(engine.StackConfig{}), engine.NewStack(engine.StackConfig{Secret: [32]byte{1}})}
	now := engine.Time(1)
	carry := func() {
		var seg segment.Segment
		for spoke := true; spoke; now = now.Add(1e6) {
			spoke = false
			for i, s := range stacks {
				s.Advance(now)
				for s.Transmit(now, &seg) {
					spoke = true
					stacks[1-i].Receive(now, &seg)
				}
			}
		}
	}
	mtu := func(netip.Addr) int { return 1500 }
	listeners := map[bool]*engine.Listener{}
	for _, addr := range []netip.Addr{serverAddr, serverAddr6} {
		l, err := stacks[1].Listen(now, netip.AddrPortFrom(addr, 80), mtu, engine.ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		listeners[addr.Is4()] = l
	}
	word, in := bytes.Repeat([]byte("idle "), 200), make([]byte, 4000)
	for i := range idleConns / 2 {
		local, remote := clientAddr, serverAddr
		if i%2 == 1 {
			local, remote = clientAddr6, serverAddr6
		}
		c, err := stacks[0].Dial(now, netip.AddrPortFrom(nth(local, i/50_000), uint16(1024+i%50_000)), netip.AddrPortFrom(remote, 80), 1500, engine.ConnConfig{})
		if err != nil {
			t.Fatal(err)
		}
		carry()
		ends := [2]*engine.Conn{c, listeners[local.Is4()].Accept()}
		for j, end := range ends {
			end.Write(now, word)
			carry()
			if n, err := ends[1-j].Read(now, in); n != len(word) || err != nil {
				t.Fatalf("connection %d: read %d, %v", i, n, err)
			}
			now = now.Add(1e8) // the delayed ACK
			carry()
		}
	}
	if n := stacks[0].Conns() + stacks[1].Conns(); n != idleConns {
		t.Fatalf("%d connections, want %d", n, idleConns)
	}
	if due := stacks[0].Deadline() + stacks[1].Deadline(); due != 0 {
		t.Error("an idle connection has a timer")
	}
	wantSmall(t, before)
	runtime.KeepAlive(stacks)
}

// nth returns the address n after a.
func nth(a netip.Addr, n int) netip.Addr {
	for range n {
		a = a.Next()
	}
	return a
}

// The same as programs have them, with a Host and net.Conn, over a link in
// memory; and how many goroutines there are hangs on the processors alone, however many connections.
func TestIdleConnectionOfAHost(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	network := simnet.New(simnet.Config{})
	host := func(addrs ...netip.Addr) *engine.Host {
		// A busy machine must not look like a lossy road: incidents cost memory.
		calm := engine.ConnConfig{InitialRTO: time.Minute, MinRTO: time.Minute, LossProbe: engine.Off}
		h := engine.NewHost(engine.HostConfig{Link: network.NewPort(simnet.PortConfig{Addrs: addrs}), Conn: calm})
		t.Cleanup(func() { h.Close() })
		return h
	}
	client, server := host(clientAddr, clientAddr6), host(serverAddr, serverAddr6)
	var listeners []*engine.NetListener
	for i := range 4 {
		l, err := server.Listen(netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(80+i)), engine.ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
	}
	conns := make([]*engine.NetConn, 0, idleConns+2)
	open := func(i int) {
		remote := netip.AddrPortFrom([]netip.Addr{serverAddr, serverAddr6}[i%2], uint16(80+i%4))
		c, err := client.Dial(context.Background(), remote, engine.DialConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := listeners[i%4].AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, s)
		exchange(t, s, c)
		conns = append(conns, c, s)
	}
	open(0)
	before := heapInUse() // with what the hosts themselves need
	for i := range idleConns / 2 {
		open(i + 1)
	}
	if n := runtime.NumGoroutine(); n > goroutines+2*(1+runtime.GOMAXPROCS(0)) {
		t.Errorf("%d goroutines, want the %d of before, one for each host and one for each of its shards", n, goroutines)
	}
	awaitAcks(conns)
	wantSmall(t, before)
}

// exchange carries some octets from one end to the other.
func exchange(t *testing.T, from, to *engine.NetConn) {
	t.Helper()
	if _, err := from.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(to, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
}

// awaitAcks waits until nothing waits to be acknowledged: the last delayed ACKs.
func awaitAcks(conns []*engine.NetConn) {
	for _, c := range conns {
		for c.Info().SendQueue > 0 {
			runtime.Gosched()
		}
	}
}
