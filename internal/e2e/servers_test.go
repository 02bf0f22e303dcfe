package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rawtcp/internal/netlab"
)

// A server is a real program that `rawtcp connect` talks to.
type server struct {
	name  string
	start func(t *testing.T, h *netlab.Host, port uint16)
	args  []string // of connect
	want  string   // in what it answers
}

const httpRequest = `GET / HTTP/1.0\r\nHost: test\r\n\r\n`

var servers = []server{
	{"nginx", startNginx, []string{"--send", httpRequest, "--wait", "60s"}, "served by nginx"},
	{"python http.server", startPython, []string{"--send", httpRequest, "--wait", "60s"}, "served by python"},
	{"socat", startSocat, []string{"--send", `hello\n`, "--close", "half"}, "hello"},
	{"sshd", startSSHD, []string{"--send", `SSH-2.0-rawtcp\r\n`, "--close", "half"}, "SSH-2.0-OpenSSH"},
}

// waitPort returns when a kernel socket of h listens on port.
func waitPort(t *testing.T, h *netlab.Host, port uint16) {
	t.Helper()
	eventually(t, patience, fmt.Sprintf("a listener on port %d", port), func() bool {
		return strings.Contains(socketsOn(t, h, port), "LISTEN")
	})
}

func startNginx(t *testing.T, h *netlab.Host, port uint16) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "html", "index.html"), "served by nginx\n")
	conf := filepath.Join(dir, "nginx.conf")
	write(t, conf, fmt.Sprintf(`user root; daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	server { listen %[2]d; listen [::]:%[2]d; root %[1]s/html; }
}`, dir, port))
	start(t, h, nil, "", "nginx", "-e", "stderr", "-p", dir, "-c", conf)
	waitPort(t, h, port)
}

func startPython(t *testing.T, h *netlab.Host, port uint16) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "index.html"), "served by python\n")
	start(t, h, nil, "", "python3", "-m", "http.server", "--bind", "::", "--directory", dir, strconv.Itoa(int(port)))
	waitPort(t, h, port)
}

func startSocat(t *testing.T, h *netlab.Host, port uint16) {
	start(t, h, nil, "", "socat", fmt.Sprintf("TCP6-LISTEN:%d,ipv6only=0,reuseaddr,fork", port), "EXEC:cat")
	waitPort(t, h, port)
}

func startSSHD(t *testing.T, h *netlab.Host, port uint16) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	// sshd wants its directory, and wants it to be root's. This mount is ours alone.
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount("/run", unix.MNT_DETACH) })
	if err := os.Mkdir("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "sshd_config")
	write(t, conf, fmt.Sprintf("HostKey %s\nPidFile none\nUsePAM no\nPort %d\n", key, port))
	sshd, err := exec.LookPath("sshd") // it insists on its whole path
	if err != nil {
		t.Fatal(err)
	}
	start(t, h, nil, "", sshd, "-D", "-e", "-f", conf)
	waitPort(t, h, port)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Every server, on both families, on a wire and on loopback: an orderly talk,
// and no RST before, during or after it.
func TestConnectToRealServers(t *testing.T) {
	for _, srv := range servers {
		t.Run(srv.name, func(t *testing.T) {
			a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
			srv.start(t, b, 8000)
			both(t, func(t *testing.T, f family) {
				c := record(t, b, "eth0")
				checkConnect(t, a, srv, target(f.of(b), 8000))
				c.wantNoRST(f.of(a))
			})
			t.Run("loopback", func(t *testing.T) {
				both(t, func(t *testing.T, f family) {
					c := record(t, b, "lo")
					checkConnect(t, b, srv, target(f.loopback(), 8000))
					c.wantNoRST(f.loopback())
				})
			})
		})
	}
}

func checkConnect(t *testing.T, h *netlab.Host, srv server, to string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "answer")
	r := mustRun(t, h, nil, append([]string{"connect", to, "--out", out}, srv.args...)...)
	answer, err := os.ReadFile(out)
	if err != nil || !strings.Contains(string(answer), srv.want) {
		t.Errorf("answered %q (%v), want %q in it\n%s", answer, err, srv.want, r)
	}
	for _, state := range []string{"SYN-SENT", "ESTABLISHED", "TIME-WAIT"} {
		if !strings.Contains(r.stdout, state) && !strings.Contains(r.stdout, "LAST-ACK") {
			t.Errorf("the ladder shows no %s\n%s", state, r)
		}
	}
}

