// Package kernel puts the kernel's TCP under the conversations of differ.
package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"rawtcp/internal/differ"
	"rawtcp/internal/netlab"
	"rawtcp/segment"
)

// A Subject is the kernel's TCP in a namespace, behind a raw link. Its time is
// real, so that only what it answers at once can be compared.
//
// All of its methods must be called from the goroutine that made it: it is bound
// to one thread and one processor, so that packets keep their order.
type Subject struct {
	host *netlab.Host
	road int // packet socket at the peer's end of the link
	to   unix.SockaddrLinklayer

	listener, conn int // sockets of the user, -1 for none
	at, peer       netip.AddrPort
	failed         bool
	data           []byte // that the user has read and not told yet
	end            differ.End
	buf            []byte
}

// fencePort is where nobody listens: its RST says that all before it is done.
const fencePort = 9

// New makes a namespace with the kernel under test in the lab, and binds
// the calling goroutine to its thread.
func New(lab *netlab.Lab) (*Subject, error) {
	runtime.LockOSThread()
	var first unix.CPUSet
	if err := unix.SchedGetaffinity(0, &first); err != nil {
		return nil, fmt.Errorf("ask for processors: %w", os.NewSyscallError("sched_getaffinity", err))
	}
	one := unix.CPUSet{}
	for cpu := range 1024 {
		if first.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return nil, fmt.Errorf("stay on one processor: %w", os.NewSyscallError("sched_setaffinity", err))
	}
	k := &Subject{road: -1, listener: -1, conn: -1, buf: make([]byte, 1<<16)}
	if err := k.build(lab); err != nil {
		return nil, fmt.Errorf("put a kernel under test: %w", err)
	}
	return k, nil
}

// build makes the two hosts. The peer's has nobody at the peer's addresses, so
// that its own kernel says nothing to what arrives there.
func (k *Subject) build(lab *netlab.Lab) error {
	peer, err := lab.Host("peer")
	if err != nil {
		return err
	}
	if k.host, err = lab.Host("kernel"); err != nil {
		return err
	}
	link, err := lab.Join(peer, k.host, netlab.LinkConfig{})
	if err != nil {
		return err
	}
	for key, value := range map[string]string{
		"tcp_invalid_ratelimit": "0", "tcp_syncookies": "0", "tcp_rfc1337": "1", "tcp_early_retrans": "0",
		"tcp_no_metrics_save": "1", "tcp_ecn": "0", "tcp_fin_timeout": "5", "tcp_recovery": "0",
	} {
		if err := k.host.Sysctl("net.ipv4."+key, value); err != nil {
			return err
		}
	}
	if err := k.host.Do(func() error { return introduce(link.B.Name) }); err != nil {
		return err
	}
	return peer.Do(func() error { return k.openRoad(link.A.Index, link.B) })
}

// peerMAC is the peer's hardware address, which nobody has.
var peerMAC = net.HardwareAddr{2, 0, 0, 0, 0, 0x77}

// introduce tells the kernel under test where the peer is, which does not answer
// such questions.
func introduce(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, a := range []netip.Addr{differ.Peer4, differ.Peer6} {
		n := &netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: peerMAC}
		if err := netlink.NeighSet(n); err != nil {
			return fmt.Errorf("tell the neighbour %v: %w", a, err)
		}
	}
	return nil
}

func (k *Subject) openRoad(index int, far *netlab.Interface) (err error) {
	var mac net.HardwareAddr
	if err := far.Host.Do(func() error {
		link, err := netlink.LinkByName(far.Name)
		if err == nil {
			mac = link.Attrs().HardwareAddr
		}
		return err
	}); err != nil {
		return err
	}
	if k.road, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return os.NewSyscallError("socket", err)
	}
	k.to = unix.SockaddrLinklayer{Ifindex: index, Halen: 6}
	copy(k.to.Addr[:], mac)
	if err := unix.Bind(k.road, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return nil
}

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }

// Close gives the link back. The lab has the rest.
func (k *Subject) Close() {
	_ = unix.Close(k.road)
	runtime.UnlockOSThread()
}

// Begin implements differ.Subject.
func (k *Subject) Begin(active bool, peer netip.AddrPort) (local netip.AddrPort, err error) {
	k.peer, k.failed = peer, false
	err = k.host.Do(func() error {
		local, err = k.open(active, peer)
		return err
	})
	k.at = local
	return local, err
}

