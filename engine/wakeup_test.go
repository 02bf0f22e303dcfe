package engine_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
)

// An orderLink notes what is done first after packets have come: to write, or to
// look for more of them.
type orderLink struct {
	engine.Link
	mu                     sync.Mutex
	came                   bool // and neither was done since
	wroteFirst, readsFirst int
}

func (l *orderLink) ReadBatch(bufs [][]byte, sizes []int, stamps []int64) (int, error) {
	l.next(&l.readsFirst)
	n, err := l.Link.ReadBatch(bufs, sizes, stamps)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.came = n > 0
	return n, err
}

func (l *orderLink) WriteBatch(pkts [][]byte) (int, error) {
	l.next(&l.wroteFirst)
	return l.Link.WriteBatch(pkts)
}

func (l *orderLink) next(first *int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.came {
		*first++
	}
	l.came = false
}

// Who waited for a packet can answer before the link is read again, also where
// there is one processor for both.
func TestAnswerGoesFirst(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var link orderLink
	cfg := worldConfig{path: simnet.PathConfig{Delay: time.Millisecond}, link: func(l engine.Link) engine.Link { link.Link = l; return &link }}
	bubble(t, cfg, func(w *world) {
		client, server := w.pair()
		go io.Copy(client, client)
		const rounds = 200
		for range rounds {
			wantOctetBack(t, server)
		}
		// Now and then the runtime lets somebody else go first, so as to be fair.
		link.mu.Lock()
		defer link.mu.Unlock()
		if link.wroteFirst < rounds*3/4 {
			t.Errorf("of %d answers %d left before the link was read again, and it was read %d times before", rounds, link.wroteFirst, link.readsFirst)
		}
	})
}

func wantOctetBack(t *testing.T, c net.Conn) {
	t.Helper()
	out, in := [1]byte{7}, [1]byte{}
	if _, err := c.Write(out[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, in[:]); err != nil || in != out {
		t.Fatalf("%v came back, %v", in, err)
	}
}

// Many goroutines read and write one connection, some with deadlines that pass all
// the time: every octet is read once, and everybody comes home.
func TestNoWakeUpIsLost(t *testing.T) {
	path := simnet.PathConfig{Delay: time.Millisecond, Jitter: time.Millisecond, Loss: 0.01, Reorder: 0.02, ReorderBy: time.Millisecond}
	bubble(t, worldConfig{path: path}, func(w *world) {
		client, server := w.pair()
		const writers, readers, size = 4, 4, 50_000
		var writing, reading sync.WaitGroup
		var read atomic.Int64
		for i := range writers {
			writing.Go(func() { writeInPieces(t, client, size, uint64(i)) })
		}
		for i := range readers {
			reading.Go(func() { read.Add(readPatiently(t, server, uint64(i))) })
		}
		stop := make(chan struct{})
		var moving sync.WaitGroup
		moving.Go(func() { moveDeadlines(server, stop) })
		writing.Wait()
		if err := client.CloseWrite(); err != nil {
			t.Error(err)
		}
		reading.Wait()
		close(stop)
		moving.Wait()
		if got := read.Load(); got != writers*size {
			t.Errorf("%d octets were read, %d written", got, writers*size)
		}
	})
}

func writeInPieces(t *testing.T, c net.Conn, size int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for size > 0 {
		n := min(size, 1+rng.IntN(4000))
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Error(err)
			return
		}
		size -= n
		time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
	}
}

// readPatiently reads to the end, whatever deadlines pass.
func readPatiently(t *testing.T, c net.Conn, seed uint64) (octets int64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	for {
		n, err := c.Read(make([]byte, 1+rng.IntN(3000)))
		octets += int64(n)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			time.Sleep(time.Millisecond)
		case err == io.EOF:
			return octets
		case err != nil:
			t.Error(err)
			return octets
		}
	}
}

// moveDeadlines sets deadlines to the past, the next moment and never, in turns.
func moveDeadlines(c net.Conn, stop <-chan struct{}) {
	for {
		for _, wait := range []time.Duration{-time.Second, 3 * time.Millisecond, time.Hour} {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				_ = c.SetReadDeadline(time.Now().Add(wait))
			}
		}
	}
}

// Whatever ends the waiting ends it for all who wait.
func TestAllReadersComeHome(t *testing.T) {
	for name, end := range map[string]struct {
		how  func(client, server *engine.NetConn)
		want error
	}{
		"close":         {func(_, server *engine.NetConn) { server.Close() }, net.ErrClosed},
		"abort":         {func(_, server *engine.NetConn) { server.Abort() }, net.ErrClosed},
		"deadline":      {func(_, server *engine.NetConn) { server.SetReadDeadline(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded},
		"past deadline": {func(_, server *engine.NetConn) { server.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"reading ended": {func(_, server *engine.NetConn) { server.CloseRead() }, io.EOF},
		"peer's end":    {func(client, _ *engine.NetConn) { client.CloseWrite() }, io.EOF},
		"peer's reset":  {func(client, _ *engine.NetConn) { client.Abort() }, engine.ErrReset},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, worldConfig{path: simnet.PathConfig{Delay: time.Millisecond}}, func(w *world) {
				client, server := w.pair()
				const readers = 8
				ended := make(chan error, readers)
				for range readers {
					go func() {
						_, err := server.Read(make([]byte, 1))
						ended <- err
					}()
				}
				synctest.Wait()
				end.how(client, server)
				for range readers {
					if err := <-ended; !errors.Is(err, end.want) {
						t.Errorf("Read: %v, want %v", err, end.want)
					}
				}
			})
		})
	}
}
