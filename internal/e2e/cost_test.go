package e2e

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/netlab"
	"rawtcp/internal/trace"
	"rawtcp/rawsock"
)

// BenchmarkPcap compares an upload with --pcap with one without, in pairs, over
// a veth pair to the kernel's TCP. Each capture is a new file: to empty the last
// one would cost as much as to write it, before anything is sent and at the end.
func BenchmarkPcap(b *testing.B) {
	const octets, rounds = 256 << 20, 7
	here, there := netlab.Pair(b, netlab.LinkConfig{})
	server := there.MustServe(b, netlab.Discard)
	dir := b.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.WriteFile(data, make([]byte, octets), 0o600); err != nil {
		b.Fatal(err)
	}
	upload := func(more ...string) (wall, cpu time.Duration) {
		args := append([]string{"connect", target(there.Addr4(), server.Port()), "-q", "--send-file", data, "--wait", "0", "--time-wait", "1ms"}, more...)
		cmd := here.Command(b.Context(), rawtcp, args...)
		start := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		return time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	for b.Loop() {
		var walls, cpus []float64
		fastest := time.Hour
		for range rounds { // in turns, so that a busy machine troubles both alike
			plain, plainCPU := upload()
			file := filepath.Join(dir, "x.pcapng")
			captured, capturedCPU := upload("--pcap", file)
			if err := os.Remove(file); err != nil {
				b.Fatal(err)
			}
			walls = append(walls, plain.Seconds()/captured.Seconds())
			cpus = append(cpus, plainCPU.Seconds()/capturedCPU.Seconds())
			fastest = min(fastest, plain)
		}
		report(b, walls, "pcap/plain")
		report(b, cpus, "pcap/plain-cpu")
		b.ReportMetric(octets/fastest.Seconds()/1e6, "MB/s")
	}
}

// BenchmarkSummary compares an upload that a tracer follows for the summary, as it
// does in every run of the command, with one without a tracer: in pairs, over a
// veth pair to the kernel's TCP. Either comes first in every second pair.
func BenchmarkSummary(b *testing.B) {
	const octets, rounds = 128 << 20, 16
	here, there := netlab.Pair(b, netlab.LinkConfig{})
	server := there.MustServe(b, netlab.Discard)
	to := netip.AddrPortFrom(there.Addr4(), server.Port())
	for b.Loop() {
		var ratios []float64
		for i := range rounds {
			var plain, followed time.Duration
			if i%2 == 0 {
				plain = upload(b, here, to, octets, nil)
			}
			followed = upload(b, here, to, octets, trace.Tee{trace.NewCollector()})
			if i%2 != 0 {
				plain = upload(b, here, to, octets, nil)
			}
			ratios = append(ratios, plain.Seconds()/followed.Seconds())
		}
		report(b, ratios, "summary/none")
	}
}

// upload sends octets to a server that closes when it has all, and returns how
// long that took.
func upload(b *testing.B, from *netlab.Host, to netip.AddrPort, octets int, tracer engine.Tracer) time.Duration {
	var link *rawsock.Conn
	if err := from.Do(func() (err error) { link, err = rawsock.Open(rawsock.Config{}); return err }); err != nil {
		b.Fatal(err)
	}
	host := engine.NewHost(engine.HostConfig{Link: link, Tracer: tracer, Conn: quick})
	defer host.Close()
	c, err := host.Dial(b.Context(), to, engine.DialConfig{})
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 1<<20)
	start := time.Now()
	for range octets / len(data) {
		if _, err := c.Write(data); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.CloseWrite(); err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// report tells the middle of the ratios of all pairs, and between what the
// middle half of them lies.
func report(b *testing.B, ratios []float64, unit string) {
	slices.Sort(ratios)
	n := len(ratios)
	b.ReportMetric(ratios[n/2], unit)
	b.Logf("%s: %.2f to %.2f to %.2f", unit, ratios[n/4], ratios[n/2], ratios[n-1-n/4])
}
