package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"rawtcp/engine"

	"golang.org/x/sys/unix"
)

// chunk is how much a program of either side writes or reads at a time.
const chunk = 256 << 10

// A meter counts octets and what they cost this process.
type meter struct {
	octets  atomic.Int64
	conns   []net.Conn
	started sync.Once
	began   chan struct{} // closed with the first octet
}

func newMeter() *meter { return &meter{began: make(chan struct{})} }

// count adds octets that were moved.
func (m *meter) count(n int) {
	m.octets.Add(int64(n))
	m.started.Do(func() { close(m.began) })
}

// A reading is a moment of a meter.
type reading struct {
	at       time.Time
	octets   int64
	cpu      time.Duration
	mallocs  uint64
	segments uint64
}

func (m *meter) read() (reading, error) {
	r := reading{at: time.Now(), octets: m.octets.Load()}
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return r, err
	}
	r.cpu = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	r.mallocs = memory.Mallocs
	for _, c := range m.conns {
		if c, ok := c.(*engine.NetConn); ok {
			stats := c.Info().Stats
			r.segments += stats.SegmentsIn + stats.SegmentsOut
		}
	}
	return r, nil
}

// measure reads after the warm part that follows the first octet, and after the
// length.
func (m *meter) measure(spec Spec) (sample, error) {
	select {
	case <-m.began:
	case <-time.After(shortTimeout):
		return nil, errors.New("no octet was moved")
	}
	time.Sleep(spec.Warm)
	from, err := m.read()
	if err != nil {
		return nil, err
	}
	time.Sleep(spec.Length)
	to, err := m.read()
	if err != nil {
		return nil, err
	}
	octets := float64(to.octets - from.octets)
	if octets == 0 {
		return nil, errors.New("no octet was moved while it counted")
	}
	got := sample{
		"Gbit/s":   8 * octets / float64(to.at.Sub(from.at).Nanoseconds()),
		"CPU s/GB": (to.cpu - from.cpu).Seconds() / (octets / 1e9),
	}
	if segments := to.segments - from.segments; segments > 0 {
		got["allocations/segment"] = float64(to.mallocs-from.mallocs) / float64(segments)
	}
	return got, nil
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
	m := newMeter()
	if m.conns, err = dialAll(s, spec); err != nil {
		return nil, err
	}
	broken := make(chan error, len(m.conns))
	for _, c := range m.conns {
		go func() { broken <- moveAll(c, m, move) }()
	}
	got, err := m.measure(spec)
	time.Sleep(afterglow)
	select {
	case why := <-broken:
		return nil, fmt.Errorf("a stream ended: %w", why)
	default:
		return got, err
	}
}

// afterglow is how much longer the tested side goes on, so that the other one,
// which began to measure a little later, does not see the end.
const afterglow = 50 * time.Millisecond

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
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false)
	l, err := cfg.Listen(context.Background(), "tcp4", fmt.Sprintf(":%d", spec.Remotes[0].Port()))
	if err != nil {
		return nil, err
	}
	defer l.Close()
	m := newMeter()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = moveAll(c, m, move) }() // until the tested side goes
		}
	}()
	if err := tellReady(); err != nil {
		return nil, err
	}
	type outcome struct {
		got sample
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		got, err := m.measure(spec)
		done <- outcome{got, err}
	}()
	if err := awaitEnd(); err != nil {
		return nil, err
	}
	o := <-done
	return o.got, o.err
}
