package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/nettest"

	"rawtcp/engine"
	"rawtcp/internal/netlab"
	"rawtcp/rawsock"
)

// hostOn runs an engine on a raw socket of h until the test ends.
func hostOn(t testing.TB, h *netlab.Host, cfg engine.ConnConfig) *engine.Host {
	t.Helper()
	var link *rawsock.Conn
	if err := h.Do(func() (err error) { link, err = rawsock.Open(rawsock.Config{}); return err }); err != nil {
		t.Fatal(err)
	}
	host := engine.NewHost(engine.HostConfig{Link: link, Conn: cfg})
	t.Cleanup(func() { host.Close() })
	return host
}

// quick is a connection that does not linger in TIME-WAIT.
var quick = engine.ConnConfig{TimeWait: -1}

// nettest.TestConn over a raw socket, rawtcp on one end and the kernel's TCP on
// the other, in both roles and both families.
func TestNetConn(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		t.Run("dialed", func(t *testing.T) {
			a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
			host := hostOn(t, a, quick)
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				l, err := b.Listen(0)
				if err != nil {
					return nil, nil, nil, err
				}
				defer l.Close()
				port := l.Addr().(*net.TCPAddr).AddrPort().Port()
				c1, err = host.Dial(t.Context(), netip.AddrPortFrom(f.of(b), port), engine.DialConfig{Conn: quick})
				if err != nil {
					return nil, nil, nil, err
				}
				c2, err = l.Accept()
				return c1, c2, func() { c1.Close(); c2.Close() }, err
			})
		})
		t.Run("accepted", func(t *testing.T) {
			a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
			host := hostOn(t, b, quick)
			l, err := host.Listen(netip.AddrPortFrom(f.of(b), 7000), engine.ListenConfig{Conn: quick})
			if err != nil {
				t.Fatal(err)
			}
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				c2, err = a.Dial(t.Context(), netip.AddrPortFrom(f.of(b), 7000))
				if err != nil {
					return nil, nil, nil, err
				}
				c1, err = l.Accept()
				return c1, c2, func() { c1.Close(); c2.Close() }, err
			})
		})
	})
}

// net/http fetches 1,000 pages over rawtcp from a server on the kernel's TCP.
func TestHTTPClientOverRawTCP(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
		port, err := b.ServeHTTP(0, netlab.Hello)
		if err != nil {
			t.Fatal(err)
		}
		host := hostOn(t, a, quick)
		fetchAll(t, f.of(b), port, func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return host.Dial(ctx, to, engine.DialConfig{Conn: quick})
		})
	})
}

// net/http serves 1,000 requests over rawtcp to a client on the kernel's TCP.
func TestHTTPServerOverRawTCP(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		a, b := netlab.Pair(t, netlab.LinkConfig{Offload: true})
		host := hostOn(t, b, quick)
		l, err := host.Listen(netip.AddrPortFrom(f.of(b), 80), engine.ListenConfig{Conn: quick})
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: netlab.Hello}
		t.Cleanup(func() { srv.Close() })
		go func() {
			if err := srv.Serve(l); err != http.ErrServerClosed && err != nil {
				t.Errorf("serve: %v", err)
			}
		}()
		fetchAll(t, f.of(b), 80, func(ctx context.Context, to netip.AddrPort) (net.Conn, error) { return a.Dial(ctx, to) })
	})
}

// fetchAll fetches 1,000 pages: every tenth on a connection of its own.
func fetchAll(t *testing.T, addr netip.Addr, port uint16, dial func(context.Context, netip.AddrPort) (net.Conn, error)) {
	t.Helper()
	to := netip.AddrPortFrom(addr, port)
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, to) }}
	client := http.Client{Transport: tr, Timeout: patience}
	defer tr.CloseIdleConnections()
	for i := range 1000 {
		req, err := http.NewRequestWithContext(t.Context(), "GET", fmt.Sprintf("http://%s/%d", to, i), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = i%10 == 0
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), "hello") {
			t.Fatalf("request %d: %s, %q, %v", i, resp.Status, body, err)
		}
	}
}