func (k *Subject) open(active bool, peer netip.AddrPort) (netip.AddrPort, error) {
	family := unix.AF_INET
	if peer.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return netip.AddrPort{}, os.NewSyscallError("setsockopt TCP_NODELAY", err)
	}
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(k.addr(peer), 0))); err != nil {
		return netip.AddrPort{}, os.NewSyscallError("bind", err)
	}
	if active {
		k.conn = fd
		if err := unix.Connect(fd, sockaddr(peer)); !errors.Is(err, unix.EINPROGRESS) {
			return netip.AddrPort{}, os.NewSyscallError("connect", err)
		}
	} else {
		k.listener = fd
		if err := unix.Listen(fd, 8); err != nil {
			return netip.AddrPort{}, os.NewSyscallError("listen", err)
		}
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(k.addr(peer), uint16(name.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(k.addr(peer), uint16(name.Port)), nil
	}
	return netip.AddrPort{}, errors.New("a socket without a name")
}

func (k *Subject) addr(peer netip.AddrPort) netip.Addr {
	if peer.Addr().Is4() {
		return k.host.Addr4()
	}
	return k.host.Addr6()
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// Deliver implements differ.Subject.
func (k *Subject) Deliver(pkt []byte) error {
	k.quick()
	to := k.to
	to.Protocol = htons(unix.ETH_P_IP)
	if pkt[0]>>4 == 6 {
		to.Protocol = htons(unix.ETH_P_IPV6)
	}
	return os.NewSyscallError("sendto", unix.Sendto(k.road, pkt, 0, &to))
}

// quick asks the kernel to acknowledge at once. It does not stay so.
func (k *Subject) quick() {
	if k.conn >= 0 {
		_ = unix.SetsockoptInt(k.conn, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) // fails where there is no connection
	}
}

// Sent implements differ.Subject: what stands in the queue of the link before the
// answer to a fence.
func (k *Subject) Sent() (pkts [][]byte, err error) {
	from := netip.AddrPortFrom(k.peer.Addr(), fencePort)
	k.read() // what waits to be read keeps the kernel from acknowledging at once
	k.quick()
	fence := segment.Segment{Src: from, Dst: netip.AddrPortFrom(k.at.Addr(), fencePort), Flags: segment.SYN}
	pkt, err := fence.Append(nil)
	if err != nil {
		return nil, err
	}
	if err := k.Deliver(pkt); err != nil {
		return nil, err
	}
	for end := time.Now().Add(30 * time.Second); ; {
		n, from2, err := unix.Recvfrom(k.road, k.buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			if time.Now().After(end) {
				return nil, errors.New("the kernel does not answer a fence")
			}
			fds := []unix.PollFd{{Fd: int32(k.road), Events: unix.POLLIN}}
			_, _ = unix.Poll(fds, 100)
			continue
		case err != nil:
			return nil, os.NewSyscallError("recvfrom", err)
		}
		if from, ok := from2.(*unix.SockaddrLinklayer); ok && from.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		var s segment.Segment
		if s.Parse(k.buf[:n]) != nil { // neighbour discovery and the like
			continue
		}
		if s.Src.Port() == fencePort && s.Dst == from {
			return pkts, nil
		}
		pkts = append(pkts, append([]byte(nil), k.buf[:n]...))
	}
}

func (k *Subject) user() int {
	if k.conn < 0 && k.listener >= 0 {
		if fd, _, err := unix.Accept4(k.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
			k.conn = fd
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		}
	}
	return k.conn
}

// Write implements differ.Subject.
func (k *Subject) Write(p []byte) {
	if fd := k.user(); fd >= 0 {
		_ = unix.Send(fd, p, unix.MSG_NOSIGNAL)
	}
}

// CloseWrite implements differ.Subject.
func (k *Subject) CloseWrite() {
	if fd := k.user(); fd >= 0 {
		_ = unix.Shutdown(fd, unix.SHUT_WR)
	}
}

// Read implements differ.Subject.
func (k *Subject) Read() ([]byte, differ.End) {
	k.read()
	data := k.data
	k.data = nil
	return data, k.end
}

// read has the user read all there is.
func (k *Subject) read() {
	fd := k.user()
	if fd < 0 {
		k.end = differ.None
		return
	}
	for !k.failed {
		n, err := unix.Read(fd, k.buf)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOTCONN):
			k.end = differ.Open
			return
		case err != nil:
			k.failed = true // told once
			k.end = differ.Failed
		case n == 0:
			k.end = differ.EOF
			return
		default:
			k.data = append(k.data, k.buf[:n]...)
		}
	}
}

// Finish implements differ.Subject.
func (k *Subject) Finish() error {
	for _, fd := range []int{k.conn, k.listener} {
		if fd < 0 {
			continue
		}
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		_ = unix.Close(fd)
	}
	k.conn, k.listener, k.data = -1, -1, nil
	_, err := k.Sent() // what was said in farewell
	return err
}
