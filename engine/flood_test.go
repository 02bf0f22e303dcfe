package engine_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"rawtcp/engine"
	"rawtcp/internal/simnet"
	"rawtcp/segment"
)

// A flood of 200,000 SYNs from addresses that never answer leaves room for a
// client: it connects as fast as if nothing else were going on.
func TestSYNFloodLeavesRoomForAClient(t *testing.T) {
	const delay = 15 * time.Millisecond
	syns := 200_000
	if raceDetector {
		syns = 10_000
	}
	for _, mode := range []engine.CookieMode{engine.CookiesWhenFull, engine.CookiesAlways} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, worldConfig{path: simnet.PathConfig{Delay: delay}})
			l := w.listen(engine.ListenConfig{Cookies: mode})
			for i := range syns / 2 {
				w.serverPort.Inject(spoofedSYN(t, i))
				if i%1000 == 0 {
					synctest.Wait() // the flood is longer than the receive queue
				}
			}
			start := time.Now()
			var c *engine.NetConn
			done := make(chan struct{})
			go func() {
				defer close(done)
				c = w.dial()
			}()
			for i := range syns / 2 { // and it goes on while the client connects
				w.serverPort.Inject(spoofedSYN(t, syns/2+i))
				if i%1000 == 0 {
					time.Sleep(2 * delay * 1000 / time.Duration(syns/2))
				}
			}
			<-done
			if took := time.Since(start); took > 2*delay+20*time.Millisecond {
				t.Errorf("mode %d: connected after %v", mode, took)
			}
			s, err := l.AcceptConn()
			if err != nil {
				t.Fatal(err)
			}
			pour(t, c, s, 1, 10_000)
			c.Close()
			s.Close()
		})
	}
}

// spoofedSYN is a SYN of a host that is not there.
func spoofedSYN(t *testing.T, i int) []byte {
	a := netip.AddrFrom4([4]byte{198, 19, byte(i >> 8), byte(i)})
	s := segment.Segment{Src: netip.AddrPortFrom(a, uint16(1024+i>>16)), Dst: web, Seq: segment.MakeSeq(uint32(i) * 77777),
		Flags: segment.SYN, Window: 65535, Options: segment.Options{Set: segment.HasMSS, MSS: 1460}}
	pkt, err := s.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pkt
}

// What Shutdown promises of listeners: no SYN is answered any more, and who
// waits for the application is told.
func TestShutdownResetsWhatWasNotAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldConfig{path: simnet.PathConfig{Delay: time.Millisecond}})
		w.listen(engine.ListenConfig{})
		c := w.dial()
		synctest.Wait()
		if err := w.server.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the client was not told")
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := w.client.Dial(ctx, web, engine.DialConfig{}); err == nil {
			t.Error("a SYN after Shutdown was answered")
		}
	})
}
