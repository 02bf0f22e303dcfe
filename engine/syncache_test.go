package engine

import (
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"rawtcp/segment"
)

// flood gives a listener n SYNs from different sources and takes the SYN-ACKs.
func (k *talk) flood(n int) {
	s := segment.Segment{Dst: us, Window: 65535, Flags: segment.SYN,
		Options: segment.Options{Set: segment.HasMSS | segment.HasTimestamps, MSS: 1460}}
	for i := range n {
		a := netip.AddrFrom4([4]byte{198, 19, byte(i >> 8), byte(i)})
		s.Src = netip.AddrPortFrom(a, uint16(1024+i>>16))
		s.Seq = segment.MakeSeq(uint32(i) * 77777)
		k.stack.Receive(k.now, &s)
		for k.stack.Transmit(k.now, &k.seg) {
		}
	}
}

// quiet is a stack without a tracer, and a listener on it.
func quiet(t *testing.T, cfg ListenConfig) *talk {
	k := &talk{t: t, now: Time(time.Second), irs: segment.MakeSeq(peerISN), peer: peer}
	k.stack = NewStack(StackConfig{Secret: [32]byte{1}})
	l, err := k.stack.Listen(k.now, us, func(netip.Addr) int { return 1500 }, cfg)
	if err != nil {
		t.Fatal(err)
	}
	k.l = l
	return k
}

func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// 100,000 handshakes under way cost at most 16 MiB, and neither a goroutine nor
// a timer each.
func TestHalfOpenConnectionsAreSmall(t *testing.T) {
	n := 100_000
	if underRaceDetector {
		n = 10_000
	}
	most := uint64(n) * (16 << 20) / 100_000
	k := quiet(t, ListenConfig{HalfOpen: n})
	before, goroutines := liveHeap(), runtime.NumGoroutine()
	k.flood(n)
	used := liveHeap() - before
	t.Logf("%d octets for each of %d, an entry has %d", used/uint64(n), n, unsafe.Sizeof(synEntry{}))
	if k.l.cache.len() != n {
		t.Fatalf("%d are half open", k.l.cache.len())
	}
	if used > most {
		t.Errorf("%d octets of heap, at most %d are allowed", used, most)
	}
	if len(k.stack.timers) != 1 || runtime.NumGoroutine() > goroutines || k.stack.Conns() != 0 {
		t.Errorf("%d timers, %d goroutines, %d connections", len(k.stack.timers), runtime.NumGoroutine(), k.stack.Conns())
	}
	for k.stack.Deadline() != 0 {
		k.now = k.stack.Deadline()
		k.stack.Advance(k.now)
		for k.stack.Transmit(k.now, &k.seg) {
		}
	}
	if k.l.cache.len() != 0 {
		t.Errorf("%d are left when their time is over", k.l.cache.len())
	}
	if late := k.now.Sub(Time(time.Second)); late != 15*time.Second {
		t.Errorf("over after %v, want 1+2+4+8 s", late)
	}
}

// What is completed or reset leaves nothing, in whatever order.
func TestSYNCacheForgetsFromAnyPlace(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain(), Backlog: 1000, HalfOpen: 100})
	for port := range uint16(60) {
		k.peer = withPort(peer, port+1)
		k.in("S 0:0(0) win 65535 <mss 1000>")
		k.want("SYN-ACK", "S. 0:0(0) ack 1")
		if port == 29 {
			k.advance(time.Second)
			for range 30 {
				k.want("again", "S. 0:0(0) ack 1")
			}
		}
	}
	for _, port := range []uint16{30, 1, 60, 31, 15, 59} {
		k.peer = withPort(peer, port)
		k.in(". 1:1(0) ack 1 win 500")
	}
	for _, port := range []uint16{2, 29, 58, 32, 40} {
		k.peer = withPort(peer, port)
		k.in("R 1:1(0) win 0")
	}
	if k.l.cache.len() != 49 || len(k.l.queue) != 6 {
		t.Fatalf("%d half open, %d accepted", k.l.cache.len(), len(k.l.queue))
	}
	listed := 0
	for i := range k.l.cache.waiting {
		for e := k.l.cache.waiting[i].first; e != nil; e = e.next {
			listed++
			if e.list != &k.l.cache.waiting[i] || e.next != nil && e.next.prev != e {
				t.Fatal("the list is broken")
			}
		}
	}
	if listed != 49 {
		t.Errorf("%d are in lists", listed)
	}
	k.l.Close(k.now)
	for k.stack.Transmit(k.now, &k.seg) {
		if !k.seg.Flags.Has(segment.RST) {
			t.Errorf("%s after Close", k.seg.String())
		}
	}
	if k.l.cache.len() != 0 || k.stack.Deadline() != 0 {
		t.Errorf("%d half open are left, deadline %v", k.l.cache.len(), k.stack.Deadline())
	}
}

// Those that owe a SYN-ACK while the link is full can be dropped too.
func TestFullCacheWhoseSYNACKsHaveNotLeft(t *testing.T) {
	k := listening(t, ListenConfig{Conn: plain(), HalfOpen: 4})
	for port := range uint16(20) {
		k.peer = withPort(peer, port+1)
		k.in("S 0:0(0) win 65535 <mss 1000>")
	}
	for range 4 {
		k.want("the last ones", "S. 0:0(0) ack 1")
	}
	k.wantIdle("the others are forgotten")
}

func BenchmarkSYNFlood(b *testing.B) {
	for name, mode := range map[string]CookieMode{"cookies": CookiesAlways, "cache": CookiesNever} {
		b.Run(name, func(b *testing.B) {
			k := quiet(&testing.T{}, ListenConfig{Cookies: mode})
			b.ReportAllocs()
			k.flood(b.N)
		})
	}
}
