package engine_test

import (
	"bytes"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
	"rawtcp/segment"
)

// largestTo returns a tap that keeps the size of the largest datagram that
// arrived at the web server's address since the counter was last cleared.
func largestTo(largest *int) func(simnet.Packet) {
	return func(p simnet.Packet) {
		var s segment.Segment
		if s.Parse(p.Data) == nil && s.Dst == web && p.Fate == simnet.Forwarded {
			*largest = max(*largest, len(p.Data))
		}
	}
}

// A router that drops what is larger than 1400 octets and says nothing: the
// transfer gets through, and the search ends just below that size.
func TestTransferThroughABlackHole(t *testing.T) {
	largest := 0
	bubble(t, worldConfig{path: simnet.PathConfig{Delay: 10 * time.Millisecond, Bandwidth: 10e6}, tracer: true, tap: largestTo(&largest)}, func(w *world) {
		client, server := w.pair()
		w.net.SetPaths(w.clientPort, w.serverPort, simnet.PathConfig{Delay: 10 * time.Millisecond, Bandwidth: 10e6, MTU: 1400})
		start := time.Now()
		pour(t, client, server, 7, 24<<20)
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("24 MiB at 10 MB/s took %v", took)
		}
		if largest < 1380 || largest > 1400 {
			t.Errorf("the largest datagram that got through had %d octets, the path takes 1400", largest)
		}
		info := client.Info()
		if probes := info.Stats.MTUProbes; probes < 3 || probes > 20 {
			t.Errorf("%d probes", probes)
		}
		client.Close()
		server.Close()
	})
}

// The black hole goes away: after MTUExpiry the whole MTU is in use again.
func TestMTUGrowsWhenThePathDoes(t *testing.T) {
	largest := 0
	bubble(t, worldConfig{path: simnet.PathConfig{Delay: 10 * time.Millisecond}, tap: largestTo(&largest)}, func(w *world) {
		client, server := w.pair()
		defer server.Close()
		defer client.Close()
		send := func(size int) {
			data, _ := stream(3, size)
			go client.Write(data)
			got := make([]byte, size)
			for n := 0; n < size; {
				m, err := server.Read(got[n:])
				if n += m; err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got, data) {
				t.Fatal("damaged")
			}
		}
		narrow := simnet.PathConfig{Delay: 10 * time.Millisecond, MTU: 1300, ICMP: true}
		w.net.SetPaths(w.clientPort, w.serverPort, narrow)
		send(1 << 20)
		if got := client.Info().MTU; got != 1300 {
			t.Fatalf("MTU %d", got)
		}
		w.net.SetPaths(w.clientPort, w.serverPort, simnet.PathConfig{Delay: 10 * time.Millisecond})
		time.Sleep(11 * time.Minute)
		largest = 0
		send(1 << 20)
		if got := client.Info().MTU; got != 1500 || largest != 1500 {
			t.Errorf("MTU %d, the largest datagram had %d octets", got, largest)
		}
	})
}

// Somebody off the path, who sees nothing but guesses everything right, sends a
// message about each flight: the MTU stays as long as the data arrives.
func TestForgedTooBigDoesNotShrinkSegments(t *testing.T) {
	forged := 0
	bubble(t, worldConfig{path: simnet.PathConfig{Delay: 10 * time.Millisecond, Bandwidth: 10e6}, tracer: true, tap: nil}, func(w *world) {
		client, server := w.pair()
		warm, _ := stream(1, 200_000)
		client.Write(warm)
		buf := make([]byte, 200_000)
		for n := 0; n < len(buf); {
			m, err := server.Read(buf[n:])
			if n += m; err != nil {
				t.Fatal(err)
			}
		}
		w.net.SetPath(w.clientPort, w.serverPort, simnet.PathConfig{Delay: 10 * time.Millisecond, Bandwidth: 10e6, Hook: func(pkt []byte) []byte {
			if len(pkt) == 1500 {
				forged++
				quoted := bytes.Clone(pkt)
				go w.clientPort.InjectError(&simnet.ICMPError{From: serverAddr, Type: 3, Code: 4, MTU: 600, Quoted: quoted})
			}
			return pkt
		}})
		pour(t, client, server, 7, 2<<20)
		if info := client.Info(); info.MTU != 1500 || forged == 0 {
			t.Errorf("MTU %d after %d forged messages", info.MTU, forged)
		}
		client.Close()
		server.Close()
	})
	_ = engine.Closed
}
