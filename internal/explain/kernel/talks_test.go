package kernel

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawtcp/internal/netlab"
)

// A talk is one conversation of two kernels whose captures are examined.
type talk struct {
	name string
	v6   bool
	link netlab.RelayConfig
	run  func(w *world)
}

// A world is where a talk takes place: the client's host a, the server's host b,
// a relay in between.
type world struct {
	t    *testing.T
	a, b *netlab.Host
	r    *netlab.Relay
	v6   bool
	port uint16
}

func (w *world) addr(h *netlab.Host) netip.Addr {
	if w.v6 {
		return h.Addr6()
	}
	return h.Addr4()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// option sets a socket option before a socket is bound or connected.
type option struct{ level, name, value int }

var (
	noLinger = func(c *net.TCPConn) error { return c.SetLinger(0) }
	reuse    = option{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}
)

func control(options []option) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) (err error) {
		return errors.Join(raw.Control(func(fd uintptr) {
			for _, o := range options {
				err = errors.Join(err, unix.SetsockoptInt(int(fd), o.level, o.name, o.value))
			}
		}), err)
	}
}

// listen opens the server's socket.
func (w *world) listen(options ...option) *net.TCPListener {
	w.t.Helper()
	var l net.Listener
	w.must(w.b.Do(func() (err error) {
		config := net.ListenConfig{Control: control(append(options, reuse))}
		config.SetMultipathTCP(false)
		l, err = config.Listen(w.t.Context(), "tcp", netip.AddrPortFrom(w.addr(w.b), w.port).String())
		return err
	}))
	w.t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// tryDial connects the client, for at most timeout.
func (w *world) tryDial(from uint16, timeout time.Duration, options ...option) (*net.TCPConn, error) {
	var c net.Conn
	err := w.a.Do(func() (err error) {
		d := net.Dialer{Control: control(options), KeepAlive: -1, Timeout: timeout}
		d.SetMultipathTCP(false)
		if from != 0 {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(w.addr(w.a), from))
		}
		c, err = d.DialContext(context.Background(), "tcp", netip.AddrPortFrom(w.addr(w.b), w.port).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn), nil
}

// knock tries to connect in the background until the test ends.
func (w *world) knock() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.a.Do(func() error {
			d := net.Dialer{KeepAlive: -1}
			d.SetMultipathTCP(false)
			c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(w.addr(w.b), w.port).String())
			if err == nil {
				err = c.Close()
			}
			return err
		})
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// open makes the two ends of a connection.
func (w *world) open(options ...option) (client, server *net.TCPConn) {
	w.t.Helper()
	l := w.listen(options...)
	client, err := w.tryDial(0, patience, options...)
	w.must(err)
	w.must(l.SetDeadline(time.Now().Add(patience)))
	server, err = l.AcceptTCP()
	w.must(err)
	w.must(server.SetKeepAlive(false))
	w.t.Cleanup(func() { server.Close() })
	for _, c := range []*net.TCPConn{client, server} {
		w.must(c.SetDeadline(time.Now().Add(patience)))
	}
	return client, server
}

func (w *world) write(c *net.TCPConn, n int) {
	w.t.Helper()
	_, err := io.CopyN(c, netlab.Pattern(1, int64(n)), int64(n))
	w.must(err)
}

func (w *world) read(c *net.TCPConn, n int) {
	w.t.Helper()
	_, err := io.CopyN(io.Discard, c, int64(n))
	w.must(err)
}

// end reads to the end.
func (w *world) end(c *net.TCPConn) {
	w.t.Helper()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		w.t.Fatalf("want the end, got %v", err)
	}
}

// failed reads until an error that is not the end.
func (w *world) failed(c *net.TCPConn) {
	w.t.Helper()
	if _, err := io.Copy(io.Discard, c); err == nil {
		w.t.Fatal("want an error, got the end")
	}
}

