package engine_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
)

// The second connection to a server has its answer after one round trip instead of two.
func TestFastOpenSavesARoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 50 * time.Millisecond
		w := newWorld(t, worldConfig{path: simnet.PathConfig{Delay: delay}, tracer: true})
		l := w.listen(engine.ListenConfig{FastOpen: 10})
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				request := make([]byte, 8)
				if _, err := io.ReadFull(c, request); err != nil {
					t.Error(err)
				}
				_, _ = c.Write(append([]byte("answer to "), request...))
				c.Close()
			}
		}()
		for i, want := range []time.Duration{2 * 2 * delay, 2 * delay, 2 * delay} {
			start := time.Now()
			c, err := w.client.Dial(context.Background(), web, engine.DialConfig{
				Conn: engine.ConnConfig{FastOpen: engine.On}, Data: []byte("question")})
			if err != nil {
				t.Fatal(err)
			}
			answer := make([]byte, len("answer to question"))
			_, err = io.ReadFull(c, answer)
			if err != nil || string(answer) != "answer to question" {
				t.Fatalf("%q, %v", answer, err)
			}
			if took := time.Since(start); took < want || took > want+5*time.Millisecond {
				t.Errorf("connection %d: the answer took %v, want %v", i, took, want)
			}
			if got := c.Info().FastOpen; got != (i > 0) {
				t.Errorf("connection %d: Fast Open %t", i, got)
			}
			c.Close()
		}
	})
}

// Fast Open on a road that loses every third packet: the stream arrives whole.
func TestFastOpenOverALossyRoad(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, worldConfig{seed: seed, path: simnet.PathConfig{Delay: 10 * time.Millisecond, Loss: 0.3}})
			l := w.listen(engine.ListenConfig{FastOpen: 10})
			for range 3 {
				head, _ := stream(seed, 1000)
				c, err := w.client.Dial(context.Background(), web, engine.DialConfig{
					Conn: engine.ConnConfig{FastOpen: engine.On, SYNRetries: 20}, Data: head})
				if err != nil {
					t.Fatal(err)
				}
				s, err := l.AcceptConn()
				for err == nil && s.RemoteAddr().String() != c.LocalAddr().String() {
					s, err = l.AcceptConn() // what an earlier SYN opened
				}
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(head))
				if _, err := io.ReadFull(s, got); err != nil || string(got) != string(head) {
					t.Errorf("seed %d: %v, damaged: %t", seed, err, string(got) != string(head))
				}
				pour(t, c, s, seed, 5_000)
				_ = c.Abort()
				_ = s.Abort()
			}
		})
	}
}

func TestDialRefusesMoreDataThanTheSendBufferTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldConfig{})
		_, err := w.client.Dial(context.Background(), web, engine.DialConfig{
			Conn: engine.ConnConfig{SendBuffer: 1000}, Data: make([]byte, 1001)})
		if err == nil {
			t.Error("it took them")
		}
	})
}
