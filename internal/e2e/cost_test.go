package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"rawtcp/internal/netlab"
)

// BenchmarkPcap compares an upload with --pcap with one without, in turns, over
// a real cable.
func BenchmarkPcap(b *testing.B) {
	const octets, rounds = 32 << 20, 7
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
		var plain, captured, plainCPU, capturedCPU []time.Duration
		for range rounds {
			wall, cpu := upload()
			plain, plainCPU = append(plain, wall), append(plainCPU, cpu)
			wall, cpu = upload("--pcap", filepath.Join(dir, "x.pcapng"), "--force")
			captured, capturedCPU = append(captured, wall), append(capturedCPU, cpu)
		}
		b.ReportMetric(slices.Min(plain).Seconds()/slices.Min(captured).Seconds(), "pcap/plain")
		b.ReportMetric(slices.Min(plainCPU).Seconds()/slices.Min(capturedCPU).Seconds(), "pcap/plain-cpu")
		b.ReportMetric(octets/slices.Min(plain).Seconds()/1e6, "MB/s")
	}
}
