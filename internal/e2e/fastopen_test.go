package e2e

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rawtcp/engine"
	"rawtcp/internal/netlab"
)

// fastOpenOn lets a host's kernel use Fast Open in both roles.
func fastOpenOn(t *testing.T, h *netlab.Host) {
	t.Helper()
	if err := h.Sysctl("net.ipv4.tcp_fastopen", "3"); err != nil {
		t.Fatal(err)
	}
}

// The kernel's server takes the data of our second SYN: it counts one that it
// opened by a cookie, and the answer comes before our ACK could have.
func TestFastOpenToTheKernel(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
		fastOpenOn(t, b)
		l := kernelListener(t, b, f.of(b))
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				request := make([]byte, 8)
				if _, err := io.ReadFull(c, request); err == nil {
					fmt.Fprintf(c, "answer to %s", request)
				}
				c.Close()
			}
		}()
		host := hostOn(t, a, quick)
		server := netip.AddrPortFrom(f.of(b), l.Addr().(*net.TCPAddr).AddrPort().Port())
		for i := range 3 {
			cfg := engine.DialConfig{Conn: quick, Data: []byte("question")}
			cfg.Conn.FastOpen = engine.On
			c, err := host.Dial(t.Context(), server, cfg)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(c)
			if err != nil || string(answer) != "answer to question" {
				t.Fatalf("connection %d: %q, %v", i, answer, err)
			}
			if got := c.Info().FastOpen; got != (i > 0) {
				t.Errorf("connection %d: Fast Open %t", i, got)
			}
			c.Close()
		}
		if n := kernelCount(t, b, "TCPFastOpenPassive"); n != 2 {
			t.Errorf("the kernel counts %d opens by a cookie, want 2", n)
		}
	})
}

// kernelListener is a server on the kernel's TCP with Fast Open.
func kernelListener(t *testing.T, h *netlab.Host, addr netip.Addr) (l net.Listener) {
	t.Helper()
	err := h.Do(func() (err error) {
		cfg := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
			control := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 16) })
			if control != nil {
				return control
			}
			return err
		}}
		cfg.SetMultipathTCP(false)
		l, err = cfg.Listen(t.Context(), "tcp", netip.AddrPortFrom(addr, 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Our server takes the data of the kernel's second SYN.
func TestFastOpenFromTheKernel(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
		fastOpenOn(t, a)
		host := hostOn(t, b, quick)
		server := netip.AddrPortFrom(f.of(b), 7000)
		l, err := host.Listen(server, engine.ListenConfig{Conn: quick, FastOpen: 16})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			c := kernelFastDial(t, a, server, "question")
			s, err := l.AcceptConn()
			if err != nil {
				t.Fatal(err)
			}
			request := make([]byte, 8)
			if _, err := io.ReadFull(s, request); err != nil || string(request) != "question" {
				t.Fatalf("connection %d: %q, %v", i, request, err)
			}
			if got := s.Info().FastOpen; got != (i > 0) {
				t.Errorf("connection %d: Fast Open %t", i, got)
			}
			fmt.Fprint(s, "answer")
			s.Close()
			answer, err := io.ReadAll(c)
			if err != nil || string(answer) != "answer" {
				t.Errorf("connection %d: %q, %v", i, answer, err)
			}
			c.Close()
		}
		if n := kernelCount(t, a, "TCPFastOpenActive"); n != 2 {
			t.Errorf("the kernel counts %d SYNs whose data was taken, want 2", n)
		}
	})
}

// kernelFastDial connects by sendto with MSG_FASTOPEN.
func kernelFastDial(t *testing.T, h *netlab.Host, server netip.AddrPort, data string) *os.File {
	t.Helper()
	domain, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(server.Port()), Addr: server.Addr().As16()})
	if server.Addr().Is4() {
		domain, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(server.Port()), Addr: server.Addr().As4()}
	}
	fd := -1
	err := h.Do(func() (err error) {
		if fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP); err != nil {
			return os.NewSyscallError("socket", err)
		}
		limit := unix.NsecToTimeval(int64(patience))
		if err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		return os.NewSyscallError("sendto", unix.Sendto(fd, []byte(data), unix.MSG_FASTOPEN, to))
	})
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "kernel's client")
}

// kernelCount reads a counter of a host's kernel from /proc/net/netstat.
func kernelCount(t *testing.T, h *netlab.Host, name string) (n int) {
	t.Helper()
	var text []byte
	if err := h.Do(func() (err error) { text, err = os.ReadFile("/proc/thread-self/net/netstat"); return err }); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		values := strings.Fields(lines[i+1])
		for j, key := range strings.Fields(lines[i]) {
			if key == name {
				if _, err := fmt.Sscan(values[j], &n); err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
	}
	t.Fatalf("the kernel has no counter %s", name)
	return 0
}