// transfer sends n octets to the server and closes, client first.
func (w *world) transfer(n int, options ...option) {
	client, server := w.open(options...)
	var done sync.WaitGroup
	done.Go(func() {
		_, _ = io.Copy(io.Discard, server)
		server.Close()
	})
	w.write(client, n)
	w.must(client.CloseWrite())
	w.end(client)
	client.Close()
	done.Wait()
}

// pause lets a connection be silent, so that a timer of the kernel's fires or
// does not: the silence is what is to be captured.
func pause(d time.Duration) { time.Sleep(d) }

// loses returns an impairment that loses the packets for which pick is true.
func loses(pick func(tcp []byte, payload int) bool) netlab.Impairment {
	return netlab.Impairment{Drop: func(packet []byte) bool {
		tcp, payload := tcpOf(packet)
		return tcp != nil && pick(tcp, payload)
	}}
}

// tcpOf finds the TCP header of an IP packet, and how much payload it has.
func tcpOf(p []byte) (tcp []byte, payload int) {
	switch {
	case len(p) >= 40 && p[0]>>4 == 4 && p[9] == 6:
		tcp = p[int(p[0]&15)*4:]
	case len(p) >= 60 && p[0]>>4 == 6 && p[6] == 6:
		tcp = p[40:]
	default:
		return nil, 0
	}
	return tcp, len(tcp) - int(tcp[12]>>4)*4
}

// The control bits.
const (
	fin = 1
	syn = 2
	rst = 4
	ack = 16
)

// first is true for the first n packets that pick is true for.
func first(n int32, pick func(tcp []byte, payload int) bool) func([]byte, int) bool {
	var seen atomic.Int32
	return func(tcp []byte, payload int) bool { return pick(tcp, payload) && seen.Add(1) <= n }
}

// nth is true for the packet number n, from 1, that pick is true for.
func nth(n int32, pick func(tcp []byte, payload int) bool) func([]byte, int) bool {
	var seen atomic.Int32
	return func(tcp []byte, payload int) bool { return pick(tcp, payload) && seen.Add(1) == n }
}

func flags(want byte) func([]byte, int) bool {
	return func(tcp []byte, _ int) bool { return tcp[13]&(syn|fin|rst|ack) == want }
}

func hasFIN(tcp []byte, _ int) bool { return tcp[13]&fin != 0 }
func hasData(_ []byte, n int) bool  { return n > 0 }
func bare(tcp []byte, n int) bool   { return n == 0 && tcp[13]&(syn|fin|rst) == 0 }
func every(_ []byte, _ int) bool    { return true }

var slow = netlab.RelayConfig{AtoB: netlab.Impairment{Delay: 20 * time.Millisecond}, BtoA: netlab.Impairment{Delay: 20 * time.Millisecond}}

// withDelay adds the delay of slow to an impairment.
func withDelay(i netlab.Impairment) netlab.Impairment {
	i.Delay = slow.AtoB.Delay
	return i
}

