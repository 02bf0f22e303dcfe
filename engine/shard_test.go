package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/internal/simnet"
	"rawtcp/segment"
)

// shardedPair is two hosts of so many shards on a simulated network, the second
// with a listener. When the test ends, the sums of each over its shards are right.
func shardedPair(t *testing.T, shards int, cfg HostConfig, lcfg ListenConfig) (client, server *Host, l *NetListener) {
	t.Helper()
	network := simnet.New(simnet.Config{Path: simnet.PathConfig{Delay: time.Millisecond}})
	host := func(addr netip.Addr) *Host {
		cfg := cfg
		if cfg.Tracer != nil {
			cfg.Tracer = countingTracer{} // each its own
		}
		cfg.Link, cfg.Shards = network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{addr}, SuperSegment: 20_000}), shards
		h := NewHost(cfg)
		t.Cleanup(func() {
			if err := h.audit(); err != nil {
				t.Error(err)
			}
			h.Close()
			if err := h.audit(); err != nil {
				t.Errorf("closed: %v", err)
			}
		})
		return h
	}
	client, server = host(us.Addr()), host(peer.Addr())
	l, err := server.Listen(peer, lcfg)
	if err != nil {
		t.Fatal(err)
	}
	return client, server, l
}

// audit is Stack.Audit of all shards.
func (h *Host) audit() error {
	stacks := make([]*Stack, 0, len(h.shards))
	for _, s := range h.shards {
		s.mu.Lock()
		defer s.mu.Unlock()
		stacks = append(stacks, s.stack)
	}
	return audit(stacks...)
}

// Connections are spread over the shards of both ends, their numbers are theirs
// alone, they are accepted in the order in which they were made, and carry what
// is written; and when the hosts have shut down nothing is left.
func TestShardsAreOneHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const shards, conns = 4, 64
		client, server, l := shardedPair(t, shards, HostConfig{}, ListenConfig{})
		ids, used := map[uint64]bool{}, map[*shard]int{}
		var pairs [][2]*NetConn
		for range conns {
			c, err := client.Dial(t.Context(), peer, DialConfig{})
			if err != nil {
				t.Fatal(err)
			}
			pairs = append(pairs, [2]*NetConn{c})
			ids[c.ID()] = true
			used[c.shard]++
			time.Sleep(time.Millisecond)
		}
		for i := range pairs {
			s, err := l.AcceptConn()
			if err != nil {
				t.Fatal(err)
			}
			if c := pairs[i][0]; s.RemoteAddr().String() != c.LocalAddr().String() {
				t.Errorf("accepted %v, and %v has waited longer", s.RemoteAddr(), c.LocalAddr())
			}
			pairs[i][1] = s
			used[s.shard]++
		}
		if len(ids) != conns || len(used) != 2*shards {
			t.Errorf("%d connections have %d numbers and use %d shards of %d", conns, len(ids), len(used), 2*shards)
		}
		var all sync.WaitGroup
		for i, pair := range pairs {
			for k := range 2 {
				all.Go(func() { carry(t, pair[k], pair[1-k], i+k) })
			}
		}
		all.Wait()
		for _, h := range []*Host{client, server} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := h.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			cancel()
		}
	})
}

// carry sends octets one way and their end.
func carry(t *testing.T, from, to *NetConn, seed int) {
	data := make([]byte, 100_000)
	for i := range data {
		data[i] = byte(seed + i + i>>8)
	}
	var got []byte
	var both sync.WaitGroup
	both.Go(func() {
		if _, err := from.Write(data); err != nil {
			t.Error(err)
		}
		if err := from.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	both.Go(func() {
		var err error
		if got, err = io.ReadAll(to); err != nil || !slices.Equal(got, data) {
			t.Errorf("%d octets of %d, %v", len(got), len(data), err)
		}
	})
	both.Wait()
}

// A host that has one shard of several with something to wait for waits for it in
// Shutdown, and resets all of them when the time is over.
func TestShutdownOfShardsInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, l := shardedPair(t, 4, HostConfig{}, ListenConfig{})
		var open []*NetConn
		for range 16 {
			c, err := client.Dial(t.Context(), peer, DialConfig{})
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := client.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v, though nobody answers the FINs", err)
		}
		for _, c := range open {
			if c.State() != Closed {
				t.Errorf("%v is %v", c.LocalAddr(), c.State())
			}
		}
		if _, err := client.Dial(t.Context(), peer, DialConfig{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Dial after Shutdown: %v", err)
		}
		if _, err := client.Listen(us, ListenConfig{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Listen after Shutdown: %v", err)
		}
		l.Close()
		server.Close()
	})
}

// A cutCounter counts the super-segments that are written to it, one goroutine at a time.
type cutCounter struct {
	*simnet.Port
	cut int
}

func (l *cutCounter) WriteSegments(pkts [][]byte, sizes []int) (int, error) {
	for _, size := range sizes {
		if size > 0 {
			l.cut++
		}
	}
	return l.Port.WriteSegments(pkts, sizes)
}

// Shards of a link that cuts super-segments send them.
func TestShardsSendSuperSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		port := simnet.New(simnet.Config{}).NewPort(simnet.PortConfig{Addrs: []netip.Addr{us.Addr()}, SuperSegment: 20_000})
		link := &cutCounter{Port: port}
		h := NewHost(HostConfig{Link: link, Shards: 4})
		defer h.Close()
		l, err := h.Listen(us, ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := h.Dial(t.Context(), us, DialConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		carry(t, c, s, 1)
		if link.cut == 0 {
			t.Error("no super-segment was written")
		}
	})
}

