package engine

import (
	"io"
	"net/netip"
	"sync"
	"testing"
	"time"

	"rawtcp/internal/simnet"
)

// While a batch waits for its shard another one is read, if it was a large one.
func TestSecondReader(t *testing.T) {
	link := &batchLink{in: make(chan [][]byte)}
	h := NewHost(HostConfig{Link: link, Shards: 2})
	defer h.Close()
	s := h.shards[0] // has what is no TCP segment
	full := make([][]byte, readBatch)
	for i := range full {
		full[i] = []byte{0}
	}
	s.mu.Lock()
	for i := range 2 {
		select {
		case link.in <- full:
		case <-time.After(time.Minute):
			t.Errorf("nobody reads batch %d while another waits for its shard", i)
		}
	}
	s.mu.Unlock()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		got := s.stack.Counters().Malformed
		s.mu.Unlock()
		if got == 2*readBatch {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d packets of two batches were delivered", got)
		}
	}
}

// Whoever of two readers brings a packet, each shard has them in order.
func TestReadersKeepOrder(t *testing.T) {
	network := simnet.New(simnet.Config{})
	host := func(a netip.AddrPort) *Host {
		port := network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{a.Addr()}, SuperSegment: 65_000})
		calm := ConnConfig{InitialRTO: time.Minute, MinRTO: time.Minute, LossProbe: Off} // a busy machine is no lossy road
		h := NewHost(HostConfig{Link: port, Conn: calm, Shards: 2})
		t.Cleanup(func() { h.Close() })
		return h
	}
	client, server := host(us), host(peer)
	l, err := server.Listen(peer, ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 6 {
		c, err := client.Dial(t.Context(), peer, DialConfig{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			const size = 4 << 20
			go func() {
				_, _ = c.Write(make([]byte, size)) // what is missing is seen where it is read
				_ = c.CloseWrite()
			}()
			if n, err := io.Copy(io.Discard, s); n != size || err != nil {
				t.Errorf("read %d octets of %d, %v", n, size, err)
			}
			if n := s.Info().Stats.OutOfOrderIn; n > 0 {
				t.Errorf("%d segments came out of order", n)
			}
		})
	}
	all.Wait()
}
