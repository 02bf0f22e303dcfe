package engine_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
	"rawtcp/segment"
)

// A lingerCase closes a connection, whose peer may have gone deaf, and says how
// long that takes and what is seen of it.
type lingerCase struct {
	name     string
	seconds  int  // of SetLinger
	send     bool // data is queued before Close
	shutdown bool // CloseWrite comes first
	deaf     bool // the peer's side of the network has gone
	took     time.Duration
	fin, rst int // segments of ours with that flag, 3 s later; the FIN's repetitions count once
}

func TestLinger(t *testing.T) {
	const rtt = 20 * time.Millisecond
	for _, tt := range []lingerCase{
		{name: "off", seconds: -1, fin: 1},
		{name: "off, data", seconds: -1, send: true, fin: 1},
		{name: "off, deaf peer", seconds: -1, deaf: true, fin: 1},
		{name: "off, shutdown first", seconds: -1, shutdown: true, fin: 1},
		{name: "zero", seconds: 0, rst: 1},
		{name: "zero, data", seconds: 0, send: true, rst: 1},
		{name: "zero, shutdown first", seconds: 0, shutdown: true, fin: 1, rst: 1},
		{name: "zero, data and shutdown", seconds: 0, send: true, shutdown: true, fin: 1, rst: 1},
		{name: "some", seconds: 2, fin: 1, took: rtt},
		{name: "some, data", seconds: 2, send: true, fin: 1, took: rtt},
		{name: "some, shutdown first", seconds: 2, shutdown: true, fin: 1, took: rtt},
		{name: "some, deaf peer", seconds: 2, deaf: true, fin: 1, took: 2 * time.Second},
		{name: "some, data, deaf peer", seconds: 2, send: true, deaf: true, fin: 1, took: 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, rtt) })
	}
}

func (tt lingerCase) run(t *testing.T, rtt time.Duration) {
	fins, rsts := map[segment.Seq]bool{}, map[segment.Seq]bool{}
	tap := func(p simnet.Packet) {
		var s segment.Segment
		if s.Parse(p.Data) != nil || s.Dst != web {
			return
		}
		if s.Flags.Has(segment.FIN) {
			fins[s.End()] = true
		}
		if s.Flags.Has(segment.RST) {
			rsts[s.Seq] = true
		}
	}
	bubble(t, worldConfig{path: simnet.PathConfig{Delay: rtt / 2}, tap: tap}, func(w *world) {
		client, server := w.pair()
		go io.Copy(io.Discard, server)
		synctest.Wait()
		if err := client.SetLinger(tt.seconds); err != nil {
			t.Fatal(err)
		}
		if tt.deaf {
			w.net.SetPaths(w.clientPort, w.serverPort, simnet.PathConfig{Loss: 1})
		}
		if tt.send {
			client.Write(make([]byte, 1000))
		}
		if tt.shutdown {
			client.CloseWrite()
		}
		start := time.Now()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != tt.took {
			t.Errorf("Close took %v, want %v", took, tt.took)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(fins) != tt.fin || len(rsts) != tt.rst {
			t.Errorf("%d FIN and %d RST, want %d and %d", len(fins), len(rsts), tt.fin, tt.rst)
		}
	})
}

func TestControlsOfANetConn(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, server := w.pair()
		for name, err := range map[string]error{
			"SetReadBuffer":      client.SetReadBuffer(100_000),
			"SetWriteBuffer":     client.SetWriteBuffer(100_000),
			"SetNoDelay":         client.SetNoDelay(true),
			"SetCork":            client.SetCork(false),
			"SetKeepAliveConfig": client.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true}),
			"SetUserTimeout":     client.SetUserTimeout(time.Minute),
			"SetCongestion":      client.SetCongestion("reno"),
			"SetTTL":             client.SetTTL(3),
			"SetTOS":             client.SetTOS(4),
		} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := client.Info().Congestion; got != "reno" {
			t.Errorf("congestion control %s", got)
		}
		for name, err := range map[string]error{
			"a buffer of nothing": client.SetReadBuffer(0),
			"a negative timeout":  client.SetUserTimeout(-1),
		} {
			var op *net.OpError
			if !errors.As(err, &op) || op.Op != "set" || !errors.Is(err, engine.ErrBadConfig) {
				t.Errorf("%s: %v", name, err)
			}
		}
		client.Close()
		if err := client.SetTTL(3); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		server.Close()
	})
}

