package rawsock

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// patience bounds every wait for the kernel.
const patience = time.Minute

// A station is a Conn with a goroutine that reads it.
type station struct {
	t *testing.T
	*Conn
	packets chan tcpPacket
	raw     chan []byte
	errs    chan error
	stamps  chan int64
	over    chan struct{} // nobody takes what is read any more
}

func openStation(t *testing.T, cfg Config) *station {
	t.Helper()
	c, err := openLink(cfg)
	must(t, err)
	s := &station{t: t, Conn: c, packets: make(chan tcpPacket, 1024), raw: make(chan []byte, 1024),
		errs: make(chan error, 1024), stamps: make(chan int64, 1024), over: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.read()
	}()
	t.Cleanup(func() {
		close(s.over)
		c.Close()
		<-done
	})
	return s
}

func (s *station) read() {
	bufs := make([][]byte, 16)
	for i := range bufs {
		bufs[i] = make([]byte, 65600)
	}
	sizes, stamps := make([]int, len(bufs)), make([]int64, len(bufs))
	for {
		n, err := s.ReadBatch(bufs, sizes, stamps)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			hand(s, s.errs, err)
			continue
		}
		for i := range n {
			pkt := append([]byte(nil), bufs[i][:sizes[i]]...)
			p, ok := parsePacket(pkt)
			if !ok {
				s.t.Errorf("ReadBatch returned no TCP packet: %x", pkt)
				continue
			}
			hand(s, s.packets, p)
			hand(s, s.raw, pkt)
			hand(s, s.stamps, stamps[i])
		}
	}
}

// hand hands on what the test may not take: it may have failed.
func hand[T any](s *station, to chan<- T, what T) {
	select {
	case to <- what:
	case <-s.over:
	}
}

// claim claims for the length of the test.
func (s *station) claim(local netip.AddrPort) func() error {
	s.t.Helper()
	cl, err := s.Claim(local)
	must(s.t, err)
	return cl.Close
}

func (s *station) send(pkts ...tcpPacket) {
	s.t.Helper()
	for _, p := range pkts {
		if _, err := s.WriteBatch([][]byte{p.bytes()}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// want waits for the next packet and checks its flags.
func (s *station) want(flags byte) tcpPacket {
	s.t.Helper()
	select {
	case p := <-s.packets:
		if p.flags != flags {
			s.t.Fatalf("received flags %#x, want %#x: %+v", p.flags, flags, p)
		}
		return p
	case err := <-s.errs:
		s.t.Fatal("instead of a packet:", err)
	case <-time.After(patience):
		s.t.Fatalf("no packet with flags %#x came", flags)
	}
	return tcpPacket{}
}

// kernelListener listens with the peer's kernel, accepts, discards what comes
// and closes when the other side does.
func kernelListener(l *lab, family int) netip.AddrPort {
	l.t.Helper()
	var ln net.Listener
	must(l.t, l.peer.do(func() (err error) {
		ln, err = net.Listen("tcp", netip.AddrPortFrom(l.theirs[family], 0).String())
		return err
	}))
	l.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func TestHandshakeWithAKernel(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		remote := kernelListener(l, family)
		s := openStation(t, Config{})
		src, mtu, err := s.Route(remote.Addr(), netip.Addr{})
		must(t, err)
		if src != l.ours[family] || mtu != 1500 {
			t.Fatalf("Route = %v, %d, want %v, 1500", src, mtu, l.ours[family])
		}
		local := netip.AddrPortFrom(src, 4001)
		s.claim(local)
		s.send(tcpPacket{src: local, dst: remote, seq: 1000, flags: syn})
		sa := s.want(syn | ack)
		if sa.src != remote || sa.dst != local || sa.ack != 1001 || sa.ttl != 64 {
			t.Errorf("SYN-ACK %+v", sa)
		}
		s.send(tcpPacket{src: local, dst: remote, seq: 1001, ack: sa.seq + 1, flags: ack})
		s.send(tcpPacket{src: local, dst: remote, seq: 1001, ack: sa.seq + 1, flags: ack | psh, payload: []byte("hello")})
		if p := s.want(ack); p.ack != 1006 {
			t.Errorf("the peer acknowledges %d, want 1006", p.ack)
		}
		if stamp := <-s.stamps; time.Since(time.Unix(0, stamp)).Abs() > patience {
			t.Errorf("receive stamp %v", time.Unix(0, stamp))
		}
		t.Log(s.Guard(), s.Notes())
	})
}
