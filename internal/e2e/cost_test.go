package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"rawtcp/internal/netlab"
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

// report tells the middle of the ratios of all pairs, and between what the
// middle half of them lies.
func report(b *testing.B, ratios []float64, unit string) {
	slices.Sort(ratios)
	n := len(ratios)
	b.ReportMetric(ratios[n/2], unit)
	b.Logf("%s: %.2f to %.2f to %.2f", unit, ratios[n/4], ratios[n/2], ratios[n-1-n/4])
}
