package e2e

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
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
	octets, rounds := 256<<20, 7
	if testing.Short() { // that it works; what it costs takes more
		octets, rounds = 16<<20, 1
	}
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
		fastest := time.Hour
		walls, cpus := paired.Rounds(rounds, func() (wall, cpu time.Duration) {
			wall, cpu = upload()
			fastest = min(fastest, wall)
			return wall, cpu
		}, func() (wall, cpu time.Duration) {
			file := filepath.Join(dir, "x.pcapng")
			wall, cpu = upload("--pcap", file)
			if err := os.Remove(file); err != nil {
				b.Fatal(err)
			}
			return wall, cpu
		})
		paired.Report(b, walls, "pcap/plain")
		paired.Report(b, cpus, "pcap/plain-cpu")
		b.ReportMetric(float64(octets)/fastest.Seconds()/1e6, "MB/s")
	}
}

// BenchmarkSummary compares an upload that a tracer follows for the summary, as it
// does in every run of the command, with one without a tracer: in pairs, over a
// veth pair to the kernel's TCP. What the stack alone pays, with less noise, says
// the benchmark of the same name in internal/trace.
func BenchmarkSummary(b *testing.B) {
	const octets = 16 << 20
	rounds := 96
	if testing.Short() {
		rounds = 1
	}
	here, there := netlab.Pair(b, netlab.LinkConfig{})
	server := there.MustServe(b, netlab.Discard)
	to := netip.AddrPortFrom(there.Addr4(), server.Port())
	for b.Loop() {
		walls, cpus := paired.Rounds(rounds, func() (wall, cpu time.Duration) {
			return upload(b, here, to, octets, nil)
		}, func() (wall, cpu time.Duration) {
			return upload(b, here, to, octets, trace.Tee{trace.NewCollector()})
		})
		paired.Report(b, walls, "summary/none")
		paired.Report(b, cpus, "summary/none-cpu")
	}
}

// upload sends octets to a server that closes when it has all, and returns how
// long that took, and how much of this process's processor time.
func upload(b *testing.B, from *netlab.Host, to netip.AddrPort, octets int, tracer engine.Tracer) (wall, cpu time.Duration) {
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
	start, before := time.Now(), processTime(b)
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
	return time.Since(start), processTime(b) - before
}

func processTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
