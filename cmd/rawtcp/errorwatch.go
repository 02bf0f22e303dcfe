package main

import (
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// An errorWatch notices errors of kernel sockets, a reset foremost, that nobody
// reads from or writes to at the time: because the other party of a proxied
// connection takes no more, or because the peer has half-closed.
type errorWatch struct {
	epoll *os.File // an epoll instance is itself a file that can be polled

	mu      sync.Mutex
	last    int32
	waiting map[int32]chan struct{}
}

func newErrorWatch() (*errorWatch, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or os.NewFile would not poll it
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	w := &errorWatch{epoll: os.NewFile(uintptr(fd), "epoll"), waiting: map[int32]chan struct{}{}}
	spawn(w.run)
	return w, nil
}

// close ends the watch. Its channels stay as they are.
func (w *errorWatch) close() { _ = w.epoll.Close() }

// add watches a socket until it is closed. The channel is closed at the first
// error; forget is to be called after the socket's close.
func (w *errorWatch) add(c *net.TCPConn) (errors <-chan struct{}, forget func(), err error) {
	w.mu.Lock()
	w.last++
	id, ch := w.last, make(chan struct{})
	w.waiting[id] = ch
	w.mu.Unlock()
	forget = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting, id)
	}
	if err := w.register(c, id); err != nil {
		forget()
		return nil, nil, fmt.Errorf("watch %s: %w", c.RemoteAddr(), err)
	}
	return ch, forget, nil
}

// register asks for nothing but errors, which epoll always tells of.
func (w *errorWatch) register(c *net.TCPConn, id int32) error {
	socket, err := c.SyscallConn()
	if err != nil {
		return err
	}
	epoll, err := w.epoll.SyscallConn()
	if err != nil {
		return err
	}
	var ctlErr error
	socketErr := socket.Control(func(fd uintptr) {
		err = epoll.Control(func(epfd uintptr) {
			ctlErr = unix.EpollCtl(int(epfd), unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLET, Fd: id})
		})
	})
	return firstOf(firstOf(socketErr, err), os.NewSyscallError("epoll_ctl", ctlErr))
}

// run waits for events until the watch is closed.
func (w *errorWatch) run() {
	raw, err := w.epoll.SyscallConn()
	if err != nil {
		return // closed
	}
	events := make([]unix.EpollEvent, 64)
	for {
		var n int
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		})
		if err != nil {
			return // closed
		}
		w.tell(events[:n])
	}
}

func (w *errorWatch) tell(events []unix.EpollEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		if ch := w.waiting[e.Fd]; ch != nil && e.Events&unix.EPOLLERR != 0 {
			close(ch)
			delete(w.waiting, e.Fd)
		}
	}
}
