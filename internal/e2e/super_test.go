package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"

	"rawtcp/engine"
	"rawtcp/internal/netlab"
	"rawtcp/rawsock"
)

// A superLink counts the super-segments that a real link is given.
type superLink struct {
	*rawsock.Conn
	supers atomic.Int64
}

func (l *superLink) WriteSegments(pkts [][]byte, sizes []int) (int, error) {
	for i, size := range sizes {
		if size > 0 && len(pkts[i]) > 2*size {
			l.supers.Add(1)
		}
	}
	return l.Conn.WriteSegments(pkts, sizes)
}

// The kernel's TCP echoes what reaches it in super-segments, octet for octet, whoever
// cuts them: nobody, where the interface takes them whole, or the kernel.
func TestKernelTakesSuperSegments(t *testing.T) {
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprintf("offload=%v", offload), func(t *testing.T) {
			here, there := netlab.Pair(t, netlab.LinkConfig{Offload: offload})
			echo := there.MustServe(t, netlab.Echo)
			for _, to := range []netip.Addr{there.Addr4(), there.Addr6()} {
				superEcho(t, here, netip.AddrPortFrom(to, echo.Port()))
			}
		})
	}
}

// superEcho sends a few megabytes and reads them back.
func superEcho(t *testing.T, from *netlab.Host, to netip.AddrPort) {
	t.Helper()
	link := new(superLink)
	if err := from.Do(func() (err error) { link.Conn, err = rawsock.Open(rawsock.Config{IO: rawsock.PacketIO}); return err }); err != nil {
		t.Fatal(err)
	}
	h := engine.NewHost(engine.HostConfig{Link: link, Conn: quick})
	defer h.Close()
	c, err := h.Dial(context.Background(), to, engine.DialConfig{})
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]byte, 4<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range sent {
		sent[i] = byte(rng.Uint32())
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		if err == nil {
			err = c.CloseWrite()
		}
		wrote <- err
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("to %v: %d octets of %d came back, %v; the same: %v", to, len(got), len(sent), err, bytes.Equal(got, sent))
	}
	if err := <-wrote; err != nil {
		t.Errorf("to %v: %v", to, err)
	}
	if n := link.supers.Load(); n < 10 {
		t.Errorf("to %v: %d super-segments for %d octets", to, n, len(sent))
	}
	_ = c.Close()
}
