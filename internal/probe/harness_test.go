package probe_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/netlab"
	"rawtcp/internal/probe"
	"rawtcp/internal/puppet"
	"rawtcp/internal/simnet"
	"rawtcp/rawsock"
	"rawtcp/segment"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// A subject is a host to be probed in virtual time: our engine on a simulated
// network. The zero subject is a good host with an echo service.
type subject struct {
	conn    engine.ConnConfig
	listen  engine.ListenConfig
	service string // "echo" (default), "http", "none": as ParseService has it
	road    simnet.PathConfig
	toHost  func(packet []byte) []byte // changes what we send, or loses it with nil
	toUs    func(packet []byte) []byte // changes what the host sends
	seed    uint64
	v6      bool
	lanes   int           // of the battery; more than one: at 40 packets a second
	rate    int           // packets a second, if they are to be others
	slow    time.Duration // the delay each way of the first handshake
	falter  time.Duration // the delay each way of every other
	tracer  engine.Tracer // of the board
}

const subjectPort = 4000

// probe runs rows against a subject and returns the report.
func (s subject) probe(t *testing.T, rows ...string) *probe.Report {
	t.Helper()
	var report *probe.Report
	synctest.Test(t, func(t *testing.T) { report = s.run(t, rows) })
	return report
}

func (s subject) run(t *testing.T, ids []string) *probe.Report {
	us, them := netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2")
	if s.v6 {
		us, them = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	}
	network := simnet.New(simnet.Config{Seed: s.seed})
	here := network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{us}, Refuse: true})
	there := network.NewPort(simnet.PortConfig{Addrs: []netip.Addr{them}, Refuse: true})
	if s.road.Delay == 0 {
		s.road.Delay = time.Millisecond
	}
	out, in := s.road, s.road
	out.Hook, in.Hook = s.toHost, s.toUs
	lay := func(delay time.Duration) {
		out.Delay, in.Delay = delay, delay
		network.SetPath(here, there, out)
		network.SetPath(there, here, in)
	}
	lay(max(s.road.Delay, s.slow))
	if s.slow > 0 {
		time.AfterFunc(s.slow*3/2, func() { lay(s.road.Delay) }) // the answer has left
	}

	if s.conn.ReceiveBuffer == 0 {
		s.conn.ReceiveBuffer = 64 << 10 // so that a row can fill it
	}
	host := engine.NewHost(engine.HostConfig{Link: there, Conn: s.conn, Secret: [32]byte{1}})
	defer host.Close()
	target := netip.AddrPortFrom(them, subjectPort)
	l, err := host.Listen(target, s.listen)
	if err != nil {
		t.Fatal(err)
	}
	if s.service == "" {
		s.service = "echo"
	}
	go serve(l, s.service)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go callBack(ctx, func(ctx context.Context) (net.Conn, error) {
		return host.Dial(ctx, netip.AddrPortFrom(us, callPort), engine.DialConfig{})
	})

	cfg := puppet.Config{Link: here, Tracer: s.tracer}
	if s.falter > 0 {
		cfg.Tracer = &handshakes{begun: func(n int) {
			if n > 1 {
				lay(s.falter)
				time.AfterFunc(s.falter*3/2, func() { lay(s.road.Delay) })
			}
		}}
	}
	if s.lanes > 1 {
		cfg.Rate, cfg.Conns = 40, 2*s.lanes
	}
	if s.rate > 0 {
		cfg.Rate = s.rate
	}
	board := puppet.NewBoard(cfg)
	defer board.Close()
	return runBattery(t, board, target, s.service, ids, s.lanes)
}

// handshakes are counted: begun is called before the SYN of the nth leaves.
type handshakes struct {
	n     int
	begun func(n int)
}

func (h *handshakes) Trace(e *engine.Event) {
	if e.Kind == engine.EventSegmentOut && e.Segment.Flags.Has(segment.SYN) {
		h.n++
		h.begun(h.n)
	}
}

// callPort is where a host calls us back, for the rows that need that.
const callPort = 5000

