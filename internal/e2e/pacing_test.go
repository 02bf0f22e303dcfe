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
				h := pacedHost(b, here, io, engine.ConnConfig{Pacing: pacing})
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

// BenchmarkPacingRate tells how much of a pacing rate is used where the clock is that
// of the runtime's timers, which come late.
func BenchmarkPacingRate(b *testing.B) {
	span := time.Second
	if testing.Short() {
		span = 50 * time.Millisecond
	}
	here, there := netlab.Pair(b, netlab.LinkConfig{Offload: true})
	to := netip.AddrPortFrom(there.Addr4(), there.MustServe(b, netlab.Discard).Port())
	for _, rate := range []int64{1_000_000, 10_000_000, 50_000_000, 200_000_000} {
		b.Run(fmt.Sprint(rate), func(b *testing.B) {
			for b.Loop() {
				h := pacedHost(b, here, rawsock.PacketIO, engine.ConnConfig{PacingRate: rate})
				octets := int(rate * int64(span) / int64(time.Second))
				start, before := time.Now(), processTime(b)
				send(b, h, to, octets)
				took := time.Since(start)
				b.ReportMetric(span.Seconds()/took.Seconds(), "of-the-rate")
				b.ReportMetric((processTime(b)-before).Seconds()/took.Seconds(), "cpus")
				h.Close()
			}
		})
	}
}

func pacedHost(b *testing.B, from *netlab.Host, io rawsock.IOMode, conn engine.ConnConfig) *engine.Host {
	var link *rawsock.Conn
	if err := from.Do(func() (err error) { link, err = rawsock.Open(rawsock.Config{IO: io}); return err }); err != nil {
		b.Fatal(err)
	}
	conn.TimeWait = quick.TimeWait
	return engine.NewHost(engine.HostConfig{Link: link, Conn: conn})
}
