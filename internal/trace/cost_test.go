package trace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/paired"
	"rawtcp/internal/simnet"
)

// bulkTransfer sends so many octets between two hosts on a simulated network in
// real time; the sender's host has the tracer and the link that trace makes.
func bulkTransfer(tb testing.TB, octets int, trace func(engine.Link) (engine.Tracer, engine.Link)) (wall, cpu time.Duration) {
	tb.Helper()
	net := simnet.New(simnet.Config{})
	from := net.NewPort(simnet.PortConfig{Addrs: []netip.Addr{local4.Addr()}})
	to := net.NewPort(simnet.PortConfig{Addrs: []netip.Addr{remote4.Addr()}})
	tracer, link := trace(from)
	sender := engine.NewHost(engine.HostConfig{Link: link, Tracer: tracer})
	receiver := engine.NewHost(engine.HostConfig{Link: to})
	defer sender.Close()
	defer receiver.Close()
	l, err := receiver.Listen(remote4, engine.ListenConfig{})
	if err != nil {
		tb.Fatal(err)
	}
	startWall, startCPU := time.Now(), cpuTime(tb)
	done := make(chan error, 1)
	go func() {
		c, err := l.AcceptConn()
		if err == nil {
			var n int64
			if n, err = io.Copy(io.Discard, c); n != int64(octets) {
				err = errors.Join(err, fmt.Errorf("%d octets arrived", n))
			}
			c.Close()
		}
		done <- err
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := sender.Dial(ctx, remote4, engine.DialConfig{})
	if err != nil {
		tb.Fatal(err)
	}
	chunk := make([]byte, 64<<10)
	for left := octets; left > 0; left -= len(chunk) {
		if _, err := c.Write(chunk[:min(left, len(chunk))]); err != nil {
			tb.Fatal(err)
		}
	}
	if err := c.CloseWrite(); err != nil {
		tb.Fatal(err)
	}
	if err := <-done; err != nil {
		tb.Fatal(err)
	}
	wall, cpu = time.Since(startWall), cpuTime(tb)-startCPU
	_ = c.Abort()
	return wall, cpu
}

func cpuTime(tb testing.TB) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkTracing compares the throughput of one transfer under each sink with
// that of no tracer, in pairs; ONLY=name takes one sink.
func BenchmarkTracing(b *testing.B) {
	octets, rounds := 16<<20, 15
	if testing.Short() { // that it works; what it costs takes more
		octets, rounds = 1<<20, 1
	}
	dir := b.TempDir()
	file := func() io.Writer {
		f, err := os.Create(dir + "/out")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { f.Close() })
		return f
	}
	type sink struct {
		name string
		make func(engine.Link) (engine.Tracer, engine.Link, func(time.Duration) error)
	}
	none := func(time.Duration) error { return nil }
	sinks := []sink{
		{"none", func(l engine.Link) (engine.Tracer, engine.Link, func(time.Duration) error) { return nil, l, none }},
		{"quiet", func(l engine.Link) (engine.Tracer, engine.Link, func(time.Duration) error) {
			return Tee{NewCollector()}, l, none
		}},
		{"pcap", func(l engine.Link) (engine.Tracer, engine.Link, func(time.Duration) error) {
			p, err := NewPcap(PcapConfig{Out: file(), Now: time.Now, Interface: "sim0"})
			if err != nil {
				b.Fatal(err)
			}
			return Tee{NewCollector(), p}, p.Link(l, nil), p.Close
		}},
		{"json", func(l engine.Link) (engine.Tracer, engine.Link, func(time.Duration) error) {
			j := NewJSONLines(file())
			return Tee{NewCollector(), j}, l, j.Close
		}},
		{"ladder", func(l engine.Link) (engine.Tracer, engine.Link, func(time.Duration) error) {
			ladder := NewLadder(LadderConfig{Out: file(), Now: time.Now})
			return Tee{NewCollector(), ladder}, l, ladder.Close
		}},
	}
	if only := os.Getenv("ONLY"); only != "" {
		sinks = slices.DeleteFunc(sinks, func(s sink) bool { return s.name != only && s.name != "none" })
	}
	for b.Loop() {
		wallRatios, cpuRatios := map[string][]float64{}, map[string][]float64{}
		for range rounds {
			var wall0, cpu0 time.Duration
			for _, s := range sinks { // in turns, so that a busy machine troubles all alike
				var end func(time.Duration) error
				wall, cpu := bulkTransfer(b, octets, func(l engine.Link) (engine.Tracer, engine.Link) {
					tracer, link, closer := s.make(l)
					end = closer
					return tracer, link
				})
				if err := end(time.Minute); err != nil {
					b.Fatal(err)
				}
				if s.name == "none" {
					wall0, cpu0 = wall, cpu
					continue
				}
				wallRatios[s.name] = append(wallRatios[s.name], wall0.Seconds()/wall.Seconds())
				cpuRatios[s.name] = append(cpuRatios[s.name], cpu0.Seconds()/cpu.Seconds())
			}
		}
		for _, s := range sinks[1:] {
			paired.Report(b, wallRatios[s.name], s.name+"/none")
			paired.Report(b, cpuRatios[s.name], s.name+"/none-cpu")
		}
	}
}