// What Limits and ListenConfig bound is bounded for the host, not for each shard.
func TestLimitsHoldOverAllShards(t *testing.T) {
	dialSome := func(t *testing.T, client *Host) (opened int, err error) {
		for range 32 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, e := client.Dial(ctx, peer, DialConfig{})
			cancel()
			if err = e; err == nil {
				opened++
			}
		}
		return opened, err
	}
	for name, test := range map[string]struct {
		host   HostConfig
		listen ListenConfig
		most   int
	}{
		"connections": {host: HostConfig{Limits: Limits{Conns: 7}}, most: 7},
		"backlog":     {listen: ListenConfig{Backlog: 5}, most: 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, _, _ := shardedPair(t, 4, test.host, test.listen)
				if opened, err := dialSome(t, client); opened != test.most || err == nil {
					t.Errorf("%d connections, want %d; the last one: %v", opened, test.most, err)
				}
			})
		})
	}
}

// An ICMP message goes to the shard of the connection that it is about.
func TestICMPFindsItsShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHost(HostConfig{Link: &batchLink{in: make(chan [][]byte)}, Shards: 4})
		defer h.Close()
		for port := range uint16(16) {
			dialed := make(chan error)
			remote := withPort(peer, 1000+port)
			go func() {
				_, err := h.Dial(t.Context(), remote, DialConfig{Local: withPort(us, 2000)})
				dialed <- err
			}()
			synctest.Wait()
			out := h.link.(*batchLink).out
			h.deliverICMP(ICMP{From: peer.Addr(), Type: 3, Code: 3, Quoted: out[len(out)-1]})
			if err := <-dialed; !errors.Is(err, ErrRefused) {
				t.Errorf("port %d: %v, want ErrRefused", remote.Port(), err)
			}
		}
	})
}

// A countingTracer is no place for two at a time, as the race detector sees.
type countingTracer map[EventKind]int

func (c countingTracer) Trace(e *Event) { c[e.Kind]++ }

// Several shards tell one tracer, one at a time.
func TestShardsTellOneAtATime(t *testing.T) {
	client, server, l := shardedPair(t, 4, HostConfig{Tracer: countingTracer{}}, ListenConfig{})
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			c, err := client.Dial(t.Context(), peer, DialConfig{})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Abort()
			s, err := l.AcceptConn()
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Abort()
			fmt.Fprint(c, "hello")
		})
	}
	all.Wait()
	for _, h := range []*Host{client, server} {
		h.Close()
		if told := h.tracer.(*tellerTracer).tracer.(countingTracer); told[EventState] < 16*2 || told[EventSegmentOut] == 0 {
			t.Errorf("told %v", told)
		}
	}
}

// A manyLink says whether several may write to it.
type manyLink struct {
	*simnet.Port
	many bool
}

func (l *manyLink) ConcurrentWrites() bool { return l.many }

// Shards write to a link at the same time if it takes that, and else one at a time,
// whatever else the link can do.
func TestShardsWriteAsTheLinkTakesIt(t *testing.T) {
	for _, super := range []int{0, 20_000} {
		port := simnet.New(simnet.Config{}).NewPort(simnet.PortConfig{Addrs: []netip.Addr{us.Addr()}, SuperSegment: super})
		if many := (&manyLink{port, true}); oneWriter(many) != Link(many) {
			t.Error("a lock for a link that needs none")
		}
		for _, l := range []Link{port, &manyLink{port, false}} {
			one := oneWriter(l)
			if one == l {
				t.Error("no lock for a link that needs one")
			}
			if _, got := superSegment(one); got != super {
				t.Errorf("super-segments of %d octets, the link takes %d", got, super)
			}
		}
	}
}

// How many shards a host has of itself.
func TestHostHasShardsForItsMemory(t *testing.T) {
	for _, test := range []struct {
		cfg  HostConfig
		want int
	}{
		{HostConfig{Limits: Limits{Memory: 32 << 20}}, 1},
		{HostConfig{Tracer: countingTracer{}}, 1},
		{HostConfig{Tracer: countingTracer{}, Shards: 3}, 3},
		{HostConfig{Shards: 1000}, maxShards},
	} {
		if got := test.cfg.shards(); got != test.want {
			t.Errorf("%d shards, want %d: %+v", got, test.want, test.cfg)
		}
	}
	if m := newMemory(-1, 4); m.most < 1<<60 {
		t.Errorf("a fourth of no limit is %d", m.most)
	}
}

// Delivering a batch to several shards allocates nothing.
func TestShardingAllocatesNothing(t *testing.T) {
	h := NewHost(HostConfig{Link: &batchLink{in: make(chan [][]byte)}, Shards: 4})
	defer h.Close()
	s := segment.Segment{Src: peer, Dst: us, Flags: segment.ACK, Window: 65535}
	var b batch
	for i := range b.bufs {
		s.Src = withPort(peer, uint16(i+1))
		b.bufs[i] = packet(t, s)
		b.sizes[i] = len(b.bufs[i])
	}
	if n := testing.AllocsPerRun(100, func() { h.deliver(&b, readBatch) }); n != 0 && !raced {
		t.Errorf("%v allocations for a batch", n)
	}
}
