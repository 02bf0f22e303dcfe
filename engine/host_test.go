package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
)

// bubble runs a test in virtual time. That it ends says that no goroutine is left.
func bubble(t *testing.T, cfg worldConfig, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(newWorld(t, cfg)) })
}

// nettest runs subtests of its own, which a bubble forbids: this is real time.
func TestNetConn(t *testing.T) {
	for name, path := range map[string]simnet.PathConfig{
		"perfect": {},
		"slow":    {Delay: 300 * time.Microsecond, Jitter: 200 * time.Microsecond, Reorder: 0.02, Duplicate: 0.02, ReorderBy: 200 * time.Microsecond},
	} {
		for _, swapped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s swapped=%v", name, swapped), func(t *testing.T) {
				nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
					w := newWorld(t, worldConfig{path: path})
					client, server := w.pair()
					stop = func() {
						client.Close()
						server.Close()
					}
					if swapped {
						return server, client, stop, nil
					}
					return client, server, stop, nil
				})
			})
		}
	}
}

func TestHTTP(t *testing.T) {
	bubble(t, worldConfig{path: simnet.PathConfig{Delay: 20 * time.Millisecond, Loss: 0.02}}, func(w *world) {
		body, _ := stream(1, 200_000)
		srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(got, body) {
				w.t.Errorf("the server read %d octets, %v", len(got), err)
			}
			rw.Write(got)
		})}
		served := make(chan error, 1)
		l := w.listen(engine.ListenConfig{})
		go func() { served <- srv.Serve(l) }()
		transport := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return w.client.Dial(ctx, netip.MustParseAddrPort(addr), engine.DialConfig{})
		}}
		client := &http.Client{Transport: transport, Timeout: time.Minute}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 3 {
					resp, err := client.Post("http://"+web.String()+"/", "application/octet-stream", bytes.NewReader(body))
					if err != nil {
						w.t.Error(err)
						return
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || !bytes.Equal(got, body) {
						w.t.Errorf("the client read %d octets, %v", len(got), err)
					}
				}
			})
		}
		all.Wait()
		transport.CloseIdleConnections()
		if err := srv.Shutdown(context.Background()); err != nil {
			w.t.Error(err)
		}
		if err := <-served; err != http.ErrServerClosed {
			w.t.Error(err)
		}
	})
}

// wantDialError checks that a failed Dial leaves nothing behind.
func wantDialError(w *world, remote netip.AddrPort, cfg engine.DialConfig, want error) *net.OpError {
	w.t.Helper()
	held := w.clientPort.Claims()
	c, err := w.client.Dial(context.Background(), remote, cfg)
	var op *net.OpError
	if c != nil || !errors.Is(err, want) || !errors.As(err, &op) || op.Op != "dial" {
		w.t.Fatalf("Dial: %v, %v; want a net.OpError around %v", c, err, want)
	}
	synctest.Wait()
	if got := w.clientPort.Claims(); got != held {
		w.t.Errorf("%d claims before a Dial that fails, %d after", held, got)
	}
	return op
}

func TestDialTimesOut(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		start := time.Now()
		err := wantDialError(w, web, engine.DialConfig{}, engine.ErrTimeout) // nobody has claimed the port
		if from, ok := err.Source.(*net.TCPAddr); !ok || from.Port < 49152 {
			w.t.Errorf("%v does not name the port that the SYNs came from", err)
		}
		if !err.Timeout() {
			w.t.Errorf("%v is no timeout for net.Error", err)
		}
		if took := time.Since(start).Round(time.Second); took != 127*time.Second {
			w.t.Errorf("gave up after %v, want 127s: SYNs at 0, 1, 3, 7, 15, 31 and 63 s", took)
		}
		if sent := w.clientPort.Counters().Sent; sent != 7 {
			w.t.Errorf("%d segments sent, want seven SYNs", sent)
		}
	})
}

func TestDialRefused(t *testing.T) {
	bubble(t, worldConfig{serverPort: simnet.PortConfig{Refuse: true}}, func(w *world) {
		wantDialError(w, web, engine.DialConfig{}, engine.ErrRefused)
		wantDialError(w, web6, engine.DialConfig{}, engine.ErrRefused)
	})
}

func TestDialBadAddresses(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		for _, bad := range []string{"198.18.0.2:0", "224.0.0.1:80", "255.255.255.255:80", "0.0.0.0:80", "[ff02::1]:80", "[::]:80"} {
			wantDialError(w, netip.MustParseAddrPort(bad), engine.DialConfig{}, engine.ErrBadAddress)
		}
		wantDialError(w, netip.AddrPort{}, engine.DialConfig{}, engine.ErrBadAddress)
		elsewhere := engine.DialConfig{Local: netip.MustParseAddrPort("198.18.0.9:0")}
		wantDialError(w, web, elsewhere, syscall.EADDRNOTAVAIL)
		if sent := w.clientPort.Counters().Sent; sent != 0 {
			w.t.Errorf("%d segments were sent", sent)
		}
	})
}

