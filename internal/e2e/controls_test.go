package e2e

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rawtcp/engine"
	"rawtcp/internal/netlab"
)

// accounted keeps all that Info can tell.
var accounted = engine.ConnConfig{TimeWait: -1, Accounts: engine.On}

// kernelPair is a connection from an engine on a to the kernel's TCP on b.
func kernelPair(t *testing.T, a, b *netlab.Host, f family) (*engine.NetConn, *net.TCPConn) {
	t.Helper()
	l, err := b.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := netip.AddrPortFrom(f.of(b), l.Addr().(*net.TCPAddr).AddrPort().Port())
	ours, err := hostOn(t, a, accounted).Dial(t.Context(), to, engine.DialConfig{})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// move writes size octets to one end and reads them at the other.
func move(t *testing.T, from io.Writer, to io.Reader, size int) {
	t.Helper()
	data := bytes.Repeat([]byte("rawtcp controls\n"), size/16)
	written := make(chan error, 1)
	go func() {
		_, err := from.Write(data)
		written <- err
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(to, got); err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil || !bytes.Equal(got, data) {
		t.Fatalf("write: %v; the octets are the same: %v", err, bytes.Equal(got, data))
	}
}

// kernelInfo is getsockopt TCP_INFO.
func kernelInfo(t *testing.T, c *net.TCPConn) (info *unix.TCPInfo) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err2 := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return info
}

// What both ends of a connection must say alike: our Info, and the tcp_info of
// the kernel at the other end.
func TestInfoAgreesWithTheKernel(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		a, b := netlab.Pair(t, netlab.LinkConfig{})
		ours, theirs := kernelPair(t, a, b, f)
		move(t, ours, theirs, 3<<20)
		move(t, theirs, ours, 2<<20)
		var wrong []string
		poll(t, patience, func() bool { // until the last ACK is through
			wrong = disagreements(ours.Info(), kernelInfo(t, theirs))
			return len(wrong) == 0
		}, func() {
			t.Errorf("%v\nours %+v\naccounts %+v\ntheirs %+v", wrong, ours.Info(), ours.Info().Accounts, kernelInfo(t, theirs))
		})
	})
}

func poll(t *testing.T, limit time.Duration, done func() bool, giveUp func()) {
	t.Helper()
	for end := time.Now().Add(limit); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			giveUp()
			return
		}
	}
}

func disagreements(i engine.Info, k *unix.TCPInfo) (wrong []string) {
	same := func(name string, ours, theirs uint64) {
		if ours != theirs {
			wrong = append(wrong, name)
		}
	}
	near := func(name string, ours, theirs, slack uint64) {
		if ours > theirs+slack || theirs > ours+slack {
			wrong = append(wrong, name)
		}
	}
	scale := func(shift uint8) uint64 { return uint64(shift) }
	const established, timestamps, sack, wscale = 1, 1, 2, 4
	same("state", established, uint64(k.State))
	same("options", timestamps|sack|wscale, uint64(k.Options)&7)
	same("our mss, theirs advertised", uint64(i.Peer.MSS), uint64(k.Advmss)+12) // the kernel's is less the timestamps
	same("pmtu", uint64(i.MTU), uint64(k.Pmtu))
	same("our window, as they see it", uint64(i.Vars.RcvWnd), uint64(k.Snd_wnd))
	same("their window, as we see it", uint64(i.Vars.SndWnd), uint64(k.Rcv_wnd)>>scale(i.Vars.SndScale)<<scale(i.Vars.SndScale))
	same("octets of ours", i.Accounts.BytesAcked, k.Bytes_received)
	near("octets of theirs", i.Stats.BytesRead, k.Bytes_acked, 1) // SYN may count
	same("octets we sent, again included", i.Stats.BytesOut, k.Bytes_received+i.Accounts.BytesResent)
	same("data segments of ours", i.Accounts.DataOut, uint64(k.Data_segs_in))
	same("data segments of theirs", i.Accounts.DataIn, uint64(k.Data_segs_out))
	near("segments of ours", i.Stats.SegmentsOut, uint64(k.Segs_in), 2) // the handshake is counted elsewhere
	near("segments of theirs", i.Stats.SegmentsIn, uint64(k.Segs_out), 2)
	same("outstanding", uint64(i.Unacked), uint64(k.Unacked))
	same("unsent", uint64(i.Unsent), uint64(k.Notsent_bytes))
	return wrong
}

// A path whose small hop swallows large packets and whose ICMP is filtered: the
// kernel at the far end gets it all the same, and in the end in segments nearly
// as large as the hop takes.
func TestBlackHoleOnTheWay(t *testing.T) {
	both(t, func(t *testing.T, f family) {
		swallow := func(packet []byte) bool { return len(packet) > 1400 }
		a, b, _ := netlab.RelayPair(t, netlab.RelayConfig{AtoB: netlab.Impairment{Drop: swallow}})
		ours, theirs := kernelPair(t, a, b, f)
		start := time.Now()
		move(t, ours, theirs, 8<<20)
		t.Logf("8 MiB took %v, MTU %d after %d probes", time.Since(start), ours.Info().MTU, ours.Info().Stats.MTUProbes)
		if mtu := ours.Info().MTU; mtu < 1280 || mtu > 1400 {
			t.Errorf("MTU %d on a path that takes 1400", mtu)
		}
		if ours.Info().Stats.MTUProbes == 0 {
			t.Error("nothing larger was tried")
		}
	})
}
