package ping

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/rawsock"
	"rawtcp/segment"
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

// A heldUpLink is one of a machine that stands still from 0.9 s to 1.1 s after
// the first SYN. The kernel has the answer at 0.95 s; what reads it goes on with
// everything else.
type heldUpLink struct {
	slowLink
	began  time.Time
	answer chan []byte
	sent   rawsock.TxStamp
}

func (l *heldUpLink) WriteBatch(pkts [][]byte) (int, error) {
	var s segment.Segment
	if s.Parse(pkts[0]) != nil || !s.Flags.Has(segment.SYN) || l.sent.Stamp != 0 {
		return len(pkts), nil
	}
	l.sent = rawsock.TxStamp{Local: s.Src, Remote: s.Dst, Seq: s.Seq.Uint32(), Stamp: l.began.UnixNano()}
	pkt, err := answerTo(s, segment.SYN).Append(nil)
	l.answer <- pkt
	return len(pkts), err
}

func (l *heldUpLink) ReadBatch(bufs [][]byte, sizes []int, stamps []int64) (int, error) {
	select {
	case pkt := <-l.answer:
		time.Sleep(time.Until(l.began.Add(1100*time.Millisecond + time.Microsecond)))
		sizes[0], stamps[0] = copy(bufs[0], pkt), l.began.Add(950*time.Millisecond).UnixNano()
		return 1, nil
	case <-l.closed:
		return 0, net.ErrClosed
	}
}

func (l *heldUpLink) TxStamps(dst []rawsock.TxStamp) int {
	if at := time.Since(l.began); at >= 900*time.Millisecond && at < time.Second {
		time.Sleep(1100*time.Millisecond - at)
	}
	if l.sent.Stamp == 0 {
		return 0
	}
	dst[0] = l.sent
	return 1
}

// An answer that came in time is no loss, however late we are to look at it.
func TestHeldUpIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &heldUpLink{slowLink: slowLink{closed: make(chan struct{})}, began: time.Now(), answer: make(chan []byte, 1)}
		var news []string
		cfg := Config{Targets: []Target{{Local: us, Remote: web}}, Count: 2, Interval: 900 * time.Millisecond, Wait: time.Second,
			Emit: func(e *Event) { news = append(news, fmt.Sprint(e.Seq, " ", e.Kind, " ", e.RTT)) }}
		if err := NewPinger(link, cfg, nil).Run(nil, nil); err != nil {
			t.Fatal(err)
		}
		if want := []string{"1 reply 950ms", "2 lost 0s"}; fmt.Sprint(news) != fmt.Sprint(want) {
			t.Errorf("%q, want %q", news, want)
		}
	})
}