// A broadcastLink knows the broadcast address of its network.
type broadcastLink struct {
	engine.Link
	all netip.Addr
}

type broadcastError struct{}

func (broadcastError) Error() string   { return "an address of many" }
func (broadcastError) Broadcast() bool { return true }

func (l broadcastLink) Route(remote, local netip.Addr) (netip.Addr, int, error) {
	if remote == l.all {
		return netip.Addr{}, 0, fmt.Errorf("route: %w", broadcastError{})
	}
	return l.Link.Route(remote, local)
}

func TestDialToBroadcastIsRefused(t *testing.T) {
	all := netip.MustParseAddr("198.18.0.255")
	cfg := worldConfig{link: func(l engine.Link) engine.Link { return broadcastLink{l, all} }}
	bubble(t, cfg, func(w *world) {
		wantDialError(w, netip.AddrPortFrom(all, 80), engine.DialConfig{}, engine.ErrBadAddress)
		wantDialError(w, netip.AddrPortFrom(all, 80), engine.DialConfig{}, broadcastError{})
		if sent := w.clientPort.Counters().Sent; sent != 0 {
			w.t.Errorf("%d segments were sent", sent)
		}
	})
}

// A host that listens learns from its link that an address is that of a network.
func TestListenerDoesNotAnswerBroadcast(t *testing.T) {
	all := netip.MustParseAddr("198.18.0.255")
	cfg := worldConfig{link: func(l engine.Link) engine.Link { return broadcastLink{l, all} }}
	bubble(t, cfg, func(w *world) {
		l, err := w.client.Listen(netip.AddrPortFrom(clientAddr, 80), engine.ListenConfig{})
		if err != nil {
			w.t.Fatal(err)
		}
		defer l.Close()
		forger := engine.NewHost(engine.HostConfig{Link: w.net.NewPort(simnet.PortConfig{Addrs: []netip.Addr{all}}), Secret: [32]byte{9}})
		defer forger.Close()
		_, err = forger.Dial(context.Background(), netip.AddrPortFrom(clientAddr, 80), engine.DialConfig{Conn: engine.ConnConfig{SYNRetries: 2}})
		if !errors.Is(err, engine.ErrTimeout) || w.clientPort.Counters().Sent != 0 {
			w.t.Errorf("Dial: %v, %d segments in answer", err, w.clientPort.Counters().Sent)
		}
	})
}

func TestDialContext(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := w.client.Dial(ctx, web, engine.DialConfig{})
		var netErr net.Error
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &netErr) || !netErr.Timeout() || time.Since(start) != 5*time.Second {
			w.t.Errorf("Dial: %v after %v", err, time.Since(start))
		}
		synctest.Wait()
		sent := w.clientPort.Counters().Sent
		time.Sleep(time.Hour)
		if now := w.clientPort.Counters().Sent; now != sent || w.clientPort.Claims() != 0 {
			w.t.Errorf("%d segments after the Dial was cancelled, %d claims", now-sent, w.clientPort.Claims())
		}
		cancel()
		if _, err := w.client.Dial(ctx, web, engine.DialConfig{}); !errors.Is(err, context.DeadlineExceeded) {
			w.t.Errorf("Dial with a context that has ended: %v", err)
		}
	})
}

func TestContextOfDialDoesNotOutliveIt(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		l := w.listen(engine.ListenConfig{})
		ctx, cancel := context.WithCancel(context.Background())
		client, err := w.client.Dial(ctx, web, engine.DialConfig{})
		if err != nil {
			w.t.Fatal(err)
		}
		server, _ := l.AcceptConn()
		cancel()
		synctest.Wait()
		wantEcho(w.t, client, server)
	})
}

// A zone says which link to use; no packet carries it.
func TestDialWithZone(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		w.listen(engine.ListenConfig{})
		c, err := w.client.Dial(context.Background(), netip.MustParseAddrPort("[fe80::2%eth0]:80"), engine.DialConfig{})
		if err != nil {
			w.t.Fatal(err)
		}
		c.Close()
	})
}

