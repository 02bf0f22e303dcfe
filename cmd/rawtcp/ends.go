package main

import (
	"errors"
	"io"
	"net"
	"sync"
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
	taken  *takenError
}

func newKernelEnd(c *net.TCPConn, failed <-chan struct{}) kernelEnd {
	return kernelEnd{c, failed, new(takenError)}
}

// A takenError is the error that fault has taken from a socket. The kernel tells
// it once: a read that comes after would take the end for an orderly one.
type takenError struct {
	mu  sync.Mutex
	err error
}

// Read is that of the connection, and knows what fault has taken.
func (e kernelEnd) Read(p []byte) (int, error) {
	n, err := e.TCPConn.Read(p)
	if errors.Is(err, io.EOF) {
		e.taken.mu.Lock()
		defer e.taken.mu.Unlock()
		if e.taken.err != nil {
			err = e.taken.err
		}
	}
	return n, err
}

// reset closes with a RST: that is what a lingering time of 0 means to the kernel.
func (e kernelEnd) reset() {
	_ = e.SetLinger(0) // an error is that it was closed already
	_ = e.Close()
}

func (e kernelEnd) broken() <-chan struct{} { return e.errors }

// fault takes the socket's error, if no read or write has had it already.
func (e kernelEnd) fault() error {
	e.taken.mu.Lock() // until it is noted: a read that finds the error gone waits
	defer e.taken.mu.Unlock()
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
	e.taken.err = &net.OpError{Op: "watch", Net: "tcp", Source: e.LocalAddr(), Addr: e.RemoteAddr(), Err: syscall.Errno(errno)}
	return e.taken.err
}
