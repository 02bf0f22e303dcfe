package handshakes_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawtcp/engine"
	"rawtcp/internal/handshakes"
	"rawtcp/internal/netlab"
	"rawtcp/rawsock"
	"rawtcp/segment"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// patience is for a machine that has much else to do.
const patience = time.Minute

// A capture is a packet socket. Its queue has room for what few connections send: it
// is to be emptied now and then.
type capture struct {
	fd   int
	seen map[netip.AddrPort][]segment.Segment // by source
}

func startCapture(t *testing.T, h *netlab.Host) *capture {
	t.Helper()
	var fd int
	err := h.Do(func() (err error) {
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: eth0.Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	return &capture{fd, map[netip.AddrPort][]segment.Segment{}}
}

// empty takes what has passed since the last call.
func (c *capture) empty(t *testing.T) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Read(c.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil { // EAGAIN: that was all
			break
		}
		var s segment.Segment
		if s.Parse(buf[:n]) == nil {
			s.Payload = nil
			c.seen[s.Src] = append(c.seen[s.Src], s)
		}
	}
	stats, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || stats.Drops > 0 {
		t.Fatalf("the capture has lost %d packets, %v", stats.Drops, err)
	}
}

// sockets are the states of a host's TCP sockets that are not LISTEN, as /proc has them.
func sockets(t *testing.T, h *netlab.Host) (open []string, listening int) {
	t.Helper()
	err := h.Do(func() error {
		for _, file := range []string{"tcp", "tcp6"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + file)
			if err != nil {
				return err
			}
			for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
				if state := strings.Fields(line)[3]; state == "0A" {
					listening++
				} else {
					open = append(open, line)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return open, listening
}

// Against the kernel's TCP, over both links and both families: every connection is
// closed by both, and nothing is left of them or of their ports.
func TestKernel(t *testing.T) {
	for _, io := range []rawsock.IOMode{rawsock.RawIO, rawsock.PacketIO} {
		for _, v6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v v6=%v", io, v6), func(t *testing.T) { againstKernel(t, io, v6) })
		}
	}
}

func againstKernel(t *testing.T, mode rawsock.IOMode, v6 bool) {
	a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
	server := b.MustServe(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	local, remote := a.Addr4(), b.Addr4()
	if v6 {
		local, remote = a.Addr6(), b.Addr6()
	}
	c := startCapture(t, b)
	var link *rawsock.Conn
	if err := a.Do(func() (err error) { link, err = rawsock.Open(rawsock.Config{IO: mode}); return err }); err != nil {
		t.Fatal(err)
	}
	d := handshakes.New(handshakes.Config{Link: link, Conn: engine.ConnConfig{TimeWait: -1}, Patience: patience, Ports: 100})
	const rounds, each = 10, 20
	const n = rounds * each
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range rounds {
		if err := d.Open(handshakes.Target{Local: local, Remote: netip.AddrPortFrom(remote, server.Port()), MTU: 1500}, each); err != nil {
			t.Fatal(err)
		}
		if err := d.Wait(ctx); err != nil {
			t.Fatalf("%v after %+v", err, d.Stats())
		}
		c.empty(t)
	}
	if s := d.Stats(); s.Closed != n || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
	if _, guards := sockets(t, a); guards == 0 || guards > 100 {
		t.Errorf("%d ports are claimed", guards)
	}
	wantNone := func(who string, h *netlab.Host) {
		t.Helper()
		var left []string
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if left, _ = sockets(t, h); len(left) == 0 {
				return
			}
		}
		t.Errorf("%s has sockets left:\n%s", who, strings.Join(left, "\n"))
	}
	wantNone("the peer", b)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	wantNone("this host", a)
	if _, guards := sockets(t, a); guards != 0 {
		t.Errorf("%d ports are still claimed", guards)
	}
	c.empty(t)
	judge(t, c.seen, local, n)
	_ = unix.Close(c.fd)
}

// judge wants n connections whose four segments of ours are SYN, ACK, FIN and the
// ACK of the peer's FIN, and no RST of anybody. What a slow machine has sent again
// does not count.
func judge(t *testing.T, seen map[netip.AddrPort][]segment.Segment, local netip.Addr, n int) {
	t.Helper()
	total := 0
	for src, all := range seen {
		var text []string
		acked := map[segment.Seq]bool{} // what the SYN, or the FIN of a number was
		for _, s := range all {
			if s.Flags.Has(segment.RST) {
				t.Errorf("%v has sent a RST", src)
			}
			if src.Addr() != local || acked[s.Seq] && s.Len() > 0 {
				continue
			}
			if s.Len() > 0 {
				acked[s.Seq] = true
			} else if last := len(text) - 1; last >= 0 && text[last] == s.Flags.String() {
				continue
			}
			text = append(text, s.Flags.String())
		}
		if src.Addr() != local {
			continue
		}
		got := strings.Join(text, " ")
		conns := strings.Count(got, "S . F. .")
		if got != strings.TrimSuffix(strings.Repeat("S . F. . ", conns), " ") {
			t.Errorf("%v has sent %s", src, got)
		}
		total += conns
	}
	if total != n {
		t.Errorf("%d whole connections were captured, want %d", total, n)
	}
}
