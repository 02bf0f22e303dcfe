package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"rawtcp/segment"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of sys/socket.h.
type mmsghdr struct {
	unix.Msghdr
	n uint32
	_ [4]byte
}

// floodBatch is how many packets one sendmmsg carries.
const floodBatch = 64

// flood sends 1500-octet segments by sendmmsg on a raw socket, as fast as that
// goes and with no TCP behind it: what no stack on that socket can exceed. They
// are RSTs, which nobody answers.
func flood(spec Spec) (sample, error) {
	s := segment.Segment{Src: netip.AddrPortFrom(spec.Local, 40000), Dst: spec.Remotes[0], Flags: segment.RST, TTL: 64, Payload: make([]byte, mtu-40)}
	pkt, err := s.Append(nil)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	defer unix.Close(fd)
	peer := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: spec.Remotes[0].Addr().As4()}
	iov := unix.Iovec{Base: &pkt[0], Len: uint64(len(pkt))}
	var batch [floodBatch]mmsghdr
	for i := range batch {
		h := &batch[i].Msghdr
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&peer)), uint32(unsafe.Sizeof(peer))
		h.Iov, h.Iovlen = &iov, 1
	}
	m := newMeter()
	broken := make(chan error, 1)
	go func() {
		for {
			n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&batch)), floodBatch, 0, 0, 0)
			if errno != 0 && !errors.Is(errno, unix.ENOBUFS) {
				broken <- errno
				return
			}
			if errno == 0 {
				m.count(int(n) * len(s.Payload))
			}
		}
	}()
	from, to, err := m.window(spec)
	select {
	case err := <-broken:
		return nil, fmt.Errorf("sendmmsg: %w", err)
	default:
	}
	if err != nil {
		return nil, err
	}
	return moved(from, to), nil
}
