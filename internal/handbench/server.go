package handbench

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Serve accepts connections of the kernel's TCP on IPv4 ports and closes each when
// its peer has, in one thread, as fast as the kernel lets it: the peer is not to
// be what is measured. It calls ready when it listens, and returns on an error only.
func Serve(ports []uint16, ready func()) error {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	listeners := map[int32]bool{}
	for _, port := range ports {
		fd, err := listen(port)
		if err != nil {
			return fmt.Errorf("listen on port %d: %w", port, err)
		}
		listeners[int32(fd)] = true
		if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return fmt.Errorf("epoll_ctl: %w", err)
		}
	}
	ready()
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(poll, events, -1)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, ev := range events[:max(n, 0)] {
			if listeners[ev.Fd] {
				acceptAll(poll, int(ev.Fd))
			} else {
				serve(int(ev.Fd))
			}
		}
	}
}

func listen(port uint16) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(port)}); err != nil {
		return -1, err
	}
	return fd, unix.Listen(fd, 4096)
}

// acceptAll takes what waits. The peer's FIN is there already as a rule.
func acceptAll(poll, listener int) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		if !serve(fd) && unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}) != nil {
			_ = unix.Close(fd)
		}
	}
}

// serve closes a connection whose peer has, and reports whether it did.
func serve(fd int) bool {
	var scratch [4096]byte
	for {
		n, err := unix.Read(fd, scratch[:])
		if err == unix.EAGAIN {
			return false
		}
		if n <= 0 {
			_ = unix.Close(fd)
			return true
		}
	}
}
