package netlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if !Isolated() && os.Geteuid() == 0 {
		told := ""
		if err := asNobody(); err != nil {
			told = err.Error()
		}
		os.Setenv(nobodyEnv, told)
	}
	Main(m)
}

// families are both addresses of a host, for tests that run over each.
func families(h *Host) map[string]netip.Addr {
	return map[string]netip.Addr{"ipv4": h.Addr4(), "ipv6": h.Addr6()}
}

func mustDial(t *testing.T, from *Host, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := from.Dial(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// patience is how long something may take that takes a moment: no more than a
// bound for the hopeless case, on a machine that is slow and busy besides.
const patience = time.Minute

// eventually polls until ok, for what the kernel does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func TestEchoOverBothFamilies(t *testing.T) {
	for _, offload := range []bool{false, true} {
		a, b := Pair(t, LinkConfig{Offload: offload})
		s := b.MustServe(t, Echo)
		for family, addr := range families(b) {
			t.Run(fmt.Sprintf("%s/offload=%t", family, offload), func(t *testing.T) {
				c := mustDial(t, a, netip.AddrPortFrom(addr, s.Port()))
				if _, err := io.WriteString(c, "hello"); err != nil {
					t.Fatal(err)
				}
				c.CloseWrite()
				got, err := io.ReadAll(c)
				if err != nil || string(got) != "hello" {
					t.Errorf("echo of hello is %q, %v", got, err)
				}
			})
		}
		if s.Accepted() != 2 {
			t.Errorf("accepted %d connections, want 2", s.Accepted())
		}
	}
}

func TestSourceAndSinkAgree(t *testing.T) {
	a, b := Pair(t, LinkConfig{})
	const n = 1 << 20
	source := b.MustServe(t, Source(7, n))
	if got := sum(mustDial(t, a, netip.AddrPortFrom(b.Addr4(), source.Port()))); got.Err != nil || got.N != n || got.SHA256 != PatternSum(7, n) {
		t.Errorf("source sent %d octets, %v, sum right: %t", got.N, got.Err, got.SHA256 == PatternSum(7, n))
	}
	results := make(chan Received, 1)
	sink := b.MustServe(t, Sink(results))
	c := mustDial(t, a, netip.AddrPortFrom(b.Addr6(), sink.Port()))
	if _, err := io.Copy(c, Pattern(8, n)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got := <-results; got.Err != nil || got.N != n || got.SHA256 != PatternSum(8, n) {
		t.Errorf("sink received %d octets, %v", got.N, got.Err)
	}
	if PatternSum(7, n) == PatternSum(8, n) {
		t.Error("the seed does not matter")
	}
}

func TestHTTPHello(t *testing.T) {
	a, b := Pair(t, LinkConfig{})
	port, err := b.ServeHTTP(80, Hello)
	if err != nil || port != 80 {
		t.Fatalf("port %d, %v", port, err)
	}
	c := mustDial(t, a, netip.AddrPortFrom(b.Addr4(), port))
	fmt.Fprintf(c, "GET / HTTP/1.0\r\n\r\n")
	got, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.0 200 OK") || !strings.Contains(string(got), "hello") {
		t.Errorf("%v: %s", err, got)
	}
	if _, err := b.ServeHTTP(80, http.NotFoundHandler()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("second server on port 80: %v", err)
	}
}

func TestMuteHoldsTheConnection(t *testing.T) {
	a, b := Pair(t, LinkConfig{})
	s := b.MustServe(t, Mute)
	c := mustDial(t, a, netip.AddrPortFrom(b.Addr4(), s.Port()))
	io.WriteString(c, "anyone there")
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a mute server gave %v", err)
	}
	s.Close()
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after Close the read gave %v", err)
	}
}

