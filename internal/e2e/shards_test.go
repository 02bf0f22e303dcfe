package e2e

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/netlab"
	"rawtcp/internal/paired"
	"rawtcp/rawsock"
)

// BenchmarkShards compares hosts of one shard with hosts of one for each of two
// processors, in pairs, over a veth pair to the kernel's TCP: one stream and
// sixteen, sending and receiving, and connections made and closed, 64 at a time.
// Beside the time there is what all goroutines together waited for locks. ONLY takes
// those whose name has it.
func BenchmarkShards(b *testing.B) {
	octets, conns, rounds := 64<<20, 2048, 15
	if testing.Short() { // that it works; what it is worth takes more
		octets, conns, rounds = 4<<20, 128, 1
	}
	here, there := netlab.Pair(b, netlab.LinkConfig{Offload: true})
	discard, echo := there.MustServe(b, netlab.Discard), there.MustServe(b, netlab.Echo)
	works := map[string]func(h *engine.Host){}
	for _, streams := range []int{1, 16} {
		source := there.MustServe(b, netlab.Source(1, int64(octets/streams)))
		works[fmt.Sprintf("send-%d", streams)] = func(h *engine.Host) {
			atOnce(streams, streams, func() { send(b, h, netip.AddrPortFrom(there.Addr4(), discard.Port()), octets/streams) })
		}
		works[fmt.Sprintf("receive-%d", streams)] = func(h *engine.Host) {
			atOnce(streams, streams, func() { receive(b, h, netip.AddrPortFrom(there.Addr4(), source.Port()), octets/streams) })
		}
	}
	works["connect-64"] = func(h *engine.Host) {
		atOnce(64, conns, func() { receive(b, h, netip.AddrPortFrom(there.Addr4(), echo.Port()), 0) })
	}
	for _, io := range []rawsock.IOMode{rawsock.RawIO, rawsock.PacketIO} {
		for name, work := range works {
			name = fmt.Sprintf("%v/%s", io, name)
			if !strings.Contains(name, os.Getenv("ONLY")) {
				continue
			}
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					waited := map[int]float64{}
					run := func(shards int) (wall, cpu time.Duration) {
						h := shardedHost(b, here, io, shards)
						defer h.Close()
						start, before, waits := time.Now(), processTime(b), lockWaits()
						work(h)
						waited[shards] += lockWaits() - waits
						return time.Since(start), processTime(b) - before
					}
					walls, cpus := paired.Rounds(rounds, func() (wall, cpu time.Duration) { return run(1) },
						func() (wall, cpu time.Duration) { return run(2) })
					paired.Report(b, walls, "two/one")
					paired.Report(b, cpus, "two/one-cpu")
					b.ReportMetric(waited[1]/waited[2], "two/one-waits")
				}
			})
		}
	}
}

// lockWaits is how many seconds goroutines have waited for a mutex so far.
func lockWaits() float64 {
	sample := []metrics.Sample{{Name: "/sync/mutex/wait/total:seconds"}}
	metrics.Read(sample)
	return sample[0].Value.Float64()
}

func shardedHost(b *testing.B, from *netlab.Host, io rawsock.IOMode, shards int) *engine.Host {
	var link *rawsock.Conn
	if err := from.Do(func() (err error) { link, err = rawsock.Open(rawsock.Config{IO: io}); return err }); err != nil {
		b.Fatal(err)
	}
	return engine.NewHost(engine.HostConfig{Link: link, Conn: quick, Shards: shards})
}

// atOnce does n things, so many at a time.
func atOnce(width, n int, do func()) {
	var all sync.WaitGroup
	todo := make(chan struct{}, n)
	for range n {
		todo <- struct{}{}
	}
	close(todo)
	for range width {
		all.Go(func() {
			for range todo {
				do()
			}
		})
	}
	all.Wait()
}

// send opens a connection and sends octets to a server that reads until the end.
func send(b *testing.B, h *engine.Host, to netip.AddrPort, octets int) {
	c, err := h.Dial(b.Context(), to, engine.DialConfig{})
	if err != nil {
		b.Error(err)
		return
	}
	for data := make([]byte, 1<<20); octets > 0; octets -= len(data) {
		if _, err := c.Write(data[:min(len(data), octets)]); err != nil {
			b.Error(err)
		}
	}
	if err := c.CloseWrite(); err != nil {
		b.Error(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		b.Error(err)
	}
	c.Close()
}

// receive opens a connection, takes octets, and closes it in order.
func receive(b *testing.B, h *engine.Host, to netip.AddrPort, octets int) {
	c, err := h.Dial(b.Context(), to, engine.DialConfig{})
	if err != nil {
		b.Error(err)
		return
	}
	if err := c.CloseWrite(); err != nil {
		b.Error(err)
	}
	buf := make([]byte, 256<<10)
	if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, c, buf); err != nil || n != int64(octets) {
		b.Errorf("%d octets, %v", n, err)
	}
	c.Close()
}