func TestPortsInUse(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		w.listen(engine.ListenConfig{})
		other, err := w.clientPort.Claim(netip.AddrPortFrom(clientAddr, 5000))
		if err != nil {
			w.t.Fatal(err)
		}
		from := func(port uint16) engine.DialConfig {
			return engine.DialConfig{Local: netip.AddrPortFrom(netip.Addr{}, port)}
		}
		wantDialError(w, web, from(5000), syscall.EADDRINUSE)
		other.Close()
		if _, err := w.client.Dial(context.Background(), web, from(5000)); err != nil {
			w.t.Fatal(err)
		}
		wantDialError(w, web, from(5000), engine.ErrInUse) // the same pair of sockets
		if _, err := w.client.Dial(context.Background(), web6, from(5000)); err != nil {
			w.t.Errorf("the same port to another host: %v", err)
		}
		if _, err := w.server.Listen(web, engine.ListenConfig{}); err != nil {
			w.t.Errorf("an address beside the unspecified one: %v", err)
		}
		any := engine.DialConfig{Local: netip.AddrPortFrom(netip.IPv4Unspecified(), 5001)}
		if c, err := w.client.Dial(context.Background(), web, any); err != nil || c.LocalAddr().String() != "198.18.0.1:5001" {
			w.t.Errorf("a port of any address: %v, %v", c, err)
		}
		_, err = w.server.Listen(everywhere, engine.ListenConfig{})
		if !errors.Is(err, engine.ErrInUse) {
			w.t.Errorf("second Listen: %v, want ErrInUse", err)
		}
	})
}

// A claimless link refuses every claim.
type claimless struct {
	engine.Link
	tried map[uint16]bool
}

func (l *claimless) Claim(local netip.AddrPort) (io.Closer, error) {
	l.tried[local.Port()] = true
	return nil, syscall.EADDRINUSE
}

func TestPortExhaustion(t *testing.T) {
	link := &claimless{tried: map[uint16]bool{}}
	bubble(t, worldConfig{link: func(l engine.Link) engine.Link { link.Link = l; return link }}, func(w *world) {
		wantDialError(w, web, engine.DialConfig{}, syscall.EADDRINUSE)
		if len(link.tried) != 16384 || link.tried[49151] {
			w.t.Errorf("%d ports were tried, want all of 49152 to 65535", len(link.tried))
		}
	})
}

func TestManyConnectionsTakeManyPorts(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		l := w.listen(engine.ListenConfig{Backlog: 1000})
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go io.Copy(c, c)
			}
		}()
		ports := map[string]bool{}
		for range 500 {
			c := w.dial()
			ports[c.LocalAddr().String()] = true
			defer c.Close()
		}
		if len(ports) != 500 || w.clientPort.Claims() != 500 {
			w.t.Errorf("500 connections from %d ports with %d claims", len(ports), w.clientPort.Claims())
		}
	})
}

func TestListenerServesBothFamilies(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		l := w.listen(engine.ListenConfig{})
		for _, remote := range []netip.AddrPort{web, web6} {
			c, err := w.client.Dial(context.Background(), remote, engine.DialConfig{Conn: engine.ConnConfig{ConnectTimeout: time.Second}})
			if err != nil {
				w.t.Fatal(err)
			}
			s, err := l.Accept()
			if err != nil {
				w.t.Fatal(err)
			}
			if s.LocalAddr().String() != remote.String() || s.RemoteAddr().String() != c.LocalAddr().String() {
				w.t.Errorf("accepted %v from %v, dialed %v from %v", s.LocalAddr(), s.RemoteAddr(), remote, c.LocalAddr())
			}
		}
	})
}

func TestListenOnAnyPort(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		l, err := w.server.Listen(netip.AddrPortFrom(serverAddr, 0), engine.ListenConfig{})
		if err != nil {
			w.t.Fatal(err)
		}
		c, err := w.client.Dial(context.Background(), netip.MustParseAddrPort(l.Addr().String()), engine.DialConfig{})
		if err != nil {
			w.t.Fatal(err)
		}
		c.Close()
	})
}

func TestListenerClose(t *testing.T) {
	bubble(t, worldConfig{serverPort: simnet.PortConfig{Refuse: true}}, func(w *world) {
		l := w.listen(engine.ListenConfig{})
		client := w.dial()
		server, err := l.AcceptConn()
		if err != nil {
			w.t.Fatal(err)
		}
		waiting := w.dial() // nobody accepts it
		accept := make(chan error)
		blocked, _ := l.AcceptConn()
		if blocked == nil {
			w.t.Fatal("the second connection was not accepted")
		}
		go func() {
			_, err := l.Accept()
			accept <- err
		}()
		synctest.Wait()
		if err := l.Close(); err != nil {
			w.t.Error(err)
		}
		if err := <-accept; !errors.Is(err, net.ErrClosed) {
			w.t.Errorf("Accept of a closed listener: %v", err)
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			w.t.Errorf("second Close: %v", err)
		}
		waiting.Close()
		// The port stays claimed for the connections that were accepted.
		if n := w.serverPort.Claims(); n != 1 {
			w.t.Errorf("%d claims, want one", n)
		}
		wantEcho(w.t, client, server)
		wantDialError(w, web, engine.DialConfig{Conn: engine.ConnConfig{ConnectTimeout: time.Second}}, engine.ErrTimeout)
		client.Close()
		server.Close()
		blocked.Close()
		<-client.Done()
		<-server.Done()
		<-blocked.Done()
		<-waiting.Done() // its TIME-WAIT ends at the same moment as client's
		if n := w.serverPort.Claims(); n != 0 {
			w.t.Errorf("%d claims are left", n)
		}
		wantDialError(w, web, engine.DialConfig{}, engine.ErrRefused)
	})
}