var talks = []talk{
	{name: "client closes first", run: func(w *world) {
		client, server := w.open()
		w.write(client, 100)
		w.read(server, 100)
		w.write(server, 200)
		w.read(client, 200)
		client.Close()
		w.end(server)
		server.Close()
	}},
	{name: "server closes first", v6: true, run: func(w *world) {
		client, server := w.open()
		w.write(server, 5000)
		server.Close()
		w.read(client, 5000)
		w.end(client)
		client.Close()
	}},
	{name: "nothing said", run: func(w *world) {
		client, server := w.open()
		client.Close()
		w.end(server)
		server.Close()
	}},
	{name: "half-close", v6: true, link: slow, run: func(w *world) {
		client, server := w.open()
		w.write(client, 10)
		w.must(client.CloseWrite())
		w.read(server, 10)
		w.end(server)
		w.write(server, 3000)
		w.read(client, 3000)
		w.write(server, 3000)
		server.Close()
		w.read(client, 3000)
		w.end(client)
		client.Close()
	}},
	{name: "left half-closed", run: func(w *world) {
		client, server := w.open()
		w.must(client.CloseWrite())
		w.end(server)
		w.write(server, 10)
		w.read(client, 10)
	}},
	{name: "left open", v6: true, run: func(w *world) {
		client, server := w.open()
		w.write(client, 10)
		w.read(server, 10)
	}},
	{name: "simultaneous close", link: slow, run: func(w *world) {
		client, server := w.open()
		pause(100 * time.Millisecond) // the handshake's last ACK is on its way
		client.Close()
		server.Close()
		pause(150 * time.Millisecond)
	}},
	{name: "simultaneous open", run: func(w *world) {
		// The first SYNs are lost, or one might find nobody yet; the second ones cross.
		for _, d := range []netlab.Direction{netlab.AtoB, netlab.BtoA} {
			lost := loses(first(1, flags(syn)))
			lost.Delay = 200 * time.Millisecond
			w.must(w.r.Set(d, lost))
		}
		var ends [2]*net.TCPConn
		var both sync.WaitGroup
		for i, h := range []*netlab.Host{w.a, w.b} {
			other := []*netlab.Host{w.b, w.a}[i]
			both.Go(func() {
				err := h.Do(func() error {
					d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(w.addr(h), w.port)), KeepAlive: -1, Timeout: patience}
					d.SetMultipathTCP(false)
					c, err := d.Dial("tcp", netip.AddrPortFrom(w.addr(other), w.port).String())
					if err == nil {
						ends[i] = c.(*net.TCPConn)
					}
					return err
				})
				if err != nil {
					w.t.Error(err)
				}
			})
		}
		both.Wait()
		for _, c := range ends {
			if c != nil {
				w.t.Cleanup(func() { c.Close() })
			}
		}
		if w.t.Failed() {
			return
		}
		w.write(ends[0], 10)
		w.read(ends[1], 10)
		ends[0].Close()
		w.end(ends[1])
		ends[1].Close()
	}},
	{name: "client resets", run: func(w *world) {
		client, server := w.open()
		w.write(client, 10)
		w.read(server, 10)
		w.must(noLinger(client))
		client.Close()
		w.failed(server)
	}},
	{name: "server resets", v6: true, run: func(w *world) {
		client, server := w.open()
		w.write(client, 10)
		w.read(server, 10)
		w.must(noLinger(server))
		server.Close()
		w.failed(client)
	}},
	{name: "closes over unread data", run: func(w *world) {
		client, server := w.open()
		w.write(client, 5000)
		w.read(server, 1)
		pause(50 * time.Millisecond)
		server.Close()
		w.failed(client)
	}},
	{name: "data for a closed socket", v6: true, run: func(w *world) {
		client, server := w.open()
		server.Close()
		w.end(client)
		w.write(client, 10)
		pause(50 * time.Millisecond)
		client.Close()
	}},
	{name: "refused", run: func(w *world) {
		if _, err := w.tryDial(0, patience); !errors.Is(err, unix.ECONNREFUSED) {
			w.t.Fatal(err)
		}
	}},
	{name: "refused over IPv6", v6: true, run: func(w *world) {
		if _, err := w.tryDial(0, patience); !errors.Is(err, unix.ECONNREFUSED) {
			w.t.Fatal(err)
		}
	}},
	{name: "nobody answers", link: netlab.RelayConfig{AtoB: loses(every)}, run: func(w *world) {
		if _, err := w.tryDial(0, 1500*time.Millisecond); err == nil {
			w.t.Fatal("somebody answered")
		}
	}},
	{name: "SYN lost", link: netlab.RelayConfig{AtoB: loses(first(1, flags(syn)))}, run: func(w *world) { w.transfer(10) }},
	{name: "SYN-ACK lost", v6: true, link: netlab.RelayConfig{BtoA: loses(first(1, flags(syn|ack)))}, run: func(w *world) { w.transfer(10) }},
	{name: "last ACK of the handshake lost", link: netlab.RelayConfig{AtoB: loses(first(1, bare))}, run: func(w *world) { w.transfer(10) }},
	{name: "half-open", v6: true, link: netlab.RelayConfig{AtoB: loses(bare)}, run: func(w *world) {
		w.listen()
		_, err := w.tryDial(0, patience)
		w.must(err)
		pause(1500 * time.Millisecond)
	}},
	{name: "one segment lost", link: withLoss(loses(nth(12, hasData))), run: func(w *world) { w.transfer(100_000) }},
	{name: "one segment lost, no SACK", v6: true, link: withLoss(loses(nth(12, hasData))), run: func(w *world) {
		w.must(w.b.Sysctl("net.ipv4.tcp_sack", "0"))
		w.transfer(100_000)
	}},
	{name: "last segment lost", link: withLoss(loses(first(1, func(tcp []byte, n int) bool { return n > 0 && n < 1000 }))), run: func(w *world) {
		client, server := w.open()
		w.write(client, 5*1448+10)
		w.read(server, 5*1448+10)
		client.Close()
		w.end(server)
		server.Close()
	}},
	{name: "one octet lost", v6: true, link: withLoss(loses(first(1, hasData))), run: func(w *world) { w.transfer(1) }},
	{name: "lossy", link: netlab.RelayConfig{Seed: 1, AtoB: withDelay(netlab.Impairment{Loss: .05}), BtoA: withDelay(netlab.Impairment{})}, run: func(w *world) { w.transfer(200_000) }},
	{name: "lossy both ways", v6: true, link: netlab.RelayConfig{Seed: 2, AtoB: withDelay(netlab.Impairment{Loss: .1}), BtoA: withDelay(netlab.Impairment{Loss: .1})}, run: func(w *world) { w.transfer(60_000) }},
	{name: "silent for a while", run: func(w *world) {
		client, server := w.open()
		w.write(client, 10)
		w.read(server, 10)
		w.must(w.r.Set(netlab.AtoB, loses(every)))
		w.write(client, 20_000)
		pause(700 * time.Millisecond)
		w.must(w.r.Set(netlab.AtoB, netlab.Impairment{}))
		w.read(server, 20_000)
		client.Close()
		w.end(server)
		server.Close()
	}},
	{name: "ACKs lost for a while", v6: true, run: func(w *world) {
		client, server := w.open()
		w.write(client, 10)
		w.read(server, 10)
		w.must(w.r.Set(netlab.BtoA, loses(every)))
		w.write(client, 3000)
		w.read(server, 3000)
		pause(500 * time.Millisecond)
		w.must(w.r.Set(netlab.BtoA, netlab.Impairment{}))
		client.Close()
		w.end(server)
		server.Close()
	}},
	{name: "reordered", link: netlab.RelayConfig{Seed: 3, AtoB: withDelay(netlab.Impairment{Reorder: .1}), BtoA: withDelay(netlab.Impairment{})}, run: func(w *world) { w.transfer(200_000) }},
	{name: "reordered over IPv6", v6: true, link: netlab.RelayConfig{Seed: 4, AtoB: withDelay(netlab.Impairment{Reorder: .1}), BtoA: withDelay(netlab.Impairment{})}, run: func(w *world) { w.transfer(100_000) }},
	{name: "doubled", link: netlab.RelayConfig{Seed: 5, AtoB: netlab.Impairment{Duplicate: .2}, BtoA: netlab.Impairment{Duplicate: .2}}, run: func(w *world) { w.transfer(100_000) }},
	{name: "damaged", v6: true, link: netlab.RelayConfig{Seed: 6, AtoB: withDelay(netlab.Impairment{Corrupt: .05}), BtoA: withDelay(netlab.Impairment{})}, run: func(w *world) { w.transfer(100_000) }},
	{name: "window closes", run: func(w *world) { stalled(w, 700*time.Millisecond) }},
	{name: "window closes over IPv6", v6: true, link: slow, run: func(w *world) { stalled(w, 1200*time.Millisecond) }},
	{name: "keep-alive", run: func(w *world) {
		w.open(option{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, option{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1}, option{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1})
		pause(2200 * time.Millisecond)
	}},
	{name: "keep-alive without answer", v6: true, run: func(w *world) {
		client, _ := w.open(option{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, option{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1},
			option{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1}, option{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 1})
		w.must(w.r.SetBoth(loses(every)))
		w.failed(client)
	}},
	{name: "FIN lost", link: netlab.RelayConfig{AtoB: loses(first(1, hasFIN))}, run: func(w *world) { w.transfer(10) }},
	{name: "ACK of the last FIN lost", v6: true, link: netlab.RelayConfig{AtoB: loses(first(1, func(tcp []byte, n int) bool { return false }))}, run: func(w *world) {
		client, server := w.open()
		w.must(client.CloseWrite())
		w.end(server)
		w.must(w.r.Set(netlab.AtoB, loses(first(1, bare))))
		server.Close()
		w.end(client)
		client.Close()
		pause(400 * time.Millisecond)
	}},
	{name: "ports reused", run: func(w *world) {
		l := w.listen()
		for i := range 2 {
			client, err := w.tryDial(40001, patience, reuse)
			w.must(err)
			server, err := l.AcceptTCP()
			w.must(err)
			w.write(client, 10*(i+1))
			w.read(server, 10*(i+1))
			pause(50 * time.Millisecond) // the last ACK is of this connection and not in the next
			w.must(noLinger(client))
			client.Close()
			w.failed(server)
			server.Close()
		}
	}},
	{name: "TIME-WAIT reused", v6: true, run: func(w *world) {
		l := w.listen()
		for range 2 {
			client, err := w.tryDial(40002, patience, reuse)
			w.must(err)
			server, err := l.AcceptTCP()
			w.must(err)
			server.Close() // so that the server waits, and the client may come again
			w.end(client)
			client.Close()
			pause(50 * time.Millisecond)
		}
	}},
	{name: "plain TCP", run: func(w *world) {
		for _, key := range []string{"net.ipv4.tcp_timestamps", "net.ipv4.tcp_window_scaling", "net.ipv4.tcp_sack"} {
			w.must(w.a.Sysctl(key, "0"))
		}
		w.transfer(50_000)
	}},
	{name: "ECN", v6: true, run: func(w *world) {
		w.must(w.a.Sysctl("net.ipv4.tcp_ecn", "1"))
		w.must(w.b.Sysctl("net.ipv4.tcp_ecn", "1"))
		w.transfer(20_000)
	}},
	{name: "small receive buffer", run: func(w *world) {
		w.must(w.b.Sysctl("net.ipv4.tcp_rmem", "4096 8192 8192"))
		w.transfer(100_000)
	}},
	{name: "small MSS", v6: true, link: netlab.RelayConfig{Link: netlab.LinkConfig{MTU: 1280}}, run: func(w *world) { w.transfer(30_000) }},
	{name: "offload", link: netlab.RelayConfig{Link: netlab.LinkConfig{Offload: true}}, run: func(w *world) { w.transfer(100_000) }},
}

func withLoss(i netlab.Impairment) netlab.RelayConfig {
	return netlab.RelayConfig{AtoB: withDelay(i), BtoA: withDelay(netlab.Impairment{})}
}

// stalled sends more than a server takes that reads nothing for some time.
func stalled(w *world, d time.Duration) {
	const octets = 300_000
	w.must(w.b.Sysctl("net.ipv4.tcp_rmem", "4096 65536 65536"))
	client, server := w.open()
	var writing sync.WaitGroup
	writing.Go(func() {
		_, err := io.CopyN(client, netlab.Pattern(1, octets), octets)
		if err = errors.Join(err, client.CloseWrite()); err != nil {
			w.t.Error(err)
		}
	})
	pause(d)
	w.read(server, octets)
	w.end(server)
	server.Close()
	writing.Wait()
	w.end(client)
}