// A client is a real program that talks to `rawtcp listen --echo`.
type client struct {
	name string
	run  func(t *testing.T, h *netlab.Host, host string, port uint16) string
	want string
}

var clients = []client{
	{"nc", func(t *testing.T, h *netlab.Host, host string, port uint16) string {
		return runProgram(t, h, strings.NewReader("hello from nc\n"), "nc", "-N", "-w", "60", host, strconv.Itoa(int(port))).stdout
	}, "hello from nc\n"},
	{"python", func(t *testing.T, h *netlab.Host, host string, port uint16) string {
		return runProgram(t, h, nil, "python3", "-c", pythonClient, host, strconv.Itoa(int(port))).stdout
	}, "hello from python\n"},
}

const pythonClient = `
import socket, sys
c = socket.create_connection((sys.argv[1], int(sys.argv[2])), 60)
c.sendall(b"hello from python\n")
c.shutdown(socket.SHUT_WR)
while True:
    p = c.recv(4096)
    if not p: break
    sys.stdout.write(p.decode())
`

func TestRealClientsOfListen(t *testing.T) {
	for _, cl := range clients {
		t.Run(cl.name, func(t *testing.T) {
			a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
			both(t, func(t *testing.T, f family) {
				checkListen(t, cl, a, b, "eth0", f.of(b))
			})
			t.Run("loopback", func(t *testing.T) {
				both(t, func(t *testing.T, f family) {
					checkListen(t, cl, b, b, "lo", f.loopback())
				})
			})
		})
	}
}

func checkListen(t *testing.T, cl client, from, to *netlab.Host, iface string, addr netip.Addr) {
	t.Helper()
	c := record(t, to, iface)
	l := listen(t, to, ":7000", "--echo", "--count", "1")
	if got := cl.run(t, from, addr.String(), 7000); got != cl.want {
		t.Errorf("%s got %q back, want %q\n%s", cl.name, got, cl.want, l.text())
	}
	if code := l.wait(); code != 0 {
		t.Errorf("listen ended with %d\n%s", code, l.text())
	}
	c.wantNoRST(addr)
}

// curl fetches a page that `rawtcp listen` serves.
func TestCurlFetchesFromListen(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
	both(t, func(t *testing.T, f family) {
		curl(t, a, b, "eth0", f.of(b))
	})
	t.Run("loopback", func(t *testing.T) {
		both(t, func(t *testing.T, f family) { curl(t, b, b, "lo", f.loopback()) })
	})
}

func curl(t *testing.T, from, to *netlab.Host, iface string, addr netip.Addr) {
	t.Helper()
	c := record(t, to, iface)
	l := listen(t, to, ":7000", "--send", `HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n`, "--count", "1")
	r := runProgram(t, from, nil, "curl", "-sS", "-m", "60", "http://"+target(addr, 7000)+"/")
	if r.code != 0 || r.stdout != "hello\n" {
		t.Errorf("curl: %s\n%s", r, l.text())
	}
	if code := l.wait(); code != 0 {
		t.Errorf("listen ended with %d\n%s", code, l.text())
	}
	c.wantNoRST(addr)
}

// Link-local addresses, in both roles: the zone is the link's affair, no packet
// carries it.
func TestLinkLocalAddresses(t *testing.T) {
	a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
	addr := linkLocal(t, b)
	echo := b.MustServe(t, netlab.Echo)
	mustRun(t, a, nil, "connect", target(addr, echo.Port()), "--send", "hello")
	l := listen(t, b, target(addr, 7000), "-I", "eth0", "--echo", "--count", "1")
	const text = "hello over the link\n"
	if r := runProgram(t, a, strings.NewReader(text), "nc", "-N", "-w", "60", addr.String(), "7000"); r.stdout != text {
		t.Errorf("%s\n%s", r, l.text())
	}
	if code := l.wait(); code != 0 {
		t.Errorf("listen ended with %d\n%s", code, l.text())
	}
}

// linkLocal returns the address of h's first link, with the zone of the same
// name on the other end.
func linkLocal(t *testing.T, h *netlab.Host) netip.Addr {
	t.Helper()
	r := runProgram(t, h, nil, "ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link")
	for _, field := range strings.Fields(r.stdout) {
		if p, err := netip.ParsePrefix(field); err == nil {
			return p.Addr().WithZone("eth0")
		}
	}
	t.Fatalf("no link-local address: %s", r)
	return netip.Addr{}
}