func wantEcho(t testing.TB, a, b net.Conn) {
	t.Helper()
	for _, from := range []net.Conn{a, b} {
		to := a
		if from == a {
			to = b
		}
		if _, err := from.Write([]byte("hello")); err != nil {
			t.Errorf("Write: %v", err)
		}
		buf := make([]byte, 5)
		if _, err := io.ReadFull(to, buf); err != nil || string(buf) != "hello" {
			t.Errorf("Read: %q, %v", buf, err)
		}
	}
}

func TestUnacceptedConnectionIsResetByListenerClose(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		l := w.listen(engine.ListenConfig{})
		c := w.dial()
		l.Close()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, engine.ErrReset) {
			w.t.Errorf("Read: %v, want ErrReset", err)
		}
		<-c.Done()
		if err := c.Err(); !errors.Is(err, engine.ErrReset) {
			w.t.Errorf("Err: %v", err)
		}
	})
}

func TestConnectionThatEndsBeforeItIsAccepted(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		l := w.listen(engine.ListenConfig{})
		w.dial().Abort()
		synctest.Wait()
		c, err := l.AcceptConn()
		if err != nil {
			w.t.Fatal(err)
		}
		<-c.Done()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, engine.ErrReset) {
			w.t.Errorf("Read: %v, want ErrReset", err)
		}
	})
}

func TestCloseWriteEndsAWriteThatWaits(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, _ := w.pair()
		wrote := make(chan error)
		go func() {
			_, err := client.Write(make([]byte, 10<<20)) // the peer does not read
			wrote <- err
		}()
		synctest.Wait()
		client.CloseWrite()
		if err := <-wrote; !errors.Is(err, engine.ErrClosing) {
			w.t.Errorf("Write: %v, want ErrClosing", err)
		}
	})
}

// The last segment is a RST that the link does not take yet.
func TestClaimOutlivesAFullLink(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, server := w.pair()
		w.clientPort.FailWrites(func([]byte) error { return syscall.ENOBUFS })
		client.Abort()
		time.Sleep(10 * time.Millisecond)
		if n := w.clientPort.Claims(); n != 1 {
			w.t.Errorf("%d claims while the RST waits, want one", n)
		}
		w.clientPort.FailWrites(nil)
		<-client.Done()
		if n := w.clientPort.Claims(); n != 0 {
			w.t.Errorf("%d claims are left", n)
		}
		synctest.Wait()
		if err := server.Err(); !errors.Is(err, engine.ErrReset) {
			w.t.Errorf("the peer: %v, want ErrReset", err)
		}
	})
}

// The claim is held until TIME-WAIT is over, for a late FIN would draw a RST
// from the kernel.
func TestClaimOutlivesTimeWait(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, server := w.pair()
		client.Close()
		io.Copy(io.Discard, server) // until the FIN: two that close at once are both in TIME-WAIT
		server.Close()
		<-server.Done() // LAST-ACK ends with the client's ACK
		start := time.Now()
		if s := client.State(); s != engine.TimeWait || w.clientPort.Claims() != 1 {
			w.t.Errorf("%v with %d claims, want TIME-WAIT with one", s, w.clientPort.Claims())
		}
		<-client.Done()
		if took := time.Since(start).Round(time.Second); took != time.Minute {
			w.t.Errorf("TIME-WAIT took %v, want 2MSL = 1m", took)
		}
		if w.clientPort.Claims() != 0 || client.State() != engine.Closed || client.Err() != nil {
			w.t.Errorf("after Done: %d claims, %v, %v", w.clientPort.Claims(), client.State(), client.Err())
		}
	})
}

func TestHalfClose(t *testing.T) {
	bubble(t, worldConfig{path: simnet.PathConfig{Delay: time.Millisecond}}, func(w *world) {
		client, server := w.pair()
		client.Write([]byte("question"))
		client.CloseWrite()
		if _, err := client.Write([]byte("more")); !errors.Is(err, engine.ErrClosing) {
			w.t.Errorf("Write after CloseWrite: %v", err)
		}
		got, err := io.ReadAll(server)
		if string(got) != "question" || err != nil {
			w.t.Errorf("the server read %q, %v", got, err)
		}
		server.Write([]byte("answer"))
		server.Close()
		got, err = io.ReadAll(client)
		if string(got) != "answer" || err != nil {
			w.t.Errorf("the client read %q, %v", got, err)
		}
		if err := client.Close(); err != nil {
			w.t.Error(err)
		}
	})
}

