package rawsock

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openMouth gives a raw socket a second one to send with, that nobody watches. The
// kernel tells who watches a socket of each packet of it that has left a queue
// (sock_wfree), whether he asked for that or not: a tenth of what sending a full
// segment costs. With transmit stamps, which come back to the socket that has
// sent, there is none.
func (c *Conn) openMouth(s *socket) error {
	if s.out = s.fd; c.cfg.TxTimestamps {
		return nil
	}
	fd, err := openDeaf(s.v6)
	if err == nil {
		if err = c.configureBoth(fd, s.v6); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return fmt.Errorf("raw socket to send with: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 0) // for local errors, which the system call returns
	s.out = fd
	return nil
}

// openDeaf opens a raw socket that only sends: one that is bound to a group receives
// what is sent to that group alone, and sends from any address (raw_bind). So no
// packet is cloned for it, and no ICMP error is queued for it.
func openDeaf(v6 bool) (fd int, err error) {
	domain, group := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: deafGroup4})
	if v6 {
		domain, group = unix.AF_INET6, &unix.SockaddrInet6{Addr: deafGroup6}
	}
	fd, err = unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, needNetRaw(os.NewSyscallError("socket", err))
	}
	err = attachFilter(fd, refuseAll) // it hears until it is bound
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, group))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Groups that no TCP segment is sent to: two of those for documentation (RFC 6676).
var (
	deafGroup4 = [4]byte{233, 252, 0, 1}
	deafGroup6 = [16]byte{0xff, 0x0e, 12: 0x0d, 13: 0xb8, 15: 1}
)
