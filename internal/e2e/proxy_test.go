package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"rawtcp/internal/netlab"
)

// A role is which end of a connection rawtcp plays for a pair of real programs.
type role string

const (
	asClient role = "client" // program > kernel > rawtcp proxy > wire > kernel > program
	asServer role = "server" // program > kernel > wire > rawtcp listen --to > kernel > program
)

// A passage is a way from host a, where client programs run, to a server
// program on host b, through a TCP of rawtcp's.
type passage struct {
	role   role
	family family
	a, b   *netlab.Host
	bridge *process
	to     netip.AddrPort // where client programs connect to
}

// own is the address that rawtcp has on the wire.
func (r role) own(a, b *netlab.Host) *netlab.Host {
	if r == asClient {
		return a
	}
	return b
}

// open starts the rawtcp that leads to a server on b's port. On the side of the
// clients it takes port, too; on the other port+1.
func open(t *testing.T, r role, f family, a, b *netlab.Host, port uint16, flags ...string) *passage {
	t.Helper()
	p := &passage{role: r, family: f, a: a, b: b}
	switch r {
	case asClient:
		p.to = netip.AddrPortFrom(f.loopback(), port)
		p.bridge = start(t, a, nil, "listening on", rawtcp, append([]string{"proxy", p.to.String(), target(f.of(b), port)}, flags...)...)
	case asServer:
		p.to = netip.AddrPortFrom(f.of(b), port+1)
		p.bridge = start(t, b, nil, "listening on", rawtcp, append([]string{"listen", p.to.String(), "--to", target(f.loopback(), port)}, flags...)...)
	}
	return p
}

// server is where the server is, as itself sees it.
func (p *passage) server() string {
	if p.role == asServer {
		return target(p.family.loopback(), 8000)
	}
	return target(p.family.of(p.b), 8000)
}

// end stops rawtcp, which must find all in order.
func (p *passage) end(t *testing.T) {
	t.Helper()
	p.bridge.signal(syscall.SIGINT)
	if code := p.bridge.wait(); code != 0 {
		t.Errorf("rawtcp ended with %d\n%s", code, tail(p.bridge.text()))
	}
}

func tail(text string) string { return text[max(0, len(text)-3000):] }

// run runs a client program on a, which must succeed.
func (p *passage) run(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	r := runProgram(t, p.a, strings.NewReader(stdin), name, args...)
	if r.code != 0 {
		t.Errorf("%s %v: %s\n--- rawtcp\n%s", name, args, r, tail(p.bridge.text()))
	}
	return r.stdout + r.stderr
}

func (p *passage) url(path string) string { return fmt.Sprintf("http://%s/%s", p.to, path) }

func (p *passage) host() string { return p.to.Addr().String() }

func (p *passage) port() string { return fmt.Sprint(p.to.Port()) }