func TestCloseReturnsAtOnceAndDeliversAll(t *testing.T) {
	bubble(t, worldConfig{path: simnet.PathConfig{Delay: 50 * time.Millisecond}}, func(w *world) {
		client, server := w.pair()
		data, _ := stream(1, 500_000)
		client.Write(data)
		start := time.Now()
		if err := client.Close(); err != nil || time.Since(start) != 0 {
			w.t.Errorf("Close: %v after %v", err, time.Since(start))
		}
		for what, err := range map[string]error{
			"second Close": client.Close(),
			"CloseWrite":   client.CloseWrite(),
			"SetDeadline":  client.SetDeadline(time.Now()),
		} {
			if !errors.Is(err, net.ErrClosed) {
				w.t.Errorf("%s: %v", what, err)
			}
		}
		got, err := io.ReadAll(server)
		if !bytes.Equal(got, data) || err != nil {
			w.t.Errorf("the server read %d of %d octets, %v", len(got), len(data), err)
		}
	})
}

func TestAbort(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, server := w.pair()
		if err := client.Abort(); err != nil {
			w.t.Error(err)
		}
		<-client.Done()
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, engine.ErrReset) {
			w.t.Errorf("the peer's Read: %v, want ErrReset", err)
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			w.t.Errorf("our Read: %v", err)
		}
		if err := client.Err(); !errors.Is(err, engine.ErrAborted) {
			w.t.Errorf("Err: %v", err)
		}
		if err := client.Abort(); !errors.Is(err, net.ErrClosed) {
			w.t.Errorf("second Abort: %v", err)
		}
	})
}

func TestAbortAfterClose(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, server := w.pair()
		client.Close()
		if err := client.Abort(); err != nil {
			w.t.Errorf("Abort: %v", err)
		}
		<-client.Done()
		server.Write([]byte("x"))
		synctest.Wait()
		if err := server.Err(); !errors.Is(err, engine.ErrReset) {
			w.t.Errorf("the peer: %v, want ErrReset", err)
		}
	})
}

func TestAbandonIsSilent(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, server := w.pair()
		synctest.Wait()
		sent := w.clientPort.Counters().Sent
		if err := client.Abandon(); err != nil {
			w.t.Error(err)
		}
		<-client.Done()
		time.Sleep(time.Hour)
		if w.clientPort.Counters().Sent != sent || server.State() != engine.Established {
			w.t.Errorf("%d segments sent, the peer is in %v", w.clientPort.Counters().Sent-sent, server.State())
		}
	})
}

func TestShutdown(t *testing.T) {
	bubble(t, worldConfig{path: simnet.PathConfig{Delay: 10 * time.Millisecond}}, func(w *world) {
		client, server := w.pair()
		go func() { // a peer that closes when we do
			io.Copy(io.Discard, server)
			server.Close()
		}()
		start := time.Now()
		if err := w.client.Shutdown(context.Background()); err != nil {
			w.t.Error(err)
		}
		if took := time.Since(start); client.State() != engine.TimeWait || took > 100*time.Millisecond {
			w.t.Errorf("Shutdown took %v and left %v", took, client.State())
		}
		if _, err := w.client.Dial(context.Background(), web, engine.DialConfig{}); !errors.Is(err, net.ErrClosed) {
			w.t.Errorf("Dial after Shutdown: %v", err)
		}
	})
}

func TestShutdownResetsWhoDoesNotClose(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, server := w.pair()
		w.client.Listen(netip.AddrPortFrom(clientAddr, 81), engine.ListenConfig{})
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		start := time.Now()
		if err := w.client.Shutdown(ctx); err != context.DeadlineExceeded || time.Since(start) != 2*time.Second {
			w.t.Errorf("Shutdown: %v after %v", err, time.Since(start))
		}
		<-client.Done()
		synctest.Wait()
		if err := server.Err(); !errors.Is(err, engine.ErrReset) {
			w.t.Errorf("the peer: %v, want ErrReset", err)
		}
		if n := w.clientPort.Claims(); n != 0 {
			w.t.Errorf("%d claims are left", n)
		}
	})
}

