package e2e

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/netlab"
	"rawtcp/internal/paired"
	"rawtcp/rawsock"
)

// BenchmarkPacing compares a stream that is paced by its window with one that is
// not, in pairs, over a veth pair with offloads to the kernel's TCP: above 1 pacing
// is faster. The road has no bottleneck but the processors, so that this is what
// pacing costs where it is of no use.
func BenchmarkPacing(b *testing.B) {
	octets, rounds := 256<<20, 9
	if testing.Short() { // that it works; what it costs takes more
		octets, rounds = 8<<20, 1
	}
	here, there := netlab.Pair(b, netlab.LinkConfig{Offload: true})
	to := netip.AddrPortFrom(there.Addr4(), there.MustServe(b, netlab.Discard).Port())
	for _, io := range []rawsock.IOMode{rawsock.RawIO, rawsock.PacketIO} {
		b.Run(fmt.Sprint(io), func(b *testing.B) {
			run := func(pacing engine.Switch) (wall, cpu time.Duration) {
				h := pacedHost(b, here, io, pacing)
				defer h.Close()
				start, before := time.Now(), processTime(b)
				send(b, h, to, octets)
				return time.Since(start), processTime(b) - before
			}
			for b.Loop() {
				walls, cpus := paired.Rounds(rounds, func() (wall, cpu time.Duration) { return run(engine.Off) },
					func() (wall, cpu time.Duration) { return run(engine.On) })
				paired.Report(b, walls, "paced/not")
				paired.Report(b, cpus, "paced/not-cpu")
			}
		})
	}
}

func pacedHost(b *testing.B, from *netlab.Host, io rawsock.IOMode, pacing engine.Switch) *engine.Host {
	var link *rawsock.Conn
	if err := from.Do(func() (err error) { link, err = rawsock.Open(rawsock.Config{IO: io}); return err }); err != nil {
		b.Fatal(err)
	}
	conn := quick
	conn.Pacing = pacing
	return engine.NewHost(engine.HostConfig{Link: link, Conn: conn})
}
