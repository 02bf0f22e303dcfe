package engine_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
)

// TestCleanLinkIsFull: on a link without faults, with a drop-tail queue of one
// bandwidth-delay product, throughput is at least 95 % of the lesser of bandwidth
// and window per round trip. Bandwidth is counted in octets of IP packet, and
// throughput in octets that the application reads: 1448 of the 1500. Windows that
// limit are whole segments, with a buffer of twice the size, so that what waits to
// be read takes nothing off them. Pacing by the window changes none of this.
func TestCleanLinkIsFull(t *testing.T) {
	const kB, MB, mss = 1000, 1000 * 1000, 1448
	for i, p := range []struct {
		bandwidth int64 // octets per second
		rtt       time.Duration
		window    int // octets
	}{
		{64 * kB, 20 * time.Millisecond, 1 * MB}, // the bandwidth limits
		{125 * kB, 100 * time.Millisecond, 1 * MB},
		{1250 * kB, 1 * time.Millisecond, 1 * MB},
		{1250 * kB, 50 * time.Millisecond, 1 * MB},
		{1250 * kB, 300 * time.Millisecond, 2 * MB},
		{5 * MB, 10 * time.Millisecond, 1 * MB},
		{12500 * kB, 20 * time.Millisecond, 2 * MB},
		{12500 * kB, 2 * time.Millisecond, 1 * MB},
		{125 * MB, 50 * time.Millisecond, 44 * mss}, // the window limits
		{12500 * kB, 200 * time.Millisecond, 44 * mss},
		{125 * MB, 20 * time.Millisecond, 180 * mss},
		{125 * MB, 100 * time.Millisecond, 90 * mss},
		{125 * MB, 600 * time.Millisecond, 350 * mss},
		{5 * MB, 500 * time.Millisecond, 20 * mss},
	} {
		if raceDetector && i%6 != 0 {
			continue // make test has all of them without it
		}
		limit := min(float64(p.bandwidth)*mss/1500, float64(p.window)/p.rtt.Seconds())
		span := min(20*time.Second, time.Duration(5e6/limit*1e9))
		span = max(span, 40*p.rtt)
		for _, pacing := range []engine.Switch{engine.Off, engine.On} {
			if pacing == engine.On && i%3 != 0 {
				continue // that pacing costs nothing is shown by some
			}
			got := steadyRate(t, p.bandwidth, p.rtt, p.window, span, pacing)
			t.Logf("%9d B/s, %v, window %d, pacing %d: %.3f of the limit", p.bandwidth, p.rtt, p.window, pacing, got/limit)
			if got < 0.95*limit {
				t.Errorf("bandwidth %d B/s, round trip %v, window %d, pacing %d: %.0f B/s, want at least 95 %% of %.0f", p.bandwidth, p.rtt, p.window, pacing, got, limit)
			}
		}
	}
}

// A long fat path is filled by connections that nobody has told of it: their
// buffers begin at a megabyte and grow. Large datagrams keep the test cheap.
func TestBuffersGrowToFillThePath(t *testing.T) {
	const bandwidth, rtt = 100e6, 60 * time.Millisecond // 6 MB in flight
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldConfig{seed: 1, mtu: 65535, path: simnet.PathConfig{Delay: rtt / 2, Bandwidth: bandwidth, Queue: 6e6},
			serverPort: simnet.PortConfig{ReceiveBuffer: 16 << 20}})
		client, server := w.pair()
		go func() {
			chunk := make([]byte, 256<<10)
			for {
				if _, err := client.Write(chunk); err != nil {
					return
				}
			}
		}()
		read, begin, buf := 0, time.Now(), make([]byte, 256<<10)
		for warm := 20 * rtt; time.Since(begin) < warm+10*rtt; {
			n, err := server.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			if time.Since(begin) >= warm {
				read += n
			}
		}
		sending, receiving := client.Info().SendBuffer, server.Info().ReceiveBuffer
		if got, most := float64(read), bandwidth*(10*rtt).Seconds(); got < 0.9*most {
			t.Errorf("%.2f of the path is used; the buffers are %d and %d", got/most, sending, receiving)
		}
		client.Abort()
		server.Abort()
	})
}

// steadyRate is how many octets per second arrive once slow start is over.
func steadyRate(t *testing.T, bandwidth int64, rtt time.Duration, window int, span time.Duration, pacing engine.Switch) (rate float64) {
	synctest.Test(t, func(t *testing.T) {
		bdp := int(float64(bandwidth) * rtt.Seconds())
		w := newWorld(t, worldConfig{seed: 1,
			path: simnet.PathConfig{Delay: rtt / 2, Bandwidth: bandwidth, Queue: max(bdp, 20_000)},
			conn: engine.ConnConfig{Window: window, ReceiveBuffer: 2 * window, SendBuffer: 4 * max(bdp, window), Pacing: pacing}})
		client, server := w.pair()
		go func() {
			chunk := make([]byte, 64<<10)
			for {
				if _, err := client.Write(chunk); err != nil {
					return
				}
			}
		}()
		read, begin, buf := 0, time.Now(), make([]byte, 256<<10)
		warm := 25*rtt + 500*time.Millisecond
		for time.Since(begin) < warm+span {
			n, err := server.Read(buf)
			if err == io.EOF || err != nil {
				t.Fatal(err)
			}
			if time.Since(begin) >= warm {
				read += n
			}
		}
		rate = float64(read) / (time.Since(begin) - warm).Seconds()
		client.Abort()
		server.Abort()
	})
	return rate
}