func TestHostsAreApart(t *testing.T) {
	a, b := Pair(t, LinkConfig{})
	inode := func(h *Host) (out string) {
		if err := h.Do(func() (err error) {
			out, err = os.Readlink("/proc/thread-self/ns/net")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	outside, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if inode(a) == inode(b) || inode(a) == outside || inode(b) == outside {
		t.Errorf("a %s, b %s, outside %s", inode(a), inode(b), outside)
	}
	got, err := a.Command(t.Context(), "readlink", "/proc/self/ns/net").Output()
	if err != nil || strings.TrimSpace(string(got)) != inode(a) {
		t.Errorf("a command of a runs in %s, %v; a is %s", got, err, inode(a))
	}
}

func TestSysctlIsOfOneHost(t *testing.T) {
	a, b := Pair(t, LinkConfig{})
	if err := a.Sysctl("net.ipv4.tcp_sack", "0"); err != nil {
		t.Fatal(err)
	}
	for h, want := range map[*Host]string{a: "0\n", b: "1\n"} {
		got, err := h.Command(t.Context(), "cat", "/proc/sys/net/ipv4/tcp_sack").Output()
		if err != nil || string(got) != want {
			t.Errorf("host %s: tcp_sack is %q, %v; want %q", h.Name(), got, err, want)
		}
	}
	if err := a.Sysctl("net.ipv4.no_such_thing", "0"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unknown key: %v", err)
	}
}

func TestRoutesThroughARouter(t *testing.T) {
	l := NewTest(t)
	a, r, b := l.MustHost(t, "a"), l.MustHost(t, "r"), l.MustHost(t, "b")
	near, err := l.Join(a, r, LinkConfig{})
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Join(r, b, LinkConfig{MTU: 1400})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Forward(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		a.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), near.B.Addr4.Addr()),
		a.AddRoute(netip.MustParsePrefix("::/0"), near.B.Addr6.Addr()),
		b.AddRoute(near.A.Addr4.Masked(), far.A.Addr4.Addr()),
		b.AddRoute(near.A.Addr6.Masked(), far.A.Addr6.Addr()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s := b.MustServe(t, Source(1, 100_000))
	for family, addr := range families(b) {
		got := sum(mustDial(t, a, netip.AddrPortFrom(addr, s.Port())))
		if got.N != 100_000 || got.Err != nil {
			t.Errorf("%s: %d octets through the router, %v", family, got.N, got.Err)
		}
	}
	if err := a.DelRoute(netip.MustParsePrefix("0.0.0.0/0"), near.B.Addr4.Addr()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Dial(t.Context(), netip.AddrPortFrom(b.Addr4(), s.Port())); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("without a route: %v", err)
	}
}

func TestLinkDownAndUp(t *testing.T) {
	l := NewTest(t)
	a, b := l.MustHost(t, "a"), l.MustHost(t, "b")
	link, err := l.Join(a, b, LinkConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s := b.MustServe(t, Echo)
	to := netip.AddrPortFrom(b.Addr4(), s.Port())
	if err := link.A.Down(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Dial(t.Context(), to); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("link down: %v", err)
	}
	if err := link.A.Up(); err != nil {
		t.Fatal(err)
	}
	mustDial(t, a, to)
}

func TestAddressesComeAndGo(t *testing.T) {
	l := NewTest(t)
	a, b := l.MustHost(t, "a"), l.MustHost(t, "b")
	link, err := l.Join(a, b, LinkConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s := b.MustServe(t, Echo)
	for _, text := range []string{"198.18.0.77/24", "2001:db8::77/64"} {
		extra := netip.MustParsePrefix(text)
		if err := link.B.AddAddr(extra); err != nil {
			t.Fatal(err)
		}
		mustDial(t, a, netip.AddrPortFrom(extra.Addr(), s.Port()))
		if err := link.B.DelAddr(extra); err != nil {
			t.Fatal(err)
		}
		if err := link.B.DelAddr(extra); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("removing %s twice: %v", extra, err)
		}
	}
}

func TestSmallMTU(t *testing.T) {
	a, b := Pair(t, LinkConfig{MTU: 576})
	if b.Addr6().IsValid() {
		t.Errorf("IPv6 address %s on a link below its least MTU", b.Addr6())
	}
	s := b.MustServe(t, Source(1, 100_000))
	if got := sum(mustDial(t, a, netip.AddrPortFrom(b.Addr4(), s.Port()))); got.N != 100_000 {
		t.Errorf("%d octets, %v", got.N, got.Err)
	}
}

// TestHere uses the namespace of the tests themselves, twice, with plain sockets.
func TestHere(t *testing.T) {
	for range 2 {
		t.Run("lab", func(t *testing.T) {
			_, there := PairHere(t, LinkConfig{})
			s := there.MustServe(t, Echo)
			for family, addr := range families(there) {
				c, err := net.DialTimeout("tcp", netip.AddrPortFrom(addr, s.Port()).String(), 10*time.Second)
				if err != nil {
					t.Errorf("%s: %v", family, err)
					continue
				}
				c.Close()
			}
			if _, err := NewTest(t).Here("second"); err == nil {
				t.Error("two labs have the namespace of this process")
			}
		})
	}
	interfaces, err := net.Interfaces()
	if err != nil || len(interfaces) != 1 {
		t.Errorf("left are %v, %v", interfaces, err)
	}
}

func TestNamesAreUnique(t *testing.T) {
	l := NewTest(t)
	l.MustHost(t, "a")
	if _, err := l.Host("a"); err == nil {
		t.Error("two hosts of one name")
	}
}

func TestDoSurvivesGoexit(t *testing.T) {
	a, _ := Pair(t, LinkConfig{})
	err := a.Do(func() error {
		runtime.Goexit() // as t.FailNow does
		return nil
	})
	if !errors.Is(err, errEndedGoroutine) {
		t.Errorf("Do returned %v", err)
	}
}

func TestCloseEndsAll(t *testing.T) {
	l := New()
	defer l.Close()
	a, b := l.MustHost(t, "a"), l.MustHost(t, "b")
	if _, err := l.Join(a, b, LinkConfig{}); err != nil {
		t.Fatal(err)
	}
	s := b.MustServe(t, Echo)
	c := mustDial(t, a, netip.AddrPortFrom(b.Addr4(), s.Port()))
	cmd := a.Command(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	inode, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	l.Close()
	l.Close()
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the command ended with %v", err)
	}
	eventually(t, "no thread is left in the namespace", func() bool { return !anyThreadIn(t, inode) })
	if _, err := l.Host("c"); err == nil {
		t.Error("a closed lab made a host")
	}
	if err := a.Do(func() error { return nil }); !errors.Is(err, errHostClosed) {
		t.Errorf("Do on a closed host: %v", err)
	}
	if err := a.Command(t.Context(), "true").Run(); !errors.Is(err, errHostClosed) {
		t.Errorf("command on a closed host: %v", err)
	}
	if _, err := a.Serve(0, Echo); !errors.Is(err, errHostClosed) {
		t.Errorf("server on a closed host: %v", err)
	}
}
