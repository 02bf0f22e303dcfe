package rawsock

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// The socket that sends hears nothing even without its filter, so that the kernel
// clones no packet for it.
func TestMouthIsDeaf(t *testing.T) {
	bothFamilies(t, func(t *testing.T, family int) {
		l := newLab(t)
		s := openStation(t, Config{Guard: GuardNone})
		local := netip.AddrPortFrom(l.ours[family], 4001)
		s.claim(local)
		mouth := s.socket(family == 1).out
		if mouth == s.socket(family == 1).fd {
			t.Fatal("the socket that receives sends, too")
		}
		must(t, unix.SetsockoptInt(mouth, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0))
		must(t, unix.SetsockoptInt(mouth, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20))
		w := l.newWire(family)
		w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, flags: rst})
		s.want(rst)
		if n, _, err := unix.Recvfrom(mouth, make([]byte, 100), unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("the socket that sends has heard %d octets, %v", n, err)
		}
		s.send(tcpPacket{src: local, dst: netip.AddrPortFrom(w.here, 80), flags: ack})
	})
}

// Stamps of what was sent come back to the socket that sent it, which is watched.
func TestMouthWithStamps(t *testing.T) {
	newLab(t)
	s := openStation(t, Config{TxTimestamps: true})
	for _, sock := range s.sockets {
		if sock.out != sock.fd {
			t.Error("a socket sends whose error queue nobody reads")
		}
	}
}
