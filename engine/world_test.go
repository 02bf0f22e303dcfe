package engine_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
	"rawtcp/segment"
)

// A world is two hosts, a client and a server, on a virtual network. In a
// synctest bubble its time is virtual.
type world struct {
	t              testing.TB
	net            *simnet.Network
	clientPort     *simnet.Port
	serverPort     *simnet.Port
	client, server *engine.Host
	log            *logbook
}

var (
	clientAddr  = netip.MustParseAddr("198.18.0.1")
	serverAddr  = netip.MustParseAddr("198.18.0.2")
	clientAddr6 = netip.MustParseAddr("2001:db8::1")
	serverAddr6 = netip.MustParseAddr("2001:db8::2")
	web         = netip.AddrPortFrom(serverAddr, 80)
	web6        = netip.AddrPortFrom(serverAddr6, 80)
	everywhere  = netip.AddrPortFrom(netip.IPv6Unspecified(), 80)
)

// worldConfig changes a world from two hosts with defaults on a perfect network.
type worldConfig struct {
	seed       uint64
	path       simnet.PathConfig
	conn       engine.ConnConfig             // of both hosts
	serverPort simnet.PortConfig             // Addrs are filled in
	super      int                           // the largest super-segment of both ports, 0: none
	mtu        int                           // of both ports, default 1500
	link       func(engine.Link) engine.Link // wraps the client's link
	tracer     bool                          // keep a log of both hosts; costs allocations
	tap        func(simnet.Packet)
}

func newWorld(t testing.TB, cfg worldConfig) *world {
	t.Helper()
	w := &world{t: t, log: &logbook{}}
	w.net = simnet.New(simnet.Config{Seed: cfg.seed, Path: cfg.path, Tap: cfg.tap})
	w.clientPort = w.net.NewPort(simnet.PortConfig{Addrs: []netip.Addr{clientAddr, clientAddr6}, SuperSegment: cfg.super, MTU: cfg.mtu})
	cfg.serverPort.Addrs = []netip.Addr{serverAddr, serverAddr6, netip.MustParseAddr("fe80::2")}
	cfg.serverPort.SuperSegment, cfg.serverPort.MTU = cfg.super, max(cfg.serverPort.MTU, cfg.mtu)
	w.serverPort = w.net.NewPort(cfg.serverPort)
	var link engine.Link = w.clientPort
	if cfg.link != nil {
		link = cfg.link(link)
	}
	host := func(name string, link engine.Link, secret byte) *engine.Host {
		hc := engine.HostConfig{Link: link, Conn: cfg.conn, Secret: [32]byte{secret}}
		if cfg.tracer {
			hc.Tracer = w.log.of(name)
		}
		return engine.NewHost(hc)
	}
	w.client, w.server = host("client", link, 1), host("server", w.serverPort, 2)
	t.Cleanup(func() {
		w.client.Close()
		w.server.Close()
		for name, port := range map[string]*simnet.Port{"client": w.clientPort, "server": w.serverPort} {
			if n := port.Claims(); n != 0 {
				t.Errorf("%d claims of the %s are left", n, name)
			}
		}
		if t.Failed() {
			t.Log(w.net)
			t.Log(w.log.tail(60))
		}
	})
	return w
}

func (w *world) listen(cfg engine.ListenConfig) *engine.NetListener {
	w.t.Helper()
	l, err := w.server.Listen(everywhere, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) dial() *engine.NetConn {
	w.t.Helper()
	c, err := w.client.Dial(context.Background(), web, engine.DialConfig{})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// pair returns both ends of a new connection.
func (w *world) pair() (client, server *engine.NetConn) {
	w.t.Helper()
	l := w.listen(engine.ListenConfig{})
	defer l.Close()
	client = w.dial()
	server, err := l.AcceptConn()
	if err != nil {
		w.t.Fatal(err)
	}
	return client, server
}

// A logbook keeps the last events of two hosts as lines.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

type logger struct {
	book *logbook
	name string
}

func (b *logbook) of(name string) engine.Tracer { return &logger{b, name} }

func (l *logger) Trace(e *engine.Event) {
	line := fmt.Sprintf("%-6s %v #%d %s: ", l.name, time.Duration(e.At), e.Conn, e.State)
	switch e.Kind {
	case engine.EventSegmentIn:
		line += "< " + text(e.Segment) + " " + string(e.Note)
	case engine.EventSegmentOut:
		line += "> " + text(e.Segment) + " " + string(e.Note) + " (" + e.Reason + ")"
	case engine.EventState:
		line += fmt.Sprintf("%s -> %s (%s)", e.From, e.To, e.Reason)
	case engine.EventTimerFired:
		line += "timer " + e.Timer.String()
	case engine.EventLocal, engine.EventDrop, engine.EventICMP:
		line += fmt.Sprintf("kind %d: %s", e.Kind, e.Reason)
	default:
		return
	}
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	l.book.lines = append(l.book.lines, line)
}

func text(s *segment.Segment) string { return s.String() }

func (b *logbook) tail(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines[max(len(b.lines)-n, 0):], "\n")
}

// count returns how many lines contain all of the words.
func (b *logbook) count(words ...string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
lines:
	for _, line := range b.lines {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue lines
			}
		}
		n++
	}
	return n
}

// A stream is a reproducible sequence of octets with its digest.
func stream(seed uint64, size int) ([]byte, [32]byte) {
	rng := rand.New(rand.NewPCG(seed, 99))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data, sha256.Sum256(data)
}

// pour writes a stream to one end and half-closes it, while the other end reads.
func pour(t testing.TB, from, to *engine.NetConn, seed uint64, size int) {
	data, want := stream(seed, size)
	var both sync.WaitGroup
	both.Go(func() {
		if n, err := from.Write(data); n != size || err != nil {
			t.Errorf("Write: %d of %d octets, %v", n, size, err)
			return
		}
		if err := from.CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
	})
	both.Go(func() {
		hash := sha256.New()
		n, err := io.Copy(hash, to)
		if n != int64(size) || err != nil || [32]byte(hash.Sum(nil)) != want {
			t.Errorf("read %d of %d octets, %v; damaged: %v", n, size, err, [32]byte(hash.Sum(nil)) != want)
		}
	})
	both.Wait()
}
