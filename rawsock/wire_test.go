package rawsock

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A wire sends and hears TCP segments of one family in a namespace through a
// bare raw socket, beside the code under test.
type wire struct {
	t    testing.TB
	fd   int
	here netip.Addr
}

// newWire opens a wire at the peer's end of a lab.
func (l *lab) newWire(family int) *wire {
	l.t.Helper()
	w := &wire{t: l.t, here: l.theirs[family]}
	must(l.t, l.peer.do(func() error { return w.open() }))
	l.t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

func (w *wire) open() (err error) {
	domain, level, opt := unix.AF_INET, unix.SOL_IP, unix.IP_HDRINCL
	if w.here.Is6() {
		domain, level, opt = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_HDRINCL
	}
	if w.fd, err = unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP); err != nil {
		return err
	}
	return unix.SetsockoptInt(w.fd, level, opt, 1)
}

func (w *wire) send(pkts ...tcpPacket) {
	w.t.Helper()
	for _, p := range pkts {
		must(w.t, unix.Sendto(w.fd, p.bytes(), 0, sockaddr(p.dst.Addr())))
	}
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}

// receive waits for the next segment, and reports false after d without one.
func (w *wire) receive(d time.Duration) (tcpPacket, bool) {
	w.t.Helper()
	buf := make([]byte, 65600)
	fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
	for end := time.Now().Add(d); ; {
		n, err := unix.Poll(fds, int(max(time.Until(end), 0)/time.Millisecond))
		if err == unix.EINTR {
			continue
		}
		must(w.t, err)
		if n == 0 {
			return tcpPacket{}, false
		}
		size, from, err := unix.Recvfrom(w.fd, buf, unix.MSG_DONTWAIT)
		must(w.t, err)
		if p, ok := w.parse(buf[:size], from); ok {
			return p, true
		}
	}
}

func (w *wire) parse(buf []byte, from unix.Sockaddr) (tcpPacket, bool) {
	if from6, ok := from.(*unix.SockaddrInet6); ok {
		return parseTCP(netip.AddrFrom16(from6.Addr), w.here, buf), true
	}
	return parsePacket(buf)
}

// heardBefore provokes a RST from the other side's kernel on a port nobody has,
// and returns what came before it. So silence needs no waiting, and the ear is
// known to hear.
func (w *wire) heardBefore(there netip.Addr) []tcpPacket {
	w.t.Helper()
	const nobody, marker = 9, 0x5eed
	w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 9), dst: netip.AddrPortFrom(there, nobody), ack: marker, flags: ack})
	var heard []tcpPacket
	for {
		p, ok := w.receive(patience)
		if !ok {
			w.t.Fatal("the other kernel does not answer even on a free port")
		}
		if p.src.Port() == nobody && p.seq == marker && p.flags&rst != 0 {
			return heard
		}
		heard = append(heard, p)
	}
}

// provocations are segments that a kernel without a listener answers with RST,
// and a null segment.
var provocations = []byte{syn, syn | ack, ack, psh | ack, fin | ack, 0}

// provoke sends every provocation with a TTL to a port.
func (w *wire) provoke(local netip.AddrPort, ttl byte) {
	w.t.Helper()
	for i, flags := range provocations {
		w.send(tcpPacket{src: netip.AddrPortFrom(w.here, 80), dst: local, seq: uint32(i), ack: 7, flags: flags, ttl: ttl, payload: []byte("x")})
	}
}