func TestHostClose(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, server := w.pair()
		l, err := w.client.Listen(netip.AddrPortFrom(clientAddr, 81), engine.ListenConfig{})
		if err != nil {
			w.t.Fatal(err)
		}
		var blocked sync.WaitGroup
		for what, call := range map[string]func() error{
			"Read":   func() error { _, err := client.Read(make([]byte, 1)); return err },
			"Write":  func() error { _, err := client.Write(make([]byte, 10<<20)); return err },
			"Accept": func() error { _, err := l.Accept(); return err },
			"Dial": func() error {
				_, err := w.client.Dial(context.Background(), netip.MustParseAddrPort("198.18.0.2:81"), engine.DialConfig{})
				return err
			},
		} {
			blocked.Go(func() {
				if err := call(); err == nil {
					w.t.Errorf("%s came back without an error", what)
				}
			})
		}
		synctest.Wait()
		if err := w.client.Close(); err != nil {
			w.t.Error(err)
		}
		blocked.Wait()
		synctest.Wait()
		if err := server.Err(); !errors.Is(err, engine.ErrReset) {
			w.t.Errorf("the peer: %v, want ErrReset", err)
		}
		if n := w.clientPort.Claims(); n != 0 {
			w.t.Errorf("%d claims are left", n)
		}
		if err := w.client.Close(); err != net.ErrClosed {
			w.t.Errorf("second Close: %v", err)
		}
		if _, err := w.client.Listen(netip.AddrPortFrom(clientAddr, 82), engine.ListenConfig{}); !errors.Is(err, net.ErrClosed) {
			w.t.Errorf("Listen: %v", err)
		}
	})
}

// Two Writes at once: neither's octets may come in the middle of the other's.
func TestWritesDoNotMix(t *testing.T) {
	bubble(t, worldConfig{conn: engine.ConnConfig{SendBuffer: 4096}, path: simnet.PathConfig{Delay: time.Millisecond}}, func(w *world) {
		client, server := w.pair()
		const writers, size = 5, 50_000
		var all sync.WaitGroup
		for i := range writers {
			all.Go(func() {
				if _, err := client.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
					w.t.Error(err)
				}
			})
		}
		go func() {
			all.Wait()
			client.Close()
		}()
		got, err := io.ReadAll(server)
		if len(got) != writers*size || err != nil {
			w.t.Fatalf("%d octets, %v", len(got), err)
		}
		for i := range writers {
			if run := got[i*size : (i+1)*size]; !bytes.Equal(run, bytes.Repeat(run[:1], size)) {
				w.t.Fatalf("the octets of two Writes are mixed in the %d. run", i+1)
			}
		}
	})
}

func TestTransferUnderFaults(t *testing.T) {
	faults := simnet.PathConfig{Delay: 10 * time.Millisecond, Jitter: 3 * time.Millisecond,
		Loss: 0.02, Duplicate: 0.02, Corrupt: 0.01, Reorder: 0.05, ReorderBy: 8 * time.Millisecond}
	seeds := uint64(4)
	if raceDetector {
		seeds = 2 // make test has all of them without it
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			bubble(t, worldConfig{seed: seed, path: faults, tracer: testing.Verbose()}, func(w *world) {
				start := time.Now()
				client, server := w.pair()
				var both sync.WaitGroup
				both.Go(func() { pour(w.t, client, server, seed, 10<<20) })
				both.Go(func() { pour(w.t, server, client, seed+1000, 1<<20) })
				both.Wait()
				client.Close()
				server.Close()
				<-client.Done()
				<-server.Done()
				i := client.Info()
				w.t.Logf("%v of virtual time, %d segments, %d sent again, %d timeouts", time.Since(start).Round(time.Millisecond),
					i.Stats.SegmentsOut, i.Stats.Retransmits, i.Stats.Timeouts)
				if client.Err() != nil || server.Err() != nil {
					w.t.Errorf("they ended with %v and %v", client.Err(), server.Err())
				}
			})
		})
	}
}

func TestFullLinkIsAskedAgain(t *testing.T) {
	bubble(t, worldConfig{tracer: true}, func(w *world) {
		client, server := w.pair()
		asked := 0
		w.clientPort.FailWrites(func([]byte) error {
			if asked++; asked%10 != 0 { // nine times full, then one packet goes
				return os.NewSyscallError("sendmmsg", syscall.ENOBUFS)
			}
			return nil
		})
		pour(w.t, client, server, 1, 100_000)
		if i := client.Info(); i.Stats.Timeouts != 0 || i.Stats.Retransmits != 0 {
			w.t.Errorf("a full link cost %d timeouts and %d retransmissions", i.Stats.Timeouts, i.Stats.Retransmits)
		}
		if n := w.log.count("client", "send error"); n != 0 {
			w.t.Errorf("%d send errors for a link that was full for a moment", n)
		}
	})
}

func TestLinkThatStaysFullLosesPackets(t *testing.T) {
	bubble(t, worldConfig{tracer: true}, func(w *world) {
		client, server := w.pair()
		w.clientPort.FailWrites(func([]byte) error { return syscall.ENOBUFS })
		client.Write([]byte("x"))
		time.Sleep(time.Second)
		if n := w.log.count("client", "send error: no buffer space available"); n == 0 {
			w.t.Error("nothing was said about a link that stays full")
		}
		w.clientPort.FailWrites(nil)
		client.Close()
		if got, err := io.ReadAll(server); string(got) != "x" || err != nil {
			w.t.Errorf("after the link recovered: %q, %v", got, err)
		}
	})
}

