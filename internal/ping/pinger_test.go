package ping

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/rawsock"
)

// A slowLink receives nothing, and its reader takes its time to see the end.
type slowLink struct {
	engine.Link
	closed   chan struct{}
	closing  sync.Once
	answered bool // the reader has seen the end
}

func (l *slowLink) ReadBatch([][]byte, []int, []int64) (int, error) {
	<-l.closed
	time.Sleep(time.Second)
	l.answered = true
	return 0, net.ErrClosed
}

func (l *slowLink) WriteBatch(pkts [][]byte) (int, error)   { return len(pkts), nil }
func (l *slowLink) Claim(netip.AddrPort) (io.Closer, error) { return nil, nil }
func (l *slowLink) TxStamps([]rawsock.TxStamp) int          { return 0 }

func (l *slowLink) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return nil
}

// Nothing of a Pinger runs after Run: its caller closes the taps next, and sums up.
func TestPingerRunWaitsForItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &slowLink{closed: make(chan struct{})}
		targets := []Target{{Local: us, Remote: web}}
		p := NewPinger(link, Config{Targets: targets, Count: 1, Interval: time.Second, Wait: time.Second, Emit: func(*Event) {}}, nil)
		if err := p.Run(nil, nil); err != nil {
			t.Fatal(err)
		}
		if !link.answered {
			t.Error("the reader goes on")
		}
	})
}
