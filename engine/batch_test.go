package engine

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"

	"rawtcp/segment"
)

// A batchLink delivers whole batches, each in one ReadBatch, and keeps what is written.
type batchLink struct {
	in  chan [][]byte
	out [][]byte
}

func (l *batchLink) ReadBatch(bufs [][]byte, sizes []int, _ []int64) (int, error) {
	batch, open := <-l.in
	if !open {
		return 0, net.ErrClosed
	}
	for i, pkt := range batch {
		sizes[i] = copy(bufs[i], pkt)
	}
	return len(batch), nil
}

func (l *batchLink) WriteBatch(pkts [][]byte) (int, error) {
	for _, pkt := range pkts {
		l.out = append(l.out, bytes.Clone(pkt))
	}
	return len(pkts), nil
}

func (l *batchLink) Claim(netip.AddrPort) (io.Closer, error) { return io.NopCloser(nil), nil }

func (l *batchLink) Route(_, _ netip.Addr) (netip.Addr, int, error) { return us.Addr(), 1500, nil }

func (l *batchLink) Close() error { close(l.in); return nil }

// "A TCP endpoint MUST process all queued segments before sending an ACK", RFC
// 9293 section 3.10.7.4, MUST-59: also those of one read.
func TestBatchDrawsOneACK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := &batchLink{in: make(chan [][]byte)}
		h := NewHost(HostConfig{Link: link, Conn: plain()})
		defer h.Close()
		if _, err := h.Listen(us, ListenConfig{}); err != nil {
			t.Fatal(err)
		}
		s := segment.Segment{Src: peer, Dst: us, Flags: segment.SYN, Window: 65535}
		s.Options.Set, s.Options.MSS = segment.HasMSS, 1000
		link.in <- [][]byte{packet(t, s)}
		synctest.Wait()
		if len(link.out) != 1 {
			t.Fatalf("%d segments answer the SYN", len(link.out))
		}
		link.out = nil
		batch := [][]byte{}
		s = segment.Segment{Src: peer, Dst: us, Seq: segment.MakeSeq(1), Ack: plain().ISN.Add(1), Flags: segment.ACK, Window: 65535}
		batch = append(batch, packet(t, s))
		s.Payload = make([]byte, 1000)
		for range 6 {
			batch = append(batch, packet(t, s))
			s.Seq = s.Seq.Add(1000)
		}
		link.in <- batch
		synctest.Wait()
		var ack segment.Segment
		if len(link.out) != 1 || ack.Parse(link.out[0]) != nil || ack.Ack != segment.MakeSeq(6001) {
			t.Errorf("%d segments answer the batch, the first is %s", len(link.out), &ack)
		}
	})
}

// RFC 6528 section 4, RFC 4086: a host that was given no secret makes one of its own.
func TestHostsWithoutASecretDiffer(t *testing.T) {
	seen := map[segment.Seq]bool{}
	for range 4 {
		h := NewHost(HostConfig{Link: &batchLink{in: make(chan [][]byte)}})
		seen[h.shards[0].stack.secrets.isn(1, us, peer)] = true
		h.Close()
	}
	if len(seen) != 4 {
		t.Errorf("four hosts, %d sequences", len(seen))
	}
}
