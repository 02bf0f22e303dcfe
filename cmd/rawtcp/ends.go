package main

import (
	"net"
	"syscall"

	"rawtcp/engine"
)

// An ownEnd is the end of a pump on our own TCP.
type ownEnd struct{ *engine.NetConn }

func (e ownEnd) reset() { _ = e.Abort() } // an error is that it has ended already

func (e ownEnd) broken() <-chan struct{} { return e.Done() }

func (e ownEnd) fault() error { return e.Err() }

// A kernelEnd is the end of a pump on the kernel's TCP.
type kernelEnd struct {
	*net.TCPConn
	errors <-chan struct{} // closed by an errorWatch
}

// reset closes with a RST: that is what a lingering time of 0 means to the kernel.
func (e kernelEnd) reset() {
	_ = e.SetLinger(0) // an error is that it was closed already
	_ = e.Close()
}

func (e kernelEnd) broken() <-chan struct{} { return e.errors }

// fault takes the socket's error, if no read or write has had it already.
func (e kernelEnd) fault() error {
	raw, err := e.SyscallConn()
	if err != nil {
		return nil // it was closed
	}
	var errno int
	controlErr := raw.Control(func(fd uintptr) {
		errno, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
	})
	if controlErr != nil || err != nil || errno == 0 {
		return nil
	}
	return &net.OpError{Op: "watch", Net: "tcp", Source: e.LocalAddr(), Addr: e.RemoteAddr(), Err: syscall.Errno(errno)}
}
