package rawsock

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A netns is a network namespace. It lets a Conn make its guards where its
// sockets are, whatever thread asks for them.
type netns struct {
	fd       int
	dev, ino uint64
}

const threadNetns = "/proc/thread-self/ns/net"

// currentNetns returns the network namespace of the calling thread, and nil on
// a system without /proc, where all threads are taken to be in one namespace.
func currentNetns() (*netns, error) {
	fd, err := unix.Open(threadNetns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: threadNetns, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fstat", err)
	}
	return &netns{fd: fd, dev: uint64(st.Dev), ino: st.Ino}, nil
}

// do calls f on a thread that is in n.
func (n *netns) do(f func() error) error {
	if n == nil {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var st unix.Stat_t
	if err := unix.Stat(threadNetns, &st); err != nil {
		return &os.PathError{Op: "stat", Path: threadNetns, Err: err}
	}
	if uint64(st.Dev) == n.dev && st.Ino == n.ino {
		return f()
	}
	errc := make(chan error)
	go func() {
		// Never unlocked: the thread has changed and must end with the goroutine.
		runtime.LockOSThread()
		if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
			errc <- fmt.Errorf("enter the network namespace of the sockets: %w", os.NewSyscallError("setns", err))
			return
		}
		errc <- f()
	}()
	return <-errc
}

func (n *netns) close() {
	if n != nil {
		unix.Close(n.fd)
	}
}