func TestKeepAliveConfigOfANetConn(t *testing.T) {
	var probes int
	tap := func(p simnet.Packet) {
		var s segment.Segment
		if s.Parse(p.Data) == nil && s.Dst == web && len(s.Payload) == 0 && s.Flags == segment.ACK {
			probes++
		}
	}
	bubble(t, worldConfig{tap: tap}, func(w *world) {
		client, _ := w.pair()
		w.net.SetPaths(w.clientPort, w.serverPort, simnet.PathConfig{Loss: 1})
		if err := client.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Hour, Interval: time.Minute, Count: 3}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		probes = 0
		start := time.Now()
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, engine.ErrTimeout) {
			t.Errorf("Read: %v", err)
		}
		if took := time.Since(start); took != time.Hour+3*time.Minute || probes != 3 {
			t.Errorf("ended after %v and %d probes", took, probes)
		}
	})
}

// A read half that is closed must not make the peer's writes fail.
func TestCloseReadOfANetConn(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, server := w.pair()
		read := make(chan error)
		go func() {
			_, err := client.Read(make([]byte, 1))
			read <- err
		}()
		synctest.Wait()
		if err := client.CloseRead(); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != io.EOF {
			t.Errorf("a Read that waits: %v", err)
		}
		if n, err := server.Write(make([]byte, 3<<20)); n != 3<<20 || err != nil {
			t.Errorf("the peer wrote %d, %v", n, err)
		}
		time.Sleep(time.Second) // what comes after Close would be answered with RST
		client.Write([]byte("still here"))
		client.Close()
		if all, err := io.ReadAll(server); string(all) != "still here" || err != nil {
			t.Errorf("the peer read %q, %v", all, err)
		}
	})
}

func TestUrgentDataOfANetConn(t *testing.T) { // MUST-30 to MUST-33
	bubble(t, worldConfig{}, func(w *world) {
		client, server := w.pair()
		client.Write([]byte("slow"))
		if n, err := client.WriteUrgent([]byte("QUICK")); n != 5 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		client.Write([]byte("slow"))
		if news := <-server.Notices(); news != engine.Urgent {
			t.Errorf("news %b", news)
		}
		synctest.Wait()
		if left := server.Urgent(); left != 9 {
			t.Errorf("%d octets up to the end of the urgent data, want 9", left)
		}
		buf := make([]byte, 6)
		io.ReadFull(server, buf)
		if left := server.Urgent(); left != 3 {
			t.Errorf("%d octets left, want 3", left)
		}
		io.ReadFull(server, buf[:3])
		if left := server.Urgent(); left != 0 {
			t.Errorf("%d octets left behind it", left)
		}
	})
}

func TestNoticesAreGathered(t *testing.T) {
	bubble(t, worldConfig{conn: engine.ConnConfig{R1: 2}}, func(w *world) {
		client, server := w.pair()
		server.WriteUrgent([]byte("!"))
		synctest.Wait()
		w.net.SetPaths(w.clientPort, w.serverPort, simnet.PathConfig{Loss: 1})
		client.Write([]byte("?"))
		time.Sleep(time.Minute)
		if news := <-client.Notices(); news != engine.Urgent|engine.Troubled {
			t.Errorf("news %b", news)
		}
		select {
		case news := <-client.Notices():
			t.Errorf("more news %b", news)
		default:
		}
	})
}