func TestSendErrorIsSoft(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.ENETUNREACH, syscall.ENETDOWN} {
		bubble(t, worldConfig{tracer: true}, func(w *world) {
			client, server := w.pair()
			w.clientPort.FailWrites(func([]byte) error { return errno })
			client.Write([]byte("x"))
			time.Sleep(5 * time.Second)
			if client.State() != engine.Established {
				w.t.Errorf("%v ended the connection", errno)
			}
			if n := w.log.count("client", "send error: "+errno.Error()); n < 3 {
				w.t.Errorf("%v: %d send errors were reported, want one for each retransmission", errno, n)
			}
			if errno == syscall.EPERM && w.log.count("firewall", "nft") == 0 {
				w.t.Error("EPERM: no word about the firewall")
			}
			w.clientPort.FailWrites(nil)
			client.Close()
			if got, err := io.ReadAll(server); string(got) != "x" || err != nil {
				w.t.Errorf("after the error had passed: %q, %v", got, err)
			}
		})
	}
}

func TestSendErrorsDoNotOutliveR2(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, _ := w.pair()
		w.clientPort.FailWrites(func([]byte) error { return syscall.EPERM })
		client.Write([]byte("x"))
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, engine.ErrTimeout) {
			w.t.Errorf("Read: %v, want ErrTimeout", err)
		}
		<-client.Done()
	})
}

// A narrow link takes packets up to a limit that can shrink.
type narrow struct {
	engine.Link
	mu    sync.Mutex
	limit int
}

func (l *narrow) WriteBatch(pkts [][]byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, p := range pkts {
		if len(p) > l.limit {
			n, err := l.Link.WriteBatch(pkts[:i])
			if err == nil {
				err = os.NewSyscallError("sendmmsg", syscall.EMSGSIZE)
			}
			return n, err
		}
	}
	return l.Link.WriteBatch(pkts)
}

func (l *narrow) Route(remote, local netip.Addr) (netip.Addr, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	source, _, err := l.Link.Route(remote, local)
	return source, l.limit, err
}

func TestLinkMTUShrinks(t *testing.T) {
	for _, remote := range []netip.AddrPort{web, web6} {
		link := &narrow{limit: 1500}
		bubble(t, worldConfig{tracer: true, link: func(l engine.Link) engine.Link { link.Link = l; return link }}, func(w *world) {
			l := w.listen(engine.ListenConfig{})
			client, err := w.client.Dial(context.Background(), remote, engine.DialConfig{})
			if err != nil {
				w.t.Fatal(err)
			}
			server, _ := l.AcceptConn()
			link.mu.Lock()
			link.limit = 1300
			link.mu.Unlock()
			start := time.Now()
			pour(w.t, client, server, 1, 1<<20)
			if took := time.Since(start); took > 2*time.Second {
				w.t.Errorf("the transfer took %v: the stack did not learn the new MTU", took)
			}
			if n := w.log.count("client", "message too long"); n == 0 || n > 64 {
				w.t.Errorf("%d packets were too long", n)
			}
		})
	}
}

func TestPathMTU(t *testing.T) {
	for _, remote := range []netip.AddrPort{web, web6} {
		path := simnet.PathConfig{MTU: 1400, ICMP: true, Delay: 5 * time.Millisecond}
		bubble(t, worldConfig{tracer: true, path: path}, func(w *world) {
			l := w.listen(engine.ListenConfig{})
			client, err := w.client.Dial(context.Background(), remote, engine.DialConfig{})
			if err != nil {
				w.t.Fatal(err)
			}
			server, _ := l.AcceptConn()
			start := time.Now()
			pour(w.t, client, server, 1, 1<<20)
			if took := time.Since(start); took > 5*time.Second || client.Info().MTU != 1400 {
				w.t.Errorf("1 MiB took %v, the path MTU is held for %d", took, client.Info().MTU)
			}
		})
	}
}

func TestICMPUnreachableEndsDial(t *testing.T) {
	for code, want := range map[uint8]error{3: engine.ErrRefused, 2: engine.ErrUnreachable} {
		var w *world
		tap := func(p simnet.Packet) {
			quoted := bytes.Clone(p.Data[:28])
			go w.clientPort.InjectError(&simnet.ICMPError{From: serverAddr, Type: 3, Code: code, Quoted: quoted})
		}
		bubble(t, worldConfig{tap: tap}, func(it *world) {
			w = it
			start := time.Now()
			wantDialError(w, web, engine.DialConfig{}, want)
			if time.Since(start) != 0 {
				w.t.Errorf("code %d: took %v", code, time.Since(start))
			}
		})
	}
}

type passingError struct{}

func (passingError) Error() string   { return "a passing error" }
func (passingError) Temporary() bool { return true }

