package e2e

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/netlab"
	"rawtcp/internal/paired"
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
		paired.Report(b, walls, "pcap/plain")
		paired.Report(b, cpus, "pcap/plain-cpu")
		b.ReportMetric(octets/fastest.Seconds()/1e6, "MB/s")
	}
}

// BenchmarkSummary compares an upload that a tracer follows for the summary, as it
// does in every run of the command, with one without a tracer: in pairs, over a
// veth pair to the kernel's TCP. What the stack alone pays, with less noise, says
// the benchmark of the same name in internal/trace.
func BenchmarkSummary(b *testing.B) {
	const octets, rounds = 128 << 20, 16
	here, there := netlab.Pair(b, netlab.LinkConfig{})
	server := there.MustServe(b, netlab.Discard)
	to := netip.AddrPortFrom(there.Addr4(), server.Port())
	for b.Loop() {
		seconds := func(tracer func() engine.Tracer) func() float64 {
			return func() float64 { return upload(b, here, to, octets, tracer()).Seconds() }
		}
		ratios := paired.Rounds(rounds,
			seconds(func() engine.Tracer { return nil }),
			seconds(func() engine.Tracer { return trace.Tee{trace.NewCollector()} }))
		paired.Report(b, ratios, "summary/none")
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
