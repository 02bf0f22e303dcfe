package netlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fetch reads n octets of Pattern(seed, n) from a source on b and checks them.
func fetch(t *testing.T, a, b *Host, addr netip.Addr, seed uint64, n int64) time.Duration {
	t.Helper()
	s := b.MustServe(t, Source(seed, n))
	defer s.Close()
	begin := time.Now()
	c := mustDial(t, a, netip.AddrPortFrom(addr, s.Port()))
	got := sum(c)
	took := time.Since(begin)
	c.Close()
	if got.Err != nil || got.N != n || got.SHA256 != PatternSum(seed, n) {
		t.Errorf("received %d of %d octets, %v, sum right: %t", got.N, n, got.Err, got.SHA256 == PatternSum(seed, n))
	}
	return took
}

// snmp reads a counter of /proc/net/snmp in a host, such as "Tcp", "InCsumErrors".
func snmp(t *testing.T, h *Host, protocol, name string) uint64 {
	t.Helper()
	out, err := h.Command(t.Context(), "cat", "/proc/net/snmp").Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if fields[0] != protocol+":" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i := range names {
			if names[i] == name {
				n, err := strconv.ParseUint(fields[i], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
	}
	t.Fatalf("/proc/net/snmp has no %s %s:\n%s", protocol, name, out)
	return 0
}

func TestRelayIsACable(t *testing.T) {
	for _, offload := range []bool{false, true} {
		a, b, r := RelayPair(t, RelayConfig{Link: LinkConfig{Offload: offload}})
		for family, addr := range families(b) {
			t.Run(fmt.Sprintf("%s/offload=%t", family, offload), func(t *testing.T) {
				const n = 8 << 20
				took := fetch(t, a, b, addr, 1, n)
				t.Logf("%.0f Mbit/s", n*8/took.Seconds()/1e6)
			})
		}
		for _, d := range []Direction{AtoB, BtoA} {
			c := r.Counters(d)
			t.Logf("%s %+v", d, c)
			if c.Packets == 0 || c.Unharmed == 0 || c.Largest > 1500 || c.Refused != 0 || c.Sent != c.Packets+c.Unharmed {
				t.Errorf("%s offload=%t: %+v: want every frame sent on, none above the MTU", d, offload, c)
			}
			if offload != (c.Partial > 0) {
				t.Errorf("%s offload=%t: finished %d checksums", d, offload, c.Partial)
			}
		}
		if got := snmp(t, a, "Tcp", "InCsumErrors"); got != 0 {
			t.Errorf("offload=%t: %d bad checksums at a", offload, got)
		}
	}
}

func TestTCPSurvivesABadLine(t *testing.T) {
	bad := Impairment{
		Loss: 0.02, Duplicate: 0.02, Reorder: 0.02, Corrupt: 0.02, ReorderDelay: 2 * time.Millisecond,
		Delay: time.Millisecond, Jitter: time.Millisecond, Rate: 100_000_000,
	}
	for _, offload := range []bool{false, true} {
		a, b, r := RelayPair(t, RelayConfig{Link: LinkConfig{Offload: offload}, Seed: 3, AtoB: bad, BtoA: bad})
		for family, addr := range families(b) {
			t.Run(fmt.Sprintf("%s/offload=%t", family, offload), func(t *testing.T) {
				fetch(t, a, b, addr, 2, 2<<20)
			})
		}
		for _, d := range []Direction{AtoB, BtoA} {
			if c := r.Counters(d); c.Lost == 0 || c.Duplicated == 0 || c.Corrupted == 0 || c.Reordered == 0 {
				t.Errorf("%s: %+v: want some of each", d, c)
			}
		}
	}
}

// TestKernelSeesCorruption makes sure that a frame from a packet socket is not
// taken for one whose checksum somebody verified already.
func TestKernelSeesCorruption(t *testing.T) {
	for _, offload := range []bool{false, true} {
		a, b, r := RelayPair(t, RelayConfig{Link: LinkConfig{Offload: offload}, Seed: 5, BtoA: Impairment{Corrupt: 0.05}})
		fetch(t, a, b, b.Addr4(), 3, 2<<20)
		// The connection may still be closing, so both can grow between the looks.
		eventually(t, "the kernel sees an error for each corrupted segment", func() bool {
			corrupted := r.Counters(BtoA).Corrupted
			return corrupted > 0 && corrupted == snmp(t, a, "Tcp", "InErrs")
		})
	}
}

// TestRealRatesAreAsAsked counts datagrams at their destination.
func TestRealRatesAreAsAsked(t *testing.T) {
	const n = 10_000
	i := Impairment{Loss: 0.1, Duplicate: 0.05}
	a, b, r := RelayPair(t, RelayConfig{Seed: 11, AtoB: i})
	in, out := udpPair(t, a, b)
	received := make(chan map[uint32]int)
	var total atomic.Uint64
	go func() {
		counts := make(map[uint32]int)
		buf := make([]byte, 100)
		for {
			if n, err := in.Read(buf); err != nil || n != 4 {
				received <- counts
				return
			}
			counts[uint32(buf[0])|uint32(buf[1])<<8]++
			total.Add(1)
		}
	}()
	for k := range n {
		if _, err := out.Write([]byte{byte(k), byte(k >> 8), 0, 0}); err != nil {
			t.Fatal(err)
		}
		if k%100 == 0 || k == n-1 {
			// The receiver's socket buffer is small: let it keep up.
			eventually(t, "what was sent is lost or received", func() bool {
				c := r.Counters(AtoB)
				return c.Packets == uint64(k+1) && total.Load() == c.Packets-c.Lost+c.Duplicated
			})
		}
	}
	c := r.Counters(AtoB)
	if err := r.Set(AtoB, Impairment{}); err != nil {
		t.Fatal(err)
	}
	out.Write([]byte{0}) // tells the reader that this is all
	counts := <-received
	twice := 0
	for _, k := range counts {
		twice += k - 1
	}
	if lost := n - len(counts); uint64(lost) != c.Lost || uint64(twice) != c.Duplicated {
		t.Errorf("%d datagrams missing and %d doubled at b, the relay lost %d and doubled %d", lost, twice, c.Lost, c.Duplicated)
	}
	if !near(c.Lost, n, i.Loss) || !near(c.Duplicated, n-int(c.Lost), i.Duplicate) {
		t.Errorf("lost %d and doubled %d of %d, want about %v and %v", c.Lost, c.Duplicated, n, i.Loss, i.Duplicate)
	}
}

// udpPair opens a socket on b and one on a that sends to it.
func udpPair(t *testing.T, a, b *Host) (in, out *net.UDPConn) {
	t.Helper()
	open := func(h *Host, f func() (*net.UDPConn, error)) (c *net.UDPConn) {
		if err := h.Do(func() (err error) { c, err = f(); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	in = open(b, func() (*net.UDPConn, error) { return net.ListenUDP("udp4", &net.UDPAddr{}) })
	port := in.LocalAddr().(*net.UDPAddr).Port
	out = open(a, func() (*net.UDPConn, error) {
		return net.DialUDP("udp4", nil, &net.UDPAddr{IP: b.Addr4().AsSlice(), Port: port})
	})
	return in, out
}

func TestRelayDelays(t *testing.T) {
	const delay = 40 * time.Millisecond
	a, b, _ := RelayPair(t, RelayConfig{AtoB: Impairment{Delay: delay}, BtoA: Impairment{Delay: delay}})
	s := b.MustServe(t, Echo)
	for family, addr := range families(b) {
		begin := time.Now()
		mustDial(t, a, netip.AddrPortFrom(addr, s.Port()))
		if took := time.Since(begin); took < 2*delay { // how much more says TestDelayAndJitter, of a clock of its own
			t.Errorf("%s: a handshake took %v, want more than %v", family, took, 2*delay)
		}
	}
}

func TestRelayLimitsTheRate(t *testing.T) {
	const rate, n = 20_000_000, 1 << 20
	a, b, r := RelayPair(t, RelayConfig{BtoA: Impairment{Rate: rate}})
	took := fetch(t, a, b, b.Addr4(), 4, n)
	least := time.Duration(float64(n) * 8 / rate * float64(time.Second))
	if took < least {
		t.Errorf("%d octets took %v at %d bit/s, want more than %v (%+v)", n, took, rate, least, r.Counters(BtoA))
	}
}

// TestDroppedSYN loses the first packet from a, so that the kernel must send its SYN again.
func TestDroppedSYN(t *testing.T) {
	var seen atomic.Int32
	first := func(packet []byte) bool {
		const syn = 0x02
		return packet[9] == 6 && packet[ipv4Len+13] == syn && seen.Add(1) == 1
	}
	a, b, r := RelayPair(t, RelayConfig{AtoB: Impairment{Drop: first}})
	s := b.MustServe(t, Echo)
	mustDial(t, a, netip.AddrPortFrom(b.Addr4(), s.Port()))
	if seen.Load() != 2 || r.Counters(AtoB).Dropped != 1 {
		t.Errorf("%d SYNs seen, %d packets dropped; want 2 and 1", seen.Load(), r.Counters(AtoB).Dropped)
	}
}

// TestRelayChangesWhileRunning cuts the line under a connection and mends it.
func TestRelayChangesWhileRunning(t *testing.T) {
	a, b, r := RelayPair(t, RelayConfig{})
	s := b.MustServe(t, Echo)
	c := mustDial(t, a, netip.AddrPortFrom(b.Addr6(), s.Port()))
	if err := r.SetBoth(Impairment{Loss: 1}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "x")
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("over a cut line: %v", err)
	}
	if err := r.SetBoth(Impairment{}); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("over the mended line: %v", err)
	}
	if r.Set(AtoB, Impairment{Loss: 2}) == nil {
		t.Error("a loss of 2 was accepted")
	}
}

// TestNeighboursAreFoundOverACutLine: address resolution passes where no packet does.
func TestNeighboursAreFoundOverACutLine(t *testing.T) {
	cut := Impairment{Loss: 1}
	a, b, r := RelayPair(t, RelayConfig{AtoB: cut, BtoA: cut})
	for family, addr := range families(b) {
		before := r.Counters(AtoB).Lost
		ctx, cancel := context.WithCancel(t.Context())
		var dialling sync.WaitGroup
		dialling.Go(func() {
			if c, err := a.Dial(ctx, netip.AddrPortFrom(addr, 9)); err == nil {
				c.Close()
				t.Errorf("%s: connected over a cut line", family)
			}
		})
		eventually(t, family+": a SYN gets as far as the relay", func() bool { return r.Counters(AtoB).Lost > before })
		cancel()
		dialling.Wait()
	}
}

func TestRelayCloseLeavesNothing(t *testing.T) {
	openFiles := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	// The first lab opens what the process keeps, such as the runtime's poller.
	l := New()
	l.MustHost(t, "warm")
	l.Close()
	files, goroutines := openFiles(), runtime.NumGoroutine()
	for range 5 {
		l := New()
		a, b := l.MustHost(t, "a"), l.MustHost(t, "b")
		r, err := l.Relay(a, b, RelayConfig{AtoB: Impairment{Delay: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := a.Dial(ctx, netip.AddrPortFrom(b.Addr4(), 9)); err == nil {
			t.Error("connected over a line that takes an hour")
		}
		cancel()
		r.Close()
		r.Close()
		l.Close()
	}
	eventually(t, "goroutines and descriptors are given back", func() bool {
		return runtime.NumGoroutine() <= goroutines && openFiles() <= files
	})
}

func TestRelayRefusesNonsense(t *testing.T) {
	l := NewTest(t)
	a, b := l.MustHost(t, "a"), l.MustHost(t, "b")
	if _, err := l.Relay(a, b, RelayConfig{BtoA: Impairment{Loss: -1}}); err == nil {
		t.Error("a loss of -1 was accepted")
	}
}

// BenchmarkRelay measures what a relay carries from kernel to kernel.
func BenchmarkRelay(b *testing.B) {
	for _, bm := range []struct {
		name string
		i    Impairment
	}{{"plain", Impairment{}}, {"delay=5ms", Impairment{Delay: 5 * time.Millisecond}}} {
		b.Run(bm.name, func(b *testing.B) {
			l := New()
			defer l.Close()
			left, right := l.MustHost(b, "a"), l.MustHost(b, "b")
			r, err := l.Relay(left, right, RelayConfig{AtoB: bm.i, BtoA: bm.i})
			if err != nil {
				b.Fatal(err)
			}
			const n = 64 << 20
			s := right.MustServe(b, Source(1, n))
			b.SetBytes(n)
			for b.Loop() {
				c, err := left.Dial(b.Context(), netip.AddrPortFrom(right.Addr4(), s.Port()))
				if err != nil {
					b.Fatal(err)
				}
				if got, err := io.Copy(io.Discard, c); err != nil || got != n {
					b.Fatalf("%d octets, %v", got, err)
				}
				c.Close()
			}
			b.ReportMetric(float64(r.Counters(BtoA).Overrun)/float64(b.N), "overrun/op")
		})
	}
}