func TestReadErrors(t *testing.T) {
	bubble(t, worldConfig{tracer: true}, func(w *world) {
		client, server := w.pair()
		w.clientPort.InjectError(passingError{})
		wantEcho(w.t, client, server)
		if w.log.count("client", "receive error: a passing error") != 1 {
			w.t.Error("the passing error was not reported")
		}
		blocked := make(chan error)
		go func() {
			_, err := client.Read(make([]byte, 1))
			blocked <- err
		}()
		w.clientPort.InjectError(syscall.ENODEV)
		if err := <-blocked; !errors.Is(err, syscall.ENODEV) {
			w.t.Errorf("Read on a link that is gone: %v", err)
		}
		<-client.Done()
		if _, err := w.client.Dial(context.Background(), web, engine.DialConfig{}); !errors.Is(err, syscall.ENODEV) {
			w.t.Errorf("Dial on a link that is gone: %v", err)
		}
	})
}

func TestGarbageDoesNotStopTheHost(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, server := w.pair()
		for _, junk := range [][]byte{{}, {0x45}, bytes.Repeat([]byte{0x45}, 60), bytes.Repeat([]byte{0xff}, 2000)} {
			w.clientPort.Inject(junk)
		}
		wantEcho(w.t, client, server)
	})
}

func TestDeadlineThatIsReplacedDoesNotFire(t *testing.T) {
	bubble(t, worldConfig{}, func(w *world) {
		client, server := w.pair()
		client.SetReadDeadline(time.Now().Add(time.Second))
		client.SetReadDeadline(time.Now().Add(3 * time.Second))
		start := time.Now()
		_, err := client.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 3*time.Second {
			w.t.Errorf("Read: %v after %v", err, time.Since(start))
		}
		var netErr net.Error
		if !errors.As(err, &netErr) || !netErr.Timeout() || !strings.Contains(err.Error(), "i/o timeout") {
			w.t.Errorf("%v is not the timeout of package net", err)
		}
		client.SetReadDeadline(time.Time{})
		wantEcho(w.t, client, server)
	})
}

// One octet there and back, in a steady state: not one allocation in engine,
// segment or simnet, whatever the number of goroutines that take part.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	w := newWorld(t, worldConfig{conn: engine.ConnConfig{NoDelay: true}})
	client, server := w.pair()
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			server.Write(buf[:n])
		}
	}()
	for _, size := range []int{1, 1000, 20_000} {
		out, in := make([]byte, size), make([]byte, size)
		turn := func() {
			client.Write(out)
			if _, err := io.ReadFull(client, in); err != nil {
				t.Fatal(err)
			}
		}
		for range 200 {
			turn()
		}
		if n := testing.AllocsPerRun(500, turn); n != 0 {
			t.Errorf("%v allocations for %d octets there and back", n, size)
		}
	}
}

func TestTraceSeesTheStates(t *testing.T) {
	bubble(t, worldConfig{tracer: true}, func(w *world) {
		client, server := w.pair()
		client.Close()
		io.Copy(io.Discard, server)
		server.Close()
		<-server.Done()
		states := []string{"SYN-SENT -> ESTABLISHED", "ESTABLISHED -> FIN-WAIT-1", "-> TIME-WAIT"}
		for _, s := range states {
			if w.log.count("client", s) != 1 {
				w.t.Errorf("no %q in the trace of the client", s)
			}
		}
	})
}

func BenchmarkPingPong(b *testing.B) {
	w := newWorld(b, worldConfig{conn: engine.ConnConfig{NoDelay: true}})
	client, server := w.pair()
	go io.Copy(server, server)
	buf := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		client.Write(buf)
		io.ReadFull(client, buf)
	}
}

func BenchmarkBulk(b *testing.B) {
	w := newWorld(b, worldConfig{})
	client, server := w.pair()
	chunk := make([]byte, 64<<10)
	go func() {
		for {
			if _, err := client.Write(chunk); err != nil {
				return
			}
		}
	}()
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	buf := slices.Clone(chunk)
	for b.Loop() {
		if _, err := io.ReadFull(server, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// A panic in one of the host's goroutines is handed to who asked for it.
func TestPanicOfTheHostIsToldWhoAsked(t *testing.T) {
	net := simnet.New(simnet.Config{})
	port := net.NewPort(simnet.PortConfig{Addrs: []netip.Addr{clientAddr}})
	causes := make(chan any, 10)
	engine.NewHost(engine.HostConfig{Link: port, Tracer: angryTracer{}, OnPanic: func(cause any) { causes <- cause }})
	port.InjectError(passingError{})
	if cause := <-causes; cause != "no more" {
		t.Errorf("%v", cause)
	}
}

type angryTracer struct{}

func (angryTracer) Trace(*engine.Event) { panic("no more") }
