package rawsock

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// A temporaryError is a failed receive that says something about the network
// and nothing about the socket, which goes on working.
type temporaryError struct{ *net.OpError }

// Temporary reports true.
func (temporaryError) Temporary() bool { return true }

// Unwrap returns the *net.OpError.
func (e temporaryError) Unwrap() error { return e.OpError }

func readError(s *socket, errno unix.Errno) error {
	err := &net.OpError{Op: "read", Net: s.network(), Err: os.NewSyscallError("recvmmsg", errno)}
	switch errno {
	case unix.EBADF, unix.ENOTSOCK, unix.EFAULT, unix.EINVAL:
		return err
	}
	return temporaryError{err}
}

// writeError is the error of one packet that was not sent.
func writeError(s *socket, pkt []byte, errno unix.Errno) error {
	err := os.NewSyscallError("sendmmsg", errno)
	if errno == unix.EPERM {
		err = fmt.Errorf("%w: a firewall on this host refuses it (nft list ruleset, iptables-save)", err)
	}
	return &net.OpError{Op: "write", Net: s.network(), Addr: &net.IPAddr{IP: destination(pkt).AsSlice()}, Err: err}
}

// needNetRaw names the mend of a missing CAP_NET_RAW.
func needNetRaw(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("need CAP_NET_RAW: sudo setcap cap_net_raw+ep %s: %w", executable(), err)
	}
	return err
}

func executable() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// claimError is why a port could not be claimed.
func claimError(local netip.AddrPort, err error) error {
	return &net.OpError{Op: "claim", Net: "tcp", Addr: net.TCPAddrFromAddrPort(local), Err: err}
}
