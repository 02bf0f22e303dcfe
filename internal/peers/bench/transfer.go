package bench

import (
	"context"
	"fmt"
	"net"

	"rawtcp/engine"
)

// chunk is how much a program of either side writes or reads at a time.
const chunk = 256 << 10

// segmentsOf sums what our own connections sent and received.
func segmentsOf(conns []net.Conn) (segments uint64) {
	for _, c := range conns {
		if c, ok := c.(*engine.NetConn); ok {
			stats := c.Info().Stats
			segments += stats.SegmentsIn + stats.SegmentsOut
		}
	}
	return segments
}

// moved sums up a window in which octets were counted.
func moved(from, to reading) sample {
	octets := float64(to.count - from.count)
	got := sample{
		rate:    8 * octets / float64(to.at.Sub(from.at).Nanoseconds()),
		cpuTime: (to.cpu - from.cpu).Seconds() / (octets / 1e9),
	}
	if segments := to.segments - from.segments; segments > 0 {
		got[allocations] = float64(to.mallocs-from.mallocs) / float64(segments)
	}
	return got
}

// dialAll opens the streams of a spec.
func dialAll(s stack, spec Spec) ([]net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), shortTimeout)
	defer cancel()
	var conns []net.Conn
	for range spec.Streams {
		c, err := s.Dial(ctx, spec.Remotes[0])
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		conns = append(conns, c)
	}
	return conns, nil
}

// send is the tested side that writes.
func send(spec Spec) (sample, error) {
	if spec.Stack == rawCeiling {
		return flood(spec)
	}
	return transfer(spec, net.Conn.Write)
}

// receive is the tested side that reads.
func receive(spec Spec) (sample, error) { return transfer(spec, net.Conn.Read) }

// transfer moves octets on all streams until it has measured, and then ends with
// the process.
func transfer(spec Spec, move func(net.Conn, []byte) (int, error)) (sample, error) {
	s, err := openStack(spec)
	if err != nil {
		return nil, err
	}
	conns, err := dialAll(s, spec)
	if err != nil {
		return nil, err
	}
	m := newMeter()
	if _, us := links[spec.Stack]; us {
		m.segments = func() uint64 { return segmentsOf(conns) }
	}
	broken := make(chan error, len(conns))
	for _, c := range conns {
		go func() { broken <- moveAll(c, m, move) }()
	}
	from, to, err := m.window(spec)
	select {
	case why := <-broken:
		return nil, fmt.Errorf("a stream ended: %w", why)
	default:
	}
	if err != nil {
		return nil, err
	}
	return moved(from, to), nil
}

// moveAll reads or writes until that fails.
func moveAll(c net.Conn, m *meter, move func(net.Conn, []byte) (int, error)) error {
	buf := make([]byte, chunk)
	for {
		n, err := move(c, buf)
		m.count(n)
		if err != nil {
			return err
		}
	}
}

// sink is the kernel's side that reads, and measures what arrived.
func sink(spec Spec) (sample, error) { return serve(spec, net.Conn.Read) }

// source is the kernel's side that writes.
func source(spec Spec) (sample, error) { return serve(spec, net.Conn.Write) }

func serve(spec Spec, move func(net.Conn, []byte) (int, error)) (sample, error) {
	m := newMeter()
	if err := listen(spec, func(c net.Conn) { _ = moveAll(c, m, move) }); err != nil { // until the tested side goes
		return nil, err
	}
	from, to, err := m.window(spec)
	if err != nil {
		return nil, err
	}
	return moved(from, to), nil
}

// listen has handle called for each connection to the kernel's side, in a
// goroutine of its own, and says that it is ready.
func listen(spec Spec, handle func(net.Conn)) error {
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false)
	l, err := cfg.Listen(context.Background(), "tcp4", fmt.Sprintf(":%d", spec.Remotes[0].Port()))
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go handle(c)
		}
	}()
	return tellReady()
}
