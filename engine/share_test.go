package engine_test

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
)

// Several calls of Read at a time get pieces of the stream that hang together, and
// all of it.
func TestReadersShareAStream(t *testing.T) {
	path := simnet.PathConfig{Delay: time.Millisecond, Loss: 0.02, Reorder: 0.05, ReorderBy: time.Millisecond}
	bubble(t, worldConfig{seed: 7, path: path}, func(w *world) {
		client, server := w.pair()
		data, _ := stream(7, 300_000)
		var all sync.WaitGroup
		all.Go(func() {
			for rest := data; len(rest) > 0; { // in pieces, so that readers wait
				n := min(len(rest), 5000)
				if _, err := client.Write(rest[:n]); err != nil {
					t.Error(err)
				}
				rest = rest[n:]
				time.Sleep(100 * time.Microsecond)
			}
			client.CloseWrite()
		})
		pieces := &pieces{t: t, data: data, seen: make([]bool, len(data))}
		for _, size := range []int{3000, 7001, 20_000} {
			all.Go(func() { pieces.read(server, make([]byte, size)) })
		}
		all.Wait()
		if pieces.total != len(data) {
			t.Errorf("%d octets were read of %d", pieces.total, len(data))
		}
	})
}

// pieces are what several readers have read of data.
type pieces struct {
	t     *testing.T
	mu    sync.Mutex
	data  []byte
	seen  []bool
	total int
}

func (p *pieces) read(c *engine.NetConn, buf []byte) {
	for {
		n, err := c.Read(buf)
		if err != nil {
			if err != io.EOF {
				p.t.Error(err)
			}
			return
		}
		p.add(buf[:n])
	}
}

// add finds where a piece stands. One of few octets may stand anywhere.
func (p *pieces) add(piece []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total += len(piece)
	if len(piece) < 8 {
		return
	}
	at := bytes.Index(p.data, piece)
	if at < 0 {
		p.t.Errorf("%d octets do not hang together", len(piece))
		return
	}
	for i := range piece {
		if p.seen[at+i] {
			p.t.Errorf("octet %d was read twice", at+i)
			return
		}
		p.seen[at+i] = true
	}
}