// callBack connects to us again and again, and keeps a connection for a while.
func callBack(ctx context.Context, dial func(context.Context) (net.Conn, error)) {
	for ctx.Err() == nil {
		if c, err := dial(ctx); err == nil {
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			hang := context.AfterFunc(ctx, func() { _ = c.Close() })
			_, _ = io.Copy(io.Discard, c)
			hang()
			_ = c.Close()
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// runBattery runs the rows of the given ids, or all.
func runBattery(t *testing.T, board *puppet.Board, target netip.AddrPort, service string, ids []string, lanes int) *probe.Report {
	t.Helper()
	rows := probe.Rows()
	if len(ids) > 0 {
		var err error
		if rows, err = probe.Select(rows, ids); err != nil {
			t.Fatal(err)
		}
	}
	named, err := probe.ParseService(service, target.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b := &probe.Battery{Board: board, Target: target, Service: named, Rows: rows, SideBySide: true, Listen: callPort, Lanes: lanes}
	report, err := b.Run(t.Context())
	if err != nil || report.Cut {
		t.Fatalf("the battery: %v, cut %v", err, report.Cut)
	}
	return report
}

// page is what the web server of a subject has to say: more than any send buffer
// holds.
var page = strings.Repeat("all work and no play\n", 8<<20/21)

var webPage http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", fmt.Sprint(len(page)))
	_, _ = io.WriteString(w, page)
})

func serve(l net.Listener, service string) {
	if service == "http" {
		_ = http.Serve(l, webPage)
		return
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if service == "echo" {
				_, _ = io.Copy(c, c)
				return
			}
			_, _ = io.Copy(io.Discard, c)
		}()
	}
}

// outcomes are the keys of a report, or the reasons of what is unknown, by row.
func outcomes(r *probe.Report) map[string]string {
	out := map[string]string{}
	for _, res := range r.Results {
		out[res.Row.ID] = res.Key
		if res.Verdict == probe.Unknown {
			out[res.Row.ID] = "unknown: " + res.Text
		}
	}
	return out
}

// want compares outcomes with those expected ("|" stands between two of them), and shows the evidence of the others.
func want(t *testing.T, r *probe.Report, expected map[string]string) {
	t.Helper()
	got := outcomes(r)
	for id, key := range expected {
		if slices.Contains(strings.Split(key, "|"), got[id]) || strings.HasPrefix(key, "unknown") && strings.HasPrefix(got[id], key) {
			continue
		}
		t.Errorf("%s: %q, want %q\n%s", id, got[id], key, evidence(r, id))
	}
}

// evidence is the segments and facts of a row, for a failing test.
func evidence(r *probe.Report, id string) string {
	var b strings.Builder
	for i := range r.Results {
		res := &r.Results[i]
		if res.Row.ID != id {
			continue
		}
		fmt.Fprintf(&b, "%s %s: %s, %s (%d of %d)\n", id, res.Row.Name, res.Verdict, res.Text, res.Agreed, res.Tries)
		for i, rec := range res.Record {
			const most = 60
			if i == most {
				fmt.Fprintf(&b, "  … %d more\n", len(res.Record)-most)
				break
			}
			e := rec.Event
			switch e.Kind {
			case engine.EventSegmentOut:
				fmt.Fprintf(&b, "  %4d %12v conn %d > %v\n", rec.Number, time.Duration(e.At), e.Conn, e.Segment)
			case engine.EventSegmentIn:
				fmt.Fprintf(&b, "  %4d %12v conn %d < %v\n", rec.Number, time.Duration(e.At), e.Conn, e.Segment)
			}
		}
		for _, f := range res.Facts {
			fmt.Fprintf(&b, "  %s: %s\n", f.Name, f.Text)
		}
	}
	return b.String()
}

// A kernelHost is a host with the kernel's TCP in a namespace of its own.
type kernelHost struct {
	here, there *netlab.Host
	began       time.Time // the last battery: what the times of its report count from
}

func newKernelHost(t *testing.T) *kernelHost {
	t.Helper()
	here, there := netlab.Pair(t, netlab.LinkConfig{})
	return &kernelHost{here: here, there: there}
}

// probe runs rows against a service of the host, over a raw socket.
func (k *kernelHost) probe(t *testing.T, port uint16, service string, rows ...string) *probe.Report {
	t.Helper()
	var link *rawsock.Conn
	err := k.here.Do(func() (err error) {
		link, err = rawsock.Open(rawsock.Config{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	board := puppet.NewBoard(puppet.Config{Link: link, Rate: 100, Conns: 64})
	defer board.Close()
	k.began = board.Began()
	ctx, cancel := context.WithCancel(t.Context())
	calls := make(chan struct{})
	go func() {
		defer close(calls)
		callBack(ctx, func(ctx context.Context) (net.Conn, error) {
			return k.there.Dial(ctx, netip.AddrPortFrom(k.here.Addr4(), callPort))
		})
	}()
	defer func() { // before the hosts are gone
		cancel()
		<-calls
	}()
	return runBattery(t, board, netip.AddrPortFrom(k.there.Addr4(), port), service, rows, 1)
}

// await returns when somebody listens at a port of the host.
func (k *kernelHost) await(t *testing.T, port uint16) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		c, err := k.there.Dial(t.Context(), netip.AddrPortFrom(k.there.Addr4(), port))
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody listens at port %d: %v", port, err)
		}
	}
}
